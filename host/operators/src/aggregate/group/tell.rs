//! What a group-by tells of the keys that a batch touched: their new rows, and deletes of those without rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_select::filter::filter;
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Changes, Origin, Reject};

use super::GroupAggregate;
use crate::aggregate::STAGE;
use crate::aggregate::finish::{Finish, Place};
use crate::aggregate::fold::overflown;
use crate::aggregate::plugin::{self, failed_on};
use crate::aggregate::slots::Accumulators;
use crate::operator::{Outputs, StepFault};

impl GroupAggregate {
    /// Gives out the rows of keys that were touched, and lets go of those without rows.
    pub(super) fn tell(&mut self, touched: &[Place], out: &mut Outputs) -> Result<(), StepFault> {
        let groups = self.table.groups();
        let is_held = |place: &&Place| groups[place.table as usize].is_held(place.slot);
        let mut places: Vec<Place> = touched.iter().filter(is_held).copied().collect();
        let is_gone = |place: &Place| groups[place.table as usize].slots().is_without_rows(place.slot);
        let gone: Vec<Place> = places.iter().filter(|place| is_gone(place)).copied().collect();
        let mut made = None;
        if let Some((number, plugin)) = plugin::of(&self.aggregates) {
            let tables = self.accumulators();
            let finished = plugin.finish(number, &tables, &places)?;
            for (at, fault) in &finished.failed {
                let reason = failed_on(self.name(number), fault);
                self.refuse(places[*at], fault.code(), reason, out)?;
            }
            places = finished.kept(&places);
            made = Some((number, finished.results));
        }
        self.refuse_overflows(&mut places, &mut made, out)?;
        if !places.is_empty() {
            out.push(0, self.rows(&places, made)?);
        }
        for Place { table, slot } in gone {
            self.table.groups_mut()[table as usize].remove(slot);
        }
        self.compact();
        Ok(())
    }

    /// Leaves out keys with a result that is too large for its type.
    fn refuse_overflows(
        &self,
        places: &mut Vec<Place>,
        made: &mut Option<(usize, ArrayRef)>,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        if !self.retracts {
            // Rows that would make a result too large were refused.
            return Ok(());
        }
        let groups = self.table.groups();
        let over = |place: &Place| {
            let columns = &groups[place.table as usize].slots().accumulators.columns;
            columns.iter().position(|column| !column.has_result(place.slot))
        };
        let kept: Vec<bool> = places.iter().map(|place| over(place).is_none()).collect();
        if kept.iter().all(|kept| *kept) {
            return Ok(());
        }
        for place in places.iter() {
            if let Some(number) = over(place) {
                self.refuse(*place, "overflow", overflown(&self.aggregates[number]), out)?;
            }
        }
        if let Some((_, results)) = made {
            *results = filter(results, &BooleanArray::from(kept.clone()))?;
        }
        let mut kept = kept.into_iter();
        places.retain(|_| kept.next().unwrap_or(true));
        Ok(())
    }

    /// What the column of an aggregate is called.
    fn name(&self, aggregate: usize) -> &str {
        self.schema.field(self.schema.fields().len() - self.aggregates.len() + aggregate).name()
    }

    fn accumulators(&self) -> Vec<&Accumulators> {
        self.table.groups().iter().map(|group| &group.slots().accumulators).collect()
    }

    /// The rows of some keys; `made` is the column that a user's function made, and its number.
    fn rows(&self, places: &[Place], made: Option<(usize, ArrayRef)>) -> Result<Batch, StepFault> {
        let groups = self.table.groups();
        let state = |place: &Place| groups[place.table as usize].slots();
        let keys = places.iter().map(|place| groups[place.table as usize].key(place.slot));
        let mut columns = self.keys.decode(keys).map_err(StepFault::Internal)?;
        let tables = self.accumulators();
        for (number, added_scale) in self.added_scale.iter().enumerate() {
            if let Some((_, results)) = made.as_ref().filter(|(of, _)| *of == number) {
                columns.push(Arc::clone(results));
                continue;
            }
            let data_type = self.schema.field(columns.len()).data_type();
            let finish = Finish { tables: &tables, places, number, added_scale: *added_scale };
            columns.push(finish.column(data_type)?);
        }
        let is_gone = |place: &Place| state(place).is_without_rows(place.slot);
        let kind = |place| if is_gone(place) { ChangeKind::Delete } else { ChangeKind::UpdateAfter };
        Ok(Batch {
            columns: RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
            event_times_us: places.iter().map(|place| state(place).last_us[place.slot as usize]).collect(),
            watermarks_us: vec![NO_WATERMARK; places.len()].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: Changes::PerRow(places.iter().map(|place| kind(place) as u8).collect()),
        })
    }

    /// A key that has no result.
    fn refuse(&self, place: Place, code: &'static str, reason: String, out: &mut Outputs) -> Result<(), StepFault> {
        let group = &self.table.groups()[place.table as usize];
        let columns = self.keys.decode(std::iter::once(group.key(place.slot))).map_err(StepFault::Internal)?;
        let front: Vec<usize> = (0..columns.len()).collect();
        let schema = Arc::new(self.schema.project(&front)?);
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let row = Batch {
            columns: RecordBatch::try_new_with_options(schema, columns, &one)?,
            event_times_us: vec![group.slots().last_us[place.slot as usize]].into(),
            watermarks_us: vec![NO_WATERMARK].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: Changes::Inserts,
        };
        out.reject(STAGE, &row, vec![Reject::new(0, code, reason)])
    }
}
