//! A scripted answerer behind the step: late, out of order, failing, silent.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use weir_stream::{Changes, Origin, Reject};

use super::*;

/// Keeps what it was asked until the test answers.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Vec<Option<(Batch, Reply)>>>>);

impl Answerer for Scripted {
    fn ask(&mut self, batch: Batch, reply: Reply) {
        self.0.lock().unwrap().push(Some((batch, reply)));
    }
}

impl Scripted {
    fn asked(&self, number: usize) -> (Batch, Reply) {
        self.0.lock().unwrap()[number].take().expect("asked and not yet answered")
    }

    /// Gives batch `number` back as it came.
    fn answer(&self, number: usize) {
        let (batch, reply) = self.asked(number);
        let mut outputs = Outputs::default();
        outputs.push(0, batch);
        reply.answer(Ok(outputs));
    }
}

fn batch(values: &[i64]) -> Batch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    Batch {
        columns: RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec()))]).unwrap(),
        event_times_us: vec![0; values.len()].into(),
        watermarks_us: vec![0; values.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

struct Bench {
    script: Scripted,
    waiting: Waiting,
    woken: Arc<AtomicUsize>,
    now_ms: Arc<AtomicU64>,
}

fn bench(limits: WaitingLimits) -> Bench {
    let (script, woken, now_ms) = (Scripted::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let (wakes, clock) = (Arc::clone(&woken), Arc::clone(&now_ms));
    let waker: Waker = Arc::new(move || _ = wakes.fetch_add(1, Ordering::Relaxed));
    let clock: Monotonic = Arc::new(move || clock.load(Ordering::Relaxed) * 1_000_000);
    Bench { waiting: Waiting::new(Box::new(script.clone()), limits, waker, clock), script, woken, now_ms }
}

impl Bench {
    /// Tickets and values of everything that can be taken now.
    fn take_all(&mut self) -> Vec<(u64, Vec<i64>)> {
        let mut taken = Vec::new();
        loop {
            let mut out = Outputs::default();
            let Some(ticket) = self.waiting.take(&mut out).unwrap() else { return taken };
            let values = |batch: &Batch| batch.columns.column(0).as_primitive::<Int64Type>().values().to_vec();
            taken.push((ticket, out.batches.iter().flat_map(|(_, batch)| values(batch)).collect()));
        }
    }
}

#[test]
fn answers_come_out_in_the_order_of_their_batches_whenever_they_arrive() {
    let mut bench = bench(WaitingLimits::default());
    (1..=3).for_each(|ticket| bench.waiting.ask(batch(&[ticket as i64 * 10]), ticket));
    assert_eq!((bench.waiting.oldest(), bench.waiting.newest()), (Some(1), Some(3)));
    bench.script.answer(2);
    bench.script.answer(1);
    assert_eq!(bench.take_all(), []);
    bench.script.answer(0);
    assert_eq!(bench.take_all(), [(1, vec![10]), (2, vec![20]), (3, vec![30])]);
    assert!(bench.waiting.is_settled());
    assert_eq!(bench.woken.load(Ordering::Relaxed), 3);
}

#[test]
fn what_is_outstanding_is_bounded_in_batches_and_in_bytes() {
    let mut of_batches = bench(WaitingLimits { batches: 2, ..WaitingLimits::default() });
    of_batches.waiting.ask(batch(&[1]), 1);
    assert!(of_batches.waiting.has_room());
    of_batches.waiting.ask(batch(&[2]), 2);
    assert!(!of_batches.waiting.has_room());
    of_batches.script.answer(0);
    assert!(!of_batches.waiting.has_room(), "an answer that nobody took still holds its place");
    assert_eq!(of_batches.take_all(), [(1, vec![1])]);
    assert!(of_batches.waiting.has_room());

    let mut of_bytes = bench(WaitingLimits { bytes: batch(&[1, 2]).byte_size(), ..WaitingLimits::default() });
    of_bytes.waiting.ask(batch(&[1, 2]), 1);
    assert!(!of_bytes.waiting.has_room());
    of_bytes.script.answer(0);
    of_bytes.take_all();
    assert!(of_bytes.waiting.has_room());
}

#[test]
fn rejects_come_with_the_rows_of_their_batch() {
    let mut bench = bench(WaitingLimits::default());
    bench.waiting.ask(batch(&[1, 2]), 7);
    let (rows, reply) = bench.script.asked(0);
    let mut outputs = Outputs::default();
    outputs.reject("lookup", &rows, vec![Reject::new(1, "not-there", "no row of key 2")]).unwrap();
    outputs.push(0, rows.take(&[0]).unwrap());
    reply.answer(Ok(outputs));
    let mut out = Outputs::default();
    assert_eq!(bench.waiting.take(&mut out).unwrap(), Some(7));
    assert_eq!((out.batches[0].1.rows(), out.rejects.len(), &*out.rejects[0].code), (1, 1, "not-there"));
}

#[test]
fn a_failed_answer_fails_the_step_in_its_turn() {
    let mut bench = bench(WaitingLimits::default());
    (1..=2).for_each(|ticket| bench.waiting.ask(batch(&[1]), ticket));
    let (_, reply) = bench.script.asked(1);
    reply.answer(Err(StepFault::Outside { message: "no such table".into(), next: "make it".into() }));
    assert_eq!(bench.take_all(), []);
    bench.script.answer(0);
    let mut out = Outputs::default();
    assert_eq!(bench.waiting.take(&mut out).unwrap(), Some(1));
    assert_eq!(bench.waiting.take(&mut out).unwrap_err().to_string(), "no such table");
}

#[test]
fn an_answerer_that_ends_without_an_answer_fails_the_step() {
    let mut bench = bench(WaitingLimits::default());
    bench.waiting.ask(batch(&[1]), 1);
    drop(bench.script.asked(0));
    let fault = bench.waiting.take(&mut Outputs::default()).unwrap_err();
    assert!(fault.to_string().ends_with("ended without an answer"), "{fault}");
    assert_eq!(bench.woken.load(Ordering::Relaxed), 1);
}

#[test]
fn an_answer_that_never_comes_fails_the_step_after_the_time_that_it_may_take() {
    let mut bench = bench(WaitingLimits { answer_ms: 1000, ..WaitingLimits::default() });
    bench.now_ms.store(5000, Ordering::Relaxed);
    (1..=2).for_each(|ticket| bench.waiting.ask(batch(&[1]), ticket));
    bench.now_ms.store(5999, Ordering::Relaxed);
    bench.script.answer(0);
    assert_eq!(bench.take_all().len(), 1, "the second's time begins when it is the oldest");
    bench.now_ms.store(6998, Ordering::Relaxed);
    assert_eq!(bench.take_all(), []);
    bench.now_ms.store(6999, Ordering::Relaxed);
    let fault = bench.waiting.take(&mut Outputs::default()).unwrap_err();
    assert_eq!(fault.to_string(), "no answer to a batch within 1000 ms");
}

#[test]
fn a_step_that_is_dropped_forgets_what_is_outstanding() {
    let mut bench = bench(WaitingLimits::default());
    bench.waiting.ask(batch(&[1]), 1);
    let (_, reply) = bench.script.asked(0);
    assert!(!reply.is_forgotten());
    drop(bench.waiting);
    assert!(reply.is_forgotten());
    reply.answer(Ok(Outputs::default()));
}

#[test]
fn tickets_that_come_out_of_order_are_still_the_oldest_and_the_newest() {
    let mut bench = bench(WaitingLimits::default());
    [5, 3].into_iter().for_each(|ticket| bench.waiting.ask(batch(&[1]), ticket));
    assert_eq!((bench.waiting.oldest(), bench.waiting.newest()), (Some(3), Some(5)));
}
