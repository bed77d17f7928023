//! Topics: made, filled with events, read back.
//!
//! Invariant: a record's timestamp is its event's time, and topics keep everything: event time lies years back, and under
//! a broker's default retention it would be gone at once.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::events::{self, EventOptions};

pub const PARTITIONS: i32 = 4;

/// Neighbouring events that go to one partition.
const RUN: u64 = 64;

const BOUND: Duration = Duration::from_secs(60);

pub fn brokers() -> String {
    std::env::var("KAFKA_BROKERS").expect("KAFKA_BROKERS says where Kafka is")
}

/// A name that no earlier run used.
pub fn fresh(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    format!("nexmark.{name}.{}", now.as_micros())
}

pub fn create(name: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("the settings are sound");
    let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let made = wait_for(admin.create_topics([&topic], &AdminOptions::new())).expect("the broker answers");
    for outcome in made {
        outcome.expect("the broker makes a topic of a fresh name");
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Writes the first `count` events into a new topic.
pub fn fill(name: &str, count: u64, options: &EventOptions) {
    create(name);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("enable.idempotence", "true")
        .set("queue.buffering.max.messages", "500000")
        .create()
        .expect("the producer's settings are sound");
    let mut payload = Vec::new();
    for index in 0..count {
        payload.clear();
        let event = events::event(index, options);
        event.write_json(&mut payload);
        let partition = (index / RUN % PARTITIONS as u64) as i32;
        let mut record = BaseRecord::<(), [u8]>::to(name).payload(&payload).partition(partition);
        record.timestamp = Some(event.time_ms());
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = back;
        }
        if index % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(BOUND).expect("everything is sent");
}

/// What a topic holds in the end, of committed records: the last value of each key, and every value without a key.
pub fn table(name: &str) -> Vec<Value> {
    let mut keyed: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    let mut rows = Vec::new();
    read(name, |key, value| {
        let value = value.map(|value| serde_json::from_slice(value).expect("results are JSON"));
        match (key, value) {
            (Some(key), Some(value)) => {
                keyed.insert(key.to_vec(), value);
            }
            (Some(key), None) => {
                keyed.remove(key);
            }
            (None, value) => rows.push(value.unwrap_or_default()),
        }
    });
    rows.extend(keyed.into_values());
    rows
}

fn read(name: &str, mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("group.id", "nexmark-oracle")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .expect("the consumer's settings are sound");
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(name, partition, Offset::Beginning).expect("a partition of the topic");
    }
    consumer.assign(&all).expect("partitions of the topic");
    let mut open = PARTITIONS;
    while open > 0 {
        match consumer.poll(BOUND).expect("the broker answers") {
            Ok(record) => each(record.key(), record.payload()),
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("reading {name}: {error}"),
        }
    }
}
