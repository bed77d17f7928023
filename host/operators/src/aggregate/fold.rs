//! What every aggregating step does with its rows: arguments evaluated once a batch, rows folded into slots.
//!
//! Invariant: a row counts in all aggregates of its step or, as a reject, in none.

use weir_stream::{Batch, Reject};

use super::Aggregate;
use super::accumulator::Accumulator;
use super::argument::Argument;
use super::plugin::{self, Folding};
use super::update::Touched;
use crate::expression::Evaluated;
use crate::operator::StepFault;

/// The arguments of all aggregates, and a reject for each of `rows` (ascending) that gives none; `columns` are any
/// accumulators of the step.
pub(super) fn arguments(
    aggregates: &[Aggregate],
    columns: &[Accumulator],
    batch: &Batch,
    rows: impl Iterator<Item = u32> + Clone,
) -> Result<(Vec<Argument>, Vec<Reject>), StepFault> {
    let mut arguments = Vec::with_capacity(aggregates.len());
    let mut refused: Vec<Reject> = Vec::new();
    for (aggregate, column) in aggregates.iter().zip(columns) {
        let argument = argument(aggregate, column.is_bounded(), batch, &mut refused)?;
        if column.is_bounded() {
            let too_large = rows.clone().filter(|row| !column.takes(&argument, *row));
            refused.extend(too_large.map(|row| overflow(row, aggregate)));
        }
        arguments.push(argument);
    }
    if !refused.is_empty() {
        refused.sort_by_key(|reject| reject.row);
        refused.dedup_by_key(|reject| reject.row);
        let mut rows = rows.peekable();
        refused.retain(|reject| {
            while rows.next_if(|row| *row < reject.row).is_some() {}
            rows.peek() == Some(&reject.row)
        });
    }
    Ok((arguments, refused))
}

/// One aggregate's argument, without the rows that its filter leaves out; these are not asked for a value.
fn argument(
    aggregate: &Aggregate,
    bounded: bool,
    batch: &Batch,
    refused: &mut Vec<Reject>,
) -> Result<Argument, StepFault> {
    let matches = aggregate.filter.as_ref().map(|filter| {
        let (matches, rejects) = filter.matches(batch);
        refused.extend(rejects);
        matches
    });
    let is_asked = |reject: &Reject| matches.as_ref().is_none_or(|matches| matches.value(reject.row as usize));
    let mut asked = |rejects: Vec<Reject>| refused.extend(rejects.into_iter().filter(is_asked));
    let times_us = &batch.event_times_us;
    let mut argument = match (&aggregate.plugin, &aggregate.argument) {
        (Some(plugin), _) => {
            let (columns, rejects) = plugin.arguments(batch);
            asked(rejects);
            Argument::columns(columns, times_us)
        }
        (None, None) => Argument::rows(times_us),
        (None, Some(expression)) => {
            let Evaluated { array, rejects } = expression.evaluate(batch);
            asked(rejects);
            Argument::new(&array, times_us, aggregate.lane(), bounded)?
        }
    };
    if let Some(order) = &aggregate.order {
        let Evaluated { array, rejects } = order.evaluate(batch);
        asked(rejects);
        argument.rank_by(&array)?;
    }
    if let Some(matches) = matches {
        argument.keep(matches);
    }
    Ok(argument)
}

/// Adds rows to their slots; those that do not fit become rejects.
///
/// # Errors
/// When a user's function is among the aggregates: see [`super::plugin`].
pub(super) fn fold(
    aggregates: &[Aggregate],
    columns: &mut [Accumulator],
    arguments: &[Argument],
    touched: Touched,
    rejects: &mut Vec<Reject>,
) -> Result<(), StepFault> {
    if let Some((number, plugin)) = plugin::of(aggregates) {
        return plugin.fold(number, Folding { aggregates, columns, arguments, back: false }, touched, rejects);
    }
    let mut fits = true;
    for (column, argument) in columns.iter_mut().zip(arguments) {
        fits &= column.reserve(argument, touched);
    }
    if fits {
        columns.iter_mut().zip(arguments).for_each(|(column, argument)| column.update(argument, touched));
        return Ok(());
    }
    for (row, slot) in touched.rows.iter().zip(touched.slots) {
        let over = columns.iter().zip(arguments).position(|(column, argument)| !column.fits(argument, *row, *slot));
        if let Some(over) = over {
            rejects.push(overflow(*row, &aggregates[over]));
            continue;
        }
        let touched = Touched { rows: &[*row], slots: &[*slot] };
        for (column, argument) in columns.iter_mut().zip(arguments) {
            column.update(argument, touched);
            column.note_slot(*slot);
        }
    }
    Ok(())
}

/// Takes rows back from their slots; those that a user's function refuses become rejects.
///
/// # Errors
/// As [`fold`].
pub(super) fn take_back(
    aggregates: &[Aggregate],
    columns: &mut [Accumulator],
    arguments: &[Argument],
    touched: Touched,
    rejects: &mut Vec<Reject>,
) -> Result<(), StepFault> {
    if let Some((number, plugin)) = plugin::of(aggregates) {
        return plugin.fold(number, Folding { aggregates, columns, arguments, back: true }, touched, rejects);
    }
    if !touched.rows.is_empty() {
        columns.iter_mut().zip(arguments).for_each(|(column, argument)| column.retract(argument, touched));
    }
    Ok(())
}

/// What is said of a key whose result is too large.
pub(super) fn overflown(aggregate: &Aggregate) -> String {
    let text = aggregate.argument.as_ref().map_or("", |argument| argument.text());
    format!("`{}`: {}({text}) is too large for its type", aggregate.name, aggregate.kind.name())
}

/// What a row that does not fit is told.
pub(super) fn overflow(row: u32, aggregate: &Aggregate) -> Reject {
    let text = aggregate.argument.as_ref().map_or("", |argument| argument.text());
    let (name, kind) = (&aggregate.name, aggregate.kind.name());
    match aggregate.kind.bytes_max() {
        None => {
            Reject::new(row, "overflow", format!("`{name}`: this row would make {kind}({text}) too large for its type"))
        }
        Some(bytes) => {
            let limit = format!("the {} MiB that a key's values may take", bytes >> 20);
            Reject::new(row, "too-large", format!("`{name}`: with this row {kind}({text}) would pass {limit}"))
        }
    }
}
