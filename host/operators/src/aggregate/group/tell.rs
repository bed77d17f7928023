//! What a group-by tells of the keys that a batch touched: their new rows, and deletes of those without rows.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Batch, ChangeKind, Changes, FunctionFault, Origin, Reject};

use super::GroupAggregate;
use crate::aggregate::STAGE;
use crate::aggregate::finish::{Finish, Place};
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
                self.refuse(places[*at], number, fault, out)?;
            }
            places = finished.kept(&places);
            made = Some((number, finished.results));
        }
        if !places.is_empty() {
            out.push(0, self.rows(&places, made)?);
        }
        for Place { table, slot } in gone {
            self.table.groups_mut()[table as usize].remove(slot);
        }
        self.compact();
        Ok(())
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

    /// A key of which a user's function makes no result.
    fn refuse(
        &self,
        place: Place,
        aggregate: usize,
        fault: &FunctionFault,
        out: &mut Outputs,
    ) -> Result<(), StepFault> {
        let group = &self.table.groups()[place.table as usize];
        let columns = self.keys.decode(std::iter::once(group.key(place.slot))).map_err(StepFault::Internal)?;
        let front: Vec<usize> = (0..columns.len()).collect();
        let reason = failed_on(self.schema.field(columns.len() + aggregate).name(), fault);
        let schema = Arc::new(self.schema.project(&front)?);
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let row = Batch {
            columns: RecordBatch::try_new_with_options(schema, columns, &one)?,
            event_times_us: vec![group.slots().last_us[place.slot as usize]].into(),
            watermarks_us: vec![NO_WATERMARK].into(),
            origin: Origin::Step(Arc::clone(&self.step)),
            changes: Changes::Inserts,
        };
        out.reject(STAGE, &row, vec![Reject::new(0, fault.code(), reason)])
    }
}
