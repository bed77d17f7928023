//! Windowed aggregation: keys, window and aggregates of a step.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, LATE_OUTPUT, Manifest, Span, Spanned, WindowShape, WindowStep};
use weir_operators::assign::ASSIGNED_COLUMNS;
use weir_operators::{
    AggregateSpec, AssignedAggregate, Emit, Expression, GlobalAggregate, GlobalTrigger, KeyEncoder, KeyedOperator,
    SessionAggregate, SessionGap, Showing, WindowAggregate, WindowGrid, WindowSpec, WindowTime,
};
use weir_stream::ChangeMode;

use super::aggregate_plugin::{Aggregates, Needs};
use super::{Output, PlannedKeyed, PlannedKind, PlannedPlugin, Planner, Side};

/// What kind of windows, and so which operator.
enum Shape {
    Grid(WindowGrid),
    Session(SessionGap),
    Global(GlobalTrigger),
    /// By columns of the input.
    Assigned,
}

struct PlannedWindow {
    step: Arc<str>,
    input: SchemaRef,
    /// Name and expression.
    keys: Vec<(String, String)>,
    shape: Shape,
    time: WindowTime,
    showing: Showing,
    aggregates: Vec<AggregateSpec>,
    /// Among the aggregates.
    plugin: Option<PlannedPlugin>,
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

    /// The operator, and the columns that it gives out.
    fn build(&self, key_groups: u16, owned: Range<u16>) -> Result<(Box<dyn KeyedOperator>, SchemaRef), String> {
        let (spec, input) = (self.spec(key_groups)?, &self.input);
        let built: Result<(Box<dyn KeyedOperator>, SchemaRef), _> = match &self.shape {
            Shape::Grid(grid) => WindowAggregate::new(&spec, grid, input, owned).map(|made| {
                let schema = Arc::clone(made.output_schema());
                (Box::new(made) as _, schema)
            }),
            Shape::Session(gap) => SessionAggregate::new(&spec, gap, input, owned).map(|made| {
                let schema = Arc::clone(made.output_schema());
                (Box::new(made) as _, schema)
            }),
            Shape::Global(trigger) => GlobalAggregate::new(&spec, *trigger, input, owned).map(|made| {
                let schema = Arc::clone(made.output_schema());
                (Box::new(made) as _, schema)
            }),
            Shape::Assigned => AssignedAggregate::new(&spec, input, owned).map(|made| {
                let schema = Arc::clone(made.output_schema());
                (Box::new(made) as _, schema)
            }),
        };
        built.map_err(|(_, error)| error.message)
    }

    /// A window's start tells it from the others of its key; of windows that anyone may give out, its end too.
    fn changes(&self) -> ChangeMode {
        if !self.showing.is_upsert() {
            return ChangeMode::Append;
        }
        let [start, end] = ASSIGNED_COLUMNS.map(str::to_owned);
        let end = matches!(self.shape, Shape::Assigned).then_some(end);
        let key = self.keys.iter().map(|(name, _)| name.clone());
        // A row is of the microsecond before its window's end. The watermark says nothing of windows by the clock.
        let final_after_us = self.showing.lateness_us.saturating_add(1);
        ChangeMode::Upsert {
            key: std::iter::once(start).chain(end).chain(key).collect(),
            final_after_us: Some(final_after_us).filter(|_| self.time == WindowTime::Event),
        }
    }
}

impl PlannedKeyed for PlannedWindow {
    fn key_encoder(&self, _port: usize, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys, &self.input, key_groups).map_err(|(_, error)| error.message)
    }

    fn operator(&self, key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String> {
        Ok(self.build(key_groups, owned)?.0)
    }

    fn plugin(&self) -> Option<&PlannedPlugin> {
        self.plugin.as_ref()
    }

    fn plugin_mut(&mut self) -> Option<&mut PlannedPlugin> {
        self.plugin.as_mut()
    }
}

impl Planner<'_> {
    pub(super) fn window(
        &mut self,
        step: &Arc<str>,
        window: &WindowStep,
        input: &Side,
        manifest: &Manifest,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let keys = self.keys(&window.key, input);
        let needs = Needs { merges: merges(&window.shape), retracts: false };
        let aggregates = self.aggregates(step, &window.aggregate, needs, input, manifest);
        let (keys, Aggregates { specs: aggregates, plugin }) = (keys?, aggregates?);
        let shape = self.shape(window, input)?;
        let (step, time, showing) = (Arc::clone(step), time(window.time), showing(&window.showing));
        let schema = Arc::clone(&input.schema);
        let planned = PlannedWindow { step, input: schema, keys, shape, time, showing, aggregates, plugin };
        match planned.build(1, 0..1) {
            Ok((_, schema)) => {
                let main = Output::main(&schema, planned.changes());
                let late = Output { name: LATE_OUTPUT.into(), ..Output::main(&input.schema, ChangeMode::Append) };
                Some((vec![main, late], PlannedKind::Keyed(Box::new(planned))))
            }
            Err(message) => {
                self.fault(Fault::new(place(window, input), "window", message));
                None
            }
        }
    }

    fn shape(&mut self, window: &WindowStep, input: &Side) -> Option<Shape> {
        let offset_us = window.offset.as_ref().map_or(0, |offset| offset.as_us());
        let grid = match (&window.shape, &window.time_zone) {
            (WindowShape::Tumbling { size }, None) => WindowGrid::tumbling(size.as_us(), offset_us),
            (WindowShape::Tumbling { size }, Some(zone)) => WindowGrid::zoned(size.as_us(), offset_us, zone),
            (WindowShape::Hopping { size, every }, _) => WindowGrid::hopping(size.as_us(), every.as_us(), offset_us),
            (WindowShape::Session { gap: weir_manifest::SessionGap::Fixed(gap) }, _) => {
                return Some(Shape::Session(SessionGap::Fixed { gap_us: gap.as_us() }));
            }
            (WindowShape::Session { gap: weir_manifest::SessionGap::By(gap) }, _) => {
                let compiled = SessionGap::by(gap, &input.schema);
                return self.compiled(gap, compiled, &input.from).map(Shape::Session);
            }
            (WindowShape::Plugin(_), _) => return Some(Shape::Assigned),
            (WindowShape::Global { rows, every }, _) => {
                let rows = rows.as_ref().map(|rows| rows.value);
                let every_us = every.as_ref().map(|every| every.as_us());
                return Some(Shape::Global(GlobalTrigger { rows, every_us }));
            }
        };
        grid.map_err(|error| self.fault(Fault::new(place(window, input), "window", error.to_string())))
            .map(Shape::Grid)
            .ok()
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

/// Why such windows merge what they have of their rows, if they do.
fn merges(shape: &WindowShape) -> Option<&'static str> {
    match shape {
        WindowShape::Hopping { .. } => Some("windows that overlap are made of slices that they share"),
        WindowShape::Session { .. } => Some("sessions join when a row falls between them"),
        WindowShape::Tumbling { .. } | WindowShape::Global { .. } | WindowShape::Plugin(_) => None,
    }
}

/// Where the manifest speaks of the windows' size.
fn place(window: &WindowStep, input: &Side) -> Span {
    match &window.shape {
        WindowShape::Tumbling { size } | WindowShape::Hopping { size, .. } => size.span,
        WindowShape::Session { gap: weir_manifest::SessionGap::Fixed(gap) } => gap.span,
        WindowShape::Session { gap: weir_manifest::SessionGap::By(gap) } => gap.span,
        WindowShape::Plugin(plugin) => plugin.reference.span,
        WindowShape::Global { .. } => input.from.span,
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
