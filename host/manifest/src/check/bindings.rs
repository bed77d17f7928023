//! Profiles: every source, sink and the dead letters are bound, to something that can play the part, and no two
//! sinks to the same target.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use super::Names;
use crate::fault::{Fault, Faults, nearest};
use crate::model::{
    Binding, ColumnOrigin, Connector, DEAD_LETTERS, FileConnector, Format, KafkaConnector, KafkaOption, Manifest,
    Paths, SinkMode, Source, TextOrSecret,
};
use crate::read::node::{Node, Value};
use crate::scalar::Duration;
use crate::span::Spanned;

/// librdkafka settings that Weir sets itself, because exactly-once or the manifest depends on them.
const OWN_KAFKA_OPTIONS: [(&str, &str); 12] = [
    ("bootstrap.servers", "brokers"),
    ("metadata.broker.list", "brokers"),
    ("compression.type", "compression"),
    ("compression.codec", "compression"),
    ("auto.offset.reset", "start"),
    ("group.id", ""),
    ("enable.auto.commit", ""),
    ("enable.auto.offset.store", ""),
    ("isolation.level", ""),
    ("transactional.id", ""),
    ("enable.idempotence", ""),
    ("acks", ""),
];

/// Brokers are not asked for a topic's partitions more often.
const LEAST_REFRESH: Duration = Duration::from_ms(100);

/// Endings of librdkafka settings whose values are secrets.
const SECRET_KAFKA_OPTIONS: [&str; 5] =
    [".password", ".key.pem", ".client.secret", "sasl.oauthbearer.config", ".private.key.passphrase"];

/// The names that profiles bind, in every profile: all that must be bound, and nothing else.
pub(super) fn check_names(root: &Node, names: &Names, faults: &mut Faults) {
    let profiles = root.get("profiles").and_then(Node::as_map).unwrap_or_default();
    for (profile, bindings) in profiles {
        let Value::Map(pairs) = &bindings.value else { continue };
        for (key, _) in pairs {
            faults.extend(unknown_name(key, names));
        }
        let profile_name = profile.as_text().unwrap_or_default();
        let bound = &names.profiles[profile_name];
        let wanted = names.sources.iter().chain(&names.sinks).map(String::as_str).chain([DEAD_LETTERS]);
        for name in wanted.filter(|name| !bound.contains(*name)) {
            let message = format!("profile `{profile_name}` binds no `{name}`");
            let fault = Fault::new(profile.span, "unbound", message);
            faults.push(match name {
                DEAD_LETTERS => fault.next("add `dead_letters: { file: { path: dead-letters.jsonl } }` or a topic"),
                _ => fault,
            });
        }
    }
}

fn unknown_name(key: &Node, names: &Names) -> Option<Fault> {
    let name = key.as_text()?;
    if name == DEAD_LETTERS || names.sources.contains(name) || names.sinks.contains(name) {
        return None;
    }
    if names.steps.contains(name) {
        return Some(Fault::new(
            key.span,
            "unknown-binding",
            format!("`{name}` is a step; profiles bind sources and sinks"),
        ));
    }
    let known = names.sources.iter().chain(&names.sinks).map(String::as_str).chain([DEAD_LETTERS]);
    let meant = nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(Fault::new(key.span, "unknown-binding", format!("no source or sink `{name}`{meant}")))
}

/// The chosen profile's bindings, each against the part that it plays.
pub(super) fn check(manifest: &Manifest, faults: &mut Faults) {
    let Some((_, profile)) = manifest.profiles.iter().next() else { return };
    let mut targets = BTreeMap::new();
    for (id, binding) in profile {
        if let Some(source) = manifest.sources.get(id) {
            source_binding(id, source, binding, faults);
            targets.extend(target(manifest, &binding.connector).map(|target| (target, id.as_str())));
        }
    }
    for (id, binding) in profile {
        let sink = manifest.sinks.get(id);
        if sink.is_some() || id.value == DEAD_LETTERS {
            sink_binding(id, binding, sink.map(|sink| &sink.mode), faults);
            let target = target(manifest, &binding.connector);
            if let Some(other) = target.and_then(|target| targets.insert(target, id.as_str())) {
                let message = format!("`{id}` goes where `{other}` is; each source and sink has a place of its own");
                faults.push(Fault::new(id.span, "same-target", message));
            }
        }
        if let Connector::Kafka(kafka) = &binding.connector {
            kafka_options(kafka, faults);
        }
    }
}

