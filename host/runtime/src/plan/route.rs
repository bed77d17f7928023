//! Steps that send rows somewhere or leave them out: `split` and `sample`.

use weir_manifest::{Entries, Fault, REST_OUTPUT, SampleStep, Spanned};
use weir_operators::{KeyEncoder, Operator, Predicate, Route, Sample};
use weir_stream::ChangeMode;

use super::{NodeRef, Output, PlannedInput, PlannedKind, PlannedStateless, Planner, Side};

struct PlannedRoute(Route);

impl PlannedStateless for PlannedRoute {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        Ok(Box::new(self.0.clone()))
    }
}

struct PlannedSample(Sample);

impl PlannedStateless for PlannedSample {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        Ok(Box::new(self.0.clone()))
    }
}

impl Planner<'_> {
    pub(super) fn split(
        &mut self,
        conditions: &Entries<Spanned<String>>,
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let mut compiled = Vec::new();
        for (_, text) in conditions {
            compiled.push(self.compiled(text, Predicate::compile(text, &input.schema), &input.from));
        }
        let compiled = compiled.into_iter().collect::<Option<Vec<_>>>()?;
        let names = conditions.names().chain([REST_OUTPUT]);
        let outputs =
            names.map(|name| Output { name: name.into(), ..Output::main(&input.schema, input.changes.clone()) });
        let is_upsert = matches!(input.changes, ChangeMode::Upsert { .. });
        let planned = PlannedRoute(Route::new(compiled, is_upsert));
        Some((outputs.collect(), PlannedKind::Stateless(Box::new(planned))))
    }

    pub(super) fn sample(
        &mut self,
        sample: &SampleStep,
        inputs: &[PlannedInput],
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let by = match &sample.by {
            None if inputs.iter().all(|input| self.has_records(input.from.node)) => None,
            None => {
                let message = format!("rows of `{}` have no single record to be chosen by", input.from.value);
                self.fault(
                    Fault::new(input.from.span, "sample", message).next("say `by:` which columns they are chosen"),
                );
                return None;
            }
            Some(by) => {
                self.whole_rows(by, input)?;
                let keys = self.keys(by, input)?;
                Some(
                    KeyEncoder::new(&keys, &input.schema, 1)
                        .map_err(|(place, error)| {
                            self.fault(super::expression_fault(&by[place], error, &input.from));
                        })
                        .ok()?,
                )
            }
        };
        let output = Output::main(&input.schema, input.changes.clone());
        let planned = PlannedSample(Sample::new(sample.share.fraction(), by));
        Some((vec![output], PlannedKind::Stateless(Box::new(planned))))
    }

    /// A table's row must stay or go with all its changes.
    fn whole_rows(&mut self, by: &[Spanned<String>], input: &Side) -> Option<()> {
        let key = match &input.changes {
            ChangeMode::Append => return Some(()),
            ChangeMode::Upsert { key, .. } => key.as_slice(),
            ChangeMode::Retract => &[],
        };
        let outside = by.iter().find(|column| !key.iter().any(|key| key == column.value.trim_matches('"')));
        let Some(outside) = outside else { return Some(()) };
        let doing = super::changes::doing(&input.changes);
        let message = format!("`{}` {doing}; by `{}` a row would stay in part", input.from.value, outside.value);
        self.fault(Fault::new(outside.span, "changes", message).next("sample before, or by columns of the key"));
        None
    }

    /// Whether each row of a node stands for one record.
    fn has_records(&self, node: NodeRef) -> bool {
        match node {
            NodeRef::Source(_) => true,
            NodeRef::Step(step) => {
                let step = &self.steps[step];
                !step.is_keyed() && step.inputs.iter().all(|input| self.has_records(input.from.node))
            }
        }
    }
}
