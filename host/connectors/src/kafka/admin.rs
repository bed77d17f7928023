//! Topics: made, deleted and looked at. Used at a sink's start, by the command line and by tests; never on the data
//! path.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use weir_stream::SinkError;

use super::connection::KafkaConnection;
use super::errors::sink_error;
use super::link::Link;
use super::native::NativeError;

/// A request to the cluster waits this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How a topic is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOptions {
    pub partitions: u32,
    /// None: the broker's default.
    pub replication: Option<u16>,
    /// Topic settings such as `cleanup.policy` or `retention.ms`.
    pub configs: BTreeMap<String, String>,
}

impl TopicOptions {
    pub fn new(partitions: u32) -> Self {
        Self { partitions, replication: None, configs: BTreeMap::new() }
    }
}

/// Acts on the topics of one cluster.
///
/// All calls block for at most some ten seconds and answer [`SinkError::Retry`] when the cluster cannot be reached,
/// `Fatal` when it refuses.
pub struct KafkaAdmin {
    connection: KafkaConnection,
}

impl KafkaAdmin {
    pub fn new(connection: KafkaConnection) -> Self {
        Self { connection }
    }

    /// Makes a topic; false when it was there already.
    ///
    /// # Errors
    /// See [`KafkaAdmin`].
    pub fn create_topic(&self, topic: &str, options: &TopicOptions) -> Result<bool, SinkError> {
        self.partitions_if_reachable(topic)?;
        let replication = options.replication.map_or(-1, i32::from);
        let new = NewTopic::new(topic, options.partitions as i32, TopicReplication::Fixed(replication));
        let new = options.configs.iter().fold(new, |new, (name, value)| new.set(name, value));
        let what = format!("creating Kafka topic `{topic}`");
        let results = block_on(self.client()?.create_topics([&new], &admin_options()));
        match first(&what, results)? {
            Ok(_) => Ok(true),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(false),
            Err((_, code)) => Err(refused(&what, code)),
        }
    }

    /// Raises the number of partitions of a topic to `partitions`.
    ///
    /// # Errors
    /// See [`KafkaAdmin`].
    pub fn add_partitions(&self, topic: &str, partitions: u32) -> Result<(), SinkError> {
        let what = format!("adding partitions to Kafka topic `{topic}`");
        let new = NewPartitions::new(topic, partitions as usize);
        let results = block_on(self.client()?.create_partitions([&new], &admin_options()));
        first(&what, results)?.map(drop).map_err(|(_, code)| refused(&what, code))
    }

    /// Deletes a topic; false when there was none.
    ///
    /// # Errors
    /// See [`KafkaAdmin`].
    pub fn delete_topic(&self, topic: &str) -> Result<bool, SinkError> {
        let what = format!("deleting Kafka topic `{topic}`");
        let results = block_on(self.client()?.delete_topics(&[topic], &admin_options()));
        match first(&what, results)? {
            Ok(_) => Ok(true),
            Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => Ok(false),
            Err((_, code)) => Err(refused(&what, code)),
        }
    }

    /// The end of each partition as a reader of committed records sees it.
    ///
    /// # Errors
    /// See [`KafkaAdmin`].
    pub fn end_offsets(&self, topic: &str) -> Result<Vec<i64>, SinkError> {
        let what = format!("Kafka topic `{topic}`");
        let link = self.link(topic)?;
        let fail = |error: NativeError| sink_error(&what, &link.explain(error));
        let partitions = link.topic_partitions(REQUEST_TIMEOUT).map_err(fail)?;
        let end = |partition| link.client().query_watermarks(topic, partition, REQUEST_TIMEOUT);
        (0..partitions as i32).map(|partition| Ok(end(partition).map_err(fail)?.1)).collect()
    }

    /// The largest record batch that the topic takes, in bytes, when the broker tells.
    ///
    /// # Errors
    /// See [`KafkaAdmin`].
    pub fn max_message_bytes(&self, topic: &str) -> Result<Option<usize>, SinkError> {
        let what = format!("reading the settings of Kafka topic `{topic}`");
        let results = block_on(self.client()?.describe_configs([&ResourceSpecifier::Topic(topic)], &admin_options()));
        let config = match first(&what, results)? {
            Ok(config) => config,
            // Reading settings is a right of its own; without it the client's default limit holds.
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => return Ok(None),
            Err(code) => return Err(refused(&what, code)),
        };
        let value = config.get("max.message.bytes").and_then(|entry| entry.value.as_deref());
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// A login that is refused or a broker that is down is told with its cause by a plain client.
    fn partitions_if_reachable(&self, topic: &str) -> Result<Option<u32>, SinkError> {
        match self.link(topic)?.topic_partitions(REQUEST_TIMEOUT) {
            Ok(partitions) => Ok(Some(partitions)),
            Err(error) if super::link::is_unknown_topic(error.code) => Ok(None),
            Err(error) => Err(sink_error(&format!("Kafka at {}", self.connection.brokers), &error)),
        }
    }

    fn link(&self, topic: &str) -> Result<Link, SinkError> {
        let properties = self.connection.properties(&[], &[]);
        let what = format!("Kafka at {}", self.connection.brokers);
        Link::new(topic, &properties).map_err(|error| sink_error(&what, &error))
    }

    fn client(&self) -> Result<AdminClient<DefaultClientContext>, SinkError> {
        let config: ClientConfig = self.connection.properties(&[], &[]).into_iter().collect();
        config.create().map_err(|error| unreachable(&format!("Kafka at {}", self.connection.brokers), &error))
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

fn first<T>(what: &str, results: Result<Vec<T>, KafkaError>) -> Result<T, SinkError> {
    let results = results.map_err(|error| unreachable(what, &error))?;
    results.into_iter().next().ok_or_else(|| SinkError::Retry(format!("{what}: the cluster gave no answer")))
}

fn unreachable(what: &str, error: &KafkaError) -> SinkError {
    match error.rdkafka_error_code() {
        Some(code) => refused(what, code),
        None => SinkError::Retry(format!("{what}: {error}")),
    }
}

fn refused(what: &str, code: RDKafkaErrorCode) -> SinkError {
    let native = rdkafka_sys::rd_kafka_resp_err_t::try_from(code as i32);
    let code = native.unwrap_or(rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN);
    sink_error(what, &NativeError::of(code))
}

/// Waits for a future on this thread; the admin client has a thread of its own that completes it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}
