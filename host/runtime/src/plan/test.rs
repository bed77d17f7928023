//! The pipeline's own tests: what they feed, and the rows that they expect, held against the columns of their sinks.

use std::sync::Arc;

use arrow_schema::{Field, Schema};
use serde_json::{Map, Value};
use weir_codecs::{ColumnSource, Decoder, JsonDecoder, JsonLimits, RowJson};
use weir_manifest::{DEAD_LETTERS, ExpectedRow, Fault, Feed, Manifest, Spanned, Test, nearest};
use weir_stream::{Payloads, SourceRecords};

use super::Planner;

/// Later than any event that is meant to be taken: 2100-01-01T00:00:00Z.
const DEFAULT_CLOCK_US: i64 = 4_102_444_800_000_000;

/// What a dead letter can be expected by.
const LETTER_KEYS: [&str; 5] = ["step", "stage", "code", "reason", "row"];

pub struct PlannedTest {
    pub name: String,
    /// Line of the manifest.
    pub line: usize,
    pub feed: Vec<Fed>,
    pub clock_us: i64,
    /// Once more, killed and resumed.
    pub crash: bool,
    pub finish: bool,
    pub expect: Vec<Expectation>,
}

/// One part of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fed {
    /// A record of a source, by its number.
    Record { source: usize, line: String },
    /// The clock moves on.
    Wait { us: i64 },
}

/// Everything that is expected under one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    pub name: String,
    pub rows: Vec<ExpectedColumns>,
}

/// One expected row: the columns that it names, as the JSON that the engine would write for them.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedColumns {
    pub line: usize,
    pub columns: Map<String, Value>,
}

impl Planner<'_> {
    pub(super) fn tests(&mut self, manifest: &Manifest) -> Vec<PlannedTest> {
        manifest.tests.iter().map(|(name, test)| self.test(name, test, manifest)).collect()
    }

    fn test(&mut self, name: &Spanned<String>, test: &Test, manifest: &Manifest) -> PlannedTest {
        let mut expect = Vec::new();
        for (of, rows) in &test.expect {
            let rows = rows.iter().map(|row| self.expected_row(of, row, manifest));
            expect.push(Expectation { name: of.value.clone(), rows: rows.collect() });
        }
        PlannedTest {
            name: name.value.clone(),
            line: manifest.line(name.span),
            feed: feed(test, manifest),
            clock_us: test.clock.map_or(DEFAULT_CLOCK_US, |clock| clock.as_us()),
            crash: test.crash.is_some(),
            finish: test.finish,
            expect,
        }
    }

    fn expected_row(&mut self, of: &str, row: &Spanned<ExpectedRow>, manifest: &Manifest) -> ExpectedColumns {
        let schema = match manifest.sinks.get(of) {
            Some(sink) => self.port(&sink.from).map(|(_, output)| output.schema),
            None => None,
        };
        let mut columns = Map::new();
        for (name, value) in row.value.iter() {
            let checked = match &schema {
                Some(schema) => expected_value(schema, name, value.value.0.clone(), value.span),
                None if of == DEAD_LETTERS => letter_key(name).map(|()| value.value.0.clone()),
                // Late rows have the columns of their step, which its step knows.
                None => Ok(value.value.0.clone()),
            };
            match checked {
                Ok(value) => drop(columns.insert(name.value.clone(), value)),
                Err(fault) => self.fault(fault),
            }
        }
        ExpectedColumns { line: manifest.line(row.span), columns }
    }
}

fn feed(test: &Test, manifest: &Manifest) -> Vec<Fed> {
    let mut feed = Vec::new();
    for part in &test.feed {
        match part {
            Feed::Wait(wait) => feed.push(Fed::Wait { us: wait.as_us() }),
            Feed::Lines(of_sources) => {
                for (source, lines) in of_sources {
                    let Some(source) = manifest.sources.names().position(|name| *name == source.value) else {
                        continue;
                    };
                    let records = lines.lines().filter(|line| !line.trim().is_empty());
                    feed.extend(records.map(|line| Fed::Record { source, line: line.to_owned() }));
                }
            }
        }
    }
    feed
}

fn letter_key(name: &Spanned<String>) -> Result<(), Fault> {
    if LETTER_KEYS.contains(&name.value.as_str()) {
        return Ok(());
    }
    let hint = nearest(name, LETTER_KEYS).map_or(String::new(), |name| format!("did you mean `{name}`? "));
    let message = format!("a dead letter has no `{}`; {hint}it has {}", name.value, LETTER_KEYS.join(", "));
    Err(Fault::new(name.span, "unknown-column", message))
}

/// What the engine would write for an expected value: so decimals compare by value and timestamps by instant.
fn expected_value(
    schema: &Schema,
    name: &Spanned<String>,
    value: Value,
    place: weir_manifest::Span,
) -> Result<Value, Fault> {
    let Ok(field) = schema.field_with_name(name) else {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let hint = nearest(name, names).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        let message = format!("no column `{}` in what this sink gets{hint}", name.value);
        return Err(Fault::new(name.span, "unknown-column", message));
    };
    as_written(field, value).map_err(|reason| Fault::new(place, "expected-value", reason))
}

fn as_written(field: &Field, value: Value) -> Result<Value, String> {
    let column = Field::new("value", field.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![column]));
    let mut decoder = JsonDecoder::new(Arc::clone(&schema), vec![ColumnSource::Field], JsonLimits::default())
        .map_err(|error| error.to_string())?;
    let document = serde_json::json!({ "value": value }).to_string();
    let values: Payloads = [document.as_bytes()].into_iter().collect();
    let records = SourceRecords { offsets: vec![0], timestamps_us: vec![0], values, ..SourceRecords::default() };
    let decoded = decoder.decode(&records, 0..1);
    if let Some(reject) = decoded.rejects.first() {
        let type_text = weir_manifest::type_text(field.data_type());
        let why = reject.reason.trim_start_matches("field `value`: ");
        return Err(format!("`{}` is {type_text}: {why}", field.name()));
    }
    let row = RowJson::new(&schema).map_err(|error| error.to_string())?;
    let row = row.row(&decoded.columns, 0).map_err(|error| error.to_string())?;
    let mut row: Map<String, Value> = serde_json::from_slice(&row).map_err(|error| error.to_string())?;
    Ok(row.remove("value").unwrap_or_default())
}
