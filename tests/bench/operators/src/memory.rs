//! What a live key costs: `count()` by an int64 key, without a window, with and without a time to live.
//!
//! Two figures in bytes per key: what the operator counts, and by how much the process has grown. The keys come in epochs,
//! as they do in a pipeline, so that what changed in one epoch is not counted as held.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use weir_operators::{AggregateKind, AggregateSpec, GroupAggregate, GroupSpec, KeyEncoder, KeyedOperator, Outputs};
use weir_stream::{Batch, Changes, Origin};

use crate::{BATCH, Delta, KEY_GROUPS, schema};

/// Keys that are new in one epoch.
const EPOCH: usize = BATCH * 16;

const DAY_US: i64 = 86_400_000_000;

pub fn run(keys: usize) {
    println!("bytes per live key, count by int64, {keys} keys");
    // None is let go of: the next one would grow into its room, and the process not at all.
    let mut all = Vec::new();
    for (name, ttl_us) in [("no ttl", None), ("ttl 1d", Some(DAY_US))] {
        let before = resident();
        let group = held(keys, ttl_us);
        let per_key = |bytes: usize| bytes as f64 / group.keys() as f64;
        println!(
            "  {name}  counted {:>5.1}  resident {:>5.1}",
            per_key(group.byte_size()),
            per_key(resident().saturating_sub(before))
        );
        all.push(group);
    }
}

fn held(keys: usize, ttl_us: Option<i64>) -> GroupAggregate {
    let key = KeyEncoder::new(&[("auction".into(), "auction".into())], &schema(), KEY_GROUPS).expect("a valid key");
    let aggregates = vec![AggregateSpec::new("bids", AggregateKind::Count, None)];
    let spec = GroupSpec { step: "bench".into(), key: key.fields().to_vec(), aggregates, ttl_us, retracts: false };
    let mut group = GroupAggregate::new(&spec, &schema(), 0..KEY_GROUPS).expect("a valid aggregate");
    for first in (0..keys).step_by(BATCH) {
        let mut out = Outputs::default();
        let rows = first..(first + BATCH).min(keys);
        let keyed = key.encode(batch(rows), &mut out).expect("the key works");
        group.process(0, &keyed, &mut out).expect("the aggregate works");
        if first % EPOCH == 0 {
            group.seal(&mut Delta::default());
        }
    }
    group.seal(&mut Delta::default());
    group
}

/// Keys in an order that is not that of their numbers.
fn batch(rows: std::ops::Range<usize>) -> Batch {
    let count = rows.len();
    let scattered = |row: usize| (row as i64).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    let auctions: ArrayRef = Arc::new(rows.clone().map(|row| Some(scattered(row))).collect::<Int64Array>());
    let prices: ArrayRef = Arc::new((0..count).map(|_| Some(1)).collect::<Int64Array>());
    Batch {
        columns: RecordBatch::try_new(schema(), vec![auctions, prices]).expect("the columns are of the schema"),
        event_times_us: rows.map(|row| row as i64 * 1_000).collect(),
        watermarks_us: vec![i64::MIN; count].into(),
        origin: Origin::Step("bench".into()),
        changes: Changes::Inserts,
    }
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size()
}
