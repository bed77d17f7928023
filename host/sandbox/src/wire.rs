//! The types of `wit/` as the host sees them: names and order here are the contract's. Those of one world
//! alone are in [`keyed`], [`aggregate`], [`http`] and [`tables`].
//!
//! Matching is structural and checked once, when a component is loaded. Parameters borrow Arrow's buffers, so
//! that a column is copied once, into the sandbox; results are owned, because the sandbox frees its own copy
//! before a call returns. What the values must satisfy is checked in `lift`.

pub mod aggregate;
pub mod http;
pub mod keyed;
pub mod tables;

use wasmtime::component::{ComponentType, Lift, Lower};

/// `weir:plugin/log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum LogLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum TimeUnit {
    #[component(name = "second")]
    Second,
    #[component(name = "millisecond")]
    Millisecond,
    #[component(name = "microsecond")]
    Microsecond,
    #[component(name = "nanosecond")]
    Nanosecond,
}

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct TimestampType {
    pub unit: TimeUnit,
    pub zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct DecimalType {
    pub precision: u8,
    pub scale: i8,
}

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum DataType {
    #[component(name = "boolean")]
    Boolean,
    #[component(name = "int8")]
    Int8,
    #[component(name = "int16")]
    Int16,
    #[component(name = "int32")]
    Int32,
    #[component(name = "int64")]
    Int64,
    #[component(name = "uint8")]
    Uint8,
    #[component(name = "uint16")]
    Uint16,
    #[component(name = "uint32")]
    Uint32,
    #[component(name = "uint64")]
    Uint64,
    #[component(name = "float32")]
    Float32,
    #[component(name = "float64")]
    Float64,
    #[component(name = "utf8")]
    Utf8,
    #[component(name = "binary")]
    Binary,
    #[component(name = "date")]
    Date,
    #[component(name = "timestamp")]
    Timestamp(TimestampType),
    #[component(name = "decimal128")]
    Decimal128(DecimalType),
    #[component(name = "list-of")]
    ListOf,
    #[component(name = "struct-of")]
    StructOf,
}

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Field {
    pub name: String,
    #[component(name = "data-type")]
    pub data_type: DataType,
    pub nullable: bool,
    pub children: u32,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct VarBytes<'a> {
    pub offsets: &'a [i32],
    pub data: &'a [u8],
}

/// `weir:plugin/columns.values` on its way in.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(variant)]
pub enum Values<'a> {
    #[component(name = "bits")]
    Bits(&'a [u8]),
    #[component(name = "int8")]
    Int8(&'a [i8]),
    #[component(name = "int16")]
    Int16(&'a [i16]),
    #[component(name = "int32")]
    Int32(&'a [i32]),
    #[component(name = "int64")]
    Int64(&'a [i64]),
    #[component(name = "uint8")]
    Uint8(&'a [u8]),
    #[component(name = "uint16")]
    Uint16(&'a [u16]),
    #[component(name = "uint32")]
    Uint32(&'a [u32]),
    #[component(name = "uint64")]
    Uint64(&'a [u64]),
    #[component(name = "float32")]
    Float32(&'a [f32]),
    #[component(name = "float64")]
    Float64(&'a [f64]),
    #[component(name = "decimal128")]
    Decimal128(&'a [u64]),
    #[component(name = "bytes")]
    Bytes(VarBytes<'a>),
    #[component(name = "list-offsets")]
    ListOffsets(&'a [i32]),
    #[component(name = "nothing")]
    Nothing,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Column<'a> {
    pub validity: Option<&'a [u8]>,
    pub values: Values<'a>,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Batch<'a> {
    pub rows: u32,
    pub columns: &'a [Column<'a>],
}

/// `weir:plugin/attribute.pairs`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub struct Pairs<'a> {
    pub batch: Batch<'a>,
    pub group: &'a [u32],
    #[component(name = "left-time-us")]
    pub left_time_us: &'a [i64],
    #[component(name = "right-time-us")]
    pub right_time_us: &'a [i64],
}

#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub struct OwnedVarBytes {
    pub offsets: Vec<i32>,
    pub data: Vec<u8>,
}

/// `weir:plugin/columns.values` on its way out.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum OwnedValues {
    #[component(name = "bits")]
    Bits(Vec<u8>),
    #[component(name = "int8")]
    Int8(Vec<i8>),
    #[component(name = "int16")]
    Int16(Vec<i16>),
    #[component(name = "int32")]
    Int32(Vec<i32>),
    #[component(name = "int64")]
    Int64(Vec<i64>),
    #[component(name = "uint8")]
    Uint8(Vec<u8>),
    #[component(name = "uint16")]
    Uint16(Vec<u16>),
    #[component(name = "uint32")]
    Uint32(Vec<u32>),
    #[component(name = "uint64")]
    Uint64(Vec<u64>),
    #[component(name = "float32")]
    Float32(Vec<f32>),
    #[component(name = "float64")]
    Float64(Vec<f64>),
    #[component(name = "decimal128")]
    Decimal128(Vec<u64>),
    #[component(name = "bytes")]
    Bytes(OwnedVarBytes),
    #[component(name = "list-offsets")]
    ListOffsets(Vec<i32>),
    #[component(name = "nothing")]
    Nothing,
}

#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub struct OwnedColumn {
    pub validity: Option<Vec<u8>>,
    pub values: OwnedValues,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting a case's number")]
pub enum Cardinality {
    #[component(name = "one-to-one")]
    OneToOne,
    #[component(name = "filter")]
    Filter,
    #[component(name = "many")]
    Many,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Output {
    pub name: String,
    pub writes: Vec<Field>,
    pub drops: Vec<String>,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Contract {
    pub name: String,
    pub version: String,
    pub reads: Vec<String>,
    pub cardinality: Cardinality,
    pub outputs: Vec<Output>,
    pub deterministic: bool,
    #[component(name = "config-schema")]
    pub config_schema: String,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Fault {
    #[component(name = "config-path")]
    pub config_path: Option<String>,
    pub column: Option<String>,
    pub message: String,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Reject {
    pub row: u32,
    pub code: String,
    pub reason: String,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(variant)]
pub enum Selection {
    #[component(name = "all")]
    All,
    #[component(name = "rows")]
    Rows(Vec<u32>),
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct OutputRows {
    pub output: u32,
    pub selection: Selection,
    pub columns: Vec<OwnedColumn>,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Transformed {
    pub outputs: Vec<OutputRows>,
    pub rejects: Vec<Reject>,
}

/// Parameters and results of the exports of `weir:plugin/transform`.
pub type DescribeParams<'a> = (&'a str, &'a [Field]);
pub type DescribeResult = (Result<Contract, Vec<Fault>>,);
pub type OpenParams<'a> = (&'a str, &'a [Field]);
pub type OpenResult = (Result<(), String>,);
pub type ProcessParams<'a> = (Batch<'a>,);
/// Of `weir:plugin/attribute`, all else of which is as in `transform`.
pub type PairsParams<'a> = (Pairs<'a>,);
pub type ProcessResult = (Transformed,);