fn source_binding(id: &Spanned<String>, source: &Source, binding: &Binding, faults: &mut Faults) {
    let name = binding.connector.name();
    if !binding.connector.is_source() {
        let message = format!("`{id}` is a source and {name} is a sink; sources are generate, file and kafka");
        faults.push(Fault::new(id.span, "wrong-connector", message));
        return;
    }
    if let Connector::Kafka(kafka) = &binding.connector
        && let Some(compression) = &kafka.compression
    {
        faults.push(Fault::new(compression.span, "wrong-side", "`compression` is a sink's setting"));
    }
    if let Connector::Kafka(kafka) = &binding.connector
        && let Some(refresh) = kafka.refresh.as_ref().filter(|refresh| refresh.as_us() < LEAST_REFRESH.as_us())
    {
        let message = format!("partitions are looked for at most every {LEAST_REFRESH}");
        faults.push(Fault::new(refresh.span, "out-of-range", message));
    }
    if let Connector::File(file) = &binding.connector {
        source_paths(file, faults);
    }
    let Some(format) = &binding.format else { return };
    if matches!(binding.connector, Connector::Generate(_)) && format.value != Format::Json {
        faults.push(Fault::new(format.span, "wrong-format", "generate makes json"));
        return;
    }
    let from_value = |origin: &ColumnOrigin| !matches!(origin, ColumnOrigin::Record(_));
    let columns = source.columns.iter().filter(|(_, column)| from_value(&column.origin)).count();
    csv_header(binding, format, faults);
    if format.value == Format::Raw && columns != 1 {
        let message = format!("raw fills one column and source `{id}` has {columns}");
        faults.push(Fault::new(format.span, "wrong-format", message));
    }
}

/// Only files have a first row.
fn csv_header(binding: &Binding, format: &Spanned<Format>, faults: &mut Faults) {
    let headed = matches!(&format.value, Format::Csv(csv) if csv.header);
    if headed && !matches!(binding.connector, Connector::File(_)) {
        let message = format!("records of {} have no header row", binding.connector.name());
        let fault = Fault::new(format.span, "wrong-format", message);
        faults.push(fault.next("say `format: { csv: { header: false } }`, and declare the columns in their order"));
    }
}

/// Wildcards stand in the name of a file, so that a folder is one that is there.
fn source_paths(file: &FileConnector, faults: &mut Faults) {
    for path in file.path.as_slice() {
        let folder = path.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder.contains(['*', '?']) || (path.ends_with('/') && path.contains(['*', '?'])) {
            let message = format!("`{}` has a wildcard in its folder; it may stand in the file's name", path.value);
            faults.push(Fault::new(path.span, "wildcard", message));
        }
    }
}

