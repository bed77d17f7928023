//! Steps of one expression or several: `where` and `select`.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Entries, Spanned};
use weir_operators::{Expression, Operator, Predicate, Select, Where};

use super::{Output, PlannedKind, PlannedStateless, Planner, Side, expression_fault};

struct PlannedWhere(Predicate);

impl PlannedStateless for PlannedWhere {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        Ok(Box::new(Where::new(self.0.clone())))
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
        Some((vec![output], PlannedKind::Stateless(Box::new(PlannedWhere(predicate)))))
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
        let output = Output::main(select.ok()?.output_schema(), input.changes.clone());
        let planned = PlannedSelect { columns: pairs, input: Arc::clone(&input.schema) };
        Some((vec![output], PlannedKind::Stateless(Box::new(planned))))
    }
}
