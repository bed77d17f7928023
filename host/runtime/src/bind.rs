//! From a manifest's bindings to connectors: the one place that knows both.

use std::sync::Arc;

use weir_connectors::SinkIdentity;
use weir_connectors::file::{FileSource, FileSourceConfig, JsonLinesSink};
use weir_connectors::generate::ecommerce::EventOptions;
use weir_connectors::generate::{GeneratorConfig, GeneratorSource, Preset};
use weir_connectors::kafka::{
    KafkaConnection, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, RecordTimestamps, Start, TopicOptions,
};
use weir_connectors::parquet::{ParquetConfig, ParquetSink, PartitionBy};
use weir_connectors::sql::{CreateTable, PostgresSink, SqlTarget, SqliteSink, WriteMode};
use weir_connectors::stdout::StdoutSink;
use weir_manifest::{
    Compression, Connector, DEAD_LETTERS, GenerateConnector, KafkaConnector, KafkaOption, Manifest, ParquetConnector,
};
use weir_stream::{Sink, SinkError, Source, SourceError};

use crate::outside::Bindings;
use crate::plan::{Plan, PlannedSink, PlannedSource};

/// The connectors that the manifest's profile names.
pub struct Connectors;

impl Bindings for Connectors {
    fn source(&self, planned: &PlannedSource, plan: &Plan) -> Result<Box<dyn Source>, SourceError> {
        source(planned, &plan.manifest, plan.until_end)
    }

    fn sink(&self, planned: &PlannedSink, identity: &str, plan: &Plan) -> Result<Box<dyn Sink>, SinkError> {
        sink(planned, identity, &plan.manifest)
    }
}

fn source(planned: &PlannedSource, manifest: &Manifest, until_end: bool) -> Result<Box<dyn Source>, SourceError> {
    let binding = manifest.binding(&planned.id).ok_or_else(|| unbound(&planned.id))?;
    Ok(match &binding.connector {
        Connector::Generate(generate) => Box::new(GeneratorSource::new(generator(&planned.id, generate)?)?),
        Connector::File(file) => Box::new(FileSource::new(FileSourceConfig {
            source: planned.id.to_string(),
            paths: file.path.as_slice().iter().map(|path| manifest.resolve(path)).collect(),
            follow: !until_end,
            framing: planned.framing().map_err(|error| SourceError::Fatal {
                message: error.to_string(),
                next: "correct the source's columns".into(),
            })?,
            max_record_bytes: manifest.limits.record.bytes() as usize,
        })),
        Connector::Kafka(kafka) => {
            let mut config =
                KafkaSourceConfig::new(Arc::clone(&planned.id), connection(kafka), kafka.topic.value.clone());
            config.until_end = until_end;
            config.start = match kafka.start.as_ref().map(|start| start.value) {
                Some(weir_manifest::Start::Latest) => Start::Latest,
                Some(weir_manifest::Start::At(instant)) => Start::At { timestamp_us: instant.as_us() },
                Some(weir_manifest::Start::Earliest) | None => Start::Earliest,
            };
            if let Some(refresh) = &kafka.refresh {
                config.refresh_ms = refresh.as_us().unsigned_abs() / 1000;
            }
            (config.include_keys, config.include_headers) = (planned.needs_keys, planned.needs_headers);
            Box::new(KafkaSource::new(config)?)
        }
        _ => return Err(unbound(&planned.id)),
    })
}

fn unbound(source: &str) -> SourceError {
    SourceError::Fatal {
        message: format!("source `{source}` is bound to nothing that can be read"),
        next: "bind it in the profile to generate, file or kafka".into(),
    }
}

/// The generator that a manifest describes.
///
/// # Errors
/// For a preset that is not there.
pub fn generator(source: &str, generate: &GenerateConnector) -> Result<GeneratorConfig, SourceError> {
    let presets = [Preset::Ecommerce];
    let preset = presets.into_iter().find(|preset| preset.name() == generate.preset.value);
    let preset = preset.ok_or_else(|| SourceError::Fatal {
        message: format!("no preset `{}`; there are {}", generate.preset.value, presets.map(Preset::name).join(", ")),
        next: "choose one of them".into(),
    })?;
    let defaults = EventOptions::default();
    let rate = generate.rate.map(|rate| (rate.per_second().round() as u64).max(1));
    let by_spacing = generate.spacing.map(|spacing| (1_000_000 / spacing.as_us().max(1)).max(1).unsigned_abs());
    let events = EventOptions {
        start_us: generate.start.as_ref().map_or(defaults.start_us, |start| start.value.as_us()),
        events_per_second: by_spacing.or(rate).unwrap_or(defaults.events_per_second),
        disorder_ms: generate.disorder.map_or(defaults.disorder_ms, |disorder| (disorder.as_us() / 1000) as u32),
        duplicates: generate.duplicates.map_or(defaults.duplicates, |share| share.fraction()),
        malformed: generate.malformed.map_or(defaults.malformed, |share| share.fraction()),
        dirty: generate.dirty.map_or(defaults.dirty, |share| share.fraction()),
        ..defaults
    };
    Ok(GeneratorConfig {
        source: source.to_owned(),
        preset,
        seed: generate.seed,
        rate,
        limit: generate.events,
        partitions: generate.partitions,
        events,
    })
}

