//! The types of `weir:plugin/tables` and what the world `enrich` says with them.

use wasmtime::component::{ComponentType, Lift, Lower};

use super::{Contract, Fault, Field, OwnedColumn};

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Table {
    pub name: String,
    pub key: Vec<Field>,
    pub columns: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct TableUse {
    pub table: String,
    pub columns: Vec<String>,
}

/// `weir:plugin/enrich.contract`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct EnrichContract {
    pub rows: Contract,
    pub tables: Vec<TableUse>,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct OwnedBatch {
    pub rows: u32,
    pub columns: Vec<OwnedColumn>,
}

#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Refusal {
    pub key: u32,
    pub reason: String,
}

#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Found {
    pub keys: Vec<u32>,
    pub columns: Vec<OwnedColumn>,
    pub refused: Vec<Refusal>,
}

/// Parameters and results of the exports of `weir:plugin/enrich` and of `look-up`.
pub type DescribeParams<'a> = (&'a str, &'a [Field], &'a [Table]);
pub type DescribeResult = (Result<EnrichContract, Vec<Fault>>,);
pub type OpenParams<'a> = (&'a str, &'a [Field], &'a [Table]);
pub type LookUpParams = (u32, OwnedBatch);
pub type LookUpResult = (Found,);
