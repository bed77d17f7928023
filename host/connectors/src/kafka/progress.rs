//! What the cluster itself says about a sink: the epoch in its offset, or else in the tail of its topic.
//!
//! The sink commits its epoch as the offset of (topic, partition 0) in a group of its own, inside the transaction
//! that writes the epoch's records; the offset's metadata names the generation that wrote it, `generation 3`. Offsets of a
//! group that is not used expire (a week by default); then the epoch is found in the header that the last record of each
//! partition of an epoch carries.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_stream::{SinkError, SinkPosition};

use super::errors::sink_error;
use super::link::Link;
use super::native::{Committed, Feed, Message, NativeError};
use crate::SinkIdentity;
use crate::identity::fatal;

/// The header's name; its value is `<pipeline>/<sink>/<epoch>`.
pub const EPOCH_HEADER: &CStr = c"weir-epoch";

/// How far back the tail of each partition is read, widening until a header is found. A partition where only this
/// sink writes has it on its last record.
const TAILS: [i64; 3] = [1_000, 100_000, 10_000_000];

/// A partition's tail that gives nothing for so long is asked for again later.
const SILENCE: Duration = Duration::from_secs(10);

/// The group in which a sink's epoch is committed.
pub fn group(identity: &SinkIdentity) -> String {
    format!("weir.{}.{}", identity.pipeline, identity.sink)
}

pub fn header_value(identity: &SinkIdentity, epoch: u64) -> String {
    format!("{}{epoch}", header_prefix(identity))
}

fn header_prefix(identity: &SinkIdentity) -> String {
    format!("{}/{}/", identity.pipeline, identity.sink)
}

/// What is committed in the group: the sink's last epoch and the generation that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub epoch: u64,
    /// 0: from before there were generations.
    pub generation: u64,
    /// What came with the epoch.
    pub cut: Option<Arc<str>>,
}

/// What a broker keeps beside an offset unless it is told otherwise (`offset.metadata.max.bytes`). A cut that makes more of
/// it, of a hundred partitions or so, is left out.
const MAX_METADATA_BYTES: usize = 4096;

const GENERATION: &str = "generation ";

impl Mark {
    pub fn committed(&self) -> Committed {
        let mut metadata = format!("{GENERATION}{}", self.generation);
        if let Some(cut) = self.cut.as_ref().filter(|cut| metadata.len() + 1 + cut.len() <= MAX_METADATA_BYTES) {
            metadata = format!("{metadata} {cut}");
        }
        Committed { offset: self.epoch as i64, metadata }
    }
}

impl From<Committed> for Mark {
    fn from(committed: Committed) -> Self {
        let said = committed.metadata.strip_prefix(GENERATION).unwrap_or_default();
        let (generation, cut) = said.split_once(' ').map_or((said, None), |(number, cut)| (number, Some(cut.into())));
        Self { epoch: committed.offset as u64, generation: generation.parse().unwrap_or(0), cut }
    }
}

/// Asks for one sink's position. The link's client must be in the sink's group and read committed records.
pub struct Progress<'a> {
    pub link: &'a Link,
    pub identity: &'a SinkIdentity,
    pub topic: &'a str,
    pub partitions: u32,
    pub timeout: Duration,
}

