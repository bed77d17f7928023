//! Swaps as the coordinator sees them: a checked plugin waits for a barrier, rides on it, and is watched behind it.
//!
//! Checking happened before (see `swap`); switching happens in the tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::barrier::{StepCounts, SwapOrder};
use crate::meta::EpochMeta;
use crate::reject_watch::{Judged, RecentRows};
use crate::status::StatusBoard;

/// How long a swap's caller waits for the new version's first row.
const FIRST_ROW_WAIT: Duration = Duration::from_millis(300);

/// A checked plugin that wants into the running pipeline.
pub struct SwapRequest {
    pub order: Arc<SwapOrder>,
    pub watch: Duration,
    pub reply: Sender<SwapResult>,
}

/// How a swap went.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SwapResult {
    /// The first epoch that the new version makes.
    pub epoch: u64,
    /// From the old version's last row to the new one's first, the longest over the tasks; absent while no row came.
    pub pause_ns: Option<u64>,
    /// Sums by source and step at the end of the epoch before `epoch`: the rows that saw the old version.
    pub counts_before: BTreeMap<String, StepCounts>,
}

/// A new version under watch.
#[derive(Debug, Clone)]
pub struct Watch {
    pub step: Arc<str>,
    /// Digest to return to.
    pub previous: Arc<str>,
    /// What that version made of its newest rows.
    pub before: Judged,
    pub until: Instant,
    /// The barrier that tells the tasks of its end.
    pub released_by: Option<u64>,
}

struct Riding {
    request: SwapRequest,
    barrier: u64,
    before: Judged,
    sealed: Option<(u64, Instant)>,
    pause_ns: Option<u64>,
    counts_before: BTreeMap<String, StepCounts>,
}

/// All swaps of one incarnation.
pub struct Swaps {
    waiting: Vec<SwapRequest>,
    riding: Vec<Riding>,
    watches: Vec<Watch>,
    /// Steps whose watch ended well and was not told yet.
    kept: Vec<Arc<str>>,
    recent: Recent,
}

/// What the running version of each step made of its newest rows.
struct Recent {
    window: u64,
    /// By step: the newest rows, and the sums up to them.
    steps: BTreeMap<String, (RecentRows, Judged)>,
}

impl Recent {
    /// An epoch is sealed whose sums stand in `meta`.
    fn note(&mut self, meta: &EpochMeta) {
        for step in meta.plugins.keys() {
            let Some((recent, noted)) = self.steps.get_mut(step) else { continue };
            let sum = sum(meta, step);
            recent.note(Judged { rows: sum.rows - noted.rows, rejected: sum.rejected - noted.rejected }, self.window);
            *noted = sum;
        }
    }

    /// What comes from here on is another version's.
    fn begin(&mut self, step: &str, meta: &EpochMeta) {
        self.steps.insert(step.to_owned(), (RecentRows::default(), sum(meta, step)));
    }

    /// Of the step's newest rows; of all it ever had while there are none since the start.
    fn of(&self, step: &str, meta: &EpochMeta) -> Judged {
        let recent = self.steps.get(step).map(|(recent, _)| recent.sum()).filter(|recent| recent.rows > 0);
        recent.unwrap_or_else(|| sum(meta, step))
    }
}

fn sum(meta: &EpochMeta, step: &str) -> Judged {
    let counts = meta.counts.get(step).copied().unwrap_or_default();
    Judged { rows: counts.rows_in, rejected: counts.rejected }
}

impl Swaps {
    /// `reject_window`: rows by which a version's share of rejects is told.
    pub fn new(watches: Vec<Watch>, reject_window: u64, meta: &EpochMeta) -> Self {
        let mut recent = Recent { window: reject_window, steps: BTreeMap::new() };
        meta.plugins.keys().for_each(|step| recent.begin(step, meta));
        Self { waiting: Vec::new(), riding: Vec::new(), watches, kept: Vec::new(), recent }
    }

    pub fn request(&mut self, request: SwapRequest, meta: &EpochMeta) {
        debug_assert!(meta.plugins.contains_key(&*request.order.step), "swaps name steps of the plan");
        self.waiting.retain(|earlier| earlier.order.step != request.order.step);
        self.waiting.push(request);
    }

    /// The swaps that ride on `barrier`.
    pub fn take_waiting(&mut self, barrier: u64, meta: &EpochMeta) -> Vec<Arc<SwapOrder>> {
        let waiting = std::mem::take(&mut self.waiting);
        let orders = waiting.iter().map(|request| Arc::clone(&request.order)).collect();
        for request in waiting {
            let before = self.recent.of(&request.order.step, meta);
            let (pause_ns, counts_before) = (None, BTreeMap::new());
            self.riding.push(Riding { request, barrier, before, sealed: None, pause_ns, counts_before });
        }
        orders
    }

