//! Look-ups: the table's columns and key, and where the table is.

mod database;

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use weir_codecs::TableFormat;
use weir_manifest::{
    ColumnType, Entries, Fault, FileTable, LookupCache, LookupStep, LookupTable, LookupWord, Manifest, MatchesWord,
    Spanned, nearest, type_text,
};
use weir_operators::join::same_key_type;
use weir_operators::lookup::{TableShape, TableSlot, lookup_schema};
use weir_operators::{Expression, Lookup, LookupKind, Operator};
use weir_stream::ChangeMode;

use super::{Output, PlannedKind, PlannedStateless, Planner, Side, changes};
use crate::lookup::{TableFile, TableFileSpec};
use database::PlannedDatabaseLookup;

/// Where a table is and what it has, of a step or a plugin.
#[derive(Clone, Copy)]
pub(super) struct TablePlace<'a> {
    pub table: &'a LookupTable,
    pub columns: &'a Entries<Spanned<ColumnType>>,
    pub cache: Option<&'a Spanned<LookupCache>>,
}

impl<'a> TablePlace<'a> {
    fn of(lookup: &'a LookupStep) -> Self {
        Self { table: &lookup.table, columns: &lookup.columns, cache: lookup.cache.as_ref() }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let columns = self.columns.iter();
        let columns = columns.map(|(name, column)| Field::new(&**name, column.data_type.clone(), column.nullable));
        Arc::new(Schema::new(columns.collect::<Vec<_>>()))
    }
}

struct PlannedLookup {
    /// Expressions of the input, one for each column of the table's key.
    on: Vec<String>,
    kind: LookupKind,
    input: SchemaRef,
    output: SchemaRef,
    slot: Arc<TableSlot>,
    file: [Arc<TableFile>; 1],
}

impl PlannedStateless for PlannedLookup {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        let slot = Arc::clone(&self.slot);
        let lookup = Lookup::new(&self.on, self.kind, &self.input, &self.output, slot);
        Ok(Box::new(lookup.map_err(|(_, error)| error.message)?))
    }

    fn table_files(&self) -> &[Arc<TableFile>] {
        &self.file
    }
}

