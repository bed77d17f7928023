//! Steps of one expression or several: `where` and `select`.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Entries, Fault, Spanned};
use weir_operators::{Expression, Operator, Predicate, Select, Where};
use weir_stream::ChangeMode;

use super::{Output, PlannedKind, PlannedStateless, Planner, Side, changes, expression_fault};

struct PlannedWhere(Where);

impl PlannedStateless for PlannedWhere {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        Ok(Box::new(self.0.clone()))
    }
}

struct PlannedSelect {
    /// Name and expression.
    columns: Vec<(String, String)>,
    input: SchemaRef,
}

impl PlannedStateless for PlannedSelect {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        let select = Select::only(&self.columns, &self.input).map_err(|(_, error)| error.message)?;
        Ok(Box::new(select))
    }
}

impl Planner<'_> {
    pub(super) fn filter(&mut self, condition: &Spanned<String>, input: &Side) -> Option<(Vec<Output>, PlannedKind)> {
        let predicate = Predicate::compile(condition, &input.schema);
        let predicate = self.compiled(condition, predicate, &input.from)?;
        let output = Output::main(&input.schema, input.changes.clone());
        let filter = match input.changes {
            ChangeMode::Upsert { .. } => Where::of_table(predicate),
            ChangeMode::Append | ChangeMode::Retract => Where::new(predicate),
        };
        Some((vec![output], PlannedKind::Stateless(Box::new(PlannedWhere(filter)))))
    }

    pub(super) fn select(
        &mut self,
        columns: &Entries<Spanned<String>>,
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let mut sound = true;
        for (_, text) in columns.iter() {
            sound &= self.compiled(text, Expression::compile(text, &input.schema), &input.from).is_some();
        }
        let pairs: Vec<_> = columns.iter().map(|(name, text)| (name.value.clone(), text.value.clone())).collect();
        let select = sound.then(|| Select::only(&pairs, &input.schema))?;
        let select = select.map_err(|(column, error)| {
            let (_, text) = columns.iter().nth(column).expect("the position is one of the columns given");
            self.fault(expression_fault(text, error, &input.from));
        });
        let changes = self.selected_key(columns, input);
        let output = Output::main(select.ok()?.output_schema(), changes?);
        let planned = PlannedSelect { columns: pairs, input: Arc::clone(&input.schema) };
        Some((vec![output], PlannedKind::Stateless(Box::new(planned))))
    }

    /// What rows do behind a `select`: a table's key must be among the columns, under whatever name.
    fn selected_key(&mut self, columns: &Entries<Spanned<String>>, input: &Side) -> Option<ChangeMode> {
        let ChangeMode::Upsert { key, final_after_us } = &input.changes else { return Some(input.changes.clone()) };
        let named = |key: &String| {
            let is_key = |text: &Spanned<String>| {
                let compiled = Expression::compile(text, &input.schema).ok();
                let column = compiled.and_then(|compiled| compiled.as_column());
                column.is_some_and(|column| input.schema.field(column).name() == key)
            };
            columns.iter().find(|(_, text)| is_key(text)).map(|(name, _)| name.value.clone()).ok_or_else(|| key.clone())
        };
        let key: Result<Vec<String>, String> = key.iter().map(named).collect();
        let key = key.map_err(|lost| {
            let (from, doing) = (&input.from, changes::doing(&input.changes));
            let message = format!("`{}` {doing}, and this `select` leaves out `{lost}`", from.value);
            self.fault(Fault::new(from.span, "changes", message).next(format!("select `{lost}`, under any name")));
        });
        Some(ChangeMode::Upsert { key: key.ok()?, final_after_us: *final_after_us })
    }
}
