//! Partitions that a topic gains while it is read, with a real broker: found, read from their beginning, each record once.

use std::time::Duration;

use anyhow::Result;
use weir_chaos::services::Services;
use weir_chaos::topic;
use weir_connectors::kafka::{KafkaAdmin, KafkaConnection};
use weir_services::{Run, Weir};

const BOUND: Duration = Duration::from_secs(60);

/// More than one partition takes in a row, so that both get some.
const RECORDS: usize = 1500;

struct Room {
    folder: tempfile::TempDir,
    topic: String,
}

impl Room {
    fn new(name: &str) -> Result<Self> {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let topic = format!("{name}-{}-{}", std::process::id(), since.as_nanos());
        topic::create(Self::brokers(), &topic, 1)?;
        let folder = tempfile::tempdir()?;
        let manifest = format!(
            "pipeline: grown
sources:
  numbers: {{ columns: {{ number: int64!, at: {{ type: timestamp(ms), from: timestamp }} }} }}
sinks:
  kept: {{ from: numbers, append: true }}
state: {{ epoch: {{ interval: 100ms }} }}
profiles:
  real:
    numbers: {{ kafka: {{ brokers: \"{}\", topic: {topic}, start: latest, refresh: 200ms }} }}
    kept: {{ file: {{ path: out/kept.jsonl }} }}
    dead_letters: {{ file: {{ path: out/dead-letters.jsonl }} }}
",
            Self::brokers()
        );
        std::fs::write(folder.path().join("pipeline.yaml"), manifest)?;
        Ok(Self { folder, topic })
    }

    fn brokers() -> &'static str {
        &Services::shared().brokers
    }

    fn start(&self, log: &str) -> Result<Run> {
        Weir::find()?.run(log, self.folder.path(), |command| {
            command.arg(self.folder.path().join("pipeline.yaml")).arg("--state").arg(self.folder.path().join("state"));
        })
    }

    fn write(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        let records: Vec<_> =
            numbers.map(|number| (format!("{{\"number\":{number}}}"), number as i64 * 1000)).collect();
        topic::write(Self::brokers(), &self.topic, &records)
    }

    fn kept(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.folder.path().join("out/kept.jsonl")).unwrap_or_default();
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["number"].as_u64();
        let mut kept: Vec<u64> = text.lines().filter_map(number).collect();
        kept.sort_unstable();
        kept
    }
}

fn positions(status: &serde_json::Value) -> Vec<i64> {
    let partitions = status["sources"]["numbers"].as_array().into_iter().flatten();
    partitions.filter_map(|partition| partition["next_offset"].as_i64()).collect()
}

#[test]
fn a_partition_that_is_added_is_read_from_its_beginning_though_the_source_starts_at_the_end() -> Result<()> {
    let room = Room::new("grown")?;
    room.write(0..10)?;
    let mut run = room.start("first")?;
    run.wait_for("the end of the topic", BOUND, |status| positions(status) == [10])?;
    // No epoch has noted where the first partition stands.
    KafkaAdmin::new(KafkaConnection::new(Room::brokers())).add_partitions(&room.topic, 2)?;
    room.write(10..20 + RECORDS)?;
    let all = |status: &serde_json::Value| {
        positions(status).len() == 2 && positions(status).iter().sum::<i64>() == 20 + RECORDS as i64
    };
    run.wait_for("rows of both partitions", BOUND, all)?;
    run.process.signal(libc::SIGTERM);
    assert_eq!(run.end(BOUND)?.status.code(), Some(0));
    assert_eq!(room.kept(), (10..20 + RECORDS as u64).collect::<Vec<_>>());
    Ok(())
}
