//! `sample`: keeps a share of the rows, the same ones in every run.
//!
//! The choice is a hash of the `by` columns' canonical key bytes, or, without them, of the record that the row came from
//! (partition, offset; not the topic, which for a file is wherever it lies). Rows with equal `by` columns are all kept
//! or all left out. No clock and no seed: a row's fate never changes. The hash is the one that key groups come from, but
//! of other bits, so that a sample by a key still spreads over all key groups.

use arrow_buffer::BooleanBuffer;
use weir_stream::{Batch, Origin, SourceRecords, key};

use crate::key::KeyEncoder;
use crate::operator::{Operator, Outputs, StepFault};

/// Keeps a share of the rows.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Hashes below it are kept; one more than the largest hash for all.
    below: u128,
    by: Option<KeyEncoder>,
}

impl Sample {
    /// `share`: 0 to 1. `by`: none for a choice by record.
    pub fn new(share: f64, by: Option<KeyEncoder>) -> Self {
        // 53 bits of the share are exact; the product is, too.
        let below = ((share.clamp(0.0, 1.0) * (1u64 << 53) as f64) as u128) << 11;
        Self { below, by }
    }

    fn keeps(&self, hash: u64) -> bool {
        // Decided by the high bits; key groups come from the low ones.
        u128::from(hash) < self.below
    }
}

fn record_hash(records: &SourceRecords, record: u32) -> u64 {
    let mut bytes = Vec::with_capacity(12);
    bytes.extend_from_slice(&records.partition.to_be_bytes());
    bytes.extend_from_slice(&records.offsets[record as usize].to_be_bytes());
    key::hash(&bytes)
}

impl Operator for Sample {
    fn process(&mut self, batch: Batch, out: &mut Outputs) -> Result<(), StepFault> {
        let (batch, hashes) = match (&self.by, &batch.origin) {
            (Some(by), _) => {
                let keyed = by.encode(batch, out)?;
                (keyed.batch, keyed.keys.hashes().to_vec())
            }
            (None, Origin::Records { records, rows }) => {
                let hashes = rows.iter().map(|record| record_hash(records, *record)).collect();
                (batch, hashes)
            }
            (None, Origin::Step(step)) => {
                let message = format!("rows of step `{step}` have no record to be chosen by");
                return Err(StepFault::Internal(message));
            }
        };
        let kept: BooleanBuffer = hashes.iter().map(|hash| self.keeps(*hash)).collect();
        let rows: Vec<u32> = kept.set_indices_u32().collect();
        out.push(0, if rows.len() == batch.rows() { batch } else { batch.take(&rows)? });
        Ok(())
    }
}
