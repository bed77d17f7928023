//! The rival: the same job by hand, as it is usually written. Poll a record, parse it with serde_json, apply the rules,
//! write it with serde_json, send it. At least once: no epochs, no transactions, no state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    occurred_at: &'a str,
    #[serde(borrow)]
    category: Option<std::borrow::Cow<'a, str>>,
    quantity: Option<i32>,
    amount: Option<&'a str>,
    currency: Option<&'a str>,
}

#[derive(Serialize)]
struct Clean<'a> {
    event_id: &'a str,
    kind: String,
    occurred_at: &'a str,
    category: Option<&'a str>,
    quantity: Option<i32>,
    amount: Option<&'a str>,
    currency: Option<&'a str>,
    amount_eur: Option<String>,
}

/// `12.34` as cents.
fn cents(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let scale = 10_i64.checked_pow(2_u32.checked_sub(part.len() as u32)?)?;
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(part.parse::<i64>().ok()? * scale)
}

fn clean<'a>(event: &'a Event<'a>) -> Option<Clean<'a>> {
    let kind = event.kind.as_deref().map(str::trim).filter(|kind| !kind.is_empty())?.to_ascii_lowercase();
    let amount_eur = match event.amount {
        None => None,
        Some(amount) => {
            let amount = cents(amount).filter(|amount| (0..=1_000_000).contains(amount))?;
            let rate = match event.currency.unwrap_or_default() {
                "EUR" => 100,
                "USD" => 92,
                "GBP" => 117,
                "CHF" => 105,
                "PLN" => 23,
                _ => return None,
            };
            let euro = (amount * rate + 50) / 100;
            Some(format!("{}.{:02}", euro / 100, euro % 100))
        }
    };
    Some(Clean {
        event_id: &event.event_id,
        kind,
        occurred_at: event.occurred_at,
        category: event.category.as_deref(),
        quantity: event.quantity,
        amount: event.amount,
        currency: event.currency,
        amount_eur,
    })
}

/// Counts what the broker has taken: a figure for records that never arrived would be none.
#[derive(Clone, Default)]
struct Delivered(Arc<AtomicU64>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("a record was not delivered: {error}");
        }
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes the topic that `run` writes to, with as many partitions as the pipeline's; it keeps everything, since event
/// times may lie years back.
pub fn create(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("the settings are sound");
    let new = NewTopic::new(topic, 4, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    let made = futures_executor::block_on(admin.create_topics([&new], &AdminOptions::new()));
    for result in made.expect("the broker answers") {
        result.expect("the topic is made");
    }
}

/// Reads `events` records of `input` and writes the good ones to `output`, a topic that exists.
pub fn run(brokers: &str, input: &str, output: &str, events: u64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench-native")
        .set("enable.auto.commit", "false")
        .create()
        .expect("the consumer's settings are sound");
    let metadata = consumer.fetch_metadata(Some(input), Duration::from_secs(10)).expect("the input topic is there");
    let mut all = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(input, partition.id(), Offset::Beginning).expect("a partition of the topic");
    }
    consumer.assign(&all).expect("partitions of the topic");
    let delivered = Delivered::default();
    let producer: BaseProducer<Delivered> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(delivered.clone())
        .expect("the producer's settings are sound");
    let (mut read, mut sent) = (0, 0);
    while read < events {
        let Some(record) = consumer.poll(Duration::from_secs(10)) else {
            panic!("the input ended after {read} records")
        };
        let record = record.expect("a record");
        read += 1;
        let Some(event) = record.payload().and_then(|payload| serde_json::from_slice::<Event>(payload).ok()) else {
            continue;
        };
        if let Some(clean) = clean(&event) {
            send(&producer, output, &serde_json::to_vec(&clean).expect("plain values"), &record);
            sent += 1;
        }
        if read % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).expect("everything is sent");
    assert_eq!(delivered.0.load(Ordering::Relaxed), sent, "records sent and records delivered differ");
}

fn send(producer: &BaseProducer<Delivered>, output: &str, payload: &[u8], record: &impl Message) {
    let timestamp = record.timestamp().to_millis().unwrap_or(0);
    let mut message = BaseRecord::<(), [u8]>::to(output).payload(payload).timestamp(timestamp);
    loop {
        match producer.send(message) {
            Ok(()) => return,
            // The queue is full: let some go out.
            Err((_, back)) => {
                message = back;
                producer.poll(Duration::from_millis(10));
            }
        }
    }
}
