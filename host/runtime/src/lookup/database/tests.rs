//! A scripted database behind the step: away, back, away for good, wrong.

use std::sync::mpsc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use weir_operators::lookup::AnswerCache;
use weir_operators::{LookupKind, RowFormat, Waiting, WaitingLimits};
use weir_stream::{Changes, Origin};

use super::*;

const BOUND: Duration = Duration::from_secs(30);

type Said = Result<Vec<AnsweredRow>, SourceError>;

/// Answers what the test says, by the number of the question; tells when it is dropped.
struct Scripted<F> {
    script: F,
    asked: usize,
    _dropped: mpsc::Sender<()>,
}

impl<F: FnMut(usize) -> Said + Send> TableReader for Scripted<F> {
    fn ask(&mut self, _keys: &[ArrayRef]) -> Said {
        self.asked += 1;
        (self.script)(self.asked)
    }

    fn target(&self) -> &str {
        "shop-db"
    }
}

struct Bench {
    waiting: Waiting,
    woken: mpsc::Receiver<()>,
    dropped: mpsc::Receiver<()>,
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>()))
}

fn board() -> Arc<StatusBoard> {
    Arc::new(StatusBoard::new("shop".into(), "here".into()))
}

fn bench(board: &Arc<StatusBoard>, script: impl FnMut(usize) -> Said + Send + 'static) -> Bench {
    let (input, city) = (schema(&[("n", DataType::Int64)]), ("city", DataType::Utf8));
    let output = schema(&[("n", DataType::Int64), city.clone()]);
    let values = RowFormat::new(&schema(&[city])).unwrap();
    let cache = AnswerCache::new(0, 0);
    let lookup = RemoteLookup::new(&["n".into()], LookupKind::Left, &input, &output).unwrap();
    let table = RemoteTable::new(values, cache);
    let (dropping, dropped) = mpsc::channel();
    let reader = Box::new(Scripted { script, asked: 0, _dropped: dropping });
    let place: Board = Arc::new(Mutex::new(Some(Arc::clone(board))));
    let desk = Desk::new(&"placed".into(), reader, table, false, place).unwrap();
    let answerer = DatabaseAnswerer::spawn(desk, lookup).unwrap();
    let (wake, woken) = mpsc::channel();
    let wake = Mutex::new(wake);
    let waker: weir_stream::source::Waker = Arc::new(move || _ = wake.lock().unwrap().send(()));
    let waiting = Waiting::new(Box::new(answerer), WaitingLimits::default(), waker, Arc::new(|| 0));
    Bench { waiting, woken, dropped }
}

fn batch(numbers: &[i64]) -> Batch {
    let column = Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef;
    Batch {
        columns: RecordBatch::try_new(schema(&[("n", DataType::Int64)]), vec![column]).unwrap(),
        event_times_us: vec![0; numbers.len()].into(),
        watermarks_us: vec![0; numbers.len()].into(),
        origin: Origin::Step("before".into()),
        changes: Changes::Inserts,
    }
}

fn row(key: usize, row: &str) -> AnsweredRow {
    AnsweredRow { key, row: row.into() }
}

impl Bench {
    /// What became of the batch that was asked about.
    fn answer(&mut self) -> Result<Outputs, StepFault> {
        self.woken.recv_timeout(BOUND).expect("an answer in time");
        let mut out = Outputs::default();
        self.waiting.take(&mut out).map(|ticket| {
            assert_eq!(ticket, Some(7));
            out
        })
    }
}

fn cities(out: &Outputs) -> Vec<Option<String>> {
    let column = |batch: &Batch| {
        let cities = batch.columns.column(1).as_string::<i32>();
        (0..cities.len()).map(|row| cities.is_valid(row).then(|| cities.value(row).to_owned())).collect::<Vec<_>>()
    };
    out.batches.iter().flat_map(|(_, batch)| column(batch)).collect()
}

#[test]
fn a_database_that_is_away_is_asked_again_until_it_answers_and_rows_wait_meanwhile() {
    let board = board();
    let seen = Arc::clone(&board);
    let mut bench = bench(&board, move |question| match question {
        1 => Err(SourceError::Retry("shop-db: connection refused".into())),
        _ => {
            let told = seen.lookups.is_waited_for();
            assert_eq!(told.as_deref(), Some("look-up `placed`: shop-db: connection refused; waiting for it"));
            Ok(vec![row(0, r#"{"city":"Bonn"}"#)])
        }
    });
    bench.waiting.ask(batch(&[1, 2, 1]), 7);
    let out = bench.answer().unwrap();
    assert_eq!(cities(&out), [Some("Bonn".to_owned()), None, Some("Bonn".to_owned())]);
    assert_eq!(board.lookups.is_waited_for(), None);
}

#[test]
fn a_stop_gives_up_rows_that_wait_for_a_database() {
    let board = board();
    board.state(PipelineState::Stopping);
    let mut bench = bench(&board, |_| Err(SourceError::Retry("away".into())));
    let began = Instant::now();
    bench.waiting.ask(batch(&[1]), 7);
    let fault = bench.answer().expect_err("nothing was answered");
    assert!(began.elapsed() >= STOP_PATIENCE);
    assert_eq!(fault.to_string(), "shop-db is away, and the open epoch cannot be finished");
}

#[test]
fn the_thread_ends_when_nobody_waits_any_more() {
    let Bench { mut waiting, dropped, .. } = bench(&board(), |_| Err(SourceError::Retry("away".into())));
    waiting.ask(batch(&[1]), 7);
    drop(waiting);
    assert_eq!(dropped.recv_timeout(BOUND), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn what_is_no_row_costs_its_key_alone() {
    let large = format!(r#"{{"city":"{}"}}"#, "x".repeat(MAX_ROW_BYTES));
    let mut bench = bench(&board(), move |_| {
        let twice = [row(1, r#"{"city":"a"}"#), row(1, r#"{"city":"b"}"#)];
        Ok([row(0, r#"{"city":[]}"#), row(2, &large), row(3, r#"{"city":"Bonn"}"#)].into_iter().chain(twice).collect())
    });
    bench.waiting.ask(batch(&[10, 11, 12, 13, 14]), 7);
    let out = bench.answer().unwrap();
    assert_eq!(cities(&out), [Some("Bonn".to_owned()), None]);
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let expected = [
        "the table's row of this key: field `city`: expected utf8, found []",
        "the table has several rows of this key",
        "the table's row of this key has 1048587 bytes",
    ];
    assert_eq!(reasons, expected);
}
