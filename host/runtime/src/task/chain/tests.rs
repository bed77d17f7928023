//! Steps that answer later, in a chain and under the task that owns it: what goes on when, and what waits behind it.

use std::sync::Mutex;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use crossbeam_channel::{Receiver, unbounded};
use weir_codecs::{Decoded, Decoder};
use weir_operators::waiting::{Answerer, Reply};
use weir_operators::{KeyEncoder, WaitingLimits};
use weir_state::{RealDisk, Spill};
use weir_stream::time::NO_WATERMARK;
use weir_stream::{Changes, Origin, PartitionReader, Poll, SinkData, SourceError, SourceRecords};

use super::*;
use crate::channel::{Channel, Message, Wake};
use crate::clock::Clock;
use crate::shared::TaskEvent;
use crate::state_budget::StateBudget;
use crate::status::PartitionMeter;
use crate::task::source::ReadState;
use crate::task::{EventTimeAssigner, EventTimeSpec, Exchange, SinkBuffer, SourceTask, TimeOrigin};
use crate::worker::{Activity, Task};

/// Keeps what it was asked until the test answers.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Vec<Option<(Batch, Reply)>>>>);

impl Answerer for Scripted {
    fn ask(&mut self, batch: Batch, reply: Reply) {
        self.0.lock().unwrap().push(Some((batch, reply)));
    }
}

impl Scripted {
    fn take(&self, number: usize) -> (Batch, Reply) {
        self.0.lock().unwrap()[number].take().expect("asked and not yet answered")
    }

