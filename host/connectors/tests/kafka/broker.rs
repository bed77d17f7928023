//! The broker under test, topics that clean up after themselves, and reading with a bound.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_connectors::SinkIdentity;
use weir_connectors::kafka::{
    KafkaAdmin, KafkaConnection, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, KafkaWriter, TopicOptions,
};
use weir_stream::{PartitionReader, PayloadBlock, PayloadBuilder, Payloads, Poll, Source, SourceRecords};

/// Nothing in these tests takes longer on a broker that works.
pub const BOUND: Duration = Duration::from_secs(40);

pub fn connection() -> KafkaConnection {
    let brokers = std::env::var("WEIR_TEST_KAFKA")
        .expect("these tests need a real Kafka broker: `make test` starts one and sets WEIR_TEST_KAFKA=host:port");
    KafkaConnection::new(brokers)
}

/// A name that no other test and no other run uses.
pub fn unique(name: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{name}-{}-{}", std::process::id(), since.as_nanos())
}

pub struct TestTopic {
    pub name: String,
}

impl TestTopic {
    pub fn new(name: &str, partitions: u32) -> Self {
        Self::with_configs(name, partitions, &[])
    }

    pub fn with_configs(name: &str, partitions: u32, configs: &[(&str, &str)]) -> Self {
        let name = unique(name);
        let mut options = TopicOptions::new(partitions);
        options.configs.extend(configs.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        assert!(KafkaAdmin::new(connection()).create_topic(&name, &options).unwrap());
        Self { name }
    }

    /// Writes records, in order, each with an event time of its number in milliseconds.
    pub fn write(&self, values: &[&[u8]]) {
        let timestamps_us = (0..values.len() as i64).map(|row| row * 1000).collect();
        self.write_block(PayloadBlock { values: values.iter().copied().collect(), keys: None, timestamps_us });
    }

    pub fn write_block(&self, block: PayloadBlock) {
        let mut writer = KafkaWriter::new(&connection(), &self.name).unwrap();
        writer.write(block).unwrap();
        writer.flush().unwrap();
    }

    pub fn source_config(&self) -> KafkaSourceConfig {
        KafkaSourceConfig::new("events", connection(), &self.name)
    }

    pub fn source(&self) -> KafkaSource {
        KafkaSource::new(self.source_config()).unwrap()
    }

    pub fn sink_config(&self) -> KafkaSinkConfig {
        KafkaSinkConfig::new(SinkIdentity::new(&self.name, "out"), connection(), &self.name)
    }

    pub fn sink(&self) -> KafkaSink {
        KafkaSink::new(self.sink_config()).unwrap()
    }

    /// Everything that a reader of committed records sees, all partitions one after the other.
    pub fn committed(&self) -> Vec<String> {
        let mut source = KafkaSource::new(KafkaSourceConfig { until_end: true, ..self.source_config() }).unwrap();
        let partitions = source.partitions().unwrap();
        let mut all = Vec::new();
        for partition in 0..partitions {
            let mut reader = Watched::new(source.open(partition, None).unwrap());
            all.extend(texts(&reader.read_to_end()));
        }
        all
    }
}

impl Drop for TestTopic {
    fn drop(&mut self) {
        // The test that deleted it itself has nothing left to delete.
        let _ = KafkaAdmin::new(connection()).delete_topic(&self.name);
    }
}

/// A reader that is polled when its waker knocks, as the runtime does it.
pub struct Watched {
    pub reader: Box<dyn PartitionReader>,
    knocks: mpsc::Receiver<()>,
}

impl Watched {
    pub fn new(mut reader: Box<dyn PartitionReader>) -> Self {
        let (sender, knocks) = mpsc::channel();
        reader.set_waker(std::sync::Arc::new(move || {
            let _ = sender.send(());
        }));
        Self { reader, knocks }
    }

    /// Polls, waiting for knocks in between, until `done` says what it wanted.
    pub fn until<T>(&mut self, done: impl FnMut(Result<Poll, weir_stream::SourceError>) -> Option<T>) -> T {
        self.until_with(1000, 1 << 20, done)
    }

    pub fn until_with<T>(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        mut done: impl FnMut(Result<Poll, weir_stream::SourceError>) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        loop {
            let polled = self.reader.poll(max_records, max_bytes);
            let pending = matches!(polled, Ok(Poll::Pending { .. }));
            if let Some(value) = done(polled) {
                return value;
            }
            assert!(started.elapsed() < BOUND, "what the test waits for did not come in {BOUND:?}");
            if pending {
                let _ = self.knocks.recv_timeout(BOUND);
            }
        }
    }

    pub fn take(&mut self, records: usize) -> Vec<SourceRecords> {
        let mut taken = Vec::new();
        self.until(|polled| {
            match polled.unwrap() {
                Poll::Records(records) => taken.push(records),
                Poll::Pending { .. } => {}
                Poll::End => panic!("ended after {} of {records} records", count(&taken)),
            }
            (count(&taken) >= records).then_some(())
        });
        taken
    }

    pub fn read_to_end(&mut self) -> Vec<SourceRecords> {
        let mut taken = Vec::new();
        self.until(|polled| match polled.unwrap() {
            Poll::Records(records) => {
                taken.push(records);
                None
            }
            Poll::Pending { .. } => None,
            Poll::End => Some(()),
        });
        taken
    }

    pub fn until_caught_up(&mut self) {
        self.until(|polled| match polled.unwrap() {
            Poll::Pending { caught_up: true } => Some(()),
            Poll::Pending { caught_up: false } => None,
            other => panic!("expected nothing to read, got {other:?}"),
        });
    }

    pub fn error(&mut self) -> weir_stream::SourceError {
        self.until(|polled| match polled {
            Err(error) => Some(error),
            Ok(Poll::Pending { .. }) => None,
            Ok(other) => panic!("expected an error, got {other:?}"),
        })
    }
}

pub fn count(batches: &[SourceRecords]) -> usize {
    batches.iter().map(SourceRecords::len).sum()
}

pub fn texts(batches: &[SourceRecords]) -> Vec<String> {
    let values = batches.iter().flat_map(|batch| batch.values.iter());
    values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

pub fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("record-{number}")).collect()
}

pub fn block(values: &[String]) -> PayloadBlock {
    PayloadBlock {
        values: values.iter().map(String::as_bytes).collect(),
        keys: None,
        timestamps_us: vec![1_767_225_600_000_000; values.len()],
    }
}

pub fn payloads(values: &[Option<&[u8]>]) -> Payloads {
    let mut builder = PayloadBuilder::default();
    for value in values {
        match value {
            Some(value) => builder.push(value),
            None => builder.push_absent(),
        }
    }
    builder.finish()
}
