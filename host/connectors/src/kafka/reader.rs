//! Reads one partition of a topic.
//!
//! Invariant: the cursor's position is the offset that is read next; records come out in offset order, each once.
//! Back-pressure is the bound of librdkafka's queue: a paused reader leaves it full, which stops the fetching and
//! keeps what was fetched. (librdkafka's own pause throws the queue away and fetches it again.)

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka_sys::rd_kafka_resp_err_t as Code;
use weir_stream::source::Waker;
use weir_stream::{PartitionReader, Poll, Position, SourceError};

use super::errors::source_error;
use super::link::Link;
use super::native::{Feed, Message, NativeError};
use super::records::RecordsBuilder;

/// A partition without connection for this long is told as an error, then again after the same time.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(5);

/// Bytes assumed of a record until some were seen.
const FIRST_RECORD_BYTES: usize = 1024;

/// What all readers of a source have in common.
pub(super) struct ReaderConfig {
    pub source: Arc<str>,
    pub topic: Arc<str>,
    pub include_keys: bool,
    pub include_headers: bool,
}

pub(super) struct KafkaReader {
    config: Arc<ReaderConfig>,
    link: Arc<Link>,
    /// None when a bounded run had nothing to read.
    feed: Option<Feed>,
    cursor: Cursor,
    partition: u32,
    paused: bool,
    disconnected_since: Option<Instant>,
    average_bytes: usize,
}

impl KafkaReader {
    /// `feed` was started at the cursor's position.
    pub fn new(config: Arc<ReaderConfig>, link: Arc<Link>, feed: Option<Feed>, partition: u32, cursor: Cursor) -> Self {
        let average_bytes = FIRST_RECORD_BYTES;
        Self { config, link, feed, cursor, partition, paused: false, disconnected_since: None, average_bytes }
    }

    fn gather(&mut self, max_records: usize, max_bytes: usize) -> Option<RecordsBuilder> {
        let Self { config, feed, cursor, average_bytes, .. } = self;
        let feed = feed.as_mut()?;
        let mut records: Option<RecordsBuilder> = None;
        loop {
            let (have, bytes) = records.as_ref().map_or((0, 0), |records| (records.len(), records.byte_len()));
            if have >= max_records || bytes >= max_bytes || cursor.is_stopped() {
                return records;
            }
            let room = ((max_bytes - bytes) / *average_bytes + 1).min(max_records - have);
            let messages = feed.take(room);
            if messages.is_empty() {
                return records;
            }
            for message in messages.iter().filter(|message| cursor.passes(*message)) {
                let capacity = max_bytes.min(room * *average_bytes);
                let new = || RecordsBuilder::new(room, capacity, config.include_keys, config.include_headers);
                records.get_or_insert_with(new).push(message);
            }
        }
    }

    /// Nothing to read: is it the end, an error, or a wait?
    fn look_around(&mut self) -> Result<Poll, SourceError> {
        if let Some(error) = self.cursor.waiting_error.take() {
            return Err(judge(&self.config.topic, self.partition, self.cursor.position, &error));
        }
        if self.cursor.ended {
            return Ok(Poll::End);
        }
        let health = self.link.health(self.partition)?;
        if health.connected {
            self.disconnected_since = None;
        } else if self.disconnected_since.get_or_insert_with(Instant::now).elapsed() >= UNREACHABLE_AFTER {
            self.disconnected_since = None;
            let cause = health.last_error.unwrap_or_else(|| "no answer from its broker".into());
            let (topic, partition) = (&self.config.topic, self.partition);
            return Err(SourceError::Retry(format!("Kafka topic `{topic}`, partition {partition}: {cause}")));
        }
        let high_watermark = self.feed.as_ref().and_then(Feed::high_watermark);
        let all_read = self.cursor.at_end && high_watermark.is_some_and(|high| self.cursor.position >= high);
        Ok(Poll::Pending { caught_up: all_read && health.connected })
    }
}

impl PartitionReader for KafkaReader {
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError> {
        if self.paused {
            self.link.serve_if_due()?;
            return Ok(Poll::Pending { caught_up: false });
        }
        let Some(records) = self.gather(max_records.max(1), max_bytes.max(1)) else { return self.look_around() };
        self.link.serve_if_due()?;
        self.average_bytes = (records.byte_len() / records.len()).max(1);
        let ReaderConfig { source, topic, .. } = &*self.config;
        Ok(Poll::Records(records.finish(source, topic, self.partition, self.cursor.position)))
    }

    fn set_waker(&mut self, waker: Waker) {
        if let Some(feed) = &mut self.feed {
            let knock = Arc::clone(&waker);
            feed.set_waker(Box::new(move || knock()));
            self.link.set_waker(self.partition, Some(waker));
        }
    }

    fn pause(&mut self) {
        self.paused = true;
    }

    fn resume(&mut self) {
        self.paused = false;
    }

    fn position(&self) -> Option<Position> {
        Some(self.cursor.position.into())
    }

    fn lag(&self) -> Option<u64> {
        let high_watermark = match &self.feed {
            Some(feed) => feed.high_watermark()?,
            None => self.cursor.end?,
        };
        Some(u64::try_from(high_watermark - self.cursor.position).unwrap_or(0))
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.link.set_waker(self.partition, None);
    }
}

/// Where a reader stands.
pub(super) struct Cursor {
    position: i64,
    /// Bounded runs: the first offset that is not read.
    end: Option<i64>,
    ended: bool,
    /// The service said that nothing was behind `position`.
    at_end: bool,
    waiting_error: Option<NativeError>,
}

impl Cursor {
    pub fn new(position: i64, end: Option<i64>) -> Self {
        let ended = end.is_some_and(|end| position >= end);
        Self { position, end, ended, at_end: false, waiting_error: None }
    }

    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn is_stopped(&self) -> bool {
        self.ended || self.waiting_error.is_some()
    }

    /// Moves past a message; true if it is a record to hand on.
    fn passes(&mut self, message: Message<'_>) -> bool {
        if self.is_stopped() {
            return false;
        }
        if message.is_record() {
            return self.passes_record(message.offset());
        }
        if message.is_end_of_partition() {
            // Behind the last record there may be transaction markers and compacted records.
            self.position = self.position.max(message.offset());
            self.at_end = true;
            self.ended = self.end.is_some_and(|end| self.position >= end);
        } else {
            self.waiting_error = message.error();
        }
        false
    }

    fn passes_record(&mut self, offset: i64) -> bool {
        self.at_end = false;
        if self.end.is_some_and(|end| offset >= end) {
            self.ended = true;
            return false;
        }
        self.position = offset + 1;
        self.ended = self.end.is_some_and(|end| self.position >= end);
        true
    }
}

/// An error that came in a record's place.
fn judge(topic: &str, partition: u32, position: i64, error: &NativeError) -> SourceError {
    use Code::{RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR__LOG_TRUNCATION};
    let place = format!("Kafka topic `{topic}`, partition {partition}");
    if matches!(error.code, RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | RD_KAFKA_RESP_ERR__LOG_TRUNCATION) {
        return lost_position(&place, position, &error.message);
    }
    source_error(&place, error)
}

/// The position is not in the topic any more: going on from anywhere else would lose or double records.
pub(super) fn lost_position(place: &str, position: i64, cause: &str) -> SourceError {
    SourceError::Fatal {
        message: format!("{place}: offset {position} cannot be read: {cause}"),
        next: "restore the topic, or start the pipeline with a new state folder to read from its configured start"
            .into(),
    }
}
