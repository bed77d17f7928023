//! A topic as a sink: one transaction an epoch, and the epoch inside it. A sink that is behind writes the epochs that it
//! is owed in one transaction: a transaction takes some ten milliseconds however little it holds.
//!
//! Invariant: the records of epochs and the offset that stands for the last of them (see `progress`) become visible
//! together or not at all. After any failure, and after any transaction during which a connection was lost, the producer is
//! given up and the next one fences it: a delayed request of the old one can then touch no later transaction.
//!
//! A transactional id fences whoever had it before, so an instance that was taken over could take it back by recovering
//! once more. Hence generations, as in every sink: the first recovery of an instance commits the next one, and an instance
//! that finds another's ends.

use std::time::{Duration, Instant};

use weir_stream::{ExposeOutcome, Held, PayloadBlock, Sink, SinkData, SinkEpoch, SinkError, SinkPosition};

use super::admin::{KafkaAdmin, TopicOptions};
use super::connection::KafkaConnection;
use super::errors::{is_fenced, sink_error};
use super::link::{Link, is_unknown_topic};
use super::native::{NativeError, Outgoing, Producer};
use super::partition::Partitioner;
use super::producer_properties::{producer_properties, transactional_properties};
use super::progress::{Mark, Progress, group};
use super::source;
use super::transaction::Transaction;
use super::watchdog::Watchdog;
use crate::SinkIdentity;
use crate::identity::{chain_broken, fatal};

/// Default of [`KafkaSinkConfig::transaction_timeout_ms`]. Short, because the open transaction of an instance that
/// does not come back hides later records from readers of committed ones until it passes.
pub const DEFAULT_TRANSACTION_TIMEOUT_MS: u64 = 10_000;

/// How much longer than its own time-out a transactional call may take before the process is ended.
pub(super) const WATCHDOG_GRACE: Duration = Duration::from_secs(5);

/// A commit slower than this may have been sent twice by librdkafka.
const SLOW_COMMIT: Duration = Duration::from_secs(5);

/// The broker's limit is one of record batches: what a batch of one record takes beside its key and value, generously.
pub(super) const BATCH_OVERHEAD_BYTES: usize = 512;

/// The largest record batch that a broker takes unless it is told otherwise.
const DEFAULT_MAX_BATCH_BYTES: usize = 1_048_588;

/// Which time a written record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordTimestamps {
    /// The row's event time.
    #[default]
    EventTime,
    /// The time of writing; costs less CPU.
    WriteTime,
}

#[derive(Debug, Clone)]
pub struct KafkaSinkConfig {
    pub identity: SinkIdentity,
    pub connection: KafkaConnection,
    pub topic: String,
    /// None: `weir.<pipeline>.<sink>`. Two running sinks with the same id fence each other.
    pub transactional_id: Option<String>,
    /// How to make the topic when it is missing; None: it must be there.
    pub create: Option<TopicOptions>,
    pub timestamps: RecordTimestamps,
    /// An epoch must be written and committed within this time.
    pub transaction_timeout_ms: u64,
    /// How long `recover` tries before it answers [`SinkError::Retry`].
    pub connect_timeout_ms: u64,
}

impl KafkaSinkConfig {
    pub fn new(identity: SinkIdentity, connection: KafkaConnection, topic: impl Into<String>) -> Self {
        Self {
            identity,
            connection,
            topic: topic.into(),
            transactional_id: None,
            create: None,
            timestamps: RecordTimestamps::EventTime,
            transaction_timeout_ms: DEFAULT_TRANSACTION_TIMEOUT_MS,
            connect_timeout_ms: source::DEFAULT_CONNECT_TIMEOUT_MS,
        }
    }

    pub(super) fn transactional_id(&self) -> String {
        self.transactional_id.clone().unwrap_or_else(|| group(&self.identity))
    }

    pub(super) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.transaction_timeout_ms)
    }

    fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

/// One logical sink with a transactional producer of its own.
pub struct KafkaSink {
    config: KafkaSinkConfig,
    watchdog: Watchdog,
    /// What `recover` learnt; none before it.
    target: Option<Target>,
    /// None when it has to be made anew.
    producer: Option<Producer>,
    /// Set by the first recovery of this instance.
    generation: Option<u64>,
}

struct Target {
    partitioner: Partitioner,
    max_batch_bytes: usize,
    exposed: Option<u64>,
}