impl Planner<'_> {
    pub(super) fn lookup(
        &mut self,
        step: &Arc<str>,
        lookup: &LookupStep,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let place = TablePlace::of(lookup);
        self.cache_fits(place)?;
        let fits = self.table_fits(lookup, input);
        let shape = self.table_shape(lookup, input)?;
        let kind = match word(lookup) {
            LookupWord::Inner => LookupKind::Inner,
            LookupWord::Left => LookupKind::Left,
        };
        let prefix = lookup.prefix.as_ref().map_or("", |prefix| prefix.value.as_str());
        let output = lookup_schema(kind, prefix, &input.schema, &shape).map_err(|name| {
            let place = lookup
                .prefix
                .as_ref()
                .map_or(lookup.columns.iter().next().map(|(name, _)| name.span), |prefix| Some(prefix.span));
            let message = format!("`{}` and the table both have a column `{name}`", input.from.value);
            let fault = Fault::new(place.unwrap_or_default(), "lookup-columns", message);
            self.fault(fault.next("give the table's columns a prefix of their own: `prefix: rate_`"));
        });
        let (true, output) = (fits, output.ok()?) else { return None };
        let on = lookup.on.iter().map(|(text, _)| text.value.clone()).collect();
        let input_schema = Arc::clone(&input.schema);
        let main = Output::main(&output, input.changes.clone());
        let planned = match &lookup.table {
            LookupTable::File(file) => {
                let (slot, file) = self.file(step, file, shape, manifest)?;
                let file = [file];
                PlannedKind::Stateless(Box::new(PlannedLookup { on, kind, input: input_schema, output, slot, file }))
            }
            LookupTable::Postgres(_) | LookupTable::Sqlite(_) | LookupTable::Cassandra(_) => {
                let database = self.database(step, place, &shape, manifest)?;
                let planned = PlannedDatabaseLookup { on, kind, input: input_schema, output, database };
                PlannedKind::Waiting(Box::new(planned))
            }
        };
        Some((vec![main], planned))
    }

    pub(super) fn file(
        &mut self,
        step: &Arc<str>,
        file: &FileTable,
        shape: TableShape,
        manifest: &Manifest,
    ) -> Option<(Arc<TableSlot>, Arc<TableFile>)> {
        let slot = Arc::new(TableSlot::default());
        let spec = TableFileSpec {
            step: Arc::clone(step),
            path: manifest.resolve(&file.path),
            format: self.table_format(file)?,
            shape,
            memory_bytes: file.memory().bytes(),
            max_loss: file.max_loss(),
        };
        Some((Arc::clone(&slot), Arc::new(TableFile::new(spec, slot))))
    }

    /// A file is held whole: there is nothing to be kept of it.
    pub(super) fn cache_fits(&mut self, place: TablePlace<'_>) -> Option<()> {
        let cache = place.cache.filter(|_| matches!(place.table, LookupTable::File(_)));
        let Some(cache) = cache else { return Some(()) };
        let message = "a table of a file is held whole; there is nothing to cache";
        self.fault(Fault::new(cache.span, "lookup-cache", message).next("leave out `cache`"));
        None
    }

    fn table_format(&mut self, file: &FileTable) -> Option<TableFormat> {
        if let Some(memory) = file.memory.as_ref().filter(|memory| memory.value > FileTable::MOST_MEMORY) {
            let message = format!("a table of a file has at most {}", FileTable::MOST_MEMORY);
            self.fault(Fault::new(memory.span, "out-of-range", message));
        }
        match file.path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("csv") => Some(TableFormat::Csv),
            Some("jsonl") => Some(TableFormat::JsonLines),
            _ => {
                let message = format!("`{}` does not say how it is written; tables end in .csv or .jsonl", *file.path);
                self.fault(Fault::new(file.path.span, "table-format", message));
                None
            }
        }
    }

    /// Whether what comes in can be looked up soundly: of a table's rows each must stay one, under its key.
    fn table_fits(&mut self, lookup: &LookupStep, input: &Side) -> bool {
        let needed = match &input.changes {
            ChangeMode::Append => return true,
            // What an earlier table matched cannot be taken back by what a later one does.
            ChangeMode::Retract => "put the look-up before the step that takes rows back",
            ChangeMode::Upsert { .. } if word(lookup) == LookupWord::Inner => {
                "write `kind: left`, and leave out rows without a match in a `where` behind it"
            }
            ChangeMode::Upsert { .. } if lookup.matches == MatchesWord::All => "leave out `matches: all`",
            ChangeMode::Upsert { .. } => return true,
        };
        let (from, doing) = (&input.from, changes::doing(&input.changes));
        let message = format!("`{from}` {doing}, and this look-up cannot follow that");
        self.fault(Fault::new(from.span, "changes", message).next(needed));
        false
    }

    fn table_shape(&mut self, lookup: &LookupStep, input: &Side) -> Option<TableShape> {
        let schema = TablePlace::of(lookup).schema();
        let key: Vec<_> = lookup.on.iter().map(|(on, column)| self.key_column(on, column, &schema, input)).collect();
        let key = key.into_iter().collect::<Option<Vec<usize>>>()?;
        let twice = lookup.on.iter().enumerate().find(|(place, _)| key[..*place].contains(&key[*place]));
        if let Some((_, (_, column))) = twice {
            self.fault(Fault::new(column.span, "lookup-key", format!("`{column}` is in the key twice")));
            return None;
        }
        if key.len() == schema.fields().len() && word(lookup) == LookupWord::Left {
            let place = lookup.kind.as_ref().map_or(input.from.span, |kind| kind.span);
            let message = "the table has its key alone: every row would come out as it came in";
            let fault = Fault::new(place, "lookup-columns", message);
            self.fault(fault.next("write `kind: inner`, or name columns of the table under `columns`"));
            return None;
        }
        Some(TableShape { schema, key, several: lookup.matches == MatchesWord::All })
    }

    /// The number of a column of the table's key, if it can equal what it is compared with.
    fn key_column(
        &mut self,
        on: &Spanned<String>,
        column: &Spanned<String>,
        table: &SchemaRef,
        input: &Side,
    ) -> Option<usize> {
        let number = table.index_of(column).map_err(|_| {
            let names = table.fields().iter().map(|field| field.name().as_str());
            let meant = nearest(column, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let message = format!("no column `{column}` among the table's `columns`{meant}");
            self.fault(Fault::new(column.span, "unknown-column", message));
        });
        let key = self.compiled(on, Expression::compile(on, &input.schema), &input.from)?;
        let number = number.ok()?;
        let (row, of_table) = (key.data_type(), table.field(number).data_type());
        if !same_key_type(row, of_table) {
            let (row, of_table) = (type_text(row), type_text(of_table));
            let message = format!("`{on}` is {row}, but the table's `{column}` is {of_table}; they are never equal");
            self.fault(Fault::new(column.span, "lookup-key", message).next("cast the row's: cast(... as ...)"));
            return None;
        }
        Some(number)
    }
}

fn word(lookup: &LookupStep) -> LookupWord {
    lookup.kind.as_ref().map(|kind| kind.value).unwrap_or_default()
}
