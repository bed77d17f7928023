//! What a savepoint holds, in a pipeline's words, and how a pipeline begins from one.
//!
//! Invariant: everything that does not fit is found before anything is written. A restore is a copy of the savepoint and
//! one epoch more, which says what becomes of each sink and which state is dropped; from there the pipeline starts as
//! always.

mod keep;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_state::{Disk, EpochRecord, OpenError, PendingEntry, Store, WriteError, savepoint};

use crate::cut::{Cut, Order};
use crate::meta::{EpochMeta, MetaError, StoredSink};
use crate::outside::Bindings;
use crate::plan::{Plan, PlannedKind};
use keep::{Begin, Beyond};

/// What becomes of a sink whose target may hold more than the savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SinkChoice {
    /// The target's rows are written over, by key, from the savepoint on. For upserts.
    Overwrite,
    /// The target is a new one, or an empty one: it gets what comes from the savepoint on.
    Fresh,
    /// The target stays as it is. Rows that it holds already are made again and kept back.
    KeepFromEpoch,
}

/// What a savepoint holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub pipeline: String,
    pub generation: u64,
    pub epoch: u64,
    pub key_groups: u16,
    pub files: usize,
    pub bytes: u64,
    /// What the state of each keyed step depends on.
    pub steps: BTreeMap<String, String>,
    /// By sink, the last epoch known to be in its target.
    pub sinks: BTreeMap<String, u64>,
    /// The next offset by source and partition.
    pub positions: BTreeMap<String, Option<i64>>,
    /// The digest that runs in each plugin step.
    pub plugins: BTreeMap<String, String>,
}

