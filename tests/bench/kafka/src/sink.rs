//! `KafkaSink::expose` against `BaseProducer::send`, both one transaction per epoch.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use weir_connectors::SinkIdentity;
use weir_connectors::kafka::{KafkaSink, KafkaSinkConfig, RecordTimestamps};
use weir_stream::{PayloadBlock, Sink, SinkData, SinkEpoch};

use crate::{PARTITIONS, Topic, contest, payloads};

const EPOCH: usize = 100_000;

const BOUND: Duration = Duration::from_secs(60);

pub fn contests(topic: &Topic, records: usize, passes: usize) {
    let bids = payloads::bids(EPOCH);
    let bytes = bids.iter().map(String::len).sum::<usize>() / bids.len();
    println!("records of {bytes} bytes, epochs of {EPOCH}");
    let data = epoch_data(&bids);
    let mut ours =
        [("sink, time of writing", RecordTimestamps::WriteTime), ("sink, event time", RecordTimestamps::EventTime)]
            .map(|(name, timestamps)| {
                let mut sink = OurSink::new(topic, timestamps);
                let data = Arc::clone(&data);
                (name, Box::new(move || (0..records / EPOCH).for_each(|_| sink.expose(&data))) as Box<dyn FnMut() + '_>)
            });
    let producer = rival(topic);
    let mut rival = || (0..records / EPOCH).for_each(|_| send_epoch(&producer, topic, &bids));
    contest::run(&mut ours, &mut rival, records / EPOCH * EPOCH, passes);
}

fn epoch_data(bids: &[String]) -> Arc<SinkData> {
    // Blocks of the size that an encoder makes of one batch.
    let blocks = bids.chunks(8192).map(|bids| PayloadBlock {
        values: bids.iter().map(String::as_bytes).collect(),
        keys: None,
        timestamps_us: (0..bids.len() as i64).map(|row| payloads::FIRST_TIME_US + row * 1000).collect(),
    });
    Arc::new(SinkData::Payloads(blocks.collect()))
}

struct OurSink {
    sink: KafkaSink,
    epoch: u64,
}

impl OurSink {
    fn new(topic: &Topic, timestamps: RecordTimestamps) -> Self {
        let identity = SinkIdentity::new(&topic.name, format!("{timestamps:?}"));
        let config = KafkaSinkConfig::new(identity, topic.connection.clone(), &topic.name);
        let mut sink = KafkaSink::new(KafkaSinkConfig { timestamps, ..config }).expect("the configuration is valid");
        sink.recover(0).expect("the broker answers");
        Self { sink, epoch: 0 }
    }

    fn expose(&mut self, data: &Arc<SinkData>) {
        let entry = SinkEpoch { epoch: self.epoch + 1, previous: self.epoch, cut: None, data: Arc::clone(data) };
        self.sink.expose(&entry).expect("the broker takes the epoch");
        self.epoch += 1;
    }
}

fn rival(topic: &Topic) -> BaseProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &topic.connection.brokers)
        .set("transactional.id", format!("{}-rival", topic.name))
        .set("compression.codec", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "100000")
        .set("delivery.report.only.error", "true");
    let producer: BaseProducer = config.create().expect("the configuration is valid");
    producer.init_transactions(BOUND).expect("the broker answers");
    producer
}

fn send_epoch(producer: &BaseProducer, topic: &Topic, bids: &[String]) {
    producer.begin_transaction().expect("no transaction is open");
    for (row, bid) in bids.iter().enumerate() {
        let partition = (row / 1000) as i32 % PARTITIONS as i32;
        let mut record = BaseRecord::<(), str>::to(&topic.name).payload(bid).partition(partition);
        record.timestamp = Some(payloads::FIRST_TIME_US / 1000 + row as i64);
        while let Err((error, refused)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(2));
            record = refused;
        }
    }
    producer.commit_transaction(BOUND).expect("the broker takes the epoch");
}
