//! What windows give out: results when they close, updates before and corrections after that.

use weir_state::table::TableError;
use weir_stream::time::END_OF_TIME;

use super::gather::Gathered;
use super::grid::WindowAggregate;
use super::{Aggregate, Emit, KeyTable, internal};
use crate::operator::{Outputs, StepFault};

impl WindowAggregate {
    /// Time has come to `watermark_us`: closes all windows that end by then, oldest first, each window's rows by key,
    /// and lets go of what no window needs any more. The end of time closes everything, but a window that may still be
    /// corrected by a later run is kept.
    ///
    /// # Errors
    /// [`StepFault::Internal`] when the state cannot be read.
    pub(super) fn advance_to(&mut self, watermark_us: i64, out: &mut Outputs) -> Result<(), StepFault> {
        while let Some((start, end)) = self.next_window().filter(|(_, end)| *end <= watermark_us) {
            self.close(start, end, out)?;
            self.watermark_us = end;
        }
        let ended = watermark_us == END_OF_TIME;
        let reached_us = if ended { self.watermark_us } else { self.watermark_us.max(watermark_us) };
        // What is about to go, or to wait for another run, is shown whatever the throttle says.
        if ended || self.first_held(reached_us) > self.first_held(self.watermark_us) {
            self.show_pending(out)?;
        }
        self.watermark_us = reached_us;
        self.let_go().map_err(|error| internal(&error))
    }

    /// The oldest window that takes rows, or corrections, once time has come to `watermark_us`.
    fn first_held(&self, watermark_us: i64) -> i64 {
        self.grid.first_open(watermark_us.saturating_sub(self.showing.lateness_us))
    }

    /// The oldest open window that has rows.
    pub(super) fn next_window(&self) -> Option<(i64, i64)> {
        let open = self.grid.first_open(self.watermark_us);
        let by_pane = self.panes.first_bucket_from(open).map(|pane| self.grid.oldest_start(pane).max(open));
        let start = by_pane.into_iter().chain(self.apart.first_bucket_from(open)).min()?;
        Some((start, self.grid.end_of(start)))
    }

    fn close(&mut self, start: i64, end: i64, out: &mut Outputs) -> Result<(), StepFault> {
        self.show_pending(out)?;
        if self.showing.emit == Emit::OnUpdate {
            return Ok(());
        }
        if self.grid.is_tumbling() {
            let tables = self.panes.bucket(start).map_err(|error| internal(&error))?;
            let tables: Vec<_> = tables.map(|(_, table)| table).collect();
            return self.firing.fire((start, end), &tables, &Default::default(), out);
        }
        let mut window = Gathered::default();
        let empty = self.panes.empty().clone();
        self.each_pane((start, end), |aggregates, key_group, pane| window.add(aggregates, key_group, pane, &empty))?;
        self.firing.fire_gathered((start, end), &window, out)
    }

    /// Shows what changed in open windows, where they show updates, and in closed ones that are kept for corrections.
    pub(super) fn show_pending(&mut self, out: &mut Outputs) -> Result<(), StepFault> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.resolve(&mut self.panes, &mut self.apart).map_err(|error| internal(&error))?;
        let gone_us = self.watermark_us.saturating_sub(self.showing.lateness_us);
        let shows = |end: i64| end > gone_us && (end <= self.watermark_us || self.showing.updates());
        for start in pending.windows(&self.grid, shows) {
            let window = (start, self.grid.end_of(start));
            let keys = pending.keys(window, &mut self.panes, &mut self.apart).map_err(|error| internal(&error))?;
            let mut keys = Gathered::of_keys(keys);
            self.each_pane(window, |aggregates, key_group, pane| keys.add_known(aggregates, key_group, pane))?;
            self.firing.fire_gathered(window, &keys, out)?;
        }
        self.next_show_us = self.now_us.saturating_add(self.showing.throttle_us);
        Ok(())
    }

    /// All tables that a window's result is made of.
    fn each_pane(
        &mut self,
        (start, end): (i64, i64),
        mut add: impl FnMut(&[Aggregate], u16, &KeyTable) -> Result<(), StepFault>,
    ) -> Result<(), StepFault> {
        let aggregates = &self.aggregates;
        let mut next = self.panes.first_bucket_from(start);
        while let Some(pane) = next.filter(|pane| *pane < end) {
            let mut tables = self.panes.bucket(pane).map_err(|error| internal(&error))?;
            tables.try_for_each(|(key_group, table)| add(aggregates, key_group, table))?;
            drop(tables);
            next = self.panes.first_bucket_from(pane + 1);
        }
        let mut apart = self.apart.bucket(start).map_err(|error| internal(&error))?;
        apart.try_for_each(|(key_group, table)| add(aggregates, key_group, table))
    }

    /// Drops panes whose newest window is past its lateness.
    fn let_go(&mut self) -> Result<(), TableError> {
        let needed = self.first_held(self.watermark_us);
        while let Some(pane) = self.panes.first_bucket().filter(|pane| self.grid.newest_start(*pane) < needed) {
            self.panes.take_bucket(pane)?;
        }
        while let Some(start) = self.apart.first_bucket().filter(|start| *start < needed) {
            self.apart.take_bucket(start)?;
        }
        Ok(())
    }
}
