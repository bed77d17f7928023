//! What outlives the process: disk and targets; and the order of phases that one seed goes through.

use std::path::Path;
use std::sync::Arc;

use weir_checkpoint::{Effect, Input, Limits, Protocol};
use weir_state::sim::{SimDisk, SimRng};
use weir_state::{Identity, Options, Store};
use weir_stream::SinkPosition;

use crate::life::{End, Life};
use crate::model::{Counts, GATHERING, KEY_GROUPS, Meta, Row, SINKS, goes_to, rows_before};
use crate::target::{Delivery, Target};

/// Lives of the safety phase.
const LIVES: u64 = 5;

/// What was met on the way, to see that the dangers do occur.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub epochs: u64,
    pub empty_barriers: u64,
    pub crashes: u64,
    pub full: u64,
    pub exposed_together: u64,
    pub lost_replies: u64,
    pub doubled: u64,
    pub fenced: u64,
    pub late_from_before: u64,
    pub snapshots: u64,
    pub failed_syncs: u64,
    pub refused_ahead: u64,
    pub refused_behind: u64,
}

impl Seen {
    fn fields(&mut self) -> [&mut u64; 13] {
        [
            &mut self.epochs,
            &mut self.empty_barriers,
            &mut self.crashes,
            &mut self.full,
            &mut self.exposed_together,
            &mut self.lost_replies,
            &mut self.doubled,
            &mut self.fenced,
            &mut self.late_from_before,
            &mut self.snapshots,
            &mut self.failed_syncs,
            &mut self.refused_ahead,
            &mut self.refused_behind,
        ]
    }

    pub fn add(&mut self, other: &Self) {
        let mut other = *other;
        self.fields().into_iter().zip(other.fields()).for_each(|(sum, more)| *sum += *more);
    }

    /// Whether each of the dangers was met.
    pub fn met_all(mut self) -> bool {
        self.fields().into_iter().all(|count| *count > 0)
    }
}

pub struct World {
    pub random: SimRng,
    pub disk: SimDisk,
    pub targets: [Target; SINKS],
    /// On their way when their sender ended.
    pub ghosts: Vec<(usize, Delivery)>,
    /// The last epoch that was reported durable.
    pub reported: u64,
    pub seen: Seen,
}

impl World {
    /// # Errors
    /// The store's, as text.
    pub fn open(disk: &SimDisk) -> Result<(Store, weir_state::Recovered), String> {
        let identity = Identity { pipeline: "sim".into(), key_groups: KEY_GROUPS, created_us: 1, generation: 1 };
        let options = Options {
            log_segment_bytes: 4 * 4096,
            outbox_segment_bytes: 4 * 4096,
            min_log_bytes: 8 * 4096,
            parallel_sync_bytes: u64::MAX,
        };
        Store::open_with(Arc::new(disk.clone()), Path::new("/state"), &identity, options)
            .map_err(|error| error.to_string())
    }
}

/// One seed through both phases.
///
/// # Errors
/// The promise that was broken.
pub fn simulate(seed: u64) -> Result<Seen, String> {
    let mut world = World {
        random: SimRng::new(seed),
        disk: SimDisk::new(),
        targets: std::array::from_fn(|_| Target::default()),
        ghosts: Vec::new(),
        reported: 0,
        seen: Seen::default(),
    };
    let mut yesterday = None;
    for _ in 0..LIVES {
        if world.random.one_in(3) {
            yesterday = Some((world.disk.fork(), world.targets.clone()));
        }
        let stop_after = 20 + world.random.below(300);
        world.disk.stop_after(stop_after);
        let steps = world.random.below(150);
        match Life::begin(&mut world, false)? {
            Some(mut life) => life.run(steps)?,
            None => End::Stopped,
        };
        world.seen.crashes += 1;
        if world.random.one_in(4) {
            world.disk.kill();
        } else {
            let mut random = world.random.clone();
            world.disk.crash(&mut random);
            world.random = random;
        }
    }
    let life = Life::begin(&mut world, true)?;
    life.ok_or("the disk stopped in the calm phase")?.finish()?;
    check_end(&world)?;
    if let Some((disk, targets)) = yesterday {
        check_yesterday(&mut world, &disk, &targets)?;
    }
    Ok(world.seen)
}

/// Every row once, in the order of its partition, in each target that it goes to; the state is what the rows make.
fn check_end(world: &World) -> Result<(), String> {
    let (_, recovered) = World::open(&world.disk.fork())?;
    let meta = Meta::decode(recovered.meta.as_deref().unwrap_or_default());
    for (sink, target) in world.targets.iter().enumerate() {
        let mut found = target.rows.clone();
        for partition in 0..meta.positions.len() as u64 {
            let offsets: Vec<u64> = found.iter().filter(|row| row.0 == partition).map(|row| row.1).collect();
            if !offsets.is_sorted() {
                return Err(format!("sink {sink}: rows of partition {partition} are out of order"));
            }
        }
        found.sort_unstable();
        let expected: Vec<Row> = rows_before(&meta.positions).filter(|row| goes_to(*row, sink)).collect();
        if found != expected {
            return Err(format!("sink {sink} holds {} rows, {} are due", found.len(), expected.len()));
        }
    }
    let state = load(recovered.state)?;
    if state == Counts::of(&meta.positions) { Ok(()) } else { Err("the state is not what the rows make".into()) }
}

/// # Errors
/// The store's, as text.
pub fn load(state: weir_state::RecoveredState) -> Result<Counts, String> {
    let groups = state.load(1, |_| weir_state::KeyGroupEntries::default()).map_err(|error| error.to_string())?;
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let entries = groups.into_iter().flat_map(|group| group.0);
    Ok(Counts(entries.map(|((_, key), value)| (number(&key), number(&value))).collect()))
}

/// A copy of the state from before must not write to today's targets, nor today's state to a copy of the targets.
fn check_yesterday(world: &mut World, disk: &SimDisk, targets: &[Target; SINKS]) -> Result<(), String> {
    world.seen.refused_ahead += refusals(disk, &world.targets, |held, durable, _| held > durable)?;
    world.seen.refused_behind += refusals(&world.disk.fork(), targets, |held, _, acked| held < acked)?;
    Ok(())
}

/// Starts a protocol on a disk, tells it what the targets hold, and compares what it refuses with what it must.
fn refusals(disk: &SimDisk, targets: &[Target; SINKS], must: impl Fn(u64, u64, u64) -> bool) -> Result<u64, String> {
    let (_, recovered) = World::open(disk)?;
    let meta = Meta::decode(recovered.meta.as_deref().unwrap_or_default());
    let sinks = (0..SINKS).map(|sink| (meta.acked[sink], Vec::new())).collect();
    let (mut protocol, _) = Protocol::new(Limits::default(), recovered.last_epoch, sinks);
    let mut refused = 0;
    for (sink, target) in targets.iter().enumerate().filter(|(_, target)| target.generation > 0) {
        let effects = protocol.step(Input::Recovered { sink, position: SinkPosition::Epoch(target.epoch) });
        let is_refused = effects.iter().any(|effect| matches!(effect, Effect::Refuse { .. }));
        if must(target.epoch, recovered.last_epoch, meta.acked[sink]) && !is_refused {
            let (held, durable) = (target.epoch, recovered.last_epoch);
            return Err(format!("sink {sink} holds epoch {held}, the state ends at {durable}: not refused"));
        }
        refused += u64::from(is_refused);
    }
    Ok(refused)
}

/// Whether a sink exposes an entry only when it is told to, or by chance.
pub fn gathers(sink: usize) -> bool {
    sink == GATHERING
}