impl KafkaSink {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] for a property that Weir owns.
    pub fn new(config: KafkaSinkConfig) -> Result<Self, SinkError> {
        let group = ("group.id", group(&config.identity));
        let owned = [source::owned_properties(0), transactional_properties(&config, 0), vec![group]].concat();
        let conflict = config.connection.conflicting_property(&owned);
        if let Some(property) = conflict {
            return Err(fatal(
                format!("{}: property `{property}` is set by Weir", config.identity),
                format!("remove `{property}` from the properties in the manifest"),
            ));
        }
        let watchdog = Watchdog::aborting().map_err(|error| {
            let message = format!("{}: no thread can be started: {error}", config.identity);
            fatal(message, "raise the limit on threads of this process")
        })?;
        Ok(Self { config, watchdog, target: None, producer: None, generation: None })
    }

    fn place(&self) -> String {
        format!("{}, Kafka topic `{}`", self.config.identity, self.config.topic)
    }

    fn fail(&self, error: &NativeError) -> SinkError {
        sink_error(&self.place(), error)
    }

    /// A consumer client in the sink's own group, for what the cluster says about the sink.
    fn link(&self) -> Result<Link, SinkError> {
        self.link_with(&[])
    }

    fn link_with(&self, more: &[(&'static str, String)]) -> Result<Link, SinkError> {
        let mut owned = source::owned_properties(1024);
        owned.push(("group.id", group(&self.config.identity)));
        owned.extend_from_slice(more);
        let properties = self.config.connection.properties(&source::default_properties(), &owned);
        Link::new(&self.config.topic, &properties).map_err(|error| self.fail(&error))
    }

    fn partitions(&self, link: &Link) -> Result<u32, SinkError> {
        let asked = link.topic_partitions(self.config.connect_timeout());
        match (asked, &self.config.create) {
            (Ok(partitions), _) => Ok(partitions),
            (Err(error), Some(options)) if is_unknown_topic(error.code) => {
                let admin = KafkaAdmin::new(self.config.connection.clone());
                admin.create_topic(&self.config.topic, options)?;
                link.topic_partitions(self.config.connect_timeout()).map_err(|error| self.fail(&error))
            }
            (Err(error), _) => Err(self.fail(&error)),
        }
    }

    fn max_batch_bytes(&self) -> Result<usize, SinkError> {
        let admin = KafkaAdmin::new(self.config.connection.clone());
        Ok(admin.max_message_bytes(&self.config.topic)?.unwrap_or(DEFAULT_MAX_BATCH_BYTES))
    }

    fn progress<'a>(&'a self, link: &'a Link, partitions: u32) -> Progress<'a> {
        let KafkaSinkConfig { identity, topic, .. } = &self.config;
        Progress { link, identity, topic, partitions, timeout: self.config.connect_timeout() }
    }

    fn check_generation(&self, mark: Option<&Mark>) -> Result<(), SinkError> {
        match (self.generation, mark) {
            (Some(mine), Some(Mark { generation, .. })) if *generation != mine => Err(self.fenced(mine, *generation)),
            _ => Ok(()),
        }
    }

    fn fenced(&self, mine: u64, found: u64) -> SinkError {
        SinkError::Fenced(format!(
            "{}: another instance uses transactional id `{}` (generation {found}, this one is {mine})",
            self.place(),
            self.config.transactional_id(),
        ))
    }

    /// Whether this instance's generation is still the last one. Looks past open transactions: its own may be among them.
    fn check_owner(&self) -> Result<(), SinkError> {
        let link = self.link_with(&[("isolation.level", "read_uncommitted".into())])?;
        self.check_generation(self.progress(&link, 0).mark()?.as_ref())
    }

    /// A new producer, all older ones of the same id fenced; and then what the group holds, which nobody else can change.
    fn start(&mut self, link: &Link, max_batch_bytes: usize) -> Result<Option<Mark>, SinkError> {
        // Before it fences anyone.
        if self.generation.is_some() {
            self.check_owner()?;
        }
        self.start_producer(max_batch_bytes)?;
        let mark = self.progress(link, 0).mark()?;
        self.check_generation(mark.as_ref())?;
        Ok(mark)
    }

    fn start_producer(&mut self, max_batch_bytes: usize) -> Result<(), SinkError> {
        // The old one first: it must not be alive beside its successor.
        self.producer = None;
        let owned = transactional_properties(&self.config, max_batch_bytes);
        let properties = self.config.connection.properties(&producer_properties(), &owned);
        let mut producer = Producer::new(&self.config.topic, &properties).map_err(|error| self.fail(&error))?;
        // A connection first: without one librdkafka lets half a second pass before it looks for the coordinator again.
        let connected = producer.client().topic_metadata(&self.config.topic, self.config.connect_timeout());
        connected.map_err(|error| self.fail(&explain(&producer, error)))?;
        let timeout = self.config.transaction_timeout();
        let started =
            self.watchdog.watch("init_transactions", timeout + WATCHDOG_GRACE, || producer.init_transactions(timeout));
        started.map_err(|error| self.fail(&explain(&producer, error)))?;
        self.producer = Some(producer);
        Ok(())
    }

    fn transact(&mut self, target: &mut Option<Target>, mark: Mark, blocks: &[Outgoing<'_>]) -> Result<(), SinkError> {
        let (Some(mut producer), Some(target)) = (self.producer.take(), target) else {
            return Err(SinkError::Retry(format!("{}: not connected", self.place())));
        };
        let started = Instant::now();
        let closed_before = producer.client().closed_connections();
        let epoch = mark.epoch;
        let outcome = self.open_transaction().write(&mut producer, &mut target.partitioner, blocks, &mark);
        outcome.map_err(|error| self.judge(&explain(&producer, error), started.elapsed()))?;
        let disturbed = producer.client().closed_connections() != closed_before || started.elapsed() >= SLOW_COMMIT;
        target.exposed = Some(epoch);
        self.producer = (!disturbed).then_some(producer);
        Ok(())
    }

    /// The blocks of an entry, each of its records of a size that the topic takes.
    fn outgoing<'a>(&self, entry: &'a SinkEpoch, max_record_bytes: usize) -> Result<Vec<Outgoing<'a>>, SinkError> {
        let SinkData::Payloads(blocks) = &*entry.data else {
            let next = "this is a fault in Weir: report it with the manifest";
            return Err(fatal(format!("{}: got columns instead of payloads", self.place()), next));
        };
        check_sizes(&self.place(), blocks, max_record_bytes)?;
        Ok((0..blocks.len()).map(|block| Outgoing { data: &entry.data, block }).collect())
    }

    fn open_transaction(&self) -> Transaction<'_> {
        let deadline = Instant::now() + self.config.transaction_timeout();
        Transaction { config: &self.config, watchdog: &self.watchdog, deadline }
    }

    /// Being fenced alone says little: by the broker, after the transaction's time-out, or by an instance that has found
    /// meanwhile that it is the older one. Whose generation is the last one decides.
    fn judge(&self, error: &NativeError, open_for: Duration) -> SinkError {
        if !is_fenced(error.code) {
            return self.fail(error);
        }
        if let Err(error) = self.check_owner() {
            return error;
        }
        let (place, limit) = (self.place(), self.config.transaction_timeout_ms);
        SinkError::Retry(if open_for >= self.config.transaction_timeout() {
            format!(
                "{place}: the epoch was not written within `transaction_timeout_ms` ({limit}); raise it if this repeats"
            )
        } else {
            format!("{place}: {}, by none that took over", error.message)
        })
    }

    /// Makes the next generation this instance's.
    fn claim(&mut self, mark: Mark) -> Result<(), SinkError> {
        let Some(mut producer) = self.producer.take() else {
            return Err(SinkError::Retry(format!("{}: not connected", self.place())));
        };
        let claimed = self.open_transaction().mark(&mut producer, &mark);
        claimed.map_err(|error| match explain(&producer, error) {
            // Two begin at once; whoever is last has it.
            error if is_fenced(error.code) => SinkError::Retry(format!("{}: {}", self.place(), error.message)),
            error => self.fail(&error),
        })?;
        self.producer = Some(producer);
        self.generation = Some(mark.generation);
        Ok(())
    }
}