impl Progress<'_> {
    /// What the group holds.
    ///
    /// # Errors
    /// `Retry` while the cluster does not answer or an open transaction hides the answer.
    pub fn mark(&self) -> Result<Option<Mark>, SinkError> {
        let committed = self.link.client().committed(self.topic, 0, self.timeout);
        Ok(committed.map_err(|error| self.fail(error))?.map(Mark::from))
    }

    /// The position where the group holds none.
    ///
    /// # Errors
    /// `Retry` while the cluster does not answer; `Fatal` when the sink has written before (`acked` > 0) and its topic
    /// shows no trace of it.
    pub fn without_mark(&self, acked: u64) -> Result<SinkPosition, SinkError> {
        if acked == 0 {
            return Ok(SinkPosition::Absent);
        }
        match self.newest_epoch_in_tails()? {
            Some(epoch) => {
                tracing::warn!(target: "weir::kafka", "the offset of group `{}` has expired; the records of topic `{}` \
                    show epoch {epoch}", group(self.identity), self.topic);
                Ok(SinkPosition::Epoch(epoch))
            }
            None => Err(fatal(
                format!(
                    "{} has written up to epoch {acked}, but Kafka topic `{}` shows no trace of it",
                    self.identity, self.topic
                ),
                "restore the topic, or give the sink a new topic and name to start it afresh",
            )),
        }
    }

    fn newest_epoch_in_tails(&self) -> Result<Option<u64>, SinkError> {
        let epochs = (0..self.partitions as i32).map(|partition| self.newest_epoch(partition));
        Ok(epochs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().max())
    }

    fn newest_epoch(&self, partition: i32) -> Result<Option<u64>, SinkError> {
        let bounds = self.link.client().query_watermarks(self.topic, partition, self.timeout);
        let (low, high) = bounds.map_err(|error| self.fail(error))?;
        let mut scanned_from = high;
        for tail in TAILS {
            let from = low.max(high - tail);
            if from >= scanned_from {
                break;
            }
            if let Some(epoch) = self.last_epoch_between(partition, from, scanned_from)? {
                return Ok(Some(epoch));
            }
            scanned_from = from;
        }
        Ok(None)
    }

    /// The epoch in the last header of ours between two offsets.
    fn last_epoch_between(&self, partition: i32, from: i64, to: i64) -> Result<Option<u64>, SinkError> {
        let client = Arc::clone(self.link.client());
        let mut feed = Feed::start(client, self.topic, partition, from).map_err(|error| self.fail(error))?;
        let reader = std::thread::current();
        feed.set_waker(Box::new(move || reader.unpark()));
        let prefix = header_prefix(self.identity);
        let (mut position, mut found, mut heard) = (from, None, Instant::now());
        while position < to {
            let messages = feed.take(usize::MAX);
            if !messages.is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() >= SILENCE {
                return Err(SinkError::Retry(format!("Kafka topic `{}`, partition {partition}: silent", self.topic)));
            } else {
                std::thread::park_timeout(SILENCE / 10);
            }
            for message in messages.iter().take_while(|message| message.offset() < to || !message.is_record()) {
                if message.is_record() {
                    position = message.offset() + 1;
                    found = epoch_of(&prefix, message).or(found);
                } else if message.is_end_of_partition() {
                    position = to;
                } else if let Some(error) = message.error() {
                    return Err(self.fail(error));
                }
            }
            if messages.iter().any(|message| message.is_record() && message.offset() >= to) {
                position = to;
            }
        }
        Ok(found)
    }

    fn fail(&self, error: NativeError) -> SinkError {
        sink_error(&format!("{}, Kafka topic `{}`", self.identity, self.topic), &self.link.explain(error))
    }
}

/// The epoch that a record's header names, if it is the sink's own.
fn epoch_of(prefix: &str, message: Message<'_>) -> Option<u64> {
    message.headers().filter_map(|(name, value)| epoch_in_header(prefix, name, value)).last()
}

fn epoch_in_header(prefix: &str, name: &[u8], value: Option<&[u8]>) -> Option<u64> {
    if name != EPOCH_HEADER.to_bytes() {
        return None;
    }
    std::str::from_utf8(value?).ok()?.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_from_what_is_committed_and_older_ones_are_of_no_generation() {
        let mark = Mark { epoch: 17, generation: 3, cut: None };
        assert_eq!(mark.committed(), Committed { offset: 17, metadata: "generation 3".into() });
        assert_eq!(Mark::from(mark.committed()), mark);
        let cut = Mark { cut: Some("{\"a b\":1}".into()), ..mark.clone() };
        assert_eq!(Mark::from(cut.committed()), cut);
        let large = Mark { cut: Some("x".repeat(MAX_METADATA_BYTES - "generation 3".len()).into()), ..mark.clone() };
        assert_eq!(Mark::from(large.committed()), mark, "left out, so that the offset is taken");
        let old = Committed { offset: 17, metadata: String::new() };
        assert_eq!(Mark::from(old), Mark { epoch: 17, generation: 0, cut: None });
    }

    #[test]
    fn only_the_sinks_own_header_counts() {
        let prefix = header_prefix(&SinkIdentity::new("shop", "raw"));
        let epoch = |name: &str, value: &str| epoch_in_header(&prefix, name.as_bytes(), Some(value.as_bytes()));
        assert_eq!(epoch("weir-epoch", "shop/raw/17"), Some(17));
        assert_eq!(epoch("weir-epoch", "shop/other/17"), None);
        assert_eq!(epoch("weir-epoch", "shop/raw/x"), None);
        assert_eq!(epoch("another", "shop/raw/17"), None);
        assert_eq!(epoch_in_header(&prefix, b"weir-epoch", None), None);
        assert_eq!(header_value(&SinkIdentity::new("shop", "raw"), 17), "shop/raw/17");
    }
}
