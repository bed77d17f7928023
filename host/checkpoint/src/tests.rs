//! The protocol against a model of log and targets, driven by a seed: inputs come in any order, replies get lost,
//! the log runs full, and the process crashes between any two effects. Then a calm phase must finish everything.

use weir_stream::SinkPosition;

use super::*;

/// splitmix64: enough for a simulator and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

const SINKS: usize = 3;
/// The sink that gathers several entries for one exposure.
const GATHERING: usize = 2;

#[derive(Default)]
struct Target {
    seen: bool,
    /// Epochs whose entries are visible, in the order in which they became so.
    applied: Vec<u64>,
}

/// What survives a crash.
#[derive(Default)]
struct Durable {
    /// Per epoch (its number is index + 1): which sinks it owes, and what was acknowledged when it was written.
    log: Vec<([bool; SINKS], [u64; SINKS])>,
    targets: [Target; SINKS],
}

impl Durable {
    fn entries(&self, sink: usize) -> Vec<u64> {
        (1..=self.log.len() as u64).filter(|epoch| self.log[*epoch as usize - 1].0[sink]).collect()
    }

    fn apply(&mut self, sink: usize, epoch: u64) {
        assert!(self.log.len() as u64 >= epoch, "epoch {epoch} was exposed before it was durable");
        let entries = self.entries(sink);
        let position = entries.iter().position(|entry| *entry == epoch).expect("only owed epochs are exposed");
        let before = position.checked_sub(1).map(|before| entries[before]);
        assert_eq!(self.targets[sink].applied.last().copied(), before, "sink {sink}: entry {epoch} is out of turn");
        self.targets[sink].applied.push(epoch);
    }
}

struct Run<'a> {
    random: &'a mut Random,
    disk: &'a mut Durable,
    protocol: Protocol,
    /// Work that was started and has not answered.
    busy: Vec<Effect>,
    gathered: Vec<u64>,
    sealed: Vec<(u64, SealedEpoch)>,
    paused: bool,
    calm: bool,
}

impl Run<'_> {
    fn start<'a>(random: &'a mut Random, disk: &'a mut Durable, calm: bool) -> Run<'a> {
        let acked = disk.log.last().map_or([0; SINKS], |record| record.1);
        let sinks = (0..SINKS)
            .map(|sink| (acked[sink], disk.entries(sink).into_iter().map(|epoch| (epoch, 10)).collect()))
            .collect();
        let limits = Limits { epoch_interval_us: 10, unexposed_bytes: 60, ..Limits::default() };
        let (protocol, effects) = Protocol::new(limits, disk.log.len() as u64, sinks);
        let mut run =
            Run { random, disk, protocol, busy: Vec::new(), gathered: vec![], sealed: vec![], paused: false, calm };
        run.carry_out(effects);
        run
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::PauseSources => self.paused = true,
                Effect::ResumeSources => self.paused = false,
                Effect::Discard { barrier } => self.sealed.retain(|(sealed, _)| *sealed != barrier),
                Effect::Refuse { sink, refusal } => panic!("sink {sink} was refused: {refusal}"),
                work => self.busy.push(work),
            }
        }
    }

    fn input(&mut self, input: Input) {
        let effects = self.protocol.step(input);
        let undurable = self.sealed.len();
        assert!(undurable <= 3, "{undurable} sealed epochs are not durable");
        self.carry_out(effects);
    }

    /// One thing happens: rows are read, time passes, or something that was started answers.
    fn happen(&mut self, now_us: &mut u64) {
        *now_us += self.random.below(8);
        if !self.paused && !self.random.one_in(3) {
            let rows = self.random.below(3);
            self.input(Input::Progressed { rows, bytes: rows * 10 });
        }
        self.input(Input::Tick { now_us: *now_us });
        if !self.busy.is_empty() {
            let chosen = self.random.below(self.busy.len() as u64) as usize;
            let work = self.busy.remove(chosen);
            self.answer(work);
        }
    }

    fn answer(&mut self, work: Effect) {
        match work {
            Effect::InjectBarrier { barrier, .. } => {
                let owes: Vec<_> = (0..SINKS).filter(|_| !self.random.one_in(3)).map(|sink| (sink, 10)).collect();
                let epoch = SealedEpoch { changed: !owes.is_empty() || self.random.one_in(2), outbox: owes };
                self.sealed.push((barrier, epoch.clone()));
                self.input(Input::Sealed { barrier, epoch });
            }
            Effect::Append { barrier, epoch } => self.append(barrier, epoch),
            Effect::Expose { sink, through } => self.expose(sink, through),
            Effect::Recover { sink } => {
                if !self.calm && self.random.one_in(4) {
                    return self.input(Input::Lost { sink });
                }
                if sink == GATHERING {
                    self.gathered.clear();
                }
                let target = &mut self.disk.targets[sink];
                let position = match (target.applied.last(), target.seen) {
                    (None, false) => SinkPosition::Absent,
                    (last, _) => SinkPosition::Epoch(last.copied().unwrap_or(0)),
                };
                target.seen = true;
                self.input(Input::Recovered { sink, position });
            }
            Effect::Flush { sink } => self.flush(sink),
            other => unreachable!("{other:?} is carried out at once"),
        }
    }

    fn append(&mut self, barrier: u64, epoch: u64) {
        if !self.calm && self.random.one_in(10) {
            return self.input(Input::LogFull { epoch });
        }
        assert_eq!(epoch, self.disk.log.len() as u64 + 1, "epochs are contiguous");
        let position = self.sealed.iter().position(|(sealed, _)| *sealed == barrier).expect("sealed before appended");
        let (_, contents) = self.sealed.remove(position);
        let owes = std::array::from_fn(|sink| contents.outbox.iter().any(|(owed, _)| *owed == sink));
        let acked = std::array::from_fn(|sink| self.protocol.sinks()[sink].exposed());
        self.disk.log.push((owes, acked));
        self.input(Input::Written { epoch });
    }

    fn expose(&mut self, sink: usize, through: u64) {
        let sent = self.protocol.sinks()[sink].sent();
        let entries: Vec<u64> = self.disk.entries(sink).into_iter().filter(|epoch| *epoch > sent).collect();
        for epoch in entries.into_iter().filter(|epoch| *epoch <= through) {
            if !self.calm && self.random.one_in(8) {
                return self.input(Input::Lost { sink });
            }
            match sink {
                GATHERING => self.gathered.push(epoch),
                _ => self.disk.apply(sink, epoch),
            }
        }
        if !self.calm && self.random.one_in(8) {
            return self.input(Input::Lost { sink });
        }
        self.input(Input::Accepted { sink, through });
        if sink != GATHERING {
            self.input(Input::Exposed { sink, through });
        } else if self.random.one_in(3) {
            self.flush(sink);
        }
    }

    fn flush(&mut self, sink: usize) {
        if sink != GATHERING {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        for epoch in &gathered {
            self.disk.apply(sink, *epoch);
        }
        if let Some(through) = gathered.last().copied() {
            self.input(Input::Exposed { sink, through });
        }
    }
}

