//! Reads one partition: poll, decode, time, steps. The first half of the road of one record, in one function.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_codecs::{Decoded, Decoder};
use weir_stream::time::InputTime;
use weir_stream::{Batch, Bug, Changes, Origin, PartitionReader, Poll, Position, SourceError, SourceRecords};

use super::chain::Chain;
use super::event_time::EventTimeAssigner;
use super::output::TaskOutput;
use crate::barrier::{Barrier, PartitionPosition, StepCounts, TaskPart};
use crate::shared::{Shared, TaskEvent, TaskFault};
use crate::status::{PartitionMeter, StepMeter};
use crate::worker::{Activity, Task};

/// One poll takes at most about this much, so that barriers and other tasks never wait long.
pub const POLL_RECORDS: usize = 2048;
pub const POLL_BYTES: usize = 1 << 20;

const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// The task of one source partition.
pub struct SourceTask {
    pub number: usize,
    pub source: Arc<str>,
    pub partition: u32,
    pub reader: Box<dyn PartitionReader>,
    pub decoder: Box<dyn Decoder>,
    pub time: EventTimeAssigner,
    pub chain: Chain,
    pub out: TaskOutput,
    pub meter: Arc<StepMeter>,
    pub partition_meter: Arc<PartitionMeter>,
    pub idle_after: Option<Duration>,
    pub alignment_us: Option<i64>,
    /// Records of this partition in one epoch; reading waits for the barrier then.
    pub epoch_rows: u64,
    pub state: ReadState,
}

/// What changes while a partition is read.
pub struct ReadState {
    position: Option<Position>,
    passed: u64,
    counts: StepCounts,
    ended: bool,
    idle: bool,
    said: InputTime,
    /// When the partition was last found with records, or not read to its end.
    awake_at: Duration,
    retry_at: Option<Instant>,
    back_off: Duration,
}

impl ReadState {
    /// `position`: where reading goes on. A partition is never idle at a start: its clock begins anew.
    pub fn new(position: Option<Position>, now: Duration) -> Self {
        Self {
            position,
            passed: 0,
            counts: StepCounts::default(),
            ended: false,
            idle: false,
            said: InputTime::default(),
            awake_at: now,
            retry_at: None,
            back_off: FIRST_BACK_OFF,
        }
    }
}

impl Task for SourceTask {
    fn run(&mut self, shared: &Shared) -> Result<Activity, TaskFault> {
        let answered = self.chain.take_answers(&mut self.out, shared)?;
        if let Some(barrier) = shared.barrier_after(self.state.passed) {
            if !self.chain.is_settled() {
                return Ok(if answered { Activity::Busy } else { Activity::Idle });
            }
            self.pass(&barrier, shared)?;
            return Ok(if barrier.last { Activity::Done } else { Activity::Busy });
        }
        if self.state.ended {
            return Ok(Activity::Idle);
        }
        if shared.paused.load(Ordering::Acquire) || !self.has_room() || self.is_ahead(shared) {
            self.stay_awake(shared);
            return Ok(Activity::Idle);
        }
        let left = self.epoch_rows.saturating_sub(self.state.counts.rows_in);
        if left == 0 || self.state.retry_at.is_some_and(|at| Instant::now() < at) {
            return Ok(Activity::Idle);
        }
        self.read(POLL_RECORDS.min(usize::try_from(left).unwrap_or(POLL_RECORDS)), shared)
    }
}

impl SourceTask {
    fn has_room(&self) -> bool {
        self.out.has_room() && self.chain.has_room()
    }

    /// Whether the partition waits for slower ones.
    fn is_ahead(&self, shared: &Shared) -> bool {
        let ahead = self.alignment_us.is_some_and(|us| shared.alignment.is_ahead(self.time.watermark_us(), us));
        self.partition_meter.waits.store(ahead, Ordering::Relaxed);
        ahead
    }

    fn read(&mut self, records: usize, shared: &Shared) -> Result<Activity, TaskFault> {
        let poll = match self.reader.poll(records, POLL_BYTES) {
            Ok(poll) => poll,
            Err(error) => return self.read_failed(error, shared),
        };
        (self.state.retry_at, self.state.back_off) = (None, FIRST_BACK_OFF);
        match poll {
            Poll::Records(records) => {
                shared.alignment.say(self.number, Some(self.time.watermark_us()));
                self.state.awake_at = shared.clock.monotonic();
                self.state.idle = false;
                self.process(records, shared)?;
                Ok(Activity::Busy)
            }
            Poll::Pending { caught_up } => {
                self.wait(caught_up, shared);
                Ok(Activity::Idle)
            }
            Poll::End => {
                self.end(shared);
                Ok(Activity::Busy)
            }
        }
    }

