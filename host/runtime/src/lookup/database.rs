//! A look-up in a database: a desk that asks, waits and answers; of a look-up step, on a thread that each task's batches go
//! to.
//!
//! Invariant: rows never pass a database that is away. It is asked again, with back-off, until there is an answer, the
//! task is gone or the pipeline is told to stop; the batches behind wait, and the sources with them. What the database
//! says is typed by the project's own codec, so that a value of another type is a reject and not a guess.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use crossbeam_channel::{Receiver, Sender, unbounded};
use weir_codecs::{ColumnSource, Decoder, JsonDecoder, JsonLimits};
use weir_connectors::sql::{AnsweredRow, MAX_KEYS_PER_QUESTION, TableReader};
use weir_operators::lookup::{KeyAnswer, Questions, RemoteLookup, RemoteTable};
use weir_operators::{Answerer, Outputs, Reply, RowFormat, StepFault};
use weir_stream::record::NO_TIMESTAMP;
use weir_stream::{Batch, SourceError, SourceRecords, TableFault, TimestampType};

use crate::status::{PipelineState, StatusBoard};

const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// Between two looks at whether anybody still waits.
const GLANCE: Duration = Duration::from_millis(50);

/// A row that is larger, as the database says it, is not looked into.
const MAX_ROW_BYTES: usize = 1 << 20;

/// How long a stop waits for a database that is away.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Where a step says that it waits; none while nothing runs.
pub type Board = Arc<Mutex<Option<Arc<StatusBoard>>>>;

/// The step's end of the thread.
pub struct DatabaseAnswerer(Sender<(Batch, Reply)>);

impl DatabaseAnswerer {
    /// Starts the thread; nothing is connected before the first question.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn spawn(desk: Desk, lookup: RemoteLookup) -> Result<Self, String> {
        let (sender, batches) = unbounded();
        let thread = std::thread::Builder::new().name(format!("look-up {}", desk.label));
        thread.spawn(move || run(desk, &lookup, &batches)).map_err(|error| error.to_string())?;
        Ok(Self(sender))
    }
}

impl Answerer for DatabaseAnswerer {
    fn ask(&mut self, batch: Batch, reply: Reply) {
        // A thread that is gone has dropped its end: then so is the reply, which says so itself.
        let _ = self.0.send((batch, reply));
    }
}

fn run(mut desk: Desk, lookup: &RemoteLookup, batches: &Receiver<(Batch, Reply)>) {
    for (batch, reply) in batches {
        let mut out = Outputs::default();
        match answer(&mut desk, lookup, batch, &reply, &mut out) {
            Ok(true) => reply.answer(Ok(out)),
            Ok(false) => return,
            Err(fault) => reply.answer(Err(fault)),
        }
    }
}

/// False: nobody waits for the answer any more.
fn answer(
    desk: &mut Desk,
    lookup: &RemoteLookup,
    batch: Batch,
    reply: &Reply,
    out: &mut Outputs,
) -> Result<bool, StepFault> {
    let now_ns = desk.now_ns();
    let mut pending = lookup.begin(&mut desk.table, batch, now_ns)?;
    let answered = desk.answer(&mut pending.questions, &|| reply.is_forgotten());
    if !answered.map_err(|TableFault { message, next }| StepFault::Outside { message, next })? {
        return Ok(false);
    }
    lookup.finish(&desk.table, pending, out).map(|()| true)
}

/// One connection, with what is known of the table behind it.
pub struct Desk {
    /// The step or, of a plugin, its table.
    label: Arc<str>,
    reader: Box<dyn TableReader>,
    pub(super) table: RemoteTable,
    rows: Rows,
    several: bool,
    board: Board,
    began: Instant,
}