fn simulate(seed: u64) {
    let mut random = Random(seed);
    let mut disk = Durable::default();
    for _ in 0..8 {
        let (mut steps, mut now_us) = (random.below(120), 0);
        let mut run = Run::start(&mut random, &mut disk, false);
        while steps > 0 {
            run.happen(&mut now_us);
            steps -= 1;
        }
    }
    let mut now_us = 0;
    let mut run = Run::start(&mut random, &mut disk, true);
    for _ in 0..50 {
        run.happen(&mut now_us);
    }
    run.input(Input::Stop);
    let mut budget = 10_000;
    while !run.protocol.all_exposed() {
        run.happen(&mut now_us);
        budget -= 1;
        assert!(budget > 0, "the calm phase does not end: {:?}", run.protocol);
    }
    for sink in 0..SINKS {
        assert_eq!(disk.targets[sink].applied, disk.entries(sink), "sink {sink} misses or repeats entries");
    }
}

#[test]
fn whatever_crashes_every_entry_is_exposed_once_and_in_order() {
    let first: u64 = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let seeds: u64 = std::env::var("WEIR_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2000);
    for seed in first..first + seeds {
        if let Err(panic) = std::panic::catch_unwind(|| simulate(seed)) {
            eprintln!("failed with WEIR_SEED={seed} WEIR_SEEDS=1");
            std::panic::resume_unwind(panic);
        }
    }
}

fn started(acked: u64, durable: u64) -> Protocol {
    Protocol::new(Limits::default(), durable, vec![(acked, (acked + 1..=durable).map(|epoch| (epoch, 1)).collect())]).0
}

fn refusal(acked: u64, durable: u64, position: SinkPosition) -> Option<Refusal> {
    started(acked, durable).step(Input::Recovered { sink: 0, position }).into_iter().find_map(|effect| match effect {
        Effect::Refuse { refusal, .. } => Some(refusal),
        _ => None,
    })
}

#[test]
fn a_target_that_lost_epochs_is_refused() {
    assert_eq!(refusal(3, 5, SinkPosition::Epoch(2)), Some(Refusal::TargetBehind { held: 2, acked: 3 }));
    assert_eq!(refusal(3, 5, SinkPosition::Absent), Some(Refusal::TargetForgot { acked: 3 }));
}

#[test]
fn a_state_older_than_the_target_is_refused() {
    assert_eq!(refusal(3, 5, SinkPosition::Epoch(6)), Some(Refusal::StateBehind { held: 6, durable: 5 }));
}

#[test]
fn a_target_between_acknowledged_and_durable_gets_what_it_misses() {
    let effects = started(3, 5).step(Input::Recovered { sink: 0, position: SinkPosition::Epoch(4) });
    assert_eq!(effects, [Effect::Expose { sink: 0, through: 5 }]);
}

#[test]
fn a_sink_that_is_behind_gets_what_it_is_owed_at_once_as_far_as_the_bytes_go() {
    let limits = Limits { exposed_together_bytes: 25, ..Limits::default() };
    let owed = vec![(2, 10), (3, 10), (6, 10), (7, 90), (8, 10)];
    let (mut protocol, _) = Protocol::new(limits, 8, vec![(1, owed)]);
    let mut handed = |input: Input| match protocol.step(input)[..] {
        [Effect::Expose { sink: 0, through }] => through,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(handed(Input::Recovered { sink: 0, position: SinkPosition::Epoch(1) }), 3);
    assert_eq!(handed(Input::Accepted { sink: 0, through: 3 }), 6, "the next is larger than all that may go together");
    assert_eq!(handed(Input::Accepted { sink: 0, through: 6 }), 7);
    assert_eq!(handed(Input::Accepted { sink: 0, through: 7 }), 8);
}

#[test]
fn an_epoch_without_change_gets_no_number() {
    let mut protocol = started(0, 0);
    let barrier = |effects: Vec<Effect>| match effects[..] {
        [Effect::InjectBarrier { barrier, last: false }] => barrier,
        ref other => panic!("{other:?}"),
    };
    let first = barrier(protocol.step(Input::BarrierWanted));
    let effects = protocol.step(Input::Sealed { barrier: first, epoch: SealedEpoch::default() });
    assert_eq!(effects, [Effect::Discard { barrier: first }]);
    let second = barrier(protocol.step(Input::BarrierWanted));
    let changed = SealedEpoch { changed: true, outbox: vec![] };
    let effects = protocol.step(Input::Sealed { barrier: second, epoch: changed });
    assert_eq!(effects, [Effect::Append { barrier: second, epoch: 1 }]);
}

#[test]
fn nothing_read_means_no_barrier_however_long_it_lasts() {
    let mut protocol = started(0, 0);
    assert_eq!(protocol.step(Input::Tick { now_us: 1 << 40 }), []);
}

#[test]
fn an_epoch_is_sealed_by_time_rows_or_bytes() {
    let limits = Limits { epoch_interval_us: 100, epoch_rows: 10, epoch_bytes: 1000, ..Limits::default() };
    let injected = |inputs: &[Input]| {
        let mut protocol = Protocol::new(limits, 0, vec![]).0;
        inputs.iter().any(|input| !protocol.step(input.clone()).is_empty())
    };
    assert!(!injected(&[Input::Progressed { rows: 9, bytes: 999 }, Input::Tick { now_us: 99 }]));
    assert!(injected(&[Input::Progressed { rows: 1, bytes: 1 }, Input::Tick { now_us: 100 }]));
    assert!(injected(&[Input::Progressed { rows: 10, bytes: 1 }]));
    assert!(injected(&[Input::Progressed { rows: 1, bytes: 1000 }]));
}

#[test]
fn what_a_sink_refuses_behind_the_last_barrier_gets_an_epoch_of_its_own() {
    let (mut protocol, _) = Protocol::new(Limits::default(), 0, vec![(0, vec![])]);
    protocol.step(Input::Recovered { sink: 0, position: SinkPosition::Absent });
    assert_eq!(protocol.step(Input::Stop), [Effect::InjectBarrier { barrier: 1, last: true }]);
    protocol.step(Input::Sealed { barrier: 1, epoch: SealedEpoch::default() });
    assert!(protocol.all_exposed());
    let epoch = SealedEpoch { changed: true, outbox: vec![(0, 10)] };
    let effects = protocol.step(Input::Afterwards { epoch });
    assert!(matches!(effects[..], [Effect::Append { epoch: 1, .. }]), "{effects:?}");
    assert!(!protocol.all_durable());
    assert_eq!(protocol.step(Input::Written { epoch: 1 }), [Effect::Expose { sink: 0, through: 1 }]);
    protocol.step(Input::Accepted { sink: 0, through: 1 });
    assert!(!protocol.all_exposed());
    protocol.step(Input::Exposed { sink: 0, through: 1 });
    assert!(protocol.all_exposed());
}
