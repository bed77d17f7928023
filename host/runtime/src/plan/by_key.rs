//! Steps that hold one value per key: `dedup`, `latest`, `top`, `sessions`; `normalise` has a file of its own.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{FieldRef, SchemaRef};
use weir_manifest::{DedupStep, Fault, Keep, LATE_OUTPUT, LatestStep, SessionsStep, Spanned, TopStep};
use weir_operators::by_key::PerKey;
use weir_operators::{ByKey, DedupFirst, DedupLast, Expression, KeyEncoder, KeyedOperator};
use weir_operators::{Latest, Order, Ranks, RowFormat, Sessions, Top, WindowGrid, WindowTop};
use weir_stream::ChangeMode;

use super::{Output, PlannedKeyed, PlannedKind, Planner, Side, expression_fault};

/// Any step over one value per key.
pub(super) struct PlannedByKey<S> {
    pub input: SchemaRef,
    /// Name and expression.
    pub keys: Vec<(String, String)>,
    pub step: S,
}

impl<S: PerKey + Sync> PlannedKeyed for PlannedByKey<S> {
    fn key_encoder(&self, _port: usize, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys, &self.input, key_groups).map_err(|(_, error)| error.message)
    }

    fn operator(&self, _key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String> {
        Ok(Box::new(ByKey::new(self.step.clone(), owned)))
    }
}

/// The default of `top`'s `rank`, where there are several.
const RANK: &str = "rank";

/// The keys of a step, ready for its state.
pub(super) struct Keys {
    pub named: Vec<(String, String)>,
    pub fields: Vec<FieldRef>,
    pub rows: RowFormat,
}

