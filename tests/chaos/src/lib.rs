//! Exactly-once, shown: a pipeline on real services is killed at random moments and its plugins are swapped under load;
//! then everything that it left is held against a naive recomputation from its input.
//!
//! | module | what |
//! | --- | --- |
//! | [`services`] | the Kafka and the PostgreSQL of these tests |
//! | [`room`] | one pipeline: its folder, topics, tables, manifest and runs |
//! | [`topic`] | reading and writing topics |
//! | [`model`] | what must come out, computed record by record |
//! | [`found`] | what did come out, from every sink |
//! | [`verdict`] | the two held against each other |
//! | [`kills`], [`swaps`] | two kinds of unrest |
//! | [`engine`] | windows, joins, dedup and keyed plugins under kills, with an oracle of their own |
//! | [`small_disk`] | a file system that is full at a word |
//! | [`stopped`] | an instance that is stopped and taken over, and wakes |
//!
//! Whatever is random comes from a seed that is printed; `WEIR_SEED` repeats it.

pub mod engine;
pub mod found;
pub mod kills;
pub mod model;
pub mod room;
pub mod seed;
pub mod services;
pub mod small_disk;
pub mod stopped;
pub mod swaps;
pub mod topic;
pub mod verdict;
