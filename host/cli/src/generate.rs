//! `weir generate`: the events of a preset to a file, to standard output or to Kafka.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use weir_connectors::generate::ecommerce::{self, EventOptions, Malformed};
use weir_connectors::kafka::{KafkaAdmin, KafkaConnection, KafkaWriter, TopicOptions};
use weir_stream::{PayloadBlock, PayloadBuilder, SinkError};

use crate::output::{self, FAILED, Failure, Format, UNAVAILABLE};

/// Events handed on together at most.
const BATCH: u64 = 2_000;

/// With a rate, batches come this often: a stream, not bursts.
const BATCHES_PER_SECOND: u64 = 100;

fn batch(args: &GenerateArgs) -> u64 {
    let paced = args.rate.filter(|rate| *rate > 0).map(|rate| rate / BATCHES_PER_SECOND);
    paced.map_or(BATCH, |events| events.clamp(1, BATCH))
}

#[derive(Args)]
pub struct GenerateArgs {
    /// What the events are like.
    #[arg(value_parser = ["ecommerce"])]
    pub preset: String,
    /// How many events.
    #[arg(long, default_value_t = 100_000)]
    pub events: u64,
    /// The same seed gives the same events.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Events a second by the clock [default: as fast as they are taken].
    #[arg(long)]
    pub rate: Option<u64>,
    /// Events a second of event time.
    #[arg(long, default_value_t = 20_000)]
    pub event_rate: u64,
    /// How far behind the newest an event may be, milliseconds of event time.
    #[arg(long, default_value_t = 3_000)]
    pub disorder_ms: u32,
    /// Share of events that come twice, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub duplicates: f64,
    /// Share of events that no decoder may accept, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub malformed: f64,
    /// Write to this file.
    #[arg(long, conflicts_with = "topic")]
    pub file: Option<PathBuf>,
    /// Write to this Kafka topic.
    #[arg(long, requires = "brokers")]
    pub topic: Option<String>,
    /// Where Kafka is: host:port, several with commas between.
    #[arg(long, env = "KAFKA_BROKERS")]
    pub brokers: Option<String>,
    /// Partitions of the topic, if it has to be made.
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
}

pub const EXAMPLES: &str = "Examples:
  weir generate ecommerce --events 1000 --malformed 0.01 --file events.jsonl
  weir generate ecommerce --events 1000000 --rate 20000 --topic ecommerce.events --brokers localhost:9092";

pub fn generate(args: &GenerateArgs, format: Format) -> Result<(), Failure> {
    let options = EventOptions {
        events_per_second: args.event_rate,
        disorder_ms: args.disorder_ms,
        duplicates: args.duplicates,
        malformed: args.malformed,
        ..EventOptions::default()
    };
    options.check().map_err(|message| Failure::new(FAILED, message))?;
    let started = Instant::now();
    let target = match (&args.file, &args.topic, &args.brokers) {
        (Some(file), ..) => {
            let target = std::fs::File::create(file)
                .map_err(|error| Failure::new(FAILED, format!("{}: {error}", file.display())))?;
            lines(args, &options, &mut BufWriter::new(target))?;
            file.display().to_string()
        }
        (None, Some(topic), Some(brokers)) => {
            kafka(args, &options, topic, brokers)?;
            format!("topic {topic}")
        }
        _ => {
            lines(args, &options, &mut BufWriter::new(std::io::stdout().lock()))?;
            "stdout".to_owned()
        }
    };
    if target == "stdout" {
        return Ok(());
    }
    let seconds = started.elapsed().as_secs_f64();
    match format {
        Format::Json => output::print_json(&json!({ "events": args.events, "to": target, "seconds": seconds })),
        Format::Text => {
            println!("{} events to {target} in {seconds:.1} s", crate::run::grouped(args.events));
            Ok(())
        }
    }
}

/// Waits until event `index` is due.
fn pace(args: &GenerateArgs, started: Instant, index: u64) {
    if let Some(rate) = args.rate.filter(|rate| *rate > 0) {
        let due = Duration::from_secs_f64(index as f64 / rate as f64);
        if let Some(early) = due.checked_sub(started.elapsed()) {
            std::thread::sleep(early);
        }
    }
}

fn lines(args: &GenerateArgs, options: &EventOptions, out: &mut impl Write) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(FAILED, format!("writing events: {error}"));
    let (started, batch) = (Instant::now(), batch(args));
    let mut event = Vec::new();
    for index in 0..args.events {
        if index % batch == 0 {
            pace(args, started, index);
        }
        event.clear();
        ecommerce::event(args.seed, index, options, &mut event);
        // A line is a record: what would end it early becomes a blank.
        event.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        event.push(b'\n');
        out.write_all(&event).map_err(failed)?;
    }
    out.flush().map_err(failed)
}

fn kafka(args: &GenerateArgs, options: &EventOptions, topic: &str, brokers: &str) -> Result<(), Failure> {
    let failed = |error: SinkError| Failure::new(UNAVAILABLE, error.to_string());
    let connection = KafkaConnection::new(brokers);
    let mut topic_options = TopicOptions::new(args.partitions);
    // The events are of a fixed day: under the broker's default retention they would be gone at once.
    topic_options.configs.insert("retention.ms".into(), "-1".into());
    KafkaAdmin::new(connection.clone()).create_topic(topic, &topic_options).map_err(failed)?;
    let mut writer = KafkaWriter::new(&connection, topic).map_err(failed)?;
    let (started, batch) = (Instant::now(), batch(args));
    let mut index = 0;
    while index < args.events {
        pace(args, started, index);
        let mut values = PayloadBuilder::default();
        let mut timestamps_us = Vec::new();
        for _ in 0..batch.min(args.events - index) {
            let made = ecommerce::event(args.seed, index, options, values.buffer());
            match made.malformed {
                Some(Malformed::NullValue) => {
                    values.abandon_payload();
                    values.push_absent();
                }
                _ => values.end_payload(),
            }
            timestamps_us.push(made.timestamp_us);
            index += 1;
        }
        writer.write(PayloadBlock { values: values.finish(), keys: None, timestamps_us }).map_err(failed)?;
    }
    writer.flush().map_err(failed)
}
