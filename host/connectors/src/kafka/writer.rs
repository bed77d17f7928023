//! Writes records into a topic outside any pipeline: generated input, fixtures. Idempotent, not transactional.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_stream::{PayloadBlock, SinkData, SinkError};

use super::connection::KafkaConnection;
use super::errors::sink_error;
use super::link::Link;
use super::native::{NativeError, Outgoing, Producer, Stamp};
use super::partition::Partitioner;
use super::producer_properties::producer_properties;
use super::sink::timestamp_ms;

/// Delivery of one block is given up after this time.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker takes batches of 1,048,588 bytes unless told otherwise; librdkafka by itself stops at 1,000,000, under a
/// generator's oversize record.
const MAX_BATCH_BYTES: &str = "1048000";

/// A producer for one topic.
pub struct KafkaWriter {
    topic: String,
    producer: Producer,
    partitioner: Partitioner,
}

impl KafkaWriter {
    /// Connects and learns the topic's partitions.
    ///
    /// # Errors
    /// [`SinkError::Retry`] when the cluster cannot be reached, `Fatal` when the topic is not there.
    pub fn new(connection: &KafkaConnection, topic: &str) -> Result<Self, SinkError> {
        let fail = |error: NativeError| sink_error(&format!("Kafka topic `{topic}`"), &error);
        let link = Link::new(topic, &connection.properties(&[], &[])).map_err(fail)?;
        let partitions = link.topic_partitions(CONNECT_TIMEOUT).map_err(fail)?;
        let owned = [("enable.idempotence", "true".into()), ("delivery.report.only.error", "true".into())];
        let mut defaults = producer_properties();
        defaults.push(("message.max.bytes", MAX_BATCH_BYTES.into()));
        let properties = connection.properties(&defaults, &owned);
        let producer = Producer::new(topic, &properties).map_err(fail)?;
        Ok(Self { topic: topic.into(), producer, partitioner: Partitioner::new(partitions) })
    }

    /// Hands a block over, with its timestamps; the records may be delivered later.
    ///
    /// # Errors
    /// When a record is refused, or an earlier one failed.
    pub fn write(&mut self, block: PayloadBlock) -> Result<(), SinkError> {
        let to = self.partitioner.assign(&block);
        let data = Arc::new(SinkData::Payloads(vec![block]));
        let out = Outgoing { data: &data, block: 0 };
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        for (row, partition) in to.iter().enumerate() {
            let stamp = Stamp { timestamp_ms: timestamp_ms(out.payloads(), row), header: None };
            let sent = self.producer.send_row(out, row, *partition, stamp, deadline);
            sent.map_err(|error| self.fail(&error))?;
        }
        Ok(())
    }

    /// Waits until everything is delivered.
    ///
    /// # Errors
    /// When a record failed or the cluster did not answer in time.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        self.producer.flush(DELIVERY_TIMEOUT).map_err(|error| self.fail(&error))
    }

    fn fail(&self, error: &NativeError) -> SinkError {
        sink_error(&format!("writing to Kafka topic `{}`", self.topic), error)
    }
}
