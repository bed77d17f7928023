//! Kafka: a source that keeps no offsets in Kafka, and a sink that keeps its epoch in Kafka's own transaction.
//!
//! Invariant: a record is bytes here. Only the module `native` touches librdkafka's C interface.

mod admin;
mod connection;
mod errors;
mod link;
mod native;
mod partition;
mod producer_properties;
mod progress;
mod reader;
mod records;
mod sink;
mod source;
mod transaction;
mod watchdog;
mod writer;

pub use admin::{KafkaAdmin, TopicOptions};
pub use connection::KafkaConnection;
pub use sink::{DEFAULT_TRANSACTION_TIMEOUT_MS, KafkaSink, KafkaSinkConfig, RecordTimestamps};
pub use source::{
    DEFAULT_CONNECT_TIMEOUT_MS, DEFAULT_QUEUE_BYTES, DEFAULT_REFRESH_MS, KafkaSource, KafkaSourceConfig, Start,
};
pub use writer::KafkaWriter;
