//! From a producer's clock to a consumer's, Kafka to Kafka, exactly once with short epochs, at half of what the pipeline takes.
//!
//! An event's time is the moment it is handed to the producer; a record's timestamp in the output is its event's time. Read
//! committed, so a record counts once its transaction has ended. Producer, engine, broker and consumer share the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::native;

const PARTITIONS: i32 = 4;

/// Events that are not counted: connections open, caches fill, and a broker that was just started compiles itself on a core
/// that the engine lacks.
const WARM_UP: Duration = Duration::from_secs(20);

/// How long the last records may take.
const BOUND: Duration = Duration::from_secs(30);

pub struct Topics {
    pub input: String,
    pub output: String,
}

pub fn create(brokers: &str, topics: &Topics) {
    native::create(brokers, &topics.input);
    native::create(brokers, &topics.output);
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros() as u64
}

/// From handing a record over until the broker has it, as a stage of its own.
#[derive(Default)]
struct Delivered {
    sum_us: AtomicU64,
    most_us: AtomicU64,
    records: AtomicU64,
}

struct Reports(Arc<Delivered>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent_us: Box<u64>) {
        result.as_ref().unwrap_or_else(|(error, _)| panic!("a record was not delivered: {error}"));
        let took = now_us().saturating_sub(*sent_us);
        self.0.sum_us.fetch_add(took, Ordering::Relaxed);
        self.0.most_us.fetch_max(took, Ordering::Relaxed);
        self.0.records.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes `rate` events a second for so long; answers how many.
fn produce(brokers: &str, topic: &str, rate: u64, lasting: Duration, delivered: Arc<Delivered>) -> u64 {
    let producer: BaseProducer<Reports> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "2")
        .set("compression.type", "lz4")
        .create_with_context(Reports(delivered))
        .expect("the producer's settings are sound");
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < lasting {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        for number in sent..due {
            send(&producer, topic, number);
        }
        sent = sent.max(due);
        producer.poll(Duration::from_millis(1));
    }
    producer.flush(BOUND).expect("everything is sent");
    sent
}

fn send(producer: &BaseProducer<Reports>, topic: &str, number: u64) {
    let sent_us = now_us();
    let at_ms = sent_us / 1000;
    let at = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms));
    let payload = format!(
        r#"{{"event_id":"{number:016x}","kind":"payment","occurred_at":"{at}","category":"books","quantity":1,"amount":"12.50","currency":"EUR"}}"#
    );
    let partition = (number % PARTITIONS as u64) as i32;
    let mut record: BaseRecord<'_, (), str, Box<u64>> = BaseRecord::with_opaque_to(topic, Box::new(sent_us));
    record = record.payload(&payload).partition(partition).timestamp(at_ms as i64);
    while let Err((_, back)) = producer.send(record) {
        record = back;
        producer.poll(Duration::from_millis(1));
    }
}

/// Event time and delay, both in milliseconds, of the records that come, until `wanted` are there.
fn consume(brokers: &str, topic: &str, wanted: Arc<AtomicU64>) -> Vec<(u64, u64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench-latency")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "5")
        .create()
        .expect("the consumer's settings are sound");
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition of the topic");
    }
    consumer.assign(&all).expect("partitions of the topic");
    let mut seen = Vec::new();
    let mut last = Instant::now();
    while (seen.len() as u64) < wanted.load(Ordering::Relaxed) {
        assert!(last.elapsed() < BOUND, "{} records came, {} are wanted", seen.len(), wanted.load(Ordering::Relaxed));
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let at_ms = record.expect("a record").timestamp().to_millis().expect("a timestamp") as u64;
        seen.push((at_ms, (now_us() / 1000).saturating_sub(at_ms)));
        last = Instant::now();
    }
    seen
}

/// Sends and reads while the pipeline runs; prints the figures.
pub fn run(brokers: &str, topics: &Topics, rate: u64, seconds: u64) {
    let wanted = Arc::new(AtomicU64::new(u64::MAX));
    let delivered = Arc::new(Delivered::default());
    let (their_brokers, output, until) = (brokers.to_owned(), topics.output.clone(), Arc::clone(&wanted));
    let reader = std::thread::spawn(move || consume(&their_brokers, &output, until));
    let began_ms = now_us() / 1000;
    let sent = produce(brokers, &topics.input, rate, WARM_UP + Duration::from_secs(seconds), Arc::clone(&delivered));
    wanted.store(sent, Ordering::Relaxed);
    let seen = reader.join().expect("the reader does not panic");
    let warm_ms = began_ms + WARM_UP.as_millis() as u64;
    let mut took_ms: Vec<u64> = seen.iter().filter(|(at, _)| *at >= warm_ms).map(|(_, took)| *took).collect();
    took_ms.sort_unstable();
    let at = |share: f64| took_ms[((took_ms.len() - 1) as f64 * share) as usize];
    println!("{rate} events/s for {seconds} s, {} records, ms from producer to committed read", took_ms.len());
    println!("  whole way     p50 {:>5}  p90 {:>5}  p99 {:>5}  max {:>5}", at(0.5), at(0.9), at(0.99), at(1.0));
    let records = delivered.records.load(Ordering::Relaxed).max(1);
    let mean = delivered.sum_us.load(Ordering::Relaxed) as f64 / records as f64 / 1000.0;
    let most = delivered.most_us.load(Ordering::Relaxed) as f64 / 1000.0;
    println!("  to the broker mean {mean:>4.1}  max {most:>5.1}");
}

/// Prints the engine's own stages, from its status.
pub fn stages(status: &serde_json::Value) {
    let Some(phases) = status["epoch_phases"].as_object() else { return };
    let bounds = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000, 2000, 5000];
    for (phase, times) in phases {
        let counts: Vec<u64> =
            times["counts"].as_array().into_iter().flatten().filter_map(|count| count.as_u64()).collect();
        let all: u64 = counts.iter().sum();
        let under = |share: f64| {
            let mut left = (all as f64 * share).ceil() as u64;
            let bucket = counts.iter().position(|count| {
                left = left.saturating_sub(*count);
                left == 0
            });
            bucket.and_then(|bucket| bounds.get(bucket)).map_or("more".to_owned(), |bound| format!("<={bound}"))
        };
        let mean = times["sum_us"].as_f64().unwrap_or(0.0) / all.max(1) as f64 / 1000.0;
        println!("  {phase:<13} mean {mean:>4.1}  p50 {:>5}  p99 {:>5}  of {all} epochs", under(0.5), under(0.99));
    }
}