/// How a cluster is reached. Secrets are taken out of their references here and nowhere shown.
pub fn connection(kafka: &KafkaConnector) -> KafkaConnection {
    let mut connection = KafkaConnection::new(kafka.brokers.value.clone());
    for (name, option) in kafka.options.iter() {
        let value = match option {
            KafkaOption::Plain(plain) => plain.value.0.clone(),
            KafkaOption::Secret(secret) => secret.expose().to_owned(),
        };
        connection.properties.insert(name.value.clone(), value);
    }
    connection
}

fn sink(planned: &PlannedSink, identity: &str, manifest: &Manifest) -> Result<Box<dyn Sink>, SinkError> {
    let identity = SinkIdentity::new(manifest.pipeline.value.clone(), identity.to_owned());
    let binding = manifest.binding(&planned.id);
    let sql = |table: &str, create: weir_manifest::CreateTable| SqlTarget {
        identity: identity.clone(),
        table: table.to_owned(),
        schema: Arc::clone(&planned.schema),
        mode: planned.upsert.clone().map_or(WriteMode::Append, |key| WriteMode::Upsert { key }),
        create: match create {
            weir_manifest::CreateTable::IfMissing => CreateTable::IfMissing,
            weir_manifest::CreateTable::Never => CreateTable::Never,
        },
    };
    Ok(match binding.map(|binding| &binding.connector) {
        Some(Connector::Sqlite(sqlite)) => {
            Box::new(SqliteSink::new(&sql(&sqlite.table, sqlite.create), manifest.resolve(&sqlite.path))?)
        }
        Some(Connector::Postgres(postgres)) => {
            Box::new(PostgresSink::new(&sql(&postgres.table, postgres.create), postgres.url.expose())?)
        }
        Some(Connector::Parquet(parquet)) => Box::new(ParquetSink::new(ParquetConfig {
            identity,
            folder: manifest.resolve(&parquet.path),
            schema: Arc::clone(&planned.schema),
            partition: partition(parquet)?,
            max_age: std::time::Duration::from_micros(parquet.roll.every.as_us().unsigned_abs()),
            max_bytes: parquet.roll.size.bytes() as usize,
            zstd_level: i32::from(parquet.zstd_level),
        })?),
        Some(Connector::File(file)) => {
            let path = file.path.as_slice().first().map(|path| manifest.resolve(path)).unwrap_or_default();
            Box::new(JsonLinesSink::new(identity, path))
        }
        Some(Connector::Stdout(_)) => Box::new(StdoutSink::new()),
        Some(Connector::Kafka(kafka)) => Box::new(kafka_sink(identity, kafka)?),
        Some(Connector::Generate(_)) | None => {
            return Err(SinkError::Fatal {
                message: format!("sink `{}` is bound to nothing that can be written", planned.id),
                next: "bind it in the profile".into(),
            });
        }
    })
}

fn partition(parquet: &ParquetConnector) -> Result<Vec<PartitionBy>, SinkError> {
    let parse = |by: &weir_manifest::Spanned<String>| {
        by.value
            .parse()
            .map_err(|message| SinkError::Fatal { message, next: "correct `partition` in the manifest".into() })
    };
    parquet.partition.iter().map(parse).collect()
}

fn kafka_sink(identity: SinkIdentity, kafka: &KafkaConnector) -> Result<KafkaSink, SinkError> {
    let mut connection = connection(kafka);
    let compression = match kafka.compression.as_ref().map(|compression| compression.value).unwrap_or_default() {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    connection.properties.entry("compression.type".into()).or_insert_with(|| compression.to_owned());
    let dead_letters = identity.sink == DEAD_LETTERS;
    let mut config = KafkaSinkConfig::new(identity, connection, kafka.topic.value.clone());
    if dead_letters {
        // A dead letter has no event time to be trusted.
        config.timestamps = RecordTimestamps::WriteTime;
    }
    config.create = kafka.partitions.as_ref().map(|partitions| {
        let mut options = TopicOptions::new(partitions.value);
        // Records carry event time: under the broker's default retention, those of a replay would be gone at once.
        options.configs.insert("retention.ms".into(), "-1".into());
        options
    });
    KafkaSink::new(config)
}
