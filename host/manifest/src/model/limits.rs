//! Every bound that a manifest can set, with its default: the one place that states them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::scalar::{Duration, Rate, Share, Size};

/// Bounds of the whole pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "limits")]
pub struct Limits {
    /// Bounds of every plugin that does not set its own.
    pub plugin: PluginLimits,
    /// The most bytes between the sources and the sinks; full, the sources pause. Default 32MiB.
    pub in_flight: Size,
    /// The most bytes that are durable and not yet in the sinks; full, the sources pause. Default 16MiB.
    pub outbox: Size,
    /// A record that is larger is a reject. Default 8MiB.
    pub record: Size,
    /// JSON that is nested deeper is a reject. Default 128.
    #[schemars(range(min = 1, max = 1000))]
    pub nesting: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            plugin: PluginLimits::default(),
            in_flight: Size::from_mib(32),
            outbox: Size::from_mib(16),
            record: Size::from_mib(8),
            nesting: 128,
        }
    }
}

/// Bounds of one plugin. What is absent is taken from `limits.plugin`, then from the defaults.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "plugin limits")]
pub struct PluginLimits {
    /// Linear memory of an instance. Default 64MiB.
    pub memory: Option<Size>,
    /// CPU time of a call. Default 100ms: finding one row that hangs in a batch of 2048 takes eleven of them.
    pub time_per_batch: Option<Duration>,
    /// Rows that a call may return for each row it was given. Default 16.
    #[schemars(range(min = 1, max = 100_000))]
    pub output_rows_per_row: Option<u32>,
    /// Bytes that a call may return. Default 64MiB.
    pub output: Option<Size>,
    /// State of one key of a keyed plugin, or one accumulator of a plugin that aggregates. Default 64KiB: all of it enters
    /// every call that has a row of the key.
    pub state_per_key: Option<Size>,
    /// Pending timers of one key of a keyed plugin. Default 1000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub timers_per_key: Option<u32>,
    /// Log lines; what is above is counted and dropped. Default 100/s.
    pub log_rate: Option<Rate>,
    /// The component file. Default 32MiB.
    pub component: Option<Size>,
    /// Time to compile the component. Default 1min.
    pub compile_time: Option<Duration>,
}

impl PluginLimits {
    pub const DEFAULT_MEMORY: Size = Size::from_mib(64);
    pub const DEFAULT_TIME_PER_BATCH: Duration = Duration::from_ms(100);
    pub const DEFAULT_OUTPUT_ROWS_PER_ROW: u32 = 16;
    pub const DEFAULT_OUTPUT: Size = Size::from_mib(64);
    pub const DEFAULT_STATE_PER_KEY: Size = Size::from_kib(64);
    pub const DEFAULT_TIMERS_PER_KEY: u32 = 1000;
    pub const DEFAULT_LOG_RATE: Rate = Rate::from_per_second(100.0);
    pub const DEFAULT_COMPONENT: Size = Size::from_mib(32);
    pub const DEFAULT_COMPILE_TIME: Duration = Duration::from_secs(60);

    /// These limits with what is absent taken from `outer`.
    pub fn or(&self, outer: &Self) -> Self {
        Self {
            memory: self.memory.or(outer.memory),
            time_per_batch: self.time_per_batch.or(outer.time_per_batch),
            output_rows_per_row: self.output_rows_per_row.or(outer.output_rows_per_row),
            output: self.output.or(outer.output),
            state_per_key: self.state_per_key.or(outer.state_per_key),
            timers_per_key: self.timers_per_key.or(outer.timers_per_key),
            log_rate: self.log_rate.or(outer.log_rate),
            component: self.component.or(outer.component),
            compile_time: self.compile_time.or(outer.compile_time),
        }
    }

    pub fn memory(&self) -> Size {
        self.memory.unwrap_or(Self::DEFAULT_MEMORY)
    }

    pub fn time_per_batch(&self) -> Duration {
        self.time_per_batch.unwrap_or(Self::DEFAULT_TIME_PER_BATCH)
    }

    pub fn output_rows_per_row(&self) -> u32 {
        self.output_rows_per_row.unwrap_or(Self::DEFAULT_OUTPUT_ROWS_PER_ROW)
    }

    pub fn output(&self) -> Size {
        self.output.unwrap_or(Self::DEFAULT_OUTPUT)
    }

    pub fn state_per_key(&self) -> Size {
        self.state_per_key.unwrap_or(Self::DEFAULT_STATE_PER_KEY)
    }

    pub fn timers_per_key(&self) -> u32 {
        self.timers_per_key.unwrap_or(Self::DEFAULT_TIMERS_PER_KEY)
    }

    pub fn log_rate(&self) -> Rate {
        self.log_rate.unwrap_or(Self::DEFAULT_LOG_RATE)
    }

    pub fn component(&self) -> Size {
        self.component.unwrap_or(Self::DEFAULT_COMPONENT)
    }

    pub fn compile_time(&self) -> Duration {
        self.compile_time.unwrap_or(Self::DEFAULT_COMPILE_TIME)
    }
}

/// How state is kept and committed.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "state")]
pub struct StateSettings {
    /// When an epoch is sealed.
    pub epoch: EpochSettings,
    /// Units in which keyed state moves and is spread over tasks. Fixed when the pipeline is created. Default 64.
    #[schemars(range(min = 1, max = 1024))]
    pub key_groups: u16,
    /// Tasks of each stage behind a change of key. Default: one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub tasks: Option<u16>,
    /// The most bytes of keyed state in memory. Default 1GiB.
    pub memory: Size,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self {
            epoch: EpochSettings::default(),
            key_groups: weir_stream::key::DEFAULT_KEY_GROUPS,
            tasks: None,
            memory: Size::from_mib(1024),
        }
    }
}

/// An epoch is sealed as soon as one of these is reached.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "an epoch")]
pub struct EpochSettings {
    /// Default 1s.
    pub interval: Duration,
    /// Rows read from the sources. Default 1,000,000.
    #[schemars(range(min = 1))]
    pub max_rows: u64,
    /// Bytes read from the sources. Default 8MiB.
    pub max_bytes: Size,
}

impl Default for EpochSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), max_rows: 1_000_000, max_bytes: Size::from_mib(8) }
    }
}

/// What is asked of another version of a plugin that was put into the running pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "a swap")]
pub struct SwapSettings {
    /// For how long the version before may come back. Default 30s.
    pub watch: Duration,
    /// It does when, among `rows` rows of a task, so many more are rejected than it used to. Default 5%.
    pub more_rejects: Share,
    /// Default 1000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rows: u32,
}

impl Default for SwapSettings {
    fn default() -> Self {
        Self { watch: Duration::from_secs(30), more_rejects: Share::from_percent(5.0), rows: 1000 }
    }
}
