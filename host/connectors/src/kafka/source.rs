//! A topic as a source: manual assignment, positions given by the caller, nothing ever committed.
//!
//! Invariant: `auto.offset.reset` is `error` and no group is used, so a position can only be one that Weir's own
//! store holds, or the configured start.

use std::sync::Arc;
use std::time::Duration;

use weir_stream::{PartitionReader, Position, Source, SourceError};

use super::connection::KafkaConnection;
use super::errors::source_error;
use super::link::{Link, STATISTICS_INTERVAL_MS};
use super::native::Feed;
use super::reader::{Cursor, KafkaReader, ReaderConfig, lost_position};

/// Default of [`KafkaSourceConfig::connect_timeout_ms`].
pub const DEFAULT_CONNECT_TIMEOUT_MS: u64 = 10_000;

/// Default of [`KafkaSourceConfig::queue_bytes`]. Small queues win: what was fetched is still in the cache.
pub const DEFAULT_QUEUE_BYTES: usize = 4 << 20;

/// Default of [`KafkaSourceConfig::refresh_ms`].
pub const DEFAULT_REFRESH_MS: u64 = 30_000;

/// The least that a partition's queue holds, in KiB; also where one 1 MB record fits.
const MIN_PARTITION_QUEUE_KIB: usize = 1024;

/// Where a partition without a stored position is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
    /// The first record that is not older, by its own timestamp; behind all of them when there is none.
    At {
        timestamp_us: i64,
    },
}

#[derive(Debug, Clone)]
pub struct KafkaSourceConfig {
    /// The source's name in the manifest.
    pub source: Arc<str>,
    pub connection: KafkaConnection,
    pub topic: String,
    pub start: Start,
    /// Stop at the end that each partition has when it is opened, open transactions included: they are waited for,
    /// since one that was just committed looks open until its marker is written.
    pub until_end: bool,
    pub include_keys: bool,
    pub include_headers: bool,
    /// Fetched and not yet read, for the whole source; each partition gets an equal share of at least 1 MiB.
    pub queue_bytes: usize,
    /// How long `partitions` and `open` try before they answer [`SourceError::Retry`].
    pub connect_timeout_ms: u64,
    /// How often an unbounded run looks for partitions that were added.
    pub refresh_ms: u64,
}

impl KafkaSourceConfig {
    pub fn new(source: impl Into<Arc<str>>, connection: KafkaConnection, topic: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            connection,
            topic: topic.into(),
            start: Start::Earliest,
            until_end: false,
            include_keys: false,
            include_headers: false,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            connect_timeout_ms: DEFAULT_CONNECT_TIMEOUT_MS,
            refresh_ms: DEFAULT_REFRESH_MS,
        }
    }
}

/// One consumer client per source, shared by its readers.
pub struct KafkaSource {
    config: KafkaSourceConfig,
    shared: Arc<ReaderConfig>,
    /// Asks about partitions, and sees records of open transactions.
    probe: Option<Probe>,
    link: Option<Arc<Link>>,
}

struct Probe {
    link: Link,
    partitions: u32,
}

