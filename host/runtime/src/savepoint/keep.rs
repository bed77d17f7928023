//! Whether a run that begins from a savepoint can leave what a sink's target holds, and go on behind it.
//!
//! A target that holds no more than the savepoint goes on as after any stop. One that holds more has rows of records that
//! the run reads again: they are made again and kept back, up to the cut that the target remembers. Invariant: what cannot
//! come out the same is refused, and the target is only looked at.

use weir_state::savepoint::Savepoint;
use weir_stream::{Held, SinkError};

use crate::cut::{self, Cut, Order, logic};
use crate::meta::{EpochMeta, StoredSink};
use crate::outside::Bindings;
use crate::plan::{Plan, PlannedSink};
use crate::renumbered::in_state;

/// What a target holds beyond the savepoint.
pub struct Beyond {
    /// As the target counts.
    pub epoch: u64,
    pub cut: Cut,
}

/// What a restore begins from, and with.
pub struct Begin<'a> {
    pub plan: &'a Plan,
    pub bindings: &'a dyn Bindings,
    pub savepoint: &'a Savepoint,
    pub meta: &'a EpochMeta,
    pub drop_state_of: &'a [String],
}

const OTHERWISE: &str = "choose overwrite or fresh";

impl Begin<'_> {
    /// What of the sink's rows is to be kept back; nothing, when its target holds no more than the savepoint.
    ///
    /// # Errors
    /// Each reason why the target cannot be left as it is.
    pub fn beyond(&self, planned: &PlannedSink, stored: &StoredSink) -> Result<Option<Beyond>, Vec<String>> {
        let one = |fault: String| vec![fault];
        let Some(held) = self.look(planned).map_err(one)? else {
            if stored.acked == 0 {
                return Ok(None);
            }
            return Err(vec![format!("its target holds nothing of it; restore the target, or {OTHERWISE}")]);
        };
        let saved = self.savepoint.epoch;
        let epoch = in_state(held.epoch, stored.renumbered_by);
        let Some(text) = &held.cut else {
            if epoch <= saved {
                return behind(epoch, stored).map_err(one);
            }
            return Err(vec![format!(
                "its target holds epoch {}, the savepoint ends with {saved}, and how far the sources were read by then is \
                 not kept there; {OTHERWISE}",
                held.epoch
            )]);
        };
        let cut = Cut::decode(text)
            .map_err(|error| vec![format!("how far its target's rows go is not known: {error}; {OTHERWISE}")])?;
        let order = cut.order(&cut::positions(self.meta));
        let newer = if cut.generation == self.savepoint.identity.generation {
            cut.epoch > saved
        } else {
            order != Order::Before
        };
        if !newer {
            return behind(epoch, stored).map_err(one);
        }
        let faults = self.faults(planned, &held, &cut, order);
        if faults.is_empty() { Ok(Some(Beyond { epoch: held.epoch, cut })) } else { Err(faults) }
    }

    fn look(&self, planned: &PlannedSink) -> Result<Option<Held>, String> {
        let (identity, _) = self.meta.target(&planned.id);
        let sink = self.bindings.sink(planned, &identity, self.plan);
        let held = sink.and_then(|mut sink| sink.held()).map_err(|error| match error {
            SinkError::Fatal { message, next } => format!("{message}; {next}"),
            error => format!("its target does not say what it holds: {error}; try again, or {OTHERWISE}"),
        })?;
        // Known to the target, and nothing exposed yet.
        Ok(held.filter(|held| held.epoch > 0))
    }

    /// Why the rows that the target holds beyond the savepoint would not be the same when they are made again.
    fn faults(&self, planned: &PlannedSink, held: &Held, cut: &Cut, order: Order) -> Vec<String> {
        let mut faults = Vec::new();
        if matches!(order, Order::Before | Order::Neither) {
            faults.push(format!(
                "its target's rows go up to other places of the sources than any run from this savepoint; {OTHERWISE}"
            ));
        }
        if held.rejects > 0 {
            faults.push(format!(
                "its target remembers {} refused rows, which may not be dead letters yet; let the newest state folder run \
                 once more, or delete them from weir_rejected",
                held.rejects
            ));
        }
        let logic = logic::of_sink(self.plan, planned);
        for (name, _) in logic.iter().filter(|(name, of)| cut.logic.get(*name) != Some(of)) {
            let what = name.strip_prefix("-> ").map_or(format!("`{name}`"), |sink| format!("sink `{sink}`"));
            faults.push(format!(
                "its target's rows were made by another {what} than the manifest's; restore with the manifest of then, or \
                 {OTHERWISE}"
            ));
        }
        for (step, made_by) in &cut.plugins {
            let runs = self.meta.plugins.get(step).map(|stored| &stored.running);
            let given = self.plan.steps.iter().find(|of| *of.id == **step).and_then(|of| of.plugin());
            let given = given.map(|plugin| plugin.component.digest().to_string());
            let swap = self.meta.plugins.get(step).is_some_and(|stored| given.as_ref() != Some(&stored.manifest));
            if runs != Some(made_by) || (swap && given.as_ref() != Some(made_by)) {
                faults.push(format!(
                    "its target's rows were made by plugin {made_by} in step `{step}`, which is not what would run; swap it \
                     in only after the restore, or {OTHERWISE}"
                ));
            }
        }
        for (step, why) in logic::not_again(self.plan, planned) {
            faults.push(format!("step `{step}` {why}, so rows may come out otherwise; {OTHERWISE}"));
        }
        for step in self.drop_state_of.iter().filter(|step| logic.contains_key(*step)) {
            faults.push(format!("without the state of step `{step}` its rows come out otherwise; {OTHERWISE}"));
        }
        faults
    }
}

/// A target that holds no more than the savepoint, which its outbox then brings up.
fn behind(epoch: u64, stored: &StoredSink) -> Result<Option<Beyond>, String> {
    if epoch < stored.acked {
        let acked = stored.acked;
        return Err(format!(
            "its target holds epoch {epoch}, but {acked} was exposed to it: it lost epochs; restore it, or {OTHERWISE}"
        ));
    }
    Ok(None)
}
