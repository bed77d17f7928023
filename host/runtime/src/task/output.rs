//! What one task made since the last barrier: rows for sinks, dead letters, and the way to keyed tasks.
//!
//! Sinks get their rows encoded here, in the task's thread; nothing leaves before the barrier hands it over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use weir_codecs::{Encoder, RowJson};
use weir_operators::operator::{RejectedRow, RowOrigin};
use weir_operators::{KeyEncoder, Outputs, split};
use weir_stream::record::NO_TIMESTAMP;
use weir_stream::time::InputTime;
use weir_stream::{
    Batch, Bug, ChangeKind, Changes, DeadLetter, PayloadBlock, PayloadBuilder, Reject, RowBlock, SinkData,
    SourceRecords,
};

use crate::barrier::Barrier;
use crate::channel::{Channel, Message};
use crate::shared::TaskFault;

/// Rows of one batch of a sink are put together up to this many.
const ROWS_PER_BLOCK: usize = 65_536;

/// Payloads are put into blocks of at most about this many bytes: small enough that growing one moves little, and that
/// the allocator has a place for the next.
const BLOCK_BYTES: usize = 1 << 20;

/// The open epoch's rows for one sink.
pub enum SinkBuffer {
    Payloads {
        encoder: Box<dyn Encoder>,
        /// Encodes the key columns, if the sink has keys.
        key_encoder: Option<(Vec<usize>, Box<dyn Encoder>)>,
        values: PayloadBuilder,
        keys: PayloadBuilder,
        timestamps_us: Vec<i64>,
        /// Full ones of this epoch.
        blocks: Vec<PayloadBlock>,
    },
    Rows {
        batches: Vec<(RecordBatch, Changes)>,
    },
}

impl SinkBuffer {
    pub fn payloads(encoder: Box<dyn Encoder>, key_encoder: Option<(Vec<usize>, Box<dyn Encoder>)>) -> Self {
        let (values, keys) = (PayloadBuilder::default(), PayloadBuilder::default());
        Self::Payloads { encoder, key_encoder, values, keys, timestamps_us: Vec::new(), blocks: Vec::new() }
    }

    pub fn rows() -> Self {
        Self::Rows { batches: Vec::new() }
    }

