//! One life of the process: recover, then feed the protocol with what happens and carry out what it answers, in any order.
//! It does by hand what the runtime's coordinator does with threads.

use std::collections::{BTreeMap, BTreeSet};

use weir_checkpoint::{Effect, Input, Limits, Protocol, SealedEpoch};
use weir_state::{EpochRecord, OutboxEntry, Store, WriteError};

use crate::model::{Counts, KEY_GROUPS, Meta, PARTITIONS, Row, SINKS, decode_rows, encode_rows, goes_to, key};
use crate::target::{Applied, Delivery};
use crate::world::{World, gathers, load};

/// Things that happen before the pipeline must be at its end, once nothing fails any more.
const LIVENESS_BOUND: u32 = 20_000;

const ROWS_PER_READ: u64 = 4;

pub enum End {
    /// All steps were taken.
    Steps,
    /// The disk stopped, or a sync failed: the process ends.
    Stopped,
}

pub struct Life<'a> {
    world: &'a mut World,
    store: Store,
    protocol: Protocol,
    calm: bool,
    /// Behind every row that was read.
    meta: Meta,
    counts: Counts,
    /// Of the open epoch.
    touched: BTreeSet<u64>,
    rows: Vec<Row>,
    /// By barrier, not yet handed to the log; with the meta of its end.
    sealed: BTreeMap<u64, (EpochRecord, Meta, Counts)>,
    durable: Counts,
    owed: [BTreeMap<u64, Delivery>; SINKS],
    gathered: Vec<Delivery>,
    generation: [u64; SINKS],
    busy: Vec<Effect>,
    paused: bool,
    now_us: u64,
    stopped: bool,
}

impl<'a> Life<'a> {
    /// `None`: the disk stopped meanwhile.
    pub fn begin(world: &'a mut World, calm: bool) -> Result<Option<Self>, String> {
        let (store, recovered) = match World::open(&world.disk) {
            Err(error) if error.contains("has stopped") => return Ok(None),
            opened => opened?,
        };
        if recovered.last_epoch < world.reported {
            return Err(format!("epoch {} was durable, {} is recovered", world.reported, recovered.last_epoch));
        }
        world.reported = recovered.last_epoch;
        let meta = Meta::decode(recovered.meta.as_deref().unwrap_or_default());
        let counts = match load(recovered.state) {
            Err(error) if error.contains("has stopped") => return Ok(None),
            loaded => loaded?,
        };
        if counts != Counts::of(&meta.positions) {
            return Err(format!("at epoch {} the state is not what the rows make", recovered.last_epoch));
        }
        let mut owed: [BTreeMap<u64, Delivery>; SINKS] = Default::default();
        for (sink, owed) in owed.iter_mut().enumerate() {
            match store.read_outbox(sink as u16, meta.acked[sink], usize::MAX) {
                Err(error) if error.to_string().contains("has stopped") => return Ok(None),
                Err(error) => return Err(error.to_string()),
                Ok(items) => owed.extend(items.into_iter().map(|item| {
                    let rows = decode_rows(&item.payload);
                    (item.epoch, Delivery { generation: 0, epoch: item.epoch, previous: item.previous, rows })
                })),
            }
        }
        let pending = |sink: usize| owed[sink].keys().map(|epoch| (*epoch, 10)).collect();
        let sinks = (0..SINKS).map(|sink| (meta.acked[sink], pending(sink))).collect();
        let limits = Limits { epoch_interval_us: 10, unexposed_bytes: 60, ..Limits::default() };
        let (protocol, busy) = Protocol::new(limits, recovered.last_epoch, sinks);
        Ok(Some(Self {
            durable: counts.clone(),
            world,
            store,
            protocol,
            calm,
            meta,
            counts,
            touched: BTreeSet::new(),
            rows: Vec::new(),
            sealed: BTreeMap::new(),
            owed,
            gathered: Vec::new(),
            generation: [0; SINKS],
            busy,
            paused: false,
            now_us: 0,
            stopped: false,
        }))
    }

    pub fn run(&mut self, steps: u64) -> Result<End, String> {
        for _ in 0..steps {
            self.happen()?;
            if self.stopped {
                return Ok(End::Stopped);
            }
        }
        self.leave_ghosts();
        Ok(End::Steps)
    }

    /// The liveness phase: to the end, within a bound.
    pub fn finish(&mut self) -> Result<(), String> {
        for _ in 0..40 {
            self.happen()?;
        }
        self.input(Input::Stop)?;
        for _ in 0..LIVENESS_BOUND {
            if self.stopped {
                return Err("something failed in the calm phase".into());
            }
            if self.protocol.all_exposed() {
                return Ok(());
            }
            self.happen()?;
        }
        Err(format!("not at its end after {LIVENESS_BOUND} steps: {:?}", self.protocol))
    }

