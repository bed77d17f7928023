//! Golden cases: a folder holds a manifest, its input and what must come out; each is run plain, and killed and resumed
//! at every epoch, with one, two and four tasks, always with the same expectation.
//!
//! A case is `cases/<what_it_shows>/` with `pipeline.yaml` (profile `test`, files in, everything out to `out/`),
//! `input*.jsonl` and `expected/*.json`. What is found in `out/` is compared, so a case names its outputs once.
//! Equality is of final tables: order of rows and of files is not part of it.

pub mod case;
pub mod outputs;
