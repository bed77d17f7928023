//! Topics as tests see them: made, written to, and read to their end as a reader of committed records sees them.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use weir_connectors::kafka::{KafkaAdmin, KafkaConnection, KafkaSource, KafkaSourceConfig, KafkaWriter, TopicOptions};
use weir_stream::{PayloadBlock, Poll, Source, SourceRecords};

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
    let mut records = Vec::new();
    each(brokers, topic, |partition, read, row| {
        records.push(Record {
            partition,
            offset: read.offsets[row],
            timestamp_us: read.timestamps_us[row],
            value: read.values.get(row).to_vec(),
        });
    })?;
    Ok(records)
}

/// The last committed record of each key, as a reader of a compacted topic ends with; `None` for one without a value.
///
/// # Errors
/// As [`read`]; when a record has no key.
pub fn table(brokers: &str, topic: &str) -> Result<BTreeMap<String, Option<String>>> {
    let mut rows = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    each(brokers, topic, |_, read, row| {
        let keys = read.keys.as_ref().filter(|keys| !keys.is_absent(row));
        let key = keys.map_or_else(|| "no key".to_owned(), |keys| text(keys.get(row)));
        rows.insert(key, (!read.values.is_absent(row)).then(|| text(read.values.get(row))));
    })?;
    ensure!(!rows.contains_key("no key"), "a record of {topic} has no key");
    Ok(rows)
}

fn each(brokers: &str, topic: &str, mut visit: impl FnMut(u32, &SourceRecords, usize)) -> Result<()> {
    let mut config = KafkaSourceConfig::new("test", KafkaConnection::new(brokers), topic);
    (config.until_end, config.include_keys) = (true, true);
    let mut source = KafkaSource::new(config)?;
    for partition in 0..source.partitions()? {
        let mut reader = source.open(partition, None)?;
        let (knock, knocks) = mpsc::channel();
        // Nobody listens any more once the partition is read.
        reader.set_waker(std::sync::Arc::new(move || {
            let _ = knock.send(());
        }));
        let until = Instant::now() + READ_BOUND;
        loop {
            match reader.poll(10_000, 16 << 20)? {
                Poll::Records(read) => (0..read.len()).for_each(|row| visit(partition, &read, row)),
                Poll::End => break,
                Poll::Pending { .. } if Instant::now() >= until => bail!("topic {topic} was not read in time"),
                // A knock that was missed is followed by a look all the same.
                Poll::Pending { .. } => {
                    let _ = knocks.recv_timeout(Duration::from_millis(100));
                }
            }
        }
    }
    Ok(())
}