    /// What is with a sink when the process ends may still arrive, now or after the next start.
    fn leave_ghosts(&mut self) {
        for effect in std::mem::take(&mut self.busy) {
            if let Effect::Expose { sink, through } = effect
                && self.world.random.one_in(2)
            {
                let deliveries = self.handed_over(sink, through).into_iter().map(|delivery| (sink, delivery));
                self.world.ghosts.extend(deliveries);
            }
        }
    }

    fn ghosts_arrive(&mut self) {
        if self.world.ghosts.is_empty() || !self.world.random.one_in(3) {
            return;
        }
        let (sink, delivery) = self.world.ghosts.remove(0);
        match self.world.targets[sink].apply(&delivery) {
            Applied::Yes => self.world.seen.late_from_before += 1,
            Applied::Fenced | Applied::OutOfTurn => self.world.seen.fenced += 1,
        }
    }

    /// One thing happens: rows are read, time passes, or something that was started answers.
    fn happen(&mut self) -> Result<(), String> {
        self.ghosts_arrive();
        self.now_us += self.world.random.below(8);
        if !self.paused && !self.world.random.one_in(3) {
            self.read()?;
        }
        if self.world.random.one_in(20) {
            self.input(Input::BarrierWanted)?;
        }
        self.input(Input::Tick { now_us: self.now_us })?;
        if !self.busy.is_empty() {
            let chosen = self.world.random.below(self.busy.len() as u64) as usize;
            let work = self.busy.remove(chosen);
            self.answer(work)?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let partition = self.world.random.below(PARTITIONS as u64);
        let rows = self.world.random.below(ROWS_PER_READ);
        for _ in 0..rows {
            let next = &mut self.meta.positions[partition as usize];
            let row = (partition, *next);
            *next += 1;
            self.counts.add(row);
            self.touched.insert(key(row));
            self.rows.push(row);
        }
        self.input(Input::Progressed { rows, bytes: rows * 10 })
    }

    fn input(&mut self, input: Input) -> Result<(), String> {
        for effect in self.protocol.step(input) {
            match effect {
                Effect::PauseSources => self.paused = true,
                Effect::ResumeSources => self.paused = false,
                Effect::Discard { barrier } => drop(self.sealed.remove(&barrier)),
                Effect::Refuse { sink, refusal } => return Err(format!("sink {sink} was refused: {refusal}")),
                work => self.busy.push(work),
            }
        }
        Ok(())
    }

    fn answer(&mut self, work: Effect) -> Result<(), String> {
        match work {
            Effect::InjectBarrier { barrier, .. } => self.seal(barrier),
            Effect::Append { barrier, epoch } => self.append(barrier, epoch),
            Effect::Expose { sink, through } => self.expose(sink, through),
            Effect::Recover { sink } => self.recover(sink),
            Effect::Flush { sink } => self.flush(sink),
            other => Err(format!("{other:?} is carried out at once")),
        }
    }

    fn seal(&mut self, barrier: u64) -> Result<(), String> {
        let rows = std::mem::take(&mut self.rows);
        let touched = std::mem::take(&mut self.touched);
        let changed = !rows.is_empty();
        self.world.seen.empty_barriers += u64::from(!changed);
        let epoch = self.protocol.assigned() + 1;
        let (mut entries, mut outbox) = (Vec::new(), Vec::new());
        for sink in 0..SINKS {
            let rows: Vec<Row> = rows.iter().copied().filter(|row| goes_to(*row, sink)).collect();
            if rows.is_empty() {
                continue;
            }
            let previous = std::mem::replace(&mut self.meta.newest[sink], epoch);
            // Padded, so that segments fill.
            let mut payload = encode_rows(&rows);
            payload.resize(payload.len() + 7, 0);
            entries.push(OutboxEntry { sink: sink as u16, previous, payload });
            outbox.push((sink, 10));
            self.owed[sink].insert(epoch, Delivery { generation: 0, epoch, previous, rows });
        }
        let record = EpochRecord { epoch, meta: Vec::new(), deltas: self.counts.deltas(touched), outbox: entries };
        self.sealed.insert(barrier, (record, self.meta, self.counts.clone()));
        self.input(Input::Sealed { barrier, epoch: SealedEpoch { changed, outbox } })
    }

    fn append(&mut self, barrier: u64, epoch: u64) -> Result<(), String> {
        let random = &mut self.world.random;
        if !self.calm && random.one_in(12) {
            self.world.disk.set_capacity(Some(self.world.disk.used() + random.below(4_000)));
        }
        if !self.calm && random.one_in(60) {
            self.world.disk.fail_syncs(1);
        }
        let (record, meta, _) = self.sealed.get_mut(&barrier).ok_or("an epoch without contents is appended")?;
        meta.acked = std::array::from_fn(|sink| self.protocol.sinks()[sink].exposed());
        record.meta = meta.encode();
        match self.store.append(record) {
            Ok(()) => {
                self.world.reported = epoch;
                self.world.seen.epochs += 1;
                if let Some((_, _, counts)) = self.sealed.remove(&barrier) {
                    self.durable = counts;
                }
                self.snapshot();
                self.input(Input::Written { epoch })
            }
            Err(error) if error.may_retry() => {
                self.world.seen.full += 1;
                self.world.disk.set_capacity(None);
                self.input(Input::LogFull { epoch })
            }
            Err(error) => {
                self.fail(&error);
                Ok(())
            }
        }
    }

    /// A snapshot when one is due, of what the last durable epoch holds.
    fn snapshot(&mut self) {
        let Some(key_group) = self.store.snapshot_due() else { return };
        debug_assert!(key_group < KEY_GROUPS);
        let sections = self.durable.key_group(key_group);
        match self.store.write_snapshot(key_group, self.store.last_epoch(), &sections) {
            Ok(()) => self.world.seen.snapshots += 1,
            // It is asked for again.
            Err(error) if error.may_retry() => {}
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &WriteError) {
        self.world.seen.failed_syncs += u64::from(matches!(error, WriteError::SyncFailed { .. }));
        self.stopped = true;
    }

    fn trouble(&mut self, chances: u64) -> bool {
        !self.calm && self.world.random.one_in(chances)
    }

    fn recover(&mut self, sink: usize) -> Result<(), String> {
        if self.trouble(4) {
            return self.input(Input::Lost { sink });
        }
        if gathers(sink) {
            self.gathered.clear();
        }
        let (generation, position) = self.world.targets[sink].take_over();
        self.generation[sink] = generation;
        self.input(Input::Recovered { sink, position })?;
        self.acknowledge(sink);
        Ok(())
    }

    /// What a sink gets at once: its entries behind what it has accepted.
    fn handed_over(&self, sink: usize, through: u64) -> Vec<Delivery> {
        let entries = self.owed[sink].range(self.protocol.sinks()[sink].sent() + 1..=through);
        entries.map(|(_, entry)| Delivery { generation: self.generation[sink], ..entry.clone() }).collect()
    }

    fn expose(&mut self, sink: usize, through: u64) -> Result<(), String> {
        let deliveries = self.handed_over(sink, through);
        if deliveries.last().is_none_or(|last| last.epoch != through) {
            return Err("an epoch is exposed that owes its sink nothing".into());
        }
        self.world.seen.exposed_together += u64::from(deliveries.len() > 1);
        for delivery in deliveries {
            // Between two entries too: not every target takes all of them in one transaction.
            if self.trouble(8) {
                return self.input(Input::Lost { sink });
            }
            match gathers(sink) {
                true => self.gathered.push(delivery),
                false => self.deliver(sink, &delivery)?,
            }
        }
        if self.trouble(8) {
            // Applied, and nobody knows.
            self.world.seen.lost_replies += 1;
            return self.input(Input::Lost { sink });
        }
        self.input(Input::Accepted { sink, through })?;
        if !gathers(sink) {
            self.exposed(sink, through)
        } else if self.world.random.one_in(3) {
            self.flush(sink)
        } else {
            Ok(())
        }
    }

    fn deliver(&mut self, sink: usize, delivery: &Delivery) -> Result<(), String> {
        if self.store.last_epoch() < delivery.epoch {
            return Err(format!("sink {sink} gets epoch {}, which is not durable", delivery.epoch));
        }
        let applied = self.world.targets[sink].apply(delivery);
        if applied != Applied::Yes {
            return Err(format!("sink {sink}: entry {} is out of turn: {applied:?}", delivery.epoch));
        }
        if self.trouble(6) {
            // The network delivers it a second time: the guard holds.
            self.world.seen.doubled += 1;
            if self.world.targets[sink].apply(delivery) == Applied::Yes {
                return Err(format!("sink {sink} took epoch {} twice", delivery.epoch));
            }
        }
        Ok(())
    }

    fn flush(&mut self, sink: usize) -> Result<(), String> {
        if !gathers(sink) {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        for delivery in &gathered {
            self.deliver(sink, delivery)?;
        }
        match gathered.last() {
            Some(last) => self.exposed(sink, last.epoch),
            None => Ok(()),
        }
    }

    fn exposed(&mut self, sink: usize, through: u64) -> Result<(), String> {
        self.input(Input::Exposed { sink, through })?;
        self.acknowledge(sink);
        Ok(())
    }

    fn acknowledge(&mut self, sink: usize) {
        let exposed = self.protocol.sinks()[sink].exposed();
        self.owed[sink] = self.owed[sink].split_off(&(exposed + 1));
        self.store.acknowledge(sink as u16, exposed);
    }
}
