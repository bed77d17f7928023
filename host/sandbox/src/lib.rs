//! Runs user logic: WebAssembly components that implement a world of `wit/`, in a sandbox with limits.
//!
//! The road of a plugin: [`encode`] makes a component of a core module, [`PluginComponent::load`] checks and
//! compiles it, [`PluginComponent::describe`] agrees the contract for one configuration and input,
//! [`WasmTransformFactory`] (for keyed plugins [`WasmKeyedFactory`], for those that aggregate [`WasmAggregateFactory`]) makes
//! the instances that process batches. A plugin's answer to a row is data; whatever
//! else it does ends in a [`weir_stream::FunctionFault`] and a dropped instance, never in the host.
//!
//! This crate sees columns and rows. It knows no topic, no offset, no state and no pipeline.

mod aggregate;
mod cache;
mod clock;
mod component;
mod contract;
mod engine;
mod error;
mod fault;
mod fetch;
mod instance;
mod lift;
pub mod limits;
pub mod log;
mod lower;
mod plugin;
mod process;
mod tables;
mod transform;
mod types;
mod wire;

pub use aggregate::WasmAggregateFactory;
pub use clock::thread_cpu_time;
pub use component::{PluginInfo, World, digest, encode, inspect};
pub use engine::SandboxEngine;
pub use error::{ContractFault, SandboxError};
pub use limits::Limits;
pub use log::{LogLevel, LogLine, LogSink};
pub use plugin::{Description, PluginComponent};
pub use process::WasmKeyedFactory;
pub use transform::{Grants, WasmTransformFactory};
