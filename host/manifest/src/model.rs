//! What a manifest says, typed: one pipeline with its sources, steps, sinks and profiles.
//!
//! These structs are the only statement of the manifest's structure: the JSON Schema for editors, the
//! structural check and the typed parse all follow them. Every id, name, reference, expression and type keeps its
//! place, so that a later pass can point at it. Nothing here looks at columns behind a step: that needs plugins
//! and expressions, hence the planner.

mod binding;
mod format;
mod limits;
mod sink;
mod source;
mod step;
mod test;

pub use binding::{
    Binding, Compression, Connector, CreateTable, FileConnector, GenerateConnector, KafkaConnector, KafkaOption,
    ParquetConnector, Paths, PostgresConnector, Profile, Roll, SqliteConnector, Start, StdoutConnector, TextOrSecret,
};
pub use format::{CsvFormat, Delimiter, Format};
pub use limits::{EpochSettings, Limits, PluginLimits, StateSettings, SwapSettings};
pub use sink::{Sink, SinkMode};
pub use source::{Column, ColumnOrigin, EventTime, EventTimeOrigin, RecordPart, Source};
pub use step::{
    AggregateCall, AggregateOf, AggregatePlugin, CassandraTable, DedupStep, Emit, FileTable, FlattenStep, GroupStep,
    HttpCache, JoinStep, JoinTime, JoinWord, Keep, LatestStep, LookupCache, LookupStep, LookupTable, LookupWord,
    MatchesWord, Password, PluginHttp, PluginStep, PluginTable, PostgresTable, SampleStep, SessionGap, SessionsStep,
    Showing, SqliteTable, Step, StepKind, TopStep, Tumbling, WindowShape, WindowStep, WindowTime,
};
pub use test::{Crash, ExpectedRow, ExpectedValue, Feed, LATE_ROWS, Test};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::entries::Entries;
use crate::fault::{Fault, Faults};
use crate::source_text::Texts;
use crate::span::{Span, Spanned};

/// One pipeline. Made by [`crate::check`] or [`Manifest::parse`].
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a manifest")]
pub struct Manifest {
    /// The pipeline's name: names its state, its consumer groups and its transactions.
    #[schemars(extend("x-format" = "id", "pattern" = ID_PATTERN))]
    pub pipeline: Spanned<String>,
    /// One sentence for people.
    pub description: Option<String>,
    /// Where records come from, and the columns that are decoded from them.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = id_names()))]
    pub sources: Entries<Source>,
    /// What happens to the rows, each step under an id that also names its state.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MAX_ENTRIES, "propertyNames" = id_names()))]
    pub steps: Entries<Step>,
    /// Where rows go.
    #[schemars(extend("minProperties" = 1, "maxProperties" = MAX_ENTRIES, "propertyNames" = id_names()))]
    pub sinks: Entries<Sink>,
    /// What becomes of late rows whose step's `late` output no one reads.
    #[serde(default)]
    pub late: Late,
    /// Bind the sources and sinks to real ones, one set of bindings a profile. After a parse only the chosen
    /// profile is here: the others were checked and left out.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MAX_ENTRIES, "propertyNames" = id_names()))]
    pub profiles: Entries<Profile>,
    /// The pipeline's own tests, run by `weir test`.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MAX_ENTRIES, "propertyNames" = id_names()))]
    pub tests: Entries<Test>,
    /// When the pipeline stops by itself.
    #[serde(default)]
    pub until: Until,
    /// How state is kept and committed.
    #[serde(default)]
    pub state: StateSettings,
    /// Bounds that hold for the whole pipeline.
    #[serde(default)]
    pub limits: Limits,
    /// When another version of a plugin is taken back.
    #[serde(default)]
    pub swap: SwapSettings,

    /// The folder that relative paths in the manifest start from: the manifest's own.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Faults that stop nothing, such as a step that no one reads.
    #[serde(skip)]
    pub warnings: Vec<Fault>,
    /// What makes rows, as text by source, step and (`-> NAME`) sink: equal texts make equal rows.
    #[serde(skip)]
    pub logic: BTreeMap<String, String>,
    #[serde(skip)]
    pub(crate) texts: Arc<Texts>,
}

/// The most sources, steps, sinks, profiles, and columns of one source or step.
pub const MAX_ENTRIES: u64 = 1_000;

pub(crate) const ID_PATTERN: &str = "^[a-z][a-z0-9_]*$";

fn id_names() -> serde_json::Value {
    serde_json::json!({ "x-format": "id", "pattern": ID_PATTERN })
}

/// The name under which a profile binds the dead letters; no source, step or sink may have it.
pub const DEAD_LETTERS: &str = "dead_letters";

/// The output of a windowed step that carries its late rows, addressed as `step.late`.
pub const LATE_OUTPUT: &str = "late";

/// The same by the number of the input that the late rows came on: a join has two.
pub const LATE_OUTPUTS: [&str; 2] = [LATE_OUTPUT, "late_right"];

/// The output of a `split` with the rows that no condition takes.
pub const REST_OUTPUT: &str = "rest";

/// The name of the output that a step's id alone stands for.
pub const MAIN_OUTPUT: &str = "main";

/// What becomes of late rows that no step or sink reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Late {
    /// They become dead letters with the code `late`.
    #[default]
    DeadLetters,
    /// They are counted, nothing more.
    Count,
}

/// When the pipeline stops by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// When it is told to.
    #[default]
    Stopped,
    /// When every source has been read to the end that it had at the start.
    End,
}

impl Manifest {
    /// The chosen profile's name; none when the manifest was parsed without one.
    pub fn profile(&self) -> Option<&str> {
        self.profiles.names().next()
    }

    /// What the chosen profile binds to a source, a sink or [`DEAD_LETTERS`].
    pub fn binding(&self, id: &str) -> Option<&Binding> {
        self.profiles.iter().next().and_then(|(_, profile)| profile.get(id))
    }

    /// The line that a place is on, from 1.
    pub fn line(&self, place: Span) -> usize {
        self.texts.locate(place).line
    }

    /// A path of the manifest, from the manifest's folder if it is relative.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// An empty collection for faults of a later pass, with the warnings found so far.
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::new(Arc::clone(&self.texts));
        faults.extend(self.warnings.iter().cloned());
        faults
    }
}

/// What a `from:` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromReference<'a> {
    /// A source or step.
    pub id: &'a str,
    /// Its named output; absent for the main one.
    pub output: Option<&'a str>,
}

/// Splits `step.output`.
pub fn from_reference(text: &str) -> FromReference<'_> {
    match text.split_once('.') {
        Some((id, output)) => FromReference { id, output: Some(output) },
        None => FromReference { id: text, output: None },
    }
}
