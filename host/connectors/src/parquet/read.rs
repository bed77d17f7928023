//! Reads what was exposed, by the manifests: for results and tests.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_stream::SinkError;

use super::OWN_FOLDER;
use super::manifest::{ExposedFile, parse};
use crate::durable;
use crate::identity::fatal;

/// Rows in all exposed files, as the files themselves say.
///
/// # Errors
/// As [`read_parquet`].
pub fn count_parquet_rows(folder: &Path) -> Result<u64, SinkError> {
    let counts = exposed(folder)?.into_iter().map(|(path, file)| {
        let rows = open(&path)?.metadata().file_metadata().num_rows();
        if rows as u64 == file.rows {
            Ok(file.rows)
        } else {
            Err(damaged(&path, &format!("{rows} rows instead of {}", file.rows)))
        }
    });
    counts.sum()
}

/// All exposed rows, exposure by exposure.
///
/// # Errors
/// `Fatal` when a manifest or a file that it names is missing or damaged.
pub fn read_parquet(folder: &Path) -> Result<Vec<RecordBatch>, SinkError> {
    let mut batches = Vec::new();
    for (path, _) in exposed(folder)? {
        let reader = open(&path)?.build().map_err(|error| damaged(&path, &error.to_string()))?;
        for batch in reader {
            batches.push(batch.map_err(|error| damaged(&path, &error.to_string()))?);
        }
    }
    Ok(batches)
}

fn exposed(folder: &Path) -> Result<Vec<(PathBuf, ExposedFile)>, SinkError> {
    let own = folder.join(OWN_FOLDER);
    let entries = std::fs::read_dir(&own).map_err(|error| durable::sink_error("read", &own, &error))?;
    let names = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut manifests: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    manifests.sort();
    let mut files = Vec::new();
    for path in manifests {
        let bytes = std::fs::read(&path).map_err(|error| durable::sink_error("read", &path, &error))?;
        let manifest = parse(&bytes).map_err(|why| damaged(&path, &why))?;
        files.extend(manifest.files.into_iter().map(|file| (folder.join(&file.path), file)));
    }
    Ok(files)
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, SinkError> {
    let file = File::open(path).map_err(|error| damaged(path, &error.to_string()))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, &error.to_string()))
}

fn damaged(path: &Path, why: &str) -> SinkError {
    fatal(format!("{} cannot be read: {why}", path.display()), "restore it from a copy")
}