impl Desk {
    /// Nothing is connected before the first question.
    ///
    /// # Errors
    /// When there is no codec for the columns.
    pub fn new(
        label: &Arc<str>,
        reader: Box<dyn TableReader>,
        table: RemoteTable,
        several: bool,
        board: Board,
    ) -> Result<Self, String> {
        let rows = Rows::new(table.schema())?;
        Ok(Self { label: Arc::clone(label), reader, table, rows, several, board, began: Instant::now() })
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Asks what is not known. False: nobody waits for the answer any more.
    ///
    /// # Errors
    /// When there will be no answer.
    pub(super) fn answer(
        &mut self,
        questions: &mut Questions,
        is_forgotten: &dyn Fn() -> bool,
    ) -> Result<bool, TableFault> {
        for first in (0..questions.missing()).step_by(MAX_KEYS_PER_QUESTION) {
            let count = MAX_KEYS_PER_QUESTION.min(questions.missing() - first);
            let keys: Vec<ArrayRef> = questions.asked_with().iter().map(|array| array.slice(first, count)).collect();
            let Some(found) = self.ask(&keys, is_forgotten)? else { return Ok(false) };
            self.learn(questions, first, count, found);
        }
        Ok(true)
    }

    /// Asks until there is an answer. None: nobody waits for it any more.
    fn ask(
        &mut self,
        keys: &[ArrayRef],
        is_forgotten: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<AnsweredRow>>, TableFault> {
        let (mut back_off, mut stopping) = (FIRST_BACK_OFF, None);
        loop {
            match self.reader.ask(keys) {
                Ok(found) => {
                    self.say(None);
                    return Ok(Some(found));
                }
                Err(SourceError::Fatal { message, next }) => return Err(TableFault { message, next }),
                Err(SourceError::Retry(message)) => self.say(Some(format!("{message}; waiting for it"))),
            }
            let until = Instant::now() + back_off;
            while Instant::now() < until {
                if is_forgotten() {
                    return Ok(None);
                }
                if self.is_stopping() && stopping.get_or_insert_with(Instant::now).elapsed() > STOP_PATIENCE {
                    let message = format!("{} is away, and the open epoch cannot be finished", self.reader.target());
                    let next = "start again: what is durable stands, the rest is read again".to_owned();
                    return Err(TableFault { message, next });
                }
                std::thread::sleep(GLANCE);
            }
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        }
    }

    fn learn(&mut self, questions: &mut Questions, first: usize, count: usize, found: Vec<AnsweredRow>) {
        let mut by_key = self.rows.decode(self.table.values(), found);
        let now_ns = self.now_ns();
        for question in 0..count {
            let answer = match by_key.remove(&question) {
                Some(Ok(rows)) => KeyAnswer::of(rows, self.several),
                Some(Err(reason)) => KeyAnswer::Unusable(reason),
                None => KeyAnswer::Rows(Vec::new()),
            };
            self.table.learn(questions, first + question, answer, now_ns);
        }
    }

    pub(super) fn target(&self) -> &str {
        self.reader.target()
    }

    fn with_board<T>(&self, look: impl FnOnce(&StatusBoard) -> T) -> Option<T> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(look)
    }

    fn say(&self, trouble: Option<String>) {
        self.with_board(|board| board.lookups.waits(&self.label, trouble));
    }

    fn is_stopping(&self) -> bool {
        self.with_board(|board| board.status().state == PipelineState::Stopping).unwrap_or(false)
    }
}

/// The rows of a key, or why one of them is none.
type KeyRows = Result<Vec<Box<[u8]>>, String>;

/// What the database says, as rows.
struct Rows {
    decoder: JsonDecoder,
}

impl Rows {
    fn new(schema: &SchemaRef) -> Result<Self, String> {
        let sources = vec![ColumnSource::Field; schema.fields().len()];
        let limits = JsonLimits { max_record_bytes: MAX_ROW_BYTES, ..JsonLimits::default() };
        let decoder = JsonDecoder::new(Arc::clone(schema), sources, limits).map_err(|error| error.to_string())?;
        Ok(Self { decoder })
    }

    fn decode(&mut self, values: &RowFormat, found: Vec<AnsweredRow>) -> HashMap<usize, KeyRows> {
        let mut by_key: HashMap<usize, KeyRows> = HashMap::new();
        let (small, large): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.row.len() <= MAX_ROW_BYTES);
        for piece in small.chunks(MAX_KEYS_PER_QUESTION) {
            self.decode_piece(values, piece, &mut by_key);
        }
        for AnsweredRow { key, row } in large {
            by_key.insert(key, Err(format!("the table's row of this key has {} bytes", row.len())));
        }
        by_key
    }

    fn decode_piece(&mut self, values: &RowFormat, found: &[AnsweredRow], by_key: &mut HashMap<usize, KeyRows>) {
        let records = SourceRecords {
            offsets: vec![0; found.len()],
            timestamps_us: vec![NO_TIMESTAMP; found.len()],
            timestamp_type: vec![TimestampType::None; found.len()],
            values: found.iter().map(|answered| answered.row.as_bytes()).collect(),
            ..SourceRecords::default()
        };
        let decoded = self.decoder.decode(&records, 0..found.len());
        let writer = values.writer(&decoded.columns);
        for (row, record) in decoded.rows.iter().enumerate() {
            if let Ok(rows) = by_key.entry(found[*record as usize].key).or_insert_with(|| Ok(Vec::new())) {
                let mut bytes = Vec::new();
                writer.write(row, &mut bytes);
                rows.push(bytes.into());
            }
        }
        for reject in decoded.rejects {
            let key = found[reject.row as usize].key;
            by_key.insert(key, Err(format!("the table's row of this key: {}", reject.reason)));
        }
    }
}

#[cfg(test)]
mod tests;
