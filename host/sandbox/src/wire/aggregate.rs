//! The types of `weir:plugin/aggregate`.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::{Batch, Column, Fault, Field, OwnedColumn, Reject};

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Contract {
    pub name: String,
    pub version: String,
    pub reads: Vec<String>,
    #[component(name = "state-version")]
    pub state_version: u32,
    pub state: Vec<Field>,
    pub gives: Field,
    pub merges: bool,
    pub retracts: bool,
    pub deterministic: bool,
    #[component(name = "config-schema")]
    pub config_schema: String,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Accumulators<'a> {
    pub groups: &'a [u32],
    pub columns: &'a [Column<'a>],
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Rows<'a> {
    pub batch: Batch<'a>,
    pub group: &'a [u32],
    #[component(name = "event-time-us")]
    pub event_time_us: &'a [i64],
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct OwnedAccumulators {
    pub groups: Vec<u32>,
    pub columns: Vec<OwnedColumn>,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Accumulated {
    pub rejects: Vec<Reject>,
    pub changed: OwnedAccumulators,
}

/// Parameters and results of the exports of `weir:plugin/aggregate`; `open` is as in `transform`.
pub type DescribeResult = (Result<Contract, Vec<Fault>>,);
/// Of `accumulate` and `retract`.
pub type RowsParams<'a> = (u32, Accumulators<'a>, Rows<'a>);
pub type AccumulatedResult = (Accumulated,);
pub type MergeParams<'a> = (Batch<'a>, Batch<'a>);
pub type MergeResult = (Vec<OwnedColumn>,);
pub type FinishParams<'a> = (u32, Accumulators<'a>);
pub type FinishResult = (OwnedColumn,);
