//! Topics as tests see them: made, written to, and read to their end as a reader of committed records sees them.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use weir_connectors::kafka::{KafkaAdmin, KafkaConnection, KafkaSource, KafkaSourceConfig, KafkaWriter, TopicOptions};
use weir_stream::{PayloadBlock, Poll, Source};

/// Reading a topic of these tests takes a second or two.
const READ_BOUND: Duration = Duration::from_secs(120);

/// One record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: u32,
    pub offset: i64,
    pub timestamp_us: i64,
    pub value: Vec<u8>,
}

/// # Errors
/// When the broker refuses.
pub fn create(brokers: &str, topic: &str, partitions: u32) -> Result<()> {
    let mut options = TopicOptions::new(partitions);
    // Events carry the time at which they happened, which is long ago: the broker must not tidy them away.
    options.configs.insert("retention.ms".into(), "-1".into());
    KafkaAdmin::new(KafkaConnection::new(brokers)).create_topic(topic, &options)?;
    Ok(())
}

/// Writes records and waits until they are delivered.
///
/// # Errors
/// When a record cannot be delivered.
pub fn write(brokers: &str, topic: &str, records: &[(String, i64)]) -> Result<()> {
    let mut writer = KafkaWriter::new(&KafkaConnection::new(brokers), topic)?;
    writer.write(PayloadBlock {
        values: records.iter().map(|(value, _)| value.as_bytes()).collect(),
        keys: None,
        timestamps_us: records.iter().map(|(_, timestamp_us)| *timestamp_us).collect(),
    })?;
    writer.flush()?;
    Ok(())
}

/// Every committed record of a topic, partition by partition in order of offset.
///
/// # Errors
/// When the topic is not there, or cannot be read to its end in time.
pub fn read(brokers: &str, topic: &str) -> Result<Vec<Record>> {
    let mut config = KafkaSourceConfig::new("test", KafkaConnection::new(brokers), topic);
    config.until_end = true;
    let mut source = KafkaSource::new(config)?;
    let partitions = source.partitions()?;
    let mut records = Vec::new();
    for partition in 0..partitions {
        let mut reader = source.open(partition, None)?;
        let (knock, knocks) = mpsc::channel();
        // Nobody listens any more once the partition is read.
        reader.set_waker(std::sync::Arc::new(move || {
            let _ = knock.send(());
        }));
        let until = Instant::now() + READ_BOUND;
        loop {
            match reader.poll(10_000, 16 << 20)? {
                Poll::Records(read) => records.extend((0..read.len()).map(|row| Record {
                    partition,
                    offset: read.offsets[row],
                    timestamp_us: read.timestamps_us[row],
                    value: read.values.get(row).to_vec(),
                })),
                Poll::End => break,
                Poll::Pending { .. } if Instant::now() >= until => bail!("topic {topic} was not read in time"),
                // A knock that was missed is followed by a look all the same.
                Poll::Pending { .. } => {
                    let _ = knocks.recv_timeout(Duration::from_millis(100));
                }
            }
        }
    }
    Ok(records)
}
