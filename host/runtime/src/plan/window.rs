//! Windowed aggregation: keys, window and aggregates of a step.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, LATE_OUTPUT, Spanned, WindowShape, WindowStep};
use weir_operators::{
    AggregateSpec, Expression, KeyEncoder, KeyedOperator, TumblingWindow, WindowAggregate, WindowSpec,
};
use weir_stream::ChangeMode;

use super::{Output, PlannedKeyed, PlannedKind, Planner, Side, aggregate, expression_fault};

struct PlannedWindow {
    step: Arc<str>,
    input: SchemaRef,
    /// Name and expression.
    keys: Vec<(String, String)>,
    size_us: i64,
    aggregates: Vec<AggregateSpec>,
}

impl PlannedWindow {
    fn aggregate(&self, key_groups: u16, owned: Range<u16>) -> Result<WindowAggregate, String> {
        let spec = WindowSpec {
            step: Arc::clone(&self.step),
            window: TumblingWindow::new(self.size_us, 0).map_err(|error| error.to_string())?,
            key: self.key_encoder(0, key_groups)?.fields().to_vec(),
            aggregates: self.aggregates.clone(),
        };
        WindowAggregate::new(&spec, &self.input, owned).map_err(|(_, error)| error.message)
    }
}

impl PlannedKeyed for PlannedWindow {
    fn key_encoder(&self, _port: usize, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys, &self.input, key_groups).map_err(|(_, error)| error.message)
    }

    fn operator(&self, key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String> {
        Ok(Box::new(self.aggregate(key_groups, owned)?))
    }
}

impl Planner<'_> {
    pub(super) fn window(
        &mut self,
        step: &Arc<str>,
        window: &WindowStep,
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let keys = self.keys(&window.key, input);
        let mut aggregates = Vec::new();
        let mut sound = true;
        for (name, call) in window.aggregate.iter() {
            match aggregate::plan(name, call, &input.schema) {
                Ok(spec) => aggregates.push(spec),
                Err(error) => {
                    self.fault(expression_fault(call, error, &input.from));
                    sound = false;
                }
            }
        }
        let keys = keys.filter(|_| sound)?;
        let WindowShape::Tumbling { size } = &window.shape;
        let schema = Arc::clone(&input.schema);
        let planned =
            PlannedWindow { step: Arc::clone(step), input: schema, keys, size_us: size.value.as_us(), aggregates };
        match planned.aggregate(1, 0..1) {
            Ok(built) => {
                let main = Output::main(built.output_schema(), ChangeMode::Append);
                let late = Output { name: LATE_OUTPUT.into(), ..Output::main(&input.schema, ChangeMode::Append) };
                Some((vec![main, late], PlannedKind::Keyed(Box::new(planned))))
            }
            Err(message) => {
                self.fault(Fault::new(size.span, "window", message));
                None
            }
        }
    }

    /// Name and expression of each key of a step.
    pub(super) fn keys(&mut self, keys: &[Spanned<String>], input: &Side) -> Option<Vec<(String, String)>> {
        let mut sound = true;
        for key in keys {
            sound &= self.compiled(key, Expression::compile(key, &input.schema), &input.from).is_some();
        }
        sound.then(|| keys.iter().map(|key| (key_name(key), key.value.clone())).collect())
    }
}

/// A key that is a plain column keeps its name; an expression is named by its text.
fn key_name(key: &Spanned<String>) -> String {
    key.value.trim_matches('"').to_owned()
}
