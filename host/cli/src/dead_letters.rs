//! `weir dead-letters`: what the pipeline refused, from the file or topic that the profile binds.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use weir_connectors::file::{FileSource, FileSourceConfig, Framing};
use weir_connectors::kafka::{KafkaSource, KafkaSourceConfig};
use weir_manifest::{Connector, DEAD_LETTERS};
use weir_stream::{DeadLetter, Poll, Source, SourceError};

use crate::load::{self, ManifestArgs};
use crate::output::{self, CONFIG, FAILED, Failure, Format, UNAVAILABLE};

#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// Count them by step, stage and code, with the newest reason of each.
    #[command(after_help = "Examples:\n  weir dead-letters list pipelines/ecommerce/pipeline.yaml --profile embedded")]
    List(ManifestArgs),
    /// Show single ones, newest last, with their original bytes.
    #[command(
        after_help = "Examples:\n  weir dead-letters show pipelines/ecommerce/pipeline.yaml --code json-syntax --last 3"
    )]
    Show(ShowArgs),
}

#[derive(Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub manifest: ManifestArgs,
    /// Only those with this code.
    #[arg(long)]
    pub code: Option<String>,
    /// Only those of this step, source or sink.
    #[arg(long)]
    pub step: Option<String>,
    /// How many, the newest.
    #[arg(long, default_value_t = 10)]
    pub last: usize,
}

pub fn run(command: &DeadLetterCommand, format: Format) -> Result<(), Failure> {
    match command {
        DeadLetterCommand::List(manifest) => list(&read(manifest)?, format),
        DeadLetterCommand::Show(args) => {
            let letters = read(&args.manifest)?;
            let wanted = |letter: &&DeadLetter| {
                args.code.as_ref().is_none_or(|code| *code == letter.code)
                    && args.step.as_ref().is_none_or(|step| **step == *letter.step)
            };
            let chosen: Vec<&DeadLetter> = letters.iter().filter(wanted).collect();
            show(&chosen[chosen.len().saturating_sub(args.last)..], format)
        }
    }
}

fn list(letters: &[DeadLetter], format: Format) -> Result<(), Failure> {
    let mut groups = BTreeMap::<(&str, &str, &str), (u64, &str)>::new();
    for letter in letters {
        let group = groups.entry((&letter.step, &letter.stage, &letter.code)).or_default();
        *group = (group.0 + 1, &letter.reason);
    }
    if format == Format::Json {
        let rows: Vec<_> = groups
            .iter()
            .map(|((step, stage, code), (count, reason))| {
                serde_json::json!({ "step": step, "stage": stage, "code": code, "count": count, "reason": reason })
            })
            .collect();
        return output::print_json(&rows);
    }
    println!("{} dead letters", crate::run::grouped(letters.len() as u64));
    for ((step, stage, code), (count, reason)) in groups {
        println!("  {:>9}  {step} · {stage} · {code}: {reason}", crate::run::grouped(count));
    }
    Ok(())
}

fn show(letters: &[&DeadLetter], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::print_json(&letters);
    }
    for letter in letters {
        let place = if letter.offset < 0 {
            "behind a stateful step".to_owned()
        } else {
            let line = letter.line.map_or(String::new(), |line| format!(", line {line}"));
            format!("{}[{}]@{}{line}", letter.topic, letter.partition, letter.offset)
        };
        println!("{place} · epoch {} · {} · {} · {}", letter.epoch, letter.step, letter.stage, letter.code);
        println!("  {}", letter.reason);
        println!("  {}", String::from_utf8_lossy(&letter.payload));
    }
    Ok(())
}

/// All dead letters of the profile, in the order in which they were written.
fn read(args: &ManifestArgs) -> Result<Vec<DeadLetter>, Failure> {
    let manifest = load::manifest(args)?;
    let binding = manifest.binding(DEAD_LETTERS).ok_or_else(|| {
        Failure::new(CONFIG, "this profile binds no dead letters").next("bind `dead_letters` to a file or a topic")
    })?;
    let failed = |error: SourceError| match error {
        SourceError::Fatal { message, next } => Failure::new(FAILED, message).next(next),
        SourceError::Retry(message) => Failure::new(UNAVAILABLE, message),
    };
    let mut source: Box<dyn Source> = match &binding.connector {
        Connector::File(file) => Box::new(FileSource::new(FileSourceConfig {
            source: DEAD_LETTERS.to_owned(),
            paths: file.path.as_slice().iter().map(|path| manifest.resolve(path)).collect(),
            follow: false,
            framing: Framing::Lines,
            max_record_bytes: 64 << 20,
        })),
        Connector::Kafka(kafka) => {
            let connection = weir_runtime::kafka_connection(kafka);
            let mut config = KafkaSourceConfig::new(DEAD_LETTERS, connection, kafka.topic.value.clone());
            config.until_end = true;
            Box::new(KafkaSource::new(config).map_err(failed)?)
        }
        other => return Err(Failure::new(CONFIG, format!("dead letters in {} cannot be read back", other.name()))),
    };
    let mut letters = Vec::new();
    for partition in 0..source.partitions().map_err(failed)? {
        let mut reader = source.open(partition, None).map_err(failed)?;
        let mut unreadable = None;
        loop {
            match reader.poll(4096, 4 << 20).map_err(failed)? {
                Poll::End => break,
                Poll::Pending { .. } => std::thread::sleep(std::time::Duration::from_millis(5)),
                Poll::Records(records) => {
                    for payload in records.values.iter() {
                        if let Some(error) = unreadable.take() {
                            return Err(Failure::new(FAILED, format!("a dead letter cannot be read: {error}")));
                        }
                        match serde_json::from_slice(payload) {
                            Ok(letter) => letters.push(letter),
                            // The last line may be half written: the pipeline is running.
                            Err(error) => unreadable = Some(error),
                        }
                    }
                }
            }
        }
    }
    letters.sort_by_key(|letter: &DeadLetter| letter.epoch);
    Ok(letters)
}