impl KafkaSource {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] for a property that Weir owns.
    pub fn new(config: KafkaSourceConfig) -> Result<Self, SourceError> {
        let owned = [owned_properties(0), vec![("group.id", String::new())]].concat();
        if let Some(property) = config.connection.conflicting_property(&owned) {
            return Err(SourceError::Fatal {
                message: format!("source `{}`: property `{property}` is set by Weir", config.source),
                next: format!("remove `{property}` from the properties in the manifest"),
            });
        }
        let shared = Arc::new(ReaderConfig {
            source: Arc::clone(&config.source),
            topic: config.topic.as_str().into(),
            include_keys: config.include_keys,
            include_headers: config.include_headers,
        });
        Ok(Self { config, shared, probe: None, link: None })
    }

    fn link(&self, partitions: u32, isolation: Isolation) -> Result<Link, SourceError> {
        let share = (self.config.queue_bytes >> 10) / partitions.max(1) as usize;
        let mut owned = owned_properties(share.max(MIN_PARTITION_QUEUE_KIB));
        if isolation == Isolation::Uncommitted {
            owned.push(("isolation.level", "read_uncommitted".into()));
        }
        let properties = self.config.connection.properties(&default_properties(), &owned);
        Link::new(&self.config.topic, &properties).map_err(|error| source_error(&self.place(), &error))
    }

    fn place(&self) -> String {
        format!("source `{}`, Kafka topic `{}` at {}", self.config.source, self.config.topic, self.brokers())
    }

    fn brokers(&self) -> &str {
        &self.config.connection.brokers
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.config.connect_timeout_ms)
    }

    /// Position and end of a partition that is about to be read.
    fn bounds(&self, probe: &Probe, link: &Link, partition: u32, from: &ReadFrom) -> Result<Bounds, SourceError> {
        let ask = |link: &Link| {
            let asked = link.client().query_watermarks(&self.config.topic, partition as i32, self.timeout());
            asked.map_err(|error| source_error(&self.place(), &link.explain(error)))
        };
        let (low, high) = ask(link)?;
        let end = if self.config.until_end { Some(ask(&probe.link)?.1) } else { None };
        let position = match *from {
            ReadFrom::Position(position) if (low..=high).contains(&position) => position,
            ReadFrom::Position(position) => {
                let place = format!("{}, partition {partition}", self.place());
                let cause = format!("the broker holds offsets {low} to {high}");
                return Err(lost_position(&place, position, &cause));
            }
            ReadFrom::Start(Start::Earliest) => low,
            ReadFrom::Start(Start::Latest) => high,
            ReadFrom::Start(Start::At { timestamp_us }) => {
                // Records have no time before 1970, and to a broker -1 and -2 are the end and the beginning.
                let timestamp_ms = -(-timestamp_us.max(0)).div_euclid(1000);
                let topic = &self.config.topic;
                let asked = link.client().offset_at(topic, partition as i32, timestamp_ms, self.timeout());
                let found = asked.map_err(|error| source_error(&self.place(), &link.explain(error)))?;
                found.map_or(high, |offset| offset.clamp(low, high))
            }
        };
        Ok(Bounds { position, end })
    }

    fn open_from(&mut self, partition: u32, from: &ReadFrom) -> Result<Box<dyn PartitionReader>, SourceError> {
        if self.probe.is_none() {
            self.partitions()?;
        }
        let probe = self.probe.as_ref().expect("`partitions` keeps its probe");
        let partitions = probe.partitions;
        if partition >= partitions {
            return Err(SourceError::Fatal {
                message: format!("{}: partition {partition} of {partitions} does not exist", self.place()),
                next: "the topic has fewer partitions than the pipeline's state: restore the topic".into(),
            });
        }
        let link = match &self.link {
            Some(link) => Arc::clone(link),
            None => {
                let link = Arc::new(self.link(partitions, Isolation::Committed)?);
                Arc::clone(self.link.insert(link))
            }
        };
        let Bounds { position, end } = self.bounds(probe, &link, partition, from)?;
        let cursor = Cursor::new(position, end);
        let feed = if cursor.has_ended() {
            None
        } else {
            let feed = Feed::start(Arc::clone(link.client()), &self.config.topic, partition as i32, position);
            Some(feed.map_err(|error| source_error(&self.place(), &error))?)
        };
        Ok(Box::new(KafkaReader::new(Arc::clone(&self.shared), link, feed, partition, cursor)))
    }
}

#[derive(PartialEq, Eq)]
enum Isolation {
    Committed,
    Uncommitted,
}

/// Where a partition is read from.
enum ReadFrom {
    Position(i64),
    Start(Start),
}

struct Bounds {
    position: i64,
    end: Option<i64>,
}

impl Source for KafkaSource {
    fn partitions(&mut self) -> Result<u32, SourceError> {
        // The number decides how large each queue may be, so it is asked by a client of its own.
        let link = match self.probe.take() {
            Some(probe) => probe.link,
            None => self.link(1, Isolation::Uncommitted)?,
        };
        let asked = link.topic_partitions(self.timeout());
        let partitions = asked.map_err(|error| source_error(&self.place(), &error))?;
        self.probe = Some(Probe { link, partitions });
        Ok(partitions)
    }

    fn open(&mut self, partition: u32, position: Option<Position>) -> Result<Box<dyn PartitionReader>, SourceError> {
        let start = ReadFrom::Start(self.config.start);
        self.open_from(partition, &position.map_or(start, |position| ReadFrom::Position(position.offset)))
    }

    fn open_added(&mut self, partition: u32) -> Result<Box<dyn PartitionReader>, SourceError> {
        // Its records are all later than the start at the end of the others.
        let start = if self.config.start == Start::Latest { Start::Earliest } else { self.config.start };
        self.open_from(partition, &ReadFrom::Start(start))
    }

    fn refresh(&self) -> Option<Duration> {
        (!self.config.until_end).then(|| Duration::from_millis(self.config.refresh_ms))
    }
}

/// What a manifest may tune.
pub(super) fn default_properties() -> Vec<(&'static str, String)> {
    vec![
        // Bounds how late the end of a quiet partition is known.
        ("fetch.wait.max.ms", "100".into()),
        // How soon a full queue that was emptied is filled again.
        ("fetch.queue.backoff.ms", "10".into()),
        ("fetch.message.max.bytes", "1048576".into()),
        ("check.crcs", "true".into()),
        ("socket.timeout.ms", "10000".into()),
        ("socket.keepalive.enable", "true".into()),
        ("reconnect.backoff.max.ms", "2000".into()),
        // A deleted topic is told after this time.
        ("topic.metadata.propagation.max.ms", "5000".into()),
        ("topic.metadata.refresh.interval.ms", "30000".into()),
    ]
}

/// What exactly-once and the readers' bookkeeping rest on.
pub(super) fn owned_properties(queue_kib: usize) -> Vec<(&'static str, String)> {
    vec![
        ("enable.auto.commit", "false".into()),
        ("enable.auto.offset.store", "false".into()),
        ("auto.offset.reset", "error".into()),
        ("isolation.level", "read_committed".into()),
        ("enable.partition.eof", "true".into()),
        ("allow.auto.create.topics", "false".into()),
        ("queued.max.messages.kbytes", queue_kib.to_string()),
        ("statistics.interval.ms", STATISTICS_INTERVAL_MS.to_string()),
    ]
}
