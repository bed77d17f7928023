//! Where the rows of a batch go before they are folded.

use std::ops::Range;

use weir_stream::{Batch, ChangeKind, Changes, Reject};

use super::Aggregate;
use super::accumulator::Accumulator;
use super::argument::Argument;
use super::fold;
use crate::operator::StepFault;

/// A row that goes into a bucket of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    pub bucket: i64,
    pub key_group: u16,
    pub row: u32,
}

impl Placed {
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.bucket == other.bucket && self.key_group == other.key_group
    }
}

/// Evaluates the aggregates' arguments; rows that give none leave here.
pub(super) fn arguments(
    aggregates: &[Aggregate],
    columns: &[Accumulator],
    batch: &Batch,
    placed: &mut Vec<Placed>,
    rejects: &mut Vec<Reject>,
) -> Result<Vec<Argument>, StepFault> {
    let rows = placed.iter().map(|placed| placed.row);
    let (arguments, mut refused) = fold::arguments(aggregates, columns, batch, rows)?;
    if !refused.is_empty() {
        let row_of = |reject: &Reject| reject.row;
        placed.retain(|placed| refused.binary_search_by_key(&placed.row, row_of).is_err());
        rejects.append(&mut refused);
    }
    Ok(arguments)
}

/// Windows take inserts alone; the planner sees to it, this makes a slip loud.
pub(super) fn not_an_insert(changes: &Changes, row: u32) -> Option<Reject> {
    let kind = match changes {
        Changes::Inserts => return None,
        Changes::PerRow(_) => changes.kind(row as usize),
    };
    let refuse = || Reject::new(row, "change-kind", format!("a window takes new rows alone, this one is {kind:?}"));
    (kind != ChangeKind::Insert).then(refuse)
}

pub(crate) fn beyond_time(row: u32, time_us: i64) -> Reject {
    let reason = format!("the window of event time {time_us} us does not fit into 64-bit microseconds");
    Reject::new(row, "event-time", reason)
}

/// The most counters that [`sort`] spends on a batch.
const MAX_COUNTERS: usize = 1 << 16;

/// Brings rows of one pane and key group together and keeps their order: by counting where the panes are few, as
/// they are but for extreme disorder.
pub(super) fn sort(placed: &mut Vec<Placed>, key_groups: Range<u16>) {
    let mut starts: Vec<i64> = placed.iter().map(|placed| placed.bucket).collect();
    starts.dedup();
    starts.sort_unstable();
    starts.dedup();
    let groups = usize::from(key_groups.end - key_groups.start);
    let foreign = placed.iter().any(|placed| !key_groups.contains(&placed.key_group));
    if foreign || starts.len() * groups > MAX_COUNTERS {
        placed.sort_by_key(|placed| (placed.bucket, placed.key_group));
        return;
    }
    let (mut last, mut number) = (i64::MIN, 0);
    let mut counter_of = |placed: &Placed| {
        if placed.bucket != last {
            last = placed.bucket;
            number = starts.binary_search(&last).expect("the start was collected from the same rows");
        }
        number * groups + usize::from(placed.key_group - key_groups.start)
    };
    let counters: Vec<usize> = placed.iter().map(&mut counter_of).collect();
    let mut next = vec![0u32; starts.len() * groups + 1];
    counters.iter().for_each(|counter| next[counter + 1] += 1);
    for counter in 1..next.len() {
        next[counter] += next[counter - 1];
    }
    let mut sorted = placed.clone();
    for (placed, counter) in placed.iter().zip(counters) {
        sorted[next[counter] as usize] = *placed;
        next[counter] += 1;
    }
    *placed = sorted;
}
