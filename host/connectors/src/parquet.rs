//! Parquet files in a folder as an exactly-once target.
//!
//! ```text
//! raw/date=2026-03-01/part-00000000000000001302-4-0.parquet    part-<epoch>-<generation>-<number>: one exposure's rows
//! raw/date=2026-03-01/.part-4-7.tmp                            being written, not to be read
//! raw/_weir/manifest-0000000017.json                           what the exposures consist of
//! ```
//!
//! Entries are gathered and exposed together, by time or size, so that there are few files of a good size. An
//! exposure becomes true when its manifest appears, whole and by one atomic step; readers that do not look at
//! manifests see whole files only. A manifest is a JSON object:
//!
//! ```json
//! {"version":1,"pipeline":"shop","sink":"raw","generation":4,"previous":1297,"epoch":1302,
//!  "files":[{"path":"date=2026-03-01/part-00000000000000001302-4-0.parquet","rows":91234,"bytes":4711}]}
//! ```
//!
//! Invariant: manifest `n + 1` is created only by the instance that knows manifest `n` as the newest, and only if it
//! does not exist. A new instance's first act is an empty manifest of a new generation: from then on the exposure
//! of the instance before it cannot appear any more, whatever that one still does.
//!
//! Partition columns stay in the files, so that a file is complete and exactly typed by itself. What the folder's
//! name says is for finding: values are percent-encoded, null is `__HIVE_DEFAULT_PARTITION__`, and a value too long
//! for a name is cut and marked with `~` and its hash.
//!
//! Not done here: merging small files, expiry, updates and deletes (the sink is append-only).

mod files;
mod manifest;
mod partition;
mod read;
mod sink;

use std::path::PathBuf;
use std::time::Duration;

use arrow_schema::SchemaRef;

use crate::identity::SinkIdentity;

pub use partition::PartitionBy;
pub use read::{count_parquet_rows, read_parquet};
pub use sink::ParquetSink;

/// Folder of the manifests, in the target folder.
const OWN_FOLDER: &str = "_weir";

#[derive(Debug, Clone, PartialEq)]
pub struct ParquetConfig {
    pub identity: SinkIdentity,
    pub folder: PathBuf,
    /// The rows that will come.
    pub schema: SchemaRef,
    /// Levels of folders, outermost first.
    pub partition: Vec<PartitionBy>,
    /// Entries are exposed at the latest when the oldest is this old.
    pub max_age: Duration,
    /// Entries are exposed when their files hold about this many bytes together.
    pub max_bytes: usize,
    /// 1 (fast) to 22 (small).
    pub zstd_level: i32,
}

impl ParquetConfig {
    /// A minute or 128 MiB, zstd 1, no partitions.
    pub fn new(identity: SinkIdentity, folder: impl Into<PathBuf>, schema: SchemaRef) -> Self {
        let (max_age, max_bytes) = (Duration::from_secs(60), 128 << 20);
        Self { identity, folder: folder.into(), schema, partition: Vec::new(), max_age, max_bytes, zstd_level: 1 }
    }
}