impl Planner<'_> {
    pub(super) fn dedup(
        &mut self,
        step: &Arc<str>,
        dedup: &DedupStep,
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let Keys { named, fields, rows } = self.step_keys(&dedup.key, input)?;
        let ttl_us = dedup.ttl.as_us();
        let outputs = with_late(Output::main(&input.schema, ChangeMode::Append), input);
        Some(match dedup.keep {
            Keep::First => planned(named, input, DedupFirst::new(&fields, ttl_us), outputs),
            Keep::Last => planned(named, input, DedupLast::new(step, &fields, rows, ttl_us), outputs),
        })
    }

    pub(super) fn latest(
        &mut self,
        step: &Arc<str>,
        latest: &LatestStep,
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let key = self.key_columns("`latest`", &latest.key, input)?;
        let Keys { named, fields, rows } = self.step_keys(&latest.key, input)?;
        let ttl_us = latest.ttl.as_ref().map(|ttl| ttl.as_us());
        let changes = ChangeMode::Upsert { key, final_after_us: None };
        let outputs = with_late(Output::main(&input.schema, changes), input);
        Some(planned(named, input, Latest::new(step, &fields, rows, ttl_us), outputs))
    }

    pub(super) fn top(&mut self, step: &Arc<str>, top: &TopStep, input: &Side) -> Option<(Vec<Output>, PlannedKind)> {
        let key = self.key_columns("`top`", &top.key, input);
        let by: Vec<String> = top.by.iter().map(|text| text.value.clone()).collect();
        let order = Order::new(&by, &input.schema).map_err(|(place, error)| {
            self.fault(expression_fault(&top.by[place], error, &input.from));
        });
        // One row is always the first: its rank says nothing, and is not part of what names it.
        let is_one = top.rows == 1;
        let default = (!is_one).then(|| input.from.clone().map(|_| RANK.to_owned()));
        let rank = top.rank.clone().or(default);
        let new = rank.as_ref().map_or(Some(()), |rank| self.new_column(rank, input));
        let windows = self.top_windows(top);
        let (mut key, order, (), windows) = (key?, order.ok()?, new?, windows?);
        let Keys { named, fields, rows: format } = self.step_keys(&top.key, input)?;
        let rows = usize::from(top.rows);
        let rank_name = rank.as_ref().map(|rank| rank.as_str());
        if let Some(grid) = windows {
            let ranks = Ranks { rows, ties: top.ties.as_deref().copied().unwrap_or(false) };
            let ranked = WindowTop::new(step, &fields, format, (ranks, order), grid, rank_name);
            let outputs = with_late(Output::main(ranked.output_schema(), ChangeMode::Append), input);
            return Some(planned(named, input, ranked, outputs));
        }
        let ttl_us = top.ttl.as_ref().map(|ttl| ttl.as_us());
        let ranked = Top::new(step, &fields, format, (rows, order), ttl_us, rank_name);
        key.extend(rank.filter(|_| !is_one).map(|rank| rank.value));
        let changes = ChangeMode::Upsert { key, final_after_us: None };
        let outputs = with_late(Output::main(ranked.output_schema(), changes), input);
        Some(planned(named, input, ranked, outputs))
    }

    /// The windows of a `top`, if it has them.
    fn top_windows(&mut self, top: &TopStep) -> Option<Option<WindowGrid>> {
        let Some(window) = &top.window else {
            let Some(ties) = top.ties.as_ref().filter(|ties| ties.value) else { return Some(None) };
            let message = "a table by rank has one row of each rank, so level rows cannot share one";
            self.fault(Fault::new(ties.span, "ties", message).next("give `top` a `window`, or leave `ties` out"));
            return None;
        };
        if let Some(ttl) = &top.ttl {
            let message = "a window's rows are gone when it closes, so `ttl` has nothing to do";
            self.fault(Fault::new(ttl.span, "ttl", message).next("leave `ttl` out"));
            return None;
        }
        let size = &window.tumbling;
        let grid = WindowGrid::tumbling(size.value.as_us(), 0).map_err(|error| {
            self.fault(Fault::new(size.span, "window", error.to_string()));
        });
        grid.ok().map(Some)
    }

    pub(super) fn sessions(
        &mut self,
        step: &Arc<str>,
        sessions: &SessionsStep,
        input: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let new = self.new_column(&sessions.column, input);
        let Keys { named, fields, rows } = self.step_keys(&sessions.key, input)?;
        new?;
        let ttl_us = sessions.ttl.as_ref().map(|ttl| ttl.as_us());
        let numbered = Sessions::new(step, &fields, rows, sessions.gap.as_us(), ttl_us, &sessions.column);
        let outputs = with_late(Output::main(numbered.output_schema(), ChangeMode::Append), input);
        Some(planned(named, input, numbered, outputs))
    }

    pub(super) fn step_keys(&mut self, key: &[Spanned<String>], input: &Side) -> Option<Keys> {
        let named = self.keys(key, input)?;
        let encoder = KeyEncoder::new(&named, &input.schema, 1).map_err(|(place, error)| {
            let place = key.get(place).unwrap_or(&input.from);
            self.fault(expression_fault(place, error, &input.from));
        });
        let rows = RowFormat::new(&input.schema).map_err(|message| {
            self.fault(Fault::new(input.from.span, "column-type", message));
        });
        Some(Keys { named, fields: encoder.ok()?.fields().to_vec(), rows: rows.ok()? })
    }

    /// The columns that name a row of the table that a step makes: its key must be among the columns of its rows.
    fn key_columns(&mut self, what: &str, key: &[Spanned<String>], input: &Side) -> Option<Vec<String>> {
        let mut columns = Vec::new();
        for text in key {
            let compiled = self.compiled(text, Expression::compile(text, &input.schema), &input.from)?;
            let Some(column) = compiled.as_column() else {
                let message = format!("{what} makes a table by its key, so the key is columns; this is an expression");
                let fault = Fault::new(text.span, "key-column", message);
                self.fault(fault.next("make it a column with `select` before"));
                return None;
            };
            columns.push(input.schema.field(column).name().clone());
        }
        Some(columns)
    }

    /// A column that a step adds must not be there.
    fn new_column(&mut self, name: &Spanned<String>, input: &Side) -> Option<()> {
        if input.schema.index_of(name).is_err() {
            return Some(());
        }
        let message = format!("`{}` has a column `{}` already", input.from.value, name.value);
        self.fault(Fault::new(name.span, "duplicate-column", message).next("name the new one otherwise"));
        None
    }
}

fn with_late(main: Output, input: &Side) -> Vec<Output> {
    vec![main, Output { name: LATE_OUTPUT.into(), ..Output::main(&input.schema, ChangeMode::Append) }]
}

fn planned<S: PerKey + Sync>(
    keys: Vec<(String, String)>,
    input: &Side,
    step: S,
    outputs: Vec<Output>,
) -> (Vec<Output>, PlannedKind) {
    let input = Arc::clone(&input.schema);
    (outputs, PlannedKind::Keyed(Box::new(PlannedByKey { input, keys, step })))
}