    /// Notes in `meta` who made the epoch and who runs behind it; answers whether a swap rode on the barrier.
    pub fn sealed(&mut self, barrier: u64, epoch: u64, meta: &mut EpochMeta) -> bool {
        meta.plugins.values_mut().for_each(|plugin| plugin.made_by.clone_from(&plugin.running));
        self.recent.note(meta);
        for watch in self.watches.extract_if(.., |watch| watch.released_by == Some(barrier)) {
            if let Some(plugin) = meta.plugins.get_mut(&*watch.step) {
                (plugin.previous, plugin.before) = (None, None);
            }
            self.kept.push(watch.step);
        }
        let mut swapped = false;
        for riding in self.riding.iter_mut().filter(|riding| riding.barrier == barrier) {
            swapped = true;
            riding.sealed = Some((epoch + 1, Instant::now()));
            riding.counts_before.clone_from(&meta.counts);
            let order = &riding.request.order;
            let Some(plugin) = meta.plugins.get_mut(&*order.step) else { continue };
            let previous = std::mem::replace(&mut plugin.running, order.function.digest().to_string());
            (plugin.previous, plugin.before) = (Some(previous.clone()), Some(riding.before));
            self.recent.begin(&order.step, meta);
            self.watches.retain(|watch| watch.step != order.step);
            self.watches.push(Watch {
                step: Arc::clone(&order.step),
                previous: previous.into(),
                before: riding.before,
                until: Instant::now() + riding.request.watch,
                released_by: None,
            });
        }
        swapped
    }

    /// The new version of `step` took its first row in one task.
    pub fn first_row(&mut self, step: &str, pause_ns: u64) {
        for riding in self.riding.iter_mut().filter(|riding| *riding.request.order.step == *step) {
            riding.pause_ns = riding.pause_ns.max(Some(pause_ns));
        }
    }

    /// Answers callers, and keeps versions that were watched long enough.
    pub fn on_tick(&mut self, status: &StatusBoard) {
        self.kept.drain(..).for_each(|step| status.kept(&step));
        self.riding.retain_mut(|riding| match riding.sealed {
            Some((epoch, since)) if riding.pause_ns.is_some() || since.elapsed() > FIRST_ROW_WAIT => {
                let order = &riding.request.order;
                let result = SwapResult {
                    epoch,
                    pause_ns: riding.pause_ns,
                    counts_before: std::mem::take(&mut riding.counts_before),
                };
                status.swapped(&order.step, &order.function, &result);
                // The caller may have given up; the swap stands.
                let _ = riding.request.reply.send(result);
                false
            }
            _ => true,
        });
    }

    /// Whether a watch has run out, so that a barrier must tell the tasks.
    pub fn has_expired(&self) -> bool {
        let now = Instant::now();
        self.watches.iter().any(|watch| watch.until <= now && watch.released_by.is_none())
    }

    /// The digest to return to, while the step's version is watched; a version that failed before its barrier was
    /// sealed is watched too.
    pub fn watched(&self, step: &str, meta: &EpochMeta) -> Option<Arc<str>> {
        let unsealed = |riding: &Riding| riding.sealed.is_none() && *riding.request.order.step == *step;
        if self.riding.iter().any(unsealed) {
            return meta.plugins.get(step).map(|plugin| plugin.running.as_str().into());
        }
        self.watches.iter().find(|watch| *watch.step == *step).map(|watch| Arc::clone(&watch.previous))
    }

    /// The steps that are watched behind `barrier`; watches that ran out end with it.
    pub fn watched_behind(&mut self, barrier: u64) -> Vec<(Arc<str>, Judged)> {
        let now = Instant::now();
        for watch in self.watches.iter_mut().filter(|watch| watch.until <= now) {
            watch.released_by.get_or_insert(barrier);
        }
        // A version that was ordered anew is watched instead of the one that runs.
        let riding = self.riding.iter().filter(|riding| riding.sealed.is_none());
        let riding = riding.map(|riding| (Arc::clone(&riding.request.order.step), riding.before)).rev();
        let watched = self.watches.iter().filter(|watch| watch.released_by.is_none());
        riding.chain(watched.map(|watch| (Arc::clone(&watch.step), watch.before))).collect()
    }

    /// The incarnation ends: callers learn by their dropped reply.
    pub fn abandon(&mut self) {
        self.waiting.clear();
        self.riding.clear();
    }
}
