//! Why a component cannot be loaded or does not fit. What a running plugin does wrong is in `fault`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why a component was not loaded. The text says the cause and, where there is one, the next act.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot read {}: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("component has {size} bytes, over its limit of {limit}; strip it, or raise the limit component_bytes")]
    TooLarge { size: u64, limit: usize },
    #[error("not a WebAssembly binary: it does not begin with \\0asm")]
    NotWasm,
    #[error("core module cannot become a component: {0}; build it against a world of weir:plugin@0.1")]
    Encode(String),
    #[error("not a valid component: {0}")]
    Invalid(String),
    #[error(
        "component exports {}, but no world of weir:plugin@0.1; a transform exports weir:plugin/transform@0.1.0, a keyed plugin weir:plugin/process@0.1.0, one that asks services weir:plugin/enrich@0.1.0, one that aggregates weir:plugin/aggregate@0.1.0, one that attributes weir:plugin/attribute@0.1.0",
        list(exports)
    )]
    NoWorld { exports: Vec<String> },
    #[error("component is built for {found}, this host serves weir:plugin@0.1; rebuild it with a matching SDK")]
    OtherVersion { found: String },
    #[error("component imports {}, which is not granted; build it without them", list(imports))]
    NotGranted { imports: Vec<String> },
    #[error("{function} does not have the type of weir:plugin/{world}@0.1.0: {cause}")]
    WrongType { world: &'static str, function: String, cause: String },
    #[error("compiling took longer than {} s; make the component smaller, or raise the limit compile_ms", limit.as_secs_f32())]
    CompileTimeout { limit: Duration },
    #[error("{running} compilations that passed their time limit are still running; try again when they have ended")]
    CompilerBusy { running: usize },
    #[error("compiling failed: {0}")]
    Compile(String),
    #[error("limits: {}", list(.0))]
    Limits(Vec<crate::limits::LimitOutOfBounds>),
    #[error("engine: {0}")]
    Engine(String),
}

/// One thing that does not fit between a plugin, its configuration and its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFault {
    /// JSON pointer into the configuration, if the fault is there.
    pub config_path: Option<String>,
    /// Column that does not fit, if one does not.
    pub column: Option<String>,
    pub message: String,
}

impl ContractFault {
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self { config_path: None, column: None, message: message.into() }
    }

    pub(crate) fn column(column: &str, message: impl Into<String>) -> Self {
        Self { config_path: None, column: Some(column.to_owned()), message: message.into() }
    }
}

impl fmt::Display for ContractFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.column, &self.config_path) {
            (Some(column), _) => write!(f, "column `{column}`: {}", self.message),
            (None, Some(path)) => write!(f, "config {}: {}", if path.is_empty() { "/" } else { path }, self.message),
            (None, None) => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ContractFault {}

pub(crate) fn list<T: fmt::Display>(items: &[T]) -> String {
    match items {
        [] => "nothing".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