fn sink_binding(id: &Spanned<String>, binding: &Binding, mode: Option<&SinkMode>, faults: &mut Faults) {
    let name = binding.connector.name();
    let takes_records = matches!(binding.connector, Connector::File(_) | Connector::Kafka(_) | Connector::Stdout(_));
    if mode.is_none() && !takes_records {
        let message = format!("dead letters are records; {name} does not take them, file, kafka and stdout do");
        faults.push(Fault::new(id.span, "wrong-connector", message));
        return;
    }
    if !binding.connector.is_sink() {
        let message = format!(
            "`{id}` is a sink and {name} is a source; sinks are file, kafka, sqlite, postgres, parquet and stdout"
        );
        faults.push(Fault::new(id.span, "wrong-connector", message));
        return;
    }
    let appends = matches!(binding.connector, Connector::File(_) | Connector::Parquet(_) | Connector::Stdout(_));
    if appends && matches!(mode, Some(SinkMode::Upsert(_))) {
        let fault =
            Fault::new(id.span, "wrong-connector", format!("{name} only appends and `{id}` replaces rows by key"));
        faults.push(fault.next("bind it to sqlite, postgres or kafka, or make the sink `append: true`"));
    }
    match &binding.connector {
        Connector::Kafka(kafka) => {
            let starts = kafka.start.as_ref().map(|start| ("start", start.span));
            let refreshes = kafka.refresh.as_ref().map(|refresh| ("refresh", refresh.span));
            for (name, place) in starts.into_iter().chain(refreshes) {
                faults.push(Fault::new(place, "wrong-side", format!("`{name}` is a source's setting")));
            }
        }
        Connector::File(file) => {
            let first = file.path.as_slice().first();
            let several = first.is_some_and(|path| path.contains(['*', '?']) || path.ends_with('/'));
            if several || matches!(file.path, Paths::Several(_)) {
                let place = first.map_or(id.span, |path| path.span);
                faults.push(Fault::new(place, "wrong-side", "a sink writes one file"));
            }
        }
        _ => {}
    }
    if let Some(format) = binding.format.as_ref().filter(|_| binding.connector.takes_columns()) {
        faults.push(Fault::new(format.span, "wrong-format", format!("{name} takes columns and has no format")));
    }
    if let Some(format) = binding.format.as_ref().filter(|format| matches!(format.value, Format::Csv(_))) {
        faults.push(Fault::new(format.span, "wrong-format", "csv is read and not written").next("write json"));
    }
}

/// What a connector reads or writes, the same text for the same place. Standard output may be shared.
fn target(manifest: &Manifest, connector: &Connector) -> Option<String> {
    let path = |path: &str| {
        let resolved = manifest.resolve(path);
        let parts = resolved.components().filter(|part| *part != Component::CurDir);
        parts.collect::<PathBuf>().display().to_string()
    };
    Some(match connector {
        Connector::Generate(_) | Connector::Stdout(_) => return None,
        Connector::File(file) => format!("file {}", path(file.path.as_slice().first()?)),
        Connector::Parquet(parquet) => format!("parquet {}", path(&parquet.path)),
        Connector::Sqlite(sqlite) => format!("sqlite {} {}", path(&sqlite.path), sqlite.table.value),
        Connector::Kafka(kafka) => format!("kafka {} {}", kafka.brokers.value, kafka.topic.value),
        Connector::Postgres(postgres) => match &postgres.url {
            TextOrSecret::Text(url) => format!("postgres {} {}", url.value, postgres.table.value),
            TextOrSecret::Secret(secret) => format!("postgres secret {} {}", secret.name.value, postgres.table.value),
        },
    })
}

fn kafka_options(kafka: &KafkaConnector, faults: &mut Faults) {
    for (name, option) in &kafka.options {
        if let Some((_, instead)) = OWN_KAFKA_OPTIONS.iter().find(|(own, _)| *own == name.value) {
            let message = match *instead {
                "" => format!("Weir sets `{name}` itself; leave it out"),
                instead => format!("`{name}` is written as `{instead}`, beside `topic`"),
            };
            faults.push(Fault::new(name.span, "own-option", message));
        }
        let secret = SECRET_KAFKA_OPTIONS.iter().any(|ending| name.ends_with(ending));
        if let (true, KafkaOption::Plain(value)) = (secret, option) {
            faults.hide(value.span);
            let message = format!("a secret is written here; give `{name}` as {{ secret: NAME }}");
            faults.push(Fault::new(value.span, "secret-written-out", message));
        }
    }
}