    /// The road of one record: decode, time, steps; rejects go to the dead letters on the way.
    fn process(&mut self, records: SourceRecords, shared: &Shared) -> Result<(), TaskFault> {
        let records = Arc::new(records);
        let rows_in = records.len() as u64;
        let bytes = records.values.byte_size() as u64;
        let offset = records.next_offset - i64::from(Bug::OffsetOfLastRecord.is_in());
        self.state.position = Some(Position { offset, file: records.file.clone() });

        let Decoded { columns, rows, rejects } = self.decoder.decode(&records, 0..records.len());
        let mut counts = StepCounts { rows_in, rejected: rejects.len() as u64, ..StepCounts::default() };
        self.out.reject_records(&self.source, "decode", &records, rejects);

        let mut assigned = self.time.assign(&columns, &rows, &records, shared.clock.wall_us());
        counts.rejected += assigned.rejects.len() as u64;
        assigned.rejects.iter_mut().for_each(|reject| reject.row = rows[reject.row as usize]);
        self.out.reject_records(&self.source, "event-time", &records, assigned.rejects);

        let internal = |error: arrow_schema::ArrowError| TaskFault::Internal {
            step: Arc::clone(&self.source),
            message: error.to_string(),
        };
        let (columns, rows) = match assigned.kept {
            None => (columns, rows),
            Some(kept) => {
                let origin = kept.iter().map(|row| rows[*row as usize]).collect();
                let kept = arrow_array::UInt32Array::from(kept);
                (arrow_select::take::take_record_batch(&columns, &kept).map_err(internal)?, origin)
            }
        };
        counts.rows_out = rows.len() as u64;
        if counts.rows_out > 0 {
            let batch = Batch {
                columns,
                event_times_us: assigned.event_times_us.into(),
                watermarks_us: assigned.watermarks_us.into(),
                origin: Origin::Records { records: Arc::clone(&records), rows: rows.into() },
                changes: Changes::Inserts,
            };
            self.chain.run(batch, &mut self.out, shared)?;
        }
        self.meter.add(counts);
        self.state.counts.add(counts);
        self.say_time();
        shared.alignment.say(self.number, Some(self.time.watermark_us()));
        self.show(shared);
        shared.progressed(rows_in.max(1), bytes);
        Ok(())
    }

    fn read_failed(&mut self, error: SourceError, shared: &Shared) -> Result<Activity, TaskFault> {
        match error {
            SourceError::Retry(message) => {
                let source = &self.source;
                if self.state.retry_at.is_none() {
                    tracing::warn!("source {source}, partition {}: {message}; waiting for it", self.partition);
                }
                self.state.retry_at = Some(Instant::now() + self.state.back_off);
                self.state.back_off = (self.state.back_off * 2).min(LONGEST_BACK_OFF);
                self.stay_awake(shared);
                Ok(Activity::Idle)
            }
            SourceError::Fatal { message, next } => {
                let source_id = Arc::clone(&self.source);
                Err(TaskFault::Source { source_id, partition: self.partition, message, next })
            }
        }
    }

    /// Nothing to read: after long enough at the partition's end it counts as idle and holds nobody back.
    fn wait(&mut self, caught_up: bool, shared: &Shared) {
        shared.alignment.say(self.number, (!caught_up).then(|| self.time.watermark_us()));
        if !caught_up {
            self.stay_awake(shared);
        }
        let quiet = shared.clock.monotonic().saturating_sub(self.state.awake_at);
        if !self.state.idle && self.idle_after.is_some_and(|after| quiet >= after) {
            self.state.idle = true;
            shared.progressed(1, 0);
        }
        self.say_time();
        self.show(shared);
    }

    /// Paused by us, away or not read to the end: the idle clock begins anew and the partition holds time back.
    fn stay_awake(&mut self, shared: &Shared) {
        self.state.awake_at = shared.clock.monotonic();
        self.state.idle = false;
        self.say_time();
    }

    fn end(&mut self, shared: &Shared) {
        self.state.ended = true;
        self.time.end();
        shared.alignment.say(self.number, None);
        self.say_time();
        self.show(shared);
        shared.progressed(1, 0);
        shared.ended.fetch_add(1, Ordering::AcqRel);
    }

    fn input_time(&self) -> InputTime {
        InputTime { watermark_us: self.time.watermark_us(), idle: self.state.idle }
    }

    fn say_time(&mut self) {
        let time = self.input_time();
        if time != self.state.said {
            self.state.said = time;
            self.chain.send_time(time, &self.out);
        }
    }

    fn show(&self, shared: &Shared) {
        let meter = &self.partition_meter;
        let quiet = shared.clock.monotonic().saturating_sub(self.state.awake_at);
        meter.quiet_ms.store(quiet.as_millis() as u64, Ordering::Relaxed);
        meter.watermark_us.store(self.time.watermark_us(), Ordering::Relaxed);
        meter.idle.store(self.state.idle, Ordering::Relaxed);
        meter.ended.store(self.state.ended, Ordering::Relaxed);
        let offset = self.state.position.as_ref().map(|position| position.offset);
        let offset = offset.filter(|offset| *offset != Position::END_OF_FILE).unwrap_or(-1);
        meter.next_offset.store(offset, Ordering::Relaxed);
        meter.lag.store(self.reader.lag().and_then(|lag| i64::try_from(lag).ok()).unwrap_or(-1), Ordering::Relaxed);
    }

    fn pass(&mut self, barrier: &Arc<Barrier>, shared: &Shared) -> Result<(), TaskFault> {
        self.state.passed = barrier.id;
        let (outputs, dead_letters) = self.out.seal()?;
        let mut counts = self.chain.pass(barrier)?;
        counts.push((Arc::clone(&self.source), std::mem::take(&mut self.state.counts)));
        let time = InputTime { watermark_us: self.time.stored_watermark_us(), idle: self.state.idle };
        let part = TaskPart {
            task: self.number,
            position: Some(PartitionPosition {
                source: Arc::clone(&self.source),
                partition: self.partition,
                position: self.state.position.clone(),
                time,
                max_event_time_us: self.time.max_event_time_us(),
            }),
            outputs,
            dead_letters,
            counts,
            ..TaskPart::default()
        };
        self.out.send_barrier(barrier);
        shared.tell(TaskEvent::Passed { barrier: barrier.id, part: Box::new(part) });
        Ok(())
    }
}
