//! Joins: keys of both sides, time, condition.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use weir_manifest::{Fault, JoinStep, JoinTime, JoinWord, LATE_OUTPUTS, Spanned, type_text};
use weir_operators::join::{JoinError, MAX_KEPT_US, TemporalJoin, same_key_type};
use weir_operators::{Bounds, Expression, JoinKind, JoinSpec, KeyEncoder, KeyedOperator, StreamJoin, WindowGrid};
use weir_stream::ChangeMode;

use super::{Output, PlannedKeyed, PlannedKind, Planner, Side, expression_fault};

struct PlannedJoin {
    spec: JoinSpec,
    /// The right side is a table, and the bounds mean nothing.
    as_of: bool,
    inputs: [SchemaRef; 2],
    keys: Keys,
}

/// Name and expression of each key, by side.
type Keys = [Vec<(String, String)>; 2];

impl PlannedJoin {
    /// The operator and the columns that come out of it.
    fn join(&self, owned: Range<u16>) -> Result<(Box<dyn KeyedOperator>, SchemaRef), JoinError> {
        let sides = [&self.inputs[0], &self.inputs[1]];
        if self.as_of {
            let JoinSpec { step, kind, prefix, .. } = &self.spec;
            let join = TemporalJoin::new(step, *kind, prefix, sides, owned).map_err(JoinError::Columns)?;
            let schema = Arc::clone(join.output_schema());
            return Ok((Box::new(join), schema));
        }
        let join = StreamJoin::new(&self.spec, sides, owned)?;
        let schema = Arc::clone(join.output_schema());
        Ok((Box::new(join), schema))
    }
}

impl PlannedKeyed for PlannedJoin {
    fn key_encoder(&self, port: usize, key_groups: u16) -> Result<KeyEncoder, String> {
        KeyEncoder::new(&self.keys[port], &self.inputs[port], key_groups).map_err(|(_, error)| error.message)
    }

    fn operator(&self, _key_groups: u16, owned: Range<u16>) -> Result<Box<dyn KeyedOperator>, String> {
        let made = self.join(owned).map_err(|error| match error {
            JoinError::Columns(message) => message,
            JoinError::Filter(error) => error.message,
        });
        Ok(made?.0)
    }
}

