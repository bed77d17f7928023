//! The traits behind which user logic runs. `sandbox` implements them for Wasm components, `operators` calls
//! them, `runtime` joins the two; a native implementation serves tests and benches.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{FieldRef, SchemaRef};

use crate::batch::Batch;
use crate::reject::Rejects;

/// How many rows a function may make of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    OneToOne,
    /// None or one.
    Filter,
    Many,
}

/// One named output of a transform, agreed when it was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputContract {
    /// `main` for the only output of a plugin that names none.
    pub name: String,
    /// New or replaced columns, in the order in which calls return them.
    pub writes: Vec<FieldRef>,
    /// Input columns that do not go on.
    pub drops: Vec<String>,
}

/// What a transform promised for one configuration and one input schema.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformContract {
    pub name: String,
    pub version: String,
    /// Input columns that calls receive, in this order.
    pub reads: Vec<String>,
    pub cardinality: Cardinality,
    pub outputs: Vec<OutputContract>,
    pub deterministic: bool,
}

impl TransformContract {
    /// The schema of output number `output` for this input.
    pub fn output_schema(&self, output: usize, input: &SchemaRef) -> SchemaRef {
        self.outputs[output].schema(input)
    }
}

impl OutputContract {
    /// The schema for rows with these columns: they in their order without the dropped ones, a written column in the
    /// place of its namesake, new ones behind.
    pub fn schema(&self, input: &SchemaRef) -> SchemaRef {
        let Self { writes, drops, .. } = self;
        let written = |name: &str| writes.iter().find(|field| field.name() == name).cloned();
        let kept = input.fields().iter().filter(|field| !drops.contains(field.name()));
        let mut fields: Vec<FieldRef> =
            kept.map(|field| written(field.name()).unwrap_or_else(|| Arc::clone(field))).collect();
        let new = writes.iter().filter(|field| input.index_of(field.name()).is_err() || drops.contains(field.name()));
        fields.extend(new.cloned());
        Arc::new(arrow_schema::Schema::new(fields))
    }
}

/// Which input row each output row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every input row, once, in order.
    All,
    /// Ascending row numbers of the input; a number repeats when a row became several.
    Rows(Vec<u32>),
}

/// The rows that one call sent to one output.
#[derive(Debug, Clone)]
pub struct OutputRows {
    /// Index in [`TransformContract::outputs`].
    pub output: usize,
    pub selection: Selection,
    /// The output's written columns, one entry per selected row.
    pub columns: Vec<ArrayRef>,
}

/// What one call made of one batch. Every input row is in an output, a reject, or was filtered out.
#[derive(Debug, Clone, Default)]
pub struct Transformed {
    pub outputs: Vec<OutputRows>,
    pub rejects: Rejects,
}

/// Why a call gave no result. The instance behind it is gone; no row of the batch was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionFault {
    #[error("trapped: {0}")]
    Trap(String),
    #[error("took longer than {limit_ms} ms for one batch")]
    Timeout { limit_ms: u64 },
    #[error("asked for more than its {limit_bytes} bytes of memory")]
    Memory { limit_bytes: usize },
    #[error("returned {0}")]
    Malformed(String),
    #[error("returned {what}, over its limit of {limit}")]
    TooMuch { what: String, limit: String },
    /// What it asks outside of the pipeline cannot be had; neither the function nor a row is to blame.
    #[error("asked in vain: {message}")]
    Outside { message: String, next: String },
}

impl FunctionFault {
    /// Stable code for dead letters and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trap(_) => "plugin-trap",
            Self::Timeout { .. } => "plugin-timeout",
            Self::Memory { .. } => "plugin-memory",
            Self::Malformed(_) => "plugin-malformed",
            Self::TooMuch { .. } => "plugin-too-much",
            Self::Outside { .. } => "plugin-outside",
        }
    }
}

/// A row-wise function over batches: map, filter, flat-map, route. One instance serves one task.
pub trait Transform: Send {
    /// Called once per batch, never concurrently. After a fault the next call starts from a fresh instance.
    ///
    /// # Errors
    /// A [`FunctionFault`] when the function gave no usable result; the caller may call again with fewer rows.
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault>;

    /// CPU time of the calling thread spent in the last call, in nanoseconds, where it is measured.
    fn last_call_cpu_ns(&self) -> u64 {
        0
    }
}

/// A loaded and checked function: makes one [`Transform`] per task. Swapping a plugin swaps this.
pub trait TransformFactory: Send + Sync {
    fn contract(&self) -> &TransformContract;

    /// Whether calls wait for services outside, and so belong on a thread of their own.
    fn waits(&self) -> bool {
        false
    }

    /// `sha256:<hex>` of the component; names the version in epochs, dead letters and output.
    fn digest(&self) -> &Arc<str>;

    /// # Errors
    /// A [`FunctionFault`] when an instance cannot be made or refuses its configuration.
    fn instantiate(&self) -> Result<Box<dyn Transform>, FunctionFault>;
}
