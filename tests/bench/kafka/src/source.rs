//! `KafkaSource` against a loop over `BaseConsumer::poll`.

use std::hint::black_box;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use weir_connectors::kafka::{KafkaSource, KafkaSourceConfig};
use weir_stream::{PartitionReader, Poll, Source};

use crate::{PARTITIONS, Topic, contest};

const BOUND: Duration = Duration::from_secs(30);

/// What the runtime asks for at once.
const BATCH_RECORDS: usize = 8192;
const BATCH_BYTES: usize = 2 << 20;

pub fn contest(topic: &Topic, records: usize, passes: usize) {
    let mut ours = [("source", Box::new(|| read_ours(topic, records)) as Box<dyn FnMut() + '_>)];
    contest::run(&mut ours, &mut || read_rival(topic, records), records, passes);
}

fn read_ours(topic: &Topic, records: usize) {
    let config = KafkaSourceConfig::new("bench", topic.connection.clone(), &topic.name);
    let mut source = KafkaSource::new(config).expect("the configuration is valid");
    source.partitions().expect("the broker answers");
    let (knock, knocks) = mpsc::channel();
    let mut readers: Vec<Box<dyn PartitionReader>> = (0..PARTITIONS)
        .map(|partition| {
            let mut reader = source.open(partition, None).expect("the partition is there");
            let knock = knock.clone();
            reader.set_waker(std::sync::Arc::new(move || knock.send(()).unwrap_or_default()));
            reader
        })
        .collect();
    let mut seen = 0;
    while seen < records {
        let mut got = 0;
        for reader in &mut readers {
            if let Poll::Records(batch) = reader.poll(BATCH_RECORDS, BATCH_BYTES).expect("the broker is there") {
                got += batch.len();
                black_box(&batch);
            }
        }
        seen += got;
        if got == 0 {
            knocks.recv_timeout(BOUND).expect("records come");
            while knocks.try_recv().is_ok() {}
        }
    }
}

fn read_rival(topic: &Topic, records: usize) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &topic.connection.brokers)
        .set("group.id", &topic.name)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.message.max.bytes", "1048576");
    let consumer: BaseConsumer = config.create().expect("the configuration is valid");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        assignment.add_partition_offset(&topic.name, partition, Offset::Beginning).expect("the offset is valid");
    }
    consumer.assign(&assignment).expect("the partitions are there");
    for _ in 0..records {
        let message = consumer.poll(BOUND).expect("records come").expect("the broker is there");
        black_box(message.payload().map(|payload| payload[0]));
    }
}