impl Sink for KafkaSink {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        self.producer = None;
        self.target = None;
        let link = self.link()?;
        let partitions = self.partitions(&link)?;
        let max_batch_bytes = self.max_batch_bytes()?;
        // Before the position is read: an open transaction of a former instance must be over.
        let mark = self.start(&link, max_batch_bytes)?;
        let position = match &mark {
            Some(mark) => SinkPosition::Epoch(mark.epoch),
            None => self.progress(&link, partitions).without_mark(acked)?,
        };
        if self.generation.is_none() {
            let epoch = if let SinkPosition::Epoch(epoch) = position { epoch } else { 0 };
            let (before, cut) = mark.map_or((0, None), |mark| (mark.generation, mark.cut));
            self.claim(Mark { epoch, generation: before + 1, cut })?;
        }
        let exposed = match position {
            SinkPosition::Absent => None,
            SinkPosition::Epoch(epoch) => Some(epoch),
        };
        self.target = Some(Target { partitioner: Partitioner::new(partitions), max_batch_bytes, exposed });
        Ok(position)
    }

    fn held(&mut self) -> Result<Option<Held>, SinkError> {
        let link = self.link()?;
        let mark = self.progress(&link, 0).mark()?;
        Ok(mark.map(|Mark { epoch, cut, .. }| Held { epoch, cut, rejects: 0 }))
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        self.expose_together(std::slice::from_ref(entry))
    }

    fn expose_together(&mut self, entries: &[SinkEpoch]) -> Result<ExposeOutcome, SinkError> {
        let Some(Target { exposed, max_batch_bytes, .. }) = &self.target else {
            return Err(SinkError::Retry(format!("{}: not connected", self.place())));
        };
        let max_batch_bytes = *max_batch_bytes;
        let mut exposed = *exposed;
        let (mut blocks, mut cut) = (Vec::new(), None);
        for entry in entries {
            match exposed {
                Some(exposed) if exposed >= entry.epoch => continue,
                Some(exposed) if exposed != entry.previous => {
                    return Err(chain_broken(&self.place(), exposed, entry.previous));
                }
                _ => {}
            }
            blocks.extend(self.outgoing(entry, max_batch_bytes.saturating_sub(BATCH_OVERHEAD_BYTES))?);
            (exposed, cut) = (Some(entry.epoch), entry.cut.clone());
        }
        let outcome = ExposeOutcome { exposed, ..Default::default() };
        let Some(epoch) = exposed.filter(|epoch| Some(*epoch) > self.target.as_ref().and_then(|target| target.exposed))
        else {
            return Ok(outcome);
        };
        let ready = match self.producer {
            None => self.link().and_then(|link| self.start(&link, max_batch_bytes)).map(drop),
            Some(_) => Ok(()),
        };
        // After a failure only the cluster knows whether the epoch was committed: the next call must be `recover`.
        let mut target = self.target.take();
        let mark = Mark { epoch, generation: self.generation.unwrap_or(0), cut };
        ready.and_then(|()| self.transact(&mut target, mark, &blocks))?;
        self.target = target;
        Ok(outcome)
    }
}