    /// Gives batch `number` back as it came.
    fn answer(&self, number: usize) {
        let (batch, reply) = self.take(number);
        let mut outputs = Outputs::default();
        outputs.push(0, batch);
        reply.answer(Ok(outputs));
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn batch(values: &[i64]) -> Batch {
    Batch {
        columns: RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap(),
        event_times_us: vec![0; values.len()].into(),
        watermarks_us: vec![NO_WATERMARK; values.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

fn values(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn node(script: &Scripted, limits: WaitingLimits, targets: Vec<Target>) -> Node {
    let (waker, clock) = (Arc::new(|| {}), Arc::new(|| 0));
    let waiting = Waiting::new(Box::new(script.clone()), limits, waker, clock);
    Node { id: "ask".into(), step: Step::Waiting(Box::new(waiting)), meter: Arc::default(), targets: vec![targets] }
}

fn shared() -> (Shared, Receiver<TaskEvent>) {
    let (events, events_in) = unbounded();
    let budget = StateBudget::new(u64::MAX, Spill::new(Arc::new(RealDisk), "unused".into()), false);
    (Shared::new(Vec::new(), events, Clock::machine(), budget, 1), events_in)
}

/// A chain's way out: an exchange to one keyed task.
fn exchange() -> (TaskOutput, Arc<Channel>) {
    let channel = Channel::new(1 << 20, Wake::default(), Wake::default());
    let keys = KeyEncoder::new(&[("n".to_owned(), "n".to_owned())], &schema(), 1);
    let keys = keys.unwrap_or_else(|(_, error)| panic!("{error}"));
    let channels = vec![Arc::clone(&channel)];
    let exchange = Exchange { stage: "keyed".into(), keys, key_groups: 1, channels, outputs: Outputs::default() };
    (TaskOutput::new("p".into(), Default::default(), vec![exchange]), channel)
}

fn sink() -> TaskOutput {
    TaskOutput::new("p".into(), [(0, SinkBuffer::rows())].into(), Vec::new())
}

/// Everything in the channel as text.
fn received(channel: &Channel) -> Vec<String> {
    let text = |message| match message {
        Message::Rows(rows) => format!("{:?}", values(&rows.batch.columns)),
        Message::Time(time) => format!("time {}", time.watermark_us),
        Message::Barrier(barrier) => format!("barrier {}", barrier.id),
    };
    std::iter::from_fn(|| channel.receive()).map(text).collect()
}

fn at(watermark_us: i64) -> InputTime {
    InputTime { watermark_us, idle: false }
}

#[test]
fn rows_go_on_in_their_order_and_event_time_waits_behind_them() {
    let ((shared, _events), script) = (shared(), Scripted::default());
    let (mut out, channel) = exchange();
    let asks = node(&script, WaitingLimits::default(), vec![Target::Exchange(0)]);
    let mut chain = Chain::new(vec![asks], vec![Target::Node(0)]);
    chain.send_time(at(5), &out);
    for (value, time) in [(1, 10), (2, 20), (3, 30)] {
        chain.run(batch(&[value]), &mut out, &shared).unwrap();
        chain.send_time(at(time), &out);
    }
    assert_eq!(received(&channel), ["time 5"]);
    script.answer(1);
    assert!(!chain.take_answers(&mut out, &shared).unwrap());
    assert_eq!(received(&channel), [""; 0]);
    script.answer(0);
    assert!(chain.take_answers(&mut out, &shared).unwrap());
    assert_eq!(received(&channel), ["[1]", "[2]", "time 20"]);
    script.answer(2);
    chain.take_answers(&mut out, &shared).unwrap();
    assert_eq!(received(&channel), ["[3]", "time 30"]);
    chain.send_time(at(40), &out);
    assert_eq!(received(&channel), ["time 40"]);
}

#[test]
fn a_chain_is_settled_only_when_each_of_its_waiting_steps_is() {
    let ((shared, _events), mut out) = (shared(), sink());
    let (first, second) = (Scripted::default(), Scripted::default());
    let limits = WaitingLimits { batches: 2, ..WaitingLimits::default() };
    let small = WaitingLimits { batches: 1, ..WaitingLimits::default() };
    let nodes = vec![node(&first, limits, vec![Target::Node(1)]), node(&second, small, vec![Target::Sink(0)])];
    let mut chain = Chain::new(nodes, vec![Target::Node(0)]);
    chain.run(batch(&[1]), &mut out, &shared).unwrap();
    assert!(chain.has_room() && !chain.is_settled());
    chain.run(batch(&[2]), &mut out, &shared).unwrap();
    assert!(!chain.has_room());
    (0..2).for_each(|number| first.answer(number));
    chain.take_answers(&mut out, &shared).unwrap();
    assert_eq!(second.asked(), 1, "the second step takes no more than it has room for");
    for number in 0..2 {
        assert!(!chain.is_settled());
        second.answer(number);
        chain.take_answers(&mut out, &shared).unwrap();
    }
    assert!(chain.is_settled() && chain.has_room());
    let (outputs, _) = out.seal().unwrap();
    let SinkData::Rows(blocks) = &outputs[0].1 else { panic!("no rows") };
    assert_eq!(values(&blocks[0].rows), [1, 2]);
}

#[test]
fn what_fails_elsewhere_fails_the_task_with_the_next_act() {
    let ((shared, _events), mut out, script) = (shared(), sink(), Scripted::default());
    let mut chain =
        Chain::new(vec![node(&script, WaitingLimits::default(), vec![Target::Sink(0)])], vec![Target::Node(0)]);
    chain.run(batch(&[1]), &mut out, &shared).unwrap();
    script.take(0).1.answer(Err(StepFault::Outside { message: "no table `rates`".into(), next: "make it".into() }));
    let fault = chain.take_answers(&mut out, &shared).unwrap_err();
    assert_eq!(fault.to_string(), "step `ask`: no table `rates`");
    assert!(matches!(fault, TaskFault::Outside { next, .. } if next == "make it"));
}

/// Gives two records, a poll each, and then the end.
struct TwoRecords(i64);

impl PartitionReader for TwoRecords {
    fn poll(&mut self, _: usize, _: usize) -> Result<Poll, SourceError> {
        self.0 += 1;
        if self.0 > 2 {
            return Ok(Poll::End);
        }
        let mut values = weir_stream::PayloadBuilder::default();
        values.push(b"x");
        Ok(Poll::Records(SourceRecords {
            offsets: vec![self.0 - 1],
            timestamps_us: vec![self.0 * 1_000_000],
            timestamp_type: vec![weir_stream::TimestampType::CreateTime],
            values: values.finish(),
            next_offset: self.0,
            ..SourceRecords::default()
        }))
    }
}

/// Each record's offset as a row.
struct Offsets(SchemaRef);

impl Decoder for Offsets {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn decode(&mut self, records: &SourceRecords, range: std::ops::Range<usize>) -> Decoded {
        let offsets = Int64Array::from(records.offsets[range.clone()].to_vec());
        let columns = RecordBatch::try_new(Arc::clone(&self.0), vec![Arc::new(offsets)]).unwrap();
        Decoded { columns, rows: range.map(|row| row as u32).collect(), rejects: Vec::new() }
    }
}

fn source_task(chain: Chain, out: TaskOutput) -> SourceTask {
    let time = EventTimeSpec {
        origin: TimeOrigin::Record,
        optional: false,
        disorder_us: 0,
        max_future_us: i64::MAX / 2,
        max_jump_us: i64::MAX / 2,
        idle_after_us: None,
        alignment_us: None,
    };
    SourceTask {
        number: 0,
        source: "events".into(),
        partition: 0,
        reader: Box::new(TwoRecords(0)),
        decoder: Box::new(Offsets(schema())),
        time: EventTimeAssigner::new(time, NO_WATERMARK, i64::MIN),
        chain,
        out,
        meter: Arc::default(),
        partition_meter: Arc::new(PartitionMeter::new("events".into(), 0, None)),
        idle_after: None,
        alignment_us: None,
        epoch_rows: 1_000,
        state: ReadState::new(None, Duration::ZERO),
    }
}

fn barrier(id: u64, last: bool) -> Barrier {
    Barrier { id, last, snapshot: None, swaps: Vec::new(), watched: Vec::new(), reach: None }
}

#[test]
fn a_barrier_waits_until_all_of_its_epoch_has_been_answered() {
    let ((shared, events), script) = (shared(), Scripted::default());
    let (out, channel) = exchange();
    let asks = node(&script, WaitingLimits::default(), vec![Target::Exchange(0)]);
    let mut task = source_task(Chain::new(vec![asks], vec![Target::Node(0)]), out);
    assert_eq!(task.run(&shared).unwrap(), Activity::Busy);
    shared.inject(barrier(1, false));
    for _ in 0..3 {
        assert_eq!(task.run(&shared).unwrap(), Activity::Idle);
    }
    assert_eq!(script.asked(), 1, "nothing of the next epoch is read in front of the barrier");
    assert!(events.try_recv().is_err());
    script.answer(0);
    assert_eq!(task.run(&shared).unwrap(), Activity::Busy);
    let TaskEvent::Passed { barrier: 1, part } = events.try_recv().unwrap() else { panic!("another event") };
    assert_eq!(part.position.unwrap().position.unwrap().offset, 1);
    let passed = received(&channel);
    assert_eq!((&*passed[0], passed.last().unwrap().as_str()), ("[0]", "barrier 1"));
    assert!(passed[1].starts_with("time "), "time is said before the barrier: {passed:?}");
}

#[test]
fn a_partition_is_not_read_while_too_much_waits() {
    let ((shared, _events), script) = (shared(), Scripted::default());
    let limits = WaitingLimits { batches: 1, ..WaitingLimits::default() };
    let mut task =
        source_task(Chain::new(vec![node(&script, limits, vec![Target::Sink(0)])], vec![Target::Node(0)]), sink());
    assert_eq!(task.run(&shared).unwrap(), Activity::Busy);
    assert_eq!(task.run(&shared).unwrap(), Activity::Idle);
    assert_eq!(script.asked(), 1);
    script.answer(0);
    assert_eq!(task.run(&shared).unwrap(), Activity::Busy);
    assert_eq!(script.asked(), 2);
}

#[test]
fn a_task_that_is_dropped_forgets_what_it_asked() {
    let ((shared, _events), script) = (shared(), Scripted::default());
    let mut task = source_task(
        Chain::new(vec![node(&script, WaitingLimits::default(), vec![Target::Sink(0)])], vec![Target::Node(0)]),
        sink(),
    );
    task.run(&shared).unwrap();
    let (_, reply) = script.take(0);
    drop(task);
    assert!(reply.is_forgotten());
}
