//! Tables that a step's plugin may look keys up in: what each has, and where it is.

use std::sync::Arc;

use weir_manifest::{Fault, LookupTable, Manifest, PluginStep, PluginTable, Spanned, nearest};
use weir_operators::lookup::TableShape;
use weir_stream::KeyedTable;

use super::Planner;
use super::lookup::TablePlace;
use crate::lookup::{GrantedTable, StepTables};

impl Planner<'_> {
    /// What the manifest lets the plugin look up.
    pub(super) fn plugin_tables(
        &mut self,
        step: &Arc<str>,
        plugin: &PluginStep,
        manifest: &Manifest,
    ) -> Option<(Vec<Arc<dyn KeyedTable>>, StepTables)> {
        let mut planned = StepTables::default();
        let Some(tables) = &plugin.tables else { return Some((Vec::new(), planned)) };
        if plugin.key.is_some() {
            let message = "a plugin with state by key looks up no tables";
            let fault = Fault::new(plugin.reference.span, "plugin-tables", message);
            self.fault(
                fault.next("take `tables` away, or `key`; a `lookup` step before it gives its rows what a table has"),
            );
            return None;
        }
        let granted: Vec<_> =
            tables.iter().map(|(name, table)| self.plugin_table(step, name, table, &mut planned, manifest)).collect();
        Some((granted.into_iter().collect::<Option<_>>()?, planned))
    }

    fn plugin_table(
        &mut self,
        step: &Arc<str>,
        name: &Spanned<String>,
        table: &PluginTable,
        planned: &mut StepTables,
        manifest: &Manifest,
    ) -> Option<Arc<dyn KeyedTable>> {
        let place = TablePlace { table: &table.table, columns: &table.columns, cache: table.cache.as_ref() };
        self.cache_fits(place)?;
        let shape = self.plugin_table_shape(table, place)?;
        let label: Arc<str> = format!("{step}.{}", name.value).into();
        if let LookupTable::File(file) = &table.table {
            let (slot, file) = self.file(&label, file, shape.clone(), manifest)?;
            planned.files.push(file);
            return Some(Arc::new(GrantedTable::of_file(name, &shape, slot)));
        }
        let mut database = self.database(&label, place, &shape, manifest)?;
        database.board = Arc::clone(&planned.board);
        planned.wait = true;
        Some(Arc::new(GrantedTable::of_database(name, &shape, Box::new(move || database.desk()))))
    }

    fn plugin_table_shape(&mut self, table: &PluginTable, place: TablePlace<'_>) -> Option<TableShape> {
        let schema = place.schema();
        let mut key = Vec::with_capacity(table.key.len());
        for column in &table.key {
            match schema.index_of(column) {
                Ok(number) if key.contains(&number) => {
                    self.fault(Fault::new(
                        column.span,
                        "lookup-key",
                        format!("`{}` is in the key twice", column.value),
                    ));
                    return None;
                }
                Ok(number) => key.push(number),
                Err(_) => {
                    let names = schema.fields().iter().map(|field| field.name().as_str());
                    let meant =
                        nearest(column, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    let message = format!("no column `{}` among the table's `columns`{meant}", column.value);
                    self.fault(Fault::new(column.span, "unknown-column", message));
                    return None;
                }
            }
        }
        Some(TableShape { schema, key, several: false })
    }
}