/// Kafka refuses negative times: such a row, or one without a time, is stamped when it is written.
pub(super) fn timestamp_ms(block: &PayloadBlock, row: usize) -> Option<i64> {
    block.timestamps_us.get(row).map(|us| us.div_euclid(1000)).filter(|ms| *ms >= 0)
}

/// Refuses an entry with a record that the topic cannot take, before anything is sent: a topic has no place to keep
/// a reject in.
fn check_sizes(place: &str, blocks: &[PayloadBlock], max_record_bytes: usize) -> Result<(), SinkError> {
    let key = |block: &PayloadBlock, row: usize| block.keys.as_ref().map_or(0, |keys| keys.get(row).len());
    for block in blocks {
        for row in 0..block.values.len() {
            let bytes = block.values.get(row).len() + key(block, row);
            if bytes > max_record_bytes {
                return Err(fatal(
                    format!("{place}: a record of {bytes} bytes is over the topic's limit of {max_record_bytes}"),
                    format!("raise `max.message.bytes` of the topic to {} or more", bytes + BATCH_OVERHEAD_BYTES),
                ));
            }
        }
    }
    Ok(())
}

/// A producer's own events say more than a time-out.
fn explain(producer: &Producer, error: NativeError) -> NativeError {
    let events = std::iter::from_fn(|| producer.client().next_event());
    super::link::explain_by_events(error, events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_over_the_limit_is_named_with_its_size_and_the_next_act() {
        let block = |bytes: usize| PayloadBlock {
            values: [vec![b'x'; bytes].as_slice()].into_iter().collect(),
            keys: Some([b"key".as_slice()].into_iter().collect()),
            timestamps_us: vec![0],
        };
        assert!(check_sizes("sink", &[block(97)], 100).is_ok());
        let Err(SinkError::Fatal { message, next }) = check_sizes("sink", &[block(97), block(98)], 100) else {
            panic!("an oversized record passed");
        };
        assert_eq!(message, "sink: a record of 101 bytes is over the topic's limit of 100");
        assert_eq!(next, "raise `max.message.bytes` of the topic to 613 or more");
    }

    #[test]
    fn event_times_before_1970_are_left_to_the_producer() {
        let block = PayloadBlock {
            values: [b"".as_slice(); 3].into_iter().collect(),
            keys: None,
            timestamps_us: vec![1_999, -1, i64::MIN],
        };
        assert_eq!([0, 1, 2, 3].map(|row| timestamp_ms(&block, row)), [Some(1), None, None, None]);
    }
}