impl Planner<'_> {
    pub(super) fn join(
        &mut self,
        step: &Arc<str>,
        join: &JoinStep,
        left: &Side,
        right: &Side,
    ) -> Option<(Vec<Output>, PlannedKind)> {
        let keys = self.join_keys(join, left, right);
        let as_of = join.time == JoinTime::AsOf;
        let fits = match as_of {
            false => [left, right].map(|side| self.new_rows_alone(side)),
            true => [self.new_rows_alone(left), self.is_table(join, right)],
        };
        let bounds = self.bounds(join)?;
        let can_attribute = self.can_attribute(join);
        let (keys, [true, true], true) = (keys?, fits, can_attribute) else { return None };
        let spec = JoinSpec {
            step: Arc::clone(step),
            kind: kind(join.kind.as_ref().map(|kind| kind.value).unwrap_or_default()),
            bounds,
            prefix: join.prefix.as_ref().map(|prefix| prefix.value.clone()).unwrap_or_default(),
            filter: join.filter.as_ref().map(|filter| filter.value.clone()),
            gathers: join.attribute.is_some(),
        };
        let inputs = [Arc::clone(&left.schema), Arc::clone(&right.schema)];
        let planned = PlannedJoin { spec, as_of, inputs, keys };
        match planned.join(0..1) {
            Ok((_, schema)) => {
                let main = Output::main(&schema, ChangeMode::Append);
                let late = LATE_OUTPUTS.iter().zip([left, right]);
                let late = late.map(|(name, side)| Output {
                    name: (*name).into(),
                    ..Output::main(&side.schema, side.changes.clone())
                });
                let outputs = [main].into_iter().chain(late).collect();
                Some((outputs, PlannedKind::Keyed(Box::new(planned))))
            }
            Err(error) => {
                self.join_fault(error, join, left, right);
                None
            }
        }
    }

    fn join_fault(&mut self, error: JoinError, join: &JoinStep, left: &Side, right: &Side) {
        match error {
            JoinError::Columns(message) => {
                let place = join.prefix.as_ref().map_or(join.with.span, |prefix| prefix.span);
                let fault = Fault::new(place, "join-columns", message);
                self.fault(fault.next("give the right columns a prefix of their own: `prefix: right_`"));
            }
            JoinError::Filter(error) => {
                let filter = join.filter.as_ref().expect("only a condition that is there can be faulty");
                let both = Spanned::unplaced(format!("{}` and `{}", left.from.value, right.from.value));
                self.fault(expression_fault(filter, error, &both));
            }
        }
    }

    fn join_keys(&mut self, join: &JoinStep, left: &Side, right: &Side) -> Option<Keys> {
        let mut keys: Keys = Default::default();
        let mut sound = true;
        for (number, (left_text, right_text)) in join.on.iter().enumerate() {
            let left_key = self.compiled(left_text, Expression::compile(left_text, &left.schema), &left.from);
            let right_key = self.compiled(right_text, Expression::compile(right_text, &right.schema), &right.from);
            let (Some(left_key), Some(right_key)) = (left_key, right_key) else {
                sound = false;
                continue;
            };
            if !same_key_type(left_key.data_type(), right_key.data_type()) {
                let message = format!(
                    "`{left_text}` is {}, but `{right_text}` is {}; they are never equal",
                    type_text(left_key.data_type()),
                    type_text(right_key.data_type())
                );
                self.fault(Fault::new(right_text.span, "join-key", message).next("cast one of them: cast(... as ...)"));
                sound = false;
            }
            keys[0].push((number.to_string(), left_text.value.clone()));
            keys[1].push((number.to_string(), right_text.value.clone()));
        }
        sound.then_some(keys)
    }

    /// Whether rows of a side are new rows alone.
    fn new_rows_alone(&mut self, side: &Side) -> bool {
        let appends = side.changes == ChangeMode::Append;
        if !appends {
            let from = &side.from;
            let message =
                format!("`{from}` changes rows that it gave before; this side of a join takes new rows alone");
            let fault = Fault::new(from.span, "join-updates", message);
            self.fault(
                fault.next(format!("join what `{from}` is made from, or make it the right side of `as_of: true`")),
            );
        }
        appends
    }

    /// Whether a side is a table by the join's keys, and the join asks nothing of it that a table cannot do.
    fn is_table(&mut self, join: &JoinStep, side: &Side) -> bool {
        let kind = join.kind.as_ref().filter(|kind| !matches!(kind.value, JoinWord::Inner | JoinWord::Left));
        let lateness = join.lateness.as_ref().map(|lateness| (lateness.span, "`lateness`"));
        let filter = join.filter.as_ref().map(|filter| (filter.span, "`where`"));
        let mut faults: Vec<Fault> = [lateness, filter, kind.map(|kind| (kind.span, "this kind"))]
            .into_iter()
            .flatten()
            .map(|(place, what)| {
                Fault::new(place, "join-as-of", format!("a join `as_of` is inner or left, without {what}"))
            })
            .collect();
        let mut on: Vec<&str> = join.on.iter().map(|(_, right)| right.value.trim_matches('"')).collect();
        on.sort_unstable();
        let by = match &side.changes {
            ChangeMode::Append => None,
            ChangeMode::Upsert { key, .. } => {
                let mut key: Vec<&str> = key.iter().map(String::as_str).collect();
                key.sort_unstable();
                (key != on).then(|| format!("is a table by {}", key.join(", ")))
            }
            ChangeMode::Retract => Some("takes rows back one by one".into()),
        };
        if let Some(by) = by {
            let message = format!("`{}` {by}, but the join looks it up by {}", side.from, on.join(", "));
            let fault = Fault::new(side.from.span, "join-as-of", message);
            faults.push(fault.next("join by exactly the table's key, or make another table with `latest`"));
        }
        let fits = faults.is_empty();
        faults.into_iter().for_each(|fault| self.fault(fault));
        fits
    }

    fn bounds(&mut self, join: &JoinStep) -> Option<Bounds> {
        let lateness_us = join.lateness.as_ref().map_or(0, |lateness| lateness.value.as_us());
        let (bounds, lengths) = match &join.time {
            JoinTime::AsOf => (Bounds::Interval { before_us: 0, after_us: 0, lateness_us }, vec![]),
            JoinTime::Within { before, after } => {
                let (before_us, after_us) = (before.value.as_us(), after.value.as_us());
                (Bounds::Interval { before_us, after_us, lateness_us }, vec![before, after])
            }
            JoinTime::Window { size } => match WindowGrid::tumbling(size.value.as_us(), 0) {
                Ok(window) => (Bounds::Window { window, lateness_us }, vec![size]),
                Err(error) => {
                    self.fault(Fault::new(size.span, "window", error.to_string()));
                    return None;
                }
            },
        };
        let too_long = lengths.into_iter().chain(&join.lateness).find(|length| length.value.as_us() > MAX_KEPT_US);
        if let Some(too_long) = too_long {
            let days = MAX_KEPT_US / 86_400_000_000;
            let message = format!("a join keeps rows for at most {days}d");
            self.fault(Fault::new(too_long.span, "out-of-range", message));
            return None;
        }
        Some(bounds)
    }
}

pub(super) fn kind(word: JoinWord) -> JoinKind {
    match word {
        JoinWord::Inner => JoinKind::Inner,
        JoinWord::Left => JoinKind::Left,
        JoinWord::Right => JoinKind::Right,
        JoinWord::Full => JoinKind::Full,
        JoinWord::Semi => JoinKind::Semi,
        JoinWord::Anti => JoinKind::Anti,
    }
}
