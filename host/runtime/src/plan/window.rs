//! Windowed aggregation: keys, window and aggregates of a step.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, LATE_OUTPUT, Span, Spanned, WindowShape, WindowStep};
use weir_operators::{
    AggregateSpec, Emit, Expression, KeyEncoder, KeyedOperator, Showing, WindowAggregate, WindowError, WindowGrid,
    WindowSpec, WindowTime,
};
use weir_stream::ChangeMode;

use super::{Output, PlannedKeyed, PlannedKind, Planner, Side, aggregate, expression_fault};

struct PlannedWindow {
    step: Arc<str>,
    input: SchemaRef,
    /// Name and expression.
    keys: Vec<(String, String)>,
    grid: WindowGrid,
    time: WindowTime,
    showing: Showing,
    aggregates: Vec<AggregateSpec>,
}

impl PlannedWindow {
    fn spec(&self, key_groups: u16) -> Result<WindowSpec, String> {
        Ok(WindowSpec {
            step: Arc::clone(&self.step),
            time: self.time,
            showing: self.showing,
            key: self.key_encoder(0, key_groups)?.fields().to_vec(),
            aggregates: self.aggregates.clone(),
        })
    }

    fn aggregate(&self, key_groups: u16, owned: Range<u16>) -> Result<WindowAggregate, String> {
        let spec = self.spec(key_groups)?;
        WindowAggregate::new(&spec, &self.grid, &self.input, owned).map_err(|(_, error)| error.message)
    }

    /// A window's start tells it from the others of its key.
    fn changes(&self) -> ChangeMode {
        if !self.showing.is_upsert() {
            return ChangeMode::Append;
        }
        let key = self.keys.iter().map(|(name, _)| name.clone());
        ChangeMode::Upsert { key: std::iter::once("window_start".to_owned()).chain(key).collect() }
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
        if input.changes != ChangeMode::Append {
            let message = format!("a window takes new rows alone, and `{}` also changes rows", input.from.value);
            self.fault(Fault::new(input.from.span, "change-kind", message).next("read what it is made from"));
            return None;
        }
        let (place, grid) = grid(window);
        let schema = Arc::clone(&input.schema);
        let planned = grid.map_err(|error| error.to_string()).and_then(|grid| {
            let (step, time, showing) = (Arc::clone(step), time(window.time), showing(&window.showing));
            let planned = PlannedWindow { step, input: schema, keys, grid, time, showing, aggregates };
            planned.aggregate(1, 0..1).map(|built| (planned, built))
        });
        match planned {
            Ok((planned, built)) => {
                let main = Output::main(built.output_schema(), planned.changes());
                let late = Output { name: LATE_OUTPUT.into(), ..Output::main(&input.schema, ChangeMode::Append) };
                Some((vec![main, late], PlannedKind::Keyed(Box::new(planned))))
            }
            Err(message) => {
                self.fault(Fault::new(place, "window", message));
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

/// The windows, and where the manifest speaks of their size.
fn grid(window: &WindowStep) -> (Span, Result<WindowGrid, WindowError>) {
    let offset_us = window.offset.as_ref().map_or(0, |offset| offset.as_us());
    match (&window.shape, &window.time_zone) {
        (WindowShape::Tumbling { size }, None) => (size.span, WindowGrid::tumbling(size.as_us(), offset_us)),
        (WindowShape::Tumbling { size }, Some(zone)) => (size.span, WindowGrid::zoned(size.as_us(), offset_us, zone)),
        (WindowShape::Hopping { size, every }, _) => {
            (size.span, WindowGrid::hopping(size.as_us(), every.as_us(), offset_us))
        }
    }
}

fn showing(showing: &weir_manifest::Showing) -> Showing {
    let us = |length: &Option<Spanned<weir_manifest::Duration>>| length.as_ref().map_or(0, |length| length.as_us());
    let emit = match showing.emit {
        weir_manifest::Emit::OnClose => Emit::OnClose,
        weir_manifest::Emit::OnUpdate => Emit::OnUpdate,
        weir_manifest::Emit::Both => Emit::Both,
    };
    Showing { emit, lateness_us: us(&showing.lateness), throttle_us: us(&showing.throttle) }
}

fn time(time: weir_manifest::WindowTime) -> WindowTime {
    match time {
        weir_manifest::WindowTime::Event => WindowTime::Event,
        weir_manifest::WindowTime::Processing => WindowTime::Processing,
    }
}

/// A key that is a plain column keeps its name; an expression is named by its text.
pub(super) fn key_name(key: &Spanned<String>) -> String {
    key.value.trim_matches('"').to_owned()
}