/// Why a savepoint is not looked into or begun from. Nothing was changed, unless it is [`SavepointError::Write`].
#[derive(Debug, thiserror::Error)]
pub enum SavepointError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the savepoint's last epoch cannot be read: {0}")]
    Meta(#[from] MetaError),
    #[error("the savepoint does not fit the manifest")]
    Unfit(Vec<String>),
    #[error("{0}; remove what was begun and try again")]
    Write(#[from] WriteError),
}

impl SavepointError {
    /// Everything that does not fit, a line each.
    pub fn faults(&self) -> &[String] {
        if let Self::Unfit(faults) = self { faults } else { &[] }
    }
}

/// Checks a savepoint and says what it holds.
///
/// # Errors
/// [`SavepointError::Open`] for one that is torn or damaged; [`SavepointError::Meta`].
pub fn describe(disk: &dyn Disk, folder: &Path) -> Result<Description, SavepointError> {
    let held = savepoint::inspect(disk, folder)?;
    let meta = EpochMeta::decode(&held.meta)?;
    Ok(Description {
        pipeline: held.identity.pipeline,
        generation: held.identity.generation,
        epoch: held.epoch,
        key_groups: held.identity.key_groups,
        files: held.files,
        bytes: held.bytes,
        steps: meta.steps.into_iter().map(|(step, stored)| (step, stored.layout)).collect(),
        sinks: meta.sinks.into_iter().map(|(sink, stored)| (sink, stored.acked)).collect(),
        positions: meta.positions.into_iter().map(|(place, stored)| (place, stored.next_offset)).collect(),
        plugins: meta.plugins.into_iter().map(|(step, stored)| (step, stored.running)).collect(),
    })
}

/// Makes a savepoint of a folder whose pipeline does not run.
///
/// # Errors
/// [`SavepointError::Open`], above all when it does run; [`SavepointError::Write`] about the savepoint's folder.
pub fn create_stopped(disk: &Arc<dyn Disk>, state_dir: &Path, folder: &Path) -> Result<Description, SavepointError> {
    let identity = savepoint::identity(&**disk, state_dir)?;
    let (store, recovered) = Store::open(Arc::clone(disk), state_dir, &identity)?;
    recovered.state.check(1)?;
    store.copy_to(folder)?;
    store.close()?;
    savepoint::seal(&**disk, folder)?;
    describe(&**disk, folder)
}

/// Makes `state_dir`, a new folder, the state of `plan` as of the savepoint in `from`.
///
/// # Errors
/// See [`SavepointError`].
pub fn restore(
    disk: &Arc<dyn Disk>,
    (plan, bindings): (&Plan, &dyn Bindings),
    from: &Path,
    state_dir: &Path,
    sinks: &BTreeMap<String, SinkChoice>,
    drop_state_of: &[String],
) -> Result<Description, SavepointError> {
    let held = savepoint::inspect(&**disk, from)?;
    let mut meta = EpochMeta::decode(&held.meta)?;
    let mut faults = Vec::new();
    if held.identity.pipeline != *plan.pipeline {
        faults.push(format!("it is of pipeline `{}`, the manifest of `{}`", held.identity.pipeline, plan.pipeline));
    }
    check_sinks(plan, &meta, sinks, &mut faults);
    check_steps(plan, held.identity.key_groups, &meta, drop_state_of, &mut faults);
    let begin = Begin { plan, bindings, savepoint: &held, meta: &meta, drop_state_of };
    let mut beyond = if faults.is_empty() { look_at_targets(&begin, sinks, &mut faults) } else { BTreeMap::new() };
    if !faults.is_empty() {
        return Err(SavepointError::Unfit(faults));
    }
    let restored = savepoint::restore(&**disk, from, state_dir)?;
    let (mut store, recovered) = Store::open(Arc::clone(disk), state_dir, &restored.identity)?;
    for step in drop_state_of {
        meta.drop_step(step);
    }
    for (name, choice) in sinks {
        meta.kept.remove(name);
        match beyond.remove(name) {
            Some(beyond) => keep_back(&mut meta, &mut store, name, beyond),
            None => begin_sink(&mut meta, &mut store, name, *choice, &recovered.outbox),
        }
    }
    let epoch = store.last_epoch() + 1;
    store.append(&EpochRecord { epoch, meta: meta.encode(), ..EpochRecord::default() })?;
    store.close()?;
    describe(&**disk, from)
}

/// What the targets that stay as they are hold beyond the savepoint.
fn look_at_targets(
    begin: &Begin<'_>,
    chosen: &BTreeMap<String, SinkChoice>,
    faults: &mut Vec<String>,
) -> BTreeMap<String, Beyond> {
    let mut found = BTreeMap::new();
    let kept = begin.plan.sinks.iter().filter(|planned| chosen.get(&*planned.id) == Some(&SinkChoice::KeepFromEpoch));
    for planned in kept {
        let Some(stored) = begin.meta.sinks.get(&*planned.id) else { continue };
        match begin.beyond(planned, stored) {
            Ok(beyond) => found.extend(beyond.map(|beyond| (planned.id.to_string(), beyond))),
            Err(why) => faults.extend(why.into_iter().map(|why| format!("sink `{}`: {why}", planned.id))),
        }
    }
    let cuts: Vec<&Cut> = found.values().map(|beyond| &beyond.cut).collect();
    if cuts.iter().any(|cut| cuts.iter().any(|other| cut.order(&other.positions) == Order::Neither)) {
        faults.push(
            "the targets' rows go up to places of the sources that no one run came by; choose fresh for one".into(),
        );
    }
    found
}

/// Everything up to the target's cut is in it: rows are owed to it from there on, and numbered behind what it holds.
fn keep_back(meta: &mut EpochMeta, store: &mut Store, name: &str, beyond: Beyond) {
    let Some(stored) = meta.sinks.get_mut(name) else { return };
    let begins = store.last_epoch() + 1;
    store.acknowledge(stored.number, store.last_epoch());
    (stored.acked, stored.newest) = (begins, begins);
    stored.renumbered_by = (beyond.epoch as i64).saturating_sub(begins as i64);
    meta.kept.insert(name.to_owned(), beyond.cut);
}

/// Every sink that both know needs a choice, and one that it can keep.
fn check_sinks(plan: &Plan, meta: &EpochMeta, chosen: &BTreeMap<String, SinkChoice>, faults: &mut Vec<String>) {
    for planned in plan.sinks.iter().filter(|planned| meta.sinks.contains_key(&*planned.id)) {
        match chosen.get(&*planned.id) {
            None => faults.push(format!(
                "sink `{0}`: say what becomes of it: --sink {0}=overwrite, fresh or keep-from-epoch",
                planned.id
            )),
            Some(SinkChoice::Overwrite) if planned.upsert.is_none() => faults.push(format!(
                "sink `{}`: rows that are appended cannot be written over; choose fresh or keep-from-epoch",
                planned.id
            )),
            Some(_) => {}
        }
    }
    for name in chosen.keys() {
        if !meta.sinks.contains_key(name) || !plan.sinks.iter().any(|planned| *planned.id == **name) {
            faults.push(format!("sink `{name}`: not both in the savepoint and in the manifest; leave it out"));
        }
    }
}

/// Stored state is taken as it is, or dropped because the user says so.
fn check_steps(plan: &Plan, key_groups: u16, meta: &EpochMeta, dropped: &[String], faults: &mut Vec<String>) {
    let wanted = layouts(plan, key_groups);
    for (step, stored) in meta.steps.iter().filter(|(step, _)| !dropped.contains(step)) {
        let way_out = format!("or drop what is stored with --drop-state-of {step}");
        match wanted.get(step) {
            None => {
                faults.push(format!("step `{step}`: the manifest has no such step with state; name it so, {way_out}"))
            }
            Some(Err(fault)) => faults.push(format!("step `{step}`: {fault}")),
            Some(Ok(layout)) if *layout != stored.layout => faults.push(format!(
                "step `{step}`: its stored state is `{}`, the manifest means `{layout}`; change it back, {way_out}",
                stored.layout
            )),
            Some(Ok(_)) => {}
        }
    }
    for step in dropped.iter().filter(|step| !meta.steps.contains_key(*step)) {
        let has: Vec<String> = meta.steps.keys().map(|step| format!("`{step}`")).collect();
        faults.push(format!("--drop-state-of {step}: the savepoint has state of {} only", has.join(", ")));
    }
}

fn layouts(plan: &Plan, key_groups: u16) -> BTreeMap<String, Result<String, String>> {
    let layout = |step: &crate::plan::PlannedStep| match &step.kind {
        PlannedKind::Keyed(keyed) => {
            let operator = keyed.operator(key_groups, 0..key_groups);
            Some((step.id.to_string(), operator.map(|operator| operator.state_layout().to_owned())))
        }
        _ => None,
    };
    plan.steps.iter().filter_map(layout).collect()
}

fn begin_sink(meta: &mut EpochMeta, store: &mut Store, name: &str, choice: SinkChoice, pending: &[PendingEntry]) {
    let Some(stored) = meta.sinks.get_mut(name) else { return };
    let (through, generation) = (store.last_epoch(), store.identity().generation);
    match choice {
        SinkChoice::KeepFromEpoch => {}
        SinkChoice::Fresh => {
            // A sink that is not known is a new one, with a number of its own.
            store.acknowledge(stored.number, through);
            meta.sinks.remove(name);
        }
        SinkChoice::Overwrite => {
            // Under another name in the target it is a new sink there, which the entries still owed and all that follow
            // reach in order.
            let newest = pending.iter().filter(|entry| entry.sink == stored.number).map(|entry| entry.epoch).max();
            *stored = StoredSink {
                number: stored.number,
                acked: 0,
                newest: newest.unwrap_or(0),
                rejects_through: through,
                generation: Some(generation),
                given: stored.given,
                renumbered_by: 0,
            };
        }
    }
}
