//! The Kafka source and sink alone, against rust-rdkafka's own clients, interleaved in one run on a real broker.
//!
//! Unit: CPU time of the whole process per record (user and system, librdkafka's threads included), in nanoseconds;
//! best and median of the passes. Records are Nexmark-like JSON of about 290 bytes, lz4, four partitions. The source
//! copies every payload into its arena; its rival is `BaseConsumer::poll`, which touches every payload. The sink and
//! its rival `BaseProducer::send` both write one transaction per epoch.
//!
//!     WEIR_TEST_KAFKA=host:port cargo run --release -p weir-bench-kafka -- [passes] [records]

mod contest;
mod payloads;
mod sink;
mod source;

use weir_connectors::kafka::{KafkaAdmin, KafkaConnection, TopicOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DEFAULT_PASSES: usize = 7;

const DEFAULT_RECORDS: usize = 1_000_000;

pub const PARTITIONS: u32 = 4;

fn main() {
    let brokers = std::env::var("WEIR_TEST_KAFKA").expect("set WEIR_TEST_KAFKA to the host:port of a real broker");
    let connection = KafkaConnection::new(brokers);
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let passes = arguments.next().unwrap_or(DEFAULT_PASSES);
    let records = arguments.next().unwrap_or(DEFAULT_RECORDS);
    println!("ns of CPU per record, {records} records, {passes} passes, load {}", load());
    println!("{:44} {:>17} {:>17} {:>13}", "", "ours best/median", "rival best/median", "ratio");
    let topic = Topic::new(&connection);
    sink::contests(&topic, records, passes);
    source::contest(&topic, records, passes);
    println!("load at the end {}", load());
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".into(), |load| load.trim().to_owned())
}

/// A topic for one run, deleted at its end.
pub struct Topic {
    pub connection: KafkaConnection,
    pub name: String,
}

impl Topic {
    fn new(connection: &KafkaConnection) -> Self {
        let name = format!("bench-{}", std::process::id());
        let mut options = TopicOptions::new(PARTITIONS);
        options.configs.insert("retention.ms".into(), "-1".into());
        KafkaAdmin::new(connection.clone()).create_topic(&name, &options).expect("the topic can be made");
        Self { connection: connection.clone(), name }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        KafkaAdmin::new(self.connection.clone()).delete_topic(&self.name).expect("the topic can be deleted");
    }
}
