//! A source that makes its own records: seeded, index-addressable, optionally paced.
//!
//! Invariant: a record's bytes depend on the seed and its index alone, never on batching, pace or the moment of a
//! restart. The position of a partition is the number of records it has given, so that any position can be read
//! again. Partition `p` of `n` gives the events `p`, `p + n`, `p + 2n` ...

pub mod ecommerce;
mod text;

use std::sync::Arc;
use std::time::Duration;

use weir_stream::{PartitionReader, PayloadBuilder, Poll, Position, Source, SourceError, SourceRecords, TimestampType};

use crate::clock::{self, Clock};
use ecommerce::{EventOptions, Malformed};

/// A paced generator that was held up gives at most this much of its pace at once.
const MAX_BURST: Duration = Duration::from_secs(1);

/// The kind of events to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Page views, cart changes, orders, payments and refunds of a shop: see [`ecommerce`].
    #[default]
    Ecommerce,
}

impl Preset {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecommerce => "ecommerce",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorConfig {
    /// The source's name in the manifest.
    pub source: String,
    pub preset: Preset,
    pub seed: u64,
    /// Records per second over all partitions by the clock; `None` gives them as fast as they are taken.
    pub rate: Option<u64>,
    /// Number of events over all partitions, after which the source ends; `None` never ends.
    pub limit: Option<u64>,
    pub partitions: u32,
    pub events: EventOptions,
}

/// A generator as a source.
pub struct GeneratorSource {
    config: GeneratorConfig,
    clock: Clock,
}

impl GeneratorSource {
    /// # Errors
    /// `Fatal` when a rate or the number of partitions is 0, or a share is not a share.
    pub fn new(config: GeneratorConfig) -> Result<Self, SourceError> {
        Self::with_clock(config, clock::monotonic())
    }

    /// The same, paced by another clock.
    ///
    /// # Errors
    /// As [`GeneratorSource::new`].
    pub fn with_clock(mut config: GeneratorConfig, clock: Clock) -> Result<Self, SourceError> {
        let refuse = |message: &str| {
            let next = "mend the `generate` settings of the source".to_owned();
            Err(SourceError::Fatal { message: message.to_owned(), next })
        };
        if config.partitions == 0 {
            return refuse("the generator has 0 partitions");
        }
        if config.rate == Some(0) {
            return refuse("the generator's rate is 0 records per second");
        }
        // A duplicate repeats an event of its own partition, as a producer's retry does.
        config.events.stride = u64::from(config.partitions);
        if let Err(message) = config.events.check() {
            return refuse(&message);
        }
        Ok(Self { config, clock })
    }
}

impl Source for GeneratorSource {
    fn partitions(&mut self) -> Result<u32, SourceError> {
        Ok(self.config.partitions)
    }

    fn open(&mut self, partition: u32, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let given = position.map_or(0, |position| u64::try_from(position.offset).unwrap_or(0));
        let partitions = u64::from(self.config.partitions);
        let limit = self.config.limit.map(|limit| limit.saturating_sub(u64::from(partition)).div_ceil(partitions));
        Ok(Box::new(GeneratorReader {
            source: self.config.source.as_str().into(),
            topic: format!("generate:{}", self.config.preset.name()).into(),
            partition,
            config: self.config.clone(),
            limit,
            given,
            pace: Pace { clock: Arc::clone(&self.clock), since: (self.clock)(), given_since: 0 },
        }))
    }
}

/// How many records the clock allows.
struct Pace {
    clock: Clock,
    since: Duration,
    given_since: u64,
}

impl Pace {
    /// Records of this partition that are due now, at `rate` per second over `partitions`.
    fn due(&mut self, rate: u64, partitions: u64) -> u64 {
        let per_partition = rate as f64 / partitions as f64;
        let elapsed = (self.clock)().saturating_sub(self.since);
        let given_for = Duration::from_secs_f64(self.given_since as f64 / per_partition);
        // Held up by its reader for longer than a burst: what was missed then stays missed.
        if elapsed > given_for + MAX_BURST {
            self.since = (self.clock)() - MAX_BURST;
            self.given_since = 0;
            return (MAX_BURST.as_secs_f64() * per_partition) as u64;
        }
        ((elapsed.as_secs_f64() * per_partition) as u64).saturating_sub(self.given_since)
    }
}

struct GeneratorReader {
    source: Arc<str>,
    topic: Arc<str>,
    partition: u32,
    config: GeneratorConfig,
    /// Of this partition.
    limit: Option<u64>,
    given: u64,
    pace: Pace,
}

impl GeneratorReader {
    fn index(&self, given: u64) -> u64 {
        given * u64::from(self.config.partitions) + u64::from(self.partition)
    }

    fn make(&self, count: usize, max_bytes: usize) -> SourceRecords {
        let GeneratorConfig { seed, events, preset, .. } = &self.config;
        let mut records = SourceRecords {
            source: Arc::clone(&self.source),
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            offsets: Vec::with_capacity(count),
            timestamps_us: Vec::with_capacity(count),
            ..SourceRecords::default()
        };
        let mut values = PayloadBuilder::with_capacity(count, (count * ecommerce::USUAL_BYTES).min(max_bytes));
        let mut next = self.given;
        while records.offsets.len() < count && values.byte_len() < max_bytes.max(1) {
            let index = self.index(next);
            let made = match preset {
                Preset::Ecommerce => ecommerce::event(*seed, index, events, values.buffer()),
            };
            if made.malformed == Some(Malformed::NullValue) {
                values.abandon_payload();
                values.push_absent();
            } else {
                values.end_payload();
            }
            records.offsets.push(next as i64);
            records.timestamps_us.push(made.timestamp_us);
            next += 1;
        }
        records.timestamp_type = vec![TimestampType::CreateTime; records.offsets.len()];
        records.next_offset = next as i64;
        records.values = values.finish();
        records
    }
}

impl PartitionReader for GeneratorReader {
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError> {
        let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.given));
        if left == 0 {
            return Ok(Poll::End);
        }
        let due = match self.config.rate {
            Some(rate) => self.pace.due(rate, u64::from(self.config.partitions)),
            None => u64::MAX,
        };
        if due == 0 {
            return Ok(Poll::Pending { caught_up: true });
        }
        let count = (max_records.max(1) as u64).min(left).min(due) as usize;
        let records = self.make(count, max_bytes);
        self.given += records.len() as u64;
        self.pace.given_since += records.len() as u64;
        Ok(Poll::Records(records))
    }

    fn lag(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.given))
    }
}

#[cfg(test)]
mod tests;
