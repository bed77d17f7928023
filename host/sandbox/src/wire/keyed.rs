//! The types of `weir:plugin/process`.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::{Batch, Column, Fault, Field, OutputRows, OwnedColumn, Reject};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting a case's number")]
pub enum StateKind {
    #[component(name = "value")]
    Value,
    #[component(name = "list")]
    List,
    #[component(name = "map")]
    Map,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct State {
    pub name: String,
    pub kind: StateKind,
    #[component(name = "map-key")]
    pub map_key: Vec<Field>,
    pub columns: Vec<Field>,
    #[component(name = "ttl-ms")]
    pub ttl_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting a case's number")]
pub enum TimeDomain {
    #[component(name = "event")]
    Event,
    #[component(name = "processing")]
    Processing,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Timer {
    pub name: String,
    pub domain: TimeDomain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting a case's number")]
pub enum Keeps {
    #[component(name = "row")]
    Row,
    #[component(name = "key")]
    Key,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Output {
    pub name: String,
    pub keeps: Keeps,
    pub writes: Vec<Field>,
    pub drops: Vec<String>,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Contract {
    pub name: String,
    pub version: String,
    pub reads: Vec<String>,
    pub outputs: Vec<Output>,
    pub states: Vec<State>,
    pub timers: Vec<Timer>,
    pub deterministic: bool,
    #[component(name = "config-schema")]
    pub config_schema: String,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Entries<'a> {
    pub offsets: &'a [u32],
    pub columns: &'a [Column<'a>],
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Keys<'a> {
    pub count: u32,
    pub states: &'a [Entries<'a>],
    #[component(name = "now-us")]
    pub now_us: Option<i64>,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Rows<'a> {
    pub batch: Batch<'a>,
    pub key: &'a [u32],
    #[component(name = "event-time-us")]
    pub event_time_us: &'a [i64],
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Firings<'a> {
    pub timer: &'a [u32],
    pub key: &'a [u32],
    #[component(name = "time-us")]
    pub time_us: &'a [i64],
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct OwnedEntries {
    pub offsets: Vec<u32>,
    pub columns: Vec<OwnedColumn>,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct StateChange {
    pub state: u32,
    pub keys: Vec<u32>,
    pub entries: OwnedEntries,
}

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(variant)]
pub enum TimerAction {
    #[component(name = "set")]
    Set(i64),
    #[component(name = "clear")]
    Clear(i64),
    #[component(name = "clear-all")]
    ClearAll,
}

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub struct TimerChange {
    pub key: u32,
    pub timer: u32,
    pub action: TimerAction,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Processed {
    pub outputs: Vec<OutputRows>,
    pub rejects: Vec<Reject>,
    pub states: Vec<StateChange>,
    pub timers: Vec<TimerChange>,
}

/// Parameters and results of the exports of `weir:plugin/process`; `open` is as in `transform`.
pub type DescribeResult = (Result<Contract, Vec<Fault>>,);
pub type ProcessParams<'a> = (Keys<'a>, Rows<'a>);
pub type FireParams<'a> = (Keys<'a>, Firings<'a>);
pub type ProcessedResult = (Processed,);
