//! `weir plugin new` and `weir plugin build`: from nothing to a component, with plain arguments and results.
//!
//! Deliberately no command-line parsing, no colours and no network of its own; Cargo fetches what a plugin needs.

pub mod build;
pub mod scaffold;
pub mod toolchain;

#[cfg(test)]
mod tests;

pub use build::{BuildOptions, CargoOutput, build};
pub use scaffold::{Language, Template, scaffold};
