//! All that left rows meet, gathered when their time is over: the groups that an attribution decides on.
//!
//! Invariant: a group is whole, in the order of the right rows' event times, of equals in that in which they came, and in
//! one batch. A right row stays until the last left row that it meets has been gathered, so nothing is kept beside the rows
//! of the two sides; what is older than the restored watermark was given out.

use weir_state::table::RowId;
use weir_stream::Reject;

use super::pairs::{GroupTimes, SideRows};
use super::streams::{PAIRS_AT_ONCE, internal, true_rows};
use super::{JoinKind, LEFT, RIGHT, STAGE, StreamJoin};
use crate::operator::{Outputs, StepFault};

/// Right rows that one left row may meet, after the condition: they are looked at in one call. With more the left row is
/// rejected.
pub const MAX_CANDIDATES: usize = PAIRS_AT_ONCE;

/// A left row and what it meets.
struct Group {
    left: RowId,
    time_us: i64,
    right: Vec<(i64, RowId)>,
}

impl StreamJoin {
    /// Gives out left rows whose time is over and that are in memory, by time, each with what it meets.
    pub(super) fn gather(&mut self, due: Vec<(i64, RowId)>, out: &mut Outputs) -> Result<(), StepFault> {
        let (mut groups, mut rows) = (Vec::new(), 0);
        for (time_us, left) in due {
            let group = self.group(left, time_us)?;
            rows += group.right.len() + 1;
            groups.push(group);
            if rows >= PAIRS_AT_ONCE {
                self.decide_on(std::mem::take(&mut groups), out)?;
                rows = 0;
            }
        }
        self.decide_on(groups, out)
    }

    fn group(&mut self, left: RowId, time_us: i64) -> Result<Group, StepFault> {
        let meets = self.bounds.meets(LEFT, time_us);
        let buckets = self.buckets_of(&meets);
        let [lefts, rights] = &mut self.sides;
        let key = lefts.key(left).unwrap_or_default();
        let hash = weir_stream::key::hash(key);
        rights.warm(buckets.clone(), left.key_group, hash).map_err(|error| internal(&error))?;
        let found = rights.find(buckets, left.key_group, hash, key);
        let found = found.filter_map(|id| Some((rights.time_us(id)?, id)));
        let mut right: Vec<(i64, RowId)> = found.filter(|(time_us, _)| meets.contains(time_us)).collect();
        // Buckets are in the order of time, so equal times keep the order in which they came.
        right.sort_by_key(|(time_us, _)| *time_us);
        Ok(Group { left, time_us, right })
    }

    /// Leaves out what the condition does, refuses groups that are too large, and gives out the rest.
    fn decide_on(&self, mut groups: Vec<Group>, out: &mut Outputs) -> Result<(), StepFault> {
        self.judge_groups(&mut groups, out)?;
        let is_large = |group: &Group| group.right.len() > MAX_CANDIDATES;
        let large: Vec<Group> = groups.extract_if(.., |group| is_large(group)).collect();
        for group in large {
            self.refuse(&group, out)?;
        }
        let (mut rest, mut rows) = (groups.as_slice(), 0);
        while !rest.is_empty() {
            let fits = |group: &&Group| {
                rows += group.right.len();
                rows <= MAX_CANDIDATES
            };
            let (together, after) = rest.split_at(rest.iter().take_while(fits).count());
            self.give_groups(together, out)?;
            (rest, rows) = (after, 0);
        }
        Ok(())
    }

    fn judge_groups(&self, groups: &mut [Group], out: &mut Outputs) -> Result<(), StepFault> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let pairs = groups.iter().flat_map(|group| group.right.iter().map(|right| (group.left, group.time_us, *right)));
        let pairs: Vec<(RowId, i64, (i64, RowId))> = pairs.collect();
        let mut kept = vec![false; pairs.len()];
        for (part, kept) in pairs.chunks(PAIRS_AT_ONCE).zip(kept.chunks_mut(PAIRS_AT_ONCE)) {
            let left = part.iter().map(|(left, _, _)| self.sides[LEFT].row(*left)).collect();
            let right = part.iter().map(|(_, _, (_, right))| self.sides[RIGHT].row(*right)).collect();
            let times_us = part.iter().map(|(_, left_us, (right_us, _))| *left_us.max(right_us)).collect();
            let batch = self.pairs.beside(&SideRows::Stored(left), &SideRows::Stored(right), times_us)?;
            let evaluated = filter.evaluate(&batch);
            out.reject(STAGE, &batch, evaluated.rejects)?;
            true_rows(arrow_array::cast::AsArray::as_boolean(&evaluated.array))
                .into_iter()
                .for_each(|row| kept[row as usize] = true);
        }
        let mut kept = kept.into_iter();
        for group in groups {
            group.right.retain(|_| kept.next().unwrap_or_default());
        }
        Ok(())
    }

    fn refuse(&self, group: &Group, out: &mut Outputs) -> Result<(), StepFault> {
        let row = SideRows::Stored(vec![self.sides[LEFT].row(group.left)]);
        let batch = self.pairs.left(&row, vec![group.time_us])?;
        let (met, limit) = (group.right.len(), MAX_CANDIDATES);
        let reason = format!("it meets {met} rows of the other side, an attribution looks at {limit} at most");
        out.reject(STAGE, &batch, vec![Reject::new(0, "too-many-candidates", reason)])
    }

    fn give_groups(&self, groups: &[Group], out: &mut Outputs) -> Result<(), StepFault> {
        let closes = self.kind == JoinKind::Left;
        let (mut left, mut right, mut times) = (Vec::new(), Vec::new(), GroupTimes::default());
        for (number, group) in (0..).zip(groups) {
            let row = self.sides[LEFT].row(group.left);
            let met = group.right.iter().map(|(time_us, id)| (Some(*time_us), self.sides[RIGHT].row(*id)));
            for (right_us, met) in met.chain(closes.then_some((None, None))) {
                left.push(row);
                right.push(met);
                times.numbers.push(number);
                times.left_times_us.push(group.time_us);
                times.right_times_us.push(right_us);
            }
        }
        if !left.is_empty() {
            out.push(0, self.pairs.grouped(&SideRows::Stored(left), &SideRows::Stored(right), times)?);
        }
        Ok(())
    }

    /// Gives out left rows that meet nothing.
    pub(super) fn give_groups_of_one(
        &self,
        rows: &SideRows,
        times_us: Vec<i64>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let count = times_us.len();
        let numbers = (0..count as u32).collect();
        let times = GroupTimes { numbers, left_times_us: times_us, right_times_us: vec![None; count] };
        out.push(0, self.pairs.grouped(rows, &SideRows::Absent(count), times)?);
        Ok(())
    }
}
