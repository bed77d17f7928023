//! A pipeline's own tests: what is fed to its sources, and what must have come out.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{DEAD_LETTERS, MAX_ENTRIES};
use crate::entries::Entries;
use crate::scalar::{Duration, Instant};
use crate::span::Spanned;

crate::schema::written_as!(Test => TestKeys);

/// The name under which a test expects late rows.
pub const LATE_ROWS: &str = "late";

/// One test of the pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "TestKeys")]
pub struct Test {
    /// In this order.
    pub feed: Vec<Feed>,
    /// Where the simulated clock stands at first; absent: later than any event.
    pub clock: Option<Instant>,
    pub crash: Option<Crash>,
    /// Let every source end behind the feed.
    pub finish: bool,
    /// By sink, [`DEAD_LETTERS`] or [`LATE_ROWS`].
    pub expect: Entries<Vec<Spanned<ExpectedRow>>>,
}

impl Test {
    /// Whether a name of `expect` means refused or late rows, not a sink's.
    pub fn is_of_rejects(name: &str) -> bool {
        name == DEAD_LETTERS || name == LATE_ROWS
    }
}

/// Columns by name; those that are not named are not compared.
pub type ExpectedRow = Entries<Spanned<ExpectedValue>>;

/// One part of a feed.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[schemars(untagged, title = "a part of a feed")]
pub enum Feed {
    /// The clock moves on by this much.
    #[serde(rename = "#text")]
    Wait(Duration),
    /// Lines by source, each line a record.
    #[serde(rename = "#map")]
    Lines(Entries<Spanned<String>>),
}

/// Where a test is killed and resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Crash {
    /// At every epoch: once it is sealed, once it is durable, and once it is exposed.
    AtEveryEpoch,
}

/// What a column must hold: a number, text, boolean or null.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct ExpectedValue(pub serde_json::Value);

impl JsonSchema for ExpectedValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ExpectedValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "a value" })
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a test")]
struct TestKeys {
    /// Lines by source; or a list of such maps and of times to wait, in their order. Each line is a batch and an epoch of
    /// its own.
    feed: FeedForm,
    /// Where the simulated clock stands; it moves by the feed's waits only. Default 2100-01-01T00:00:00Z.
    clock: Option<Instant>,
    /// Run once more, killed and resumed on the way.
    crash: Option<Crash>,
    /// Let every source end behind the feed, so that every window closes.
    #[serde(default)]
    finish: bool,
    /// By sink: the final table (upsert) or all rows (append). `dead_letters` and `late`: the rows that were refused or came
    /// too late; none unless they are named.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES))]
    expect: Entries<Vec<Spanned<ExpectedRow>>>,
}

/// What is fed; the deserializer picks by the kind of node.
#[derive(Deserialize, JsonSchema)]
#[schemars(untagged, title = "a feed")]
enum FeedForm {
    /// Lines by source.
    #[serde(rename = "#map")]
    Lines(Entries<Spanned<String>>),
    /// Parts, one after the other.
    #[serde(rename = "#list")]
    Parts(Vec<Feed>),
}

impl From<TestKeys> for Test {
    fn from(keys: TestKeys) -> Self {
        let TestKeys { feed, clock, crash, finish, expect } = keys;
        let feed = match feed {
            FeedForm::Lines(lines) => vec![Feed::Lines(lines)],
            FeedForm::Parts(parts) => parts,
        };
        Self { feed, clock, crash, finish, expect }
    }
}