    fn write(&mut self, batch: Batch) -> Result<(), String> {
        match self {
            Self::Rows { batches } => batches.push((batch.columns, batch.changes)),
            Self::Payloads { encoder, key_encoder, values, keys, timestamps_us, blocks } => {
                let before = values.byte_len();
                encode_values(encoder.as_mut(), &batch, values)?;
                let grown = values.byte_len() - before;
                if let Some((columns, encoder)) = key_encoder {
                    let key = batch.columns.project(columns).map_err(|error| error.to_string())?;
                    encoder.encode(&key, keys).map_err(|error| error.to_string())?;
                }
                timestamps_us.extend_from_slice(&batch.event_times_us);
                // Another batch like this one would not fit: growing a block would copy it.
                if values.byte_len() + grown >= BLOCK_BYTES {
                    blocks.push(block(key_encoder.is_some(), values, keys, timestamps_us));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<SinkData>, String> {
        match self {
            Self::Rows { batches } if batches.is_empty() => Ok(None),
            Self::Rows { batches } => {
                let blocks = blocks(std::mem::take(batches)).map_err(|error| error.to_string())?;
                Ok(Some(SinkData::Rows(blocks)))
            }
            Self::Payloads { key_encoder, values, keys, timestamps_us, blocks, .. } => {
                if !values.is_empty() {
                    blocks.push(block(key_encoder.is_some(), values, keys, timestamps_us));
                }
                Ok((!blocks.is_empty()).then(|| SinkData::Payloads(std::mem::take(blocks))))
            }
        }
    }
}

/// A row that takes its key away is a payload that is not there: a tombstone.
fn encode_values(encoder: &mut dyn Encoder, batch: &Batch, values: &mut PayloadBuilder) -> Result<(), String> {
    if batch.changes == Changes::Inserts {
        return encoder.encode(&batch.columns, values).map_err(|error| error.to_string());
    }
    let is_removal = |row: usize| matches!(batch.changes.kind(row), ChangeKind::Delete | ChangeKind::UpdateBefore);
    let mut row = 0;
    while row < batch.rows() {
        let run = (row..batch.rows()).take_while(|next| is_removal(*next) == is_removal(row)).count();
        if is_removal(row) {
            (0..run).for_each(|_| values.push_absent());
        } else {
            encoder.encode(&batch.columns.slice(row, run), values).map_err(|error| error.to_string())?;
        }
        row += run;
    }
    Ok(())
}

/// Closes the open block; the next one starts with as much room.
fn block(
    keyed: bool,
    values: &mut PayloadBuilder,
    keys: &mut PayloadBuilder,
    timestamps_us: &mut Vec<i64>,
) -> PayloadBlock {
    let fresh = || PayloadBuilder::with_capacity(timestamps_us.len(), BLOCK_BYTES);
    let (values, keys) = (std::mem::replace(values, fresh()), std::mem::take(keys));
    PayloadBlock {
        values: values.finish(),
        keys: keyed.then(|| keys.finish()),
        timestamps_us: std::mem::take(timestamps_us),
    }
}

/// Puts small batches together, in their order.
fn blocks(batches: Vec<(RecordBatch, Changes)>) -> Result<Vec<RowBlock>, arrow_schema::ArrowError> {
    let mut blocks: Vec<RowBlock> = Vec::new();
    let mut run: Vec<(RecordBatch, Changes)> = Vec::new();
    let mut rows = 0;
    for (batch, changes) in batches {
        if !run.is_empty() && rows + batch.num_rows() > ROWS_PER_BLOCK {
            blocks.push(row_block(&std::mem::take(&mut run))?);
            rows = 0;
        }
        rows += batch.num_rows();
        run.push((batch, changes));
    }
    if !run.is_empty() {
        blocks.push(row_block(&run)?);
    }
    Ok(blocks)
}

fn row_block(run: &[(RecordBatch, Changes)]) -> Result<RowBlock, arrow_schema::ArrowError> {
    let rows = concat_batches(&run[0].0.schema(), run.iter().map(|(rows, _)| rows))?;
    if run.iter().all(|(_, changes)| *changes == Changes::Inserts) {
        return Ok(RowBlock { rows, changes: Changes::Inserts });
    }
    let kinds = run.iter().flat_map(|(rows, changes)| (0..rows.num_rows()).map(|row| changes.kind(row) as u8));
    Ok(RowBlock { rows, changes: Changes::PerRow(kinds.collect()) })
}

/// The way from one task to all tasks of a keyed stage.
pub struct Exchange {
    pub stage: Arc<str>,
    pub keys: KeyEncoder,
    pub key_groups: u16,
    /// One per task of the stage.
    pub channels: Vec<Arc<Channel>>,
    /// Scratch space for rows whose key cannot be evaluated.
    pub outputs: Outputs,
}

impl Exchange {
    fn has_room(&self) -> bool {
        self.channels.iter().all(|channel| channel.has_room())
    }
}

/// Everything that a task makes.
pub struct TaskOutput {
    pipeline: Arc<str>,
    /// By sink number of the pipeline; only the sinks that this task writes to.
    sinks: BTreeMap<usize, SinkBuffer>,
    exchanges: Vec<Exchange>,
    dead_letters: Vec<DeadLetter>,
}

impl TaskOutput {
    pub fn new(pipeline: Arc<str>, sinks: BTreeMap<usize, SinkBuffer>, exchanges: Vec<Exchange>) -> Self {
        Self { pipeline, sinks, exchanges, dead_letters: Vec::new() }
    }

    /// Whether the keyed tasks behind this one can take more.
    pub fn has_room(&self) -> bool {
        self.exchanges.iter().all(Exchange::has_room)
    }

    pub fn write(&mut self, sink: usize, batch: Batch) -> Result<(), TaskFault> {
        let buffer = self.sinks.get_mut(&sink).expect("the plan gives a task every sink that its steps name");
        buffer.write(batch).map_err(|message| TaskFault::Internal { step: format!("sink {sink}").into(), message })
    }

    /// Sends rows to the keyed tasks that own their keys.
    pub fn exchange(&mut self, number: usize, batch: Batch) -> Result<(), TaskFault> {
        let exchange = &mut self.exchanges[number];
        let stage = Arc::clone(&exchange.stage);
        let internal = |message: String| TaskFault::Internal { step: Arc::clone(&stage), message };
        let keyed = exchange.keys.encode(batch, &mut exchange.outputs).map_err(|error| internal(error.to_string()))?;
        let rejects = std::mem::take(&mut exchange.outputs.rejects);
        let parts = split(keyed, exchange.key_groups, exchange.channels.len());
        let parts = parts.map_err(|error| internal(error.to_string()))?;
        for (channel, part) in exchange.channels.iter().zip(parts) {
            if let Some(rows) = part {
                channel.send(Message::Rows(rows));
            }
        }
        self.reject(&stage, None, rejects);
        Ok(())
    }

    pub fn send_time(&self, time: InputTime) {
        self.channels().for_each(|channel| channel.send(Message::Time(time)));
    }

    pub fn send_barrier(&self, barrier: &Arc<Barrier>) {
        self.channels().for_each(|channel| channel.send(Message::Barrier(Arc::clone(barrier))));
    }

    fn channels(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.exchanges.iter().flat_map(|exchange| &exchange.channels)
    }

    /// Notes refused rows of `step` as dead letters; the epoch's number comes when it is sealed.
    pub fn reject(&mut self, step: &Arc<str>, plugin: Option<&Arc<str>>, rejects: Vec<RejectedRow>) {
        for reject in rejects {
            let letter = match &reject.origin {
                RowOrigin::Record { records, record } => self.letter_of_record(records, *record),
                RowOrigin::Row(row) => self.letter_of_row(row, 0),
            };
            self.dead_letters.push(DeadLetter {
                step: Arc::clone(step),
                stage: Cow::Borrowed(reject.stage),
                code: reject.code,
                reason: reject.reason,
                plugin: plugin.cloned(),
                ..letter
            });
        }
    }

    /// Notes refused records of a source.
    pub fn reject_records(
        &mut self,
        source: &Arc<str>,
        stage: &'static str,
        records: &SourceRecords,
        rejects: Vec<Reject>,
    ) {
        for reject in rejects {
            let letter = self.letter_of_record(records, reject.row);
            let (step, stage) = (Arc::clone(source), Cow::Borrowed(stage));
            self.dead_letters.push(DeadLetter { step, stage, code: reject.code, reason: reject.reason, ..letter });
        }
    }

    /// Notes rows that came too late for what their step still holds; see
    /// [`late_because`](weir_operators::KeyedOperator::late_because).
    pub fn late(&mut self, step: &Arc<str>, (stage, cause): (&'static str, &str), batch: &Batch) {
        for row in 0..batch.rows() {
            let letter = match &batch.origin {
                weir_stream::Origin::Records { records, rows } => self.letter_of_record(records, rows[row]),
                weir_stream::Origin::Step(_) => self.letter_of_row(batch, row),
            };
            let (event_time, watermark) = (batch.event_times_us[row], batch.watermarks_us[row]);
            self.dead_letters.push(DeadLetter {
                step: Arc::clone(step),
                stage: Cow::Borrowed(stage),
                code: Cow::Borrowed("late"),
                reason: format!("event time {event_time} us, {cause}; watermark {watermark} us"),
                ..letter
            });
        }
    }

    fn letter_of_record(&self, records: &SourceRecords, record: u32) -> DeadLetter {
        let record = record as usize;
        DeadLetter {
            topic: Arc::clone(&records.topic),
            partition: records.partition,
            offset: records.offsets[record],
            line: records.lines.get(record).copied(),
            timestamp_us: Some(records.timestamps_us[record]).filter(|timestamp| *timestamp != NO_TIMESTAMP),
            payload: records.values.get(record).to_vec(),
            ..self.blank_letter()
        }
    }

    fn letter_of_row(&self, batch: &Batch, row: usize) -> DeadLetter {
        // The row's own schema is among those that RowJson takes: it came through a decoder.
        let json = RowJson::new(&batch.schema()).ok();
        let payload = json.and_then(|json| json.row(&batch.columns, row).ok());
        DeadLetter { offset: -1, payload: payload.unwrap_or_default(), ..self.blank_letter() }
    }

    fn blank_letter(&self) -> DeadLetter {
        DeadLetter {
            pipeline: Arc::clone(&self.pipeline),
            epoch: 0,
            step: "".into(),
            stage: Cow::Borrowed(""),
            code: Cow::Borrowed(""),
            reason: String::new(),
            plugin: None,
            topic: "".into(),
            partition: 0,
            offset: -1,
            line: None,
            timestamp_us: None,
            payload: Vec::new(),
        }
    }

    /// Hands over what the epoch owes, and begins the next.
    ///
    /// # Errors
    /// When rows of one sink do not fit together; a fault of Weir.
    pub fn seal(&mut self) -> Result<(Vec<(usize, SinkData)>, Vec<DeadLetter>), TaskFault> {
        let mut outputs = Vec::with_capacity(self.sinks.len());
        for (sink, buffer) in &mut self.sinks {
            let internal = |message| TaskFault::Internal { step: format!("sink {sink}").into(), message };
            if let Some(data) = buffer.take().map_err(internal)? {
                outputs.push((*sink, data));
            }
        }
        let held_back = usize::from(Bug::DeadLettersLate.is_in()).min(self.dead_letters.len());
        let letters = self.dead_letters.drain(..self.dead_letters.len() - held_back).collect();
        Ok((outputs, letters))
    }
}

#[cfg(test)]
mod tests;
