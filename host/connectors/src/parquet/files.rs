//! The files that an exposure is gathered in: one open writer per folder, under names that no reader looks at.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use weir_stream::SinkError;

use super::manifest::ExposedFile;
use super::partition::Partitioner;
use crate::durable;
use crate::identity::fatal;

/// Rows after which a file's row group is closed.
const ROWS_PER_GROUP: usize = 1 << 20;

/// Encoded bytes that all open row groups may hold in memory together.
const MAX_BUFFERED_BYTES: usize = 64 << 20;

/// Folders that one exposure may write to at once; more are exposed first, or refused when one entry alone has more.
pub(super) const MAX_OPEN_FOLDERS: usize = 256;

/// Files of the sink by their names.
pub(super) fn is_part(name: &str) -> bool {
    name.starts_with("part-") && name.ends_with(".parquet")
}

/// Also of manifests that were never put.
pub(super) fn is_temporary(name: &str) -> bool {
    (name.starts_with(".part-") || name.starts_with(".manifest-")) && name.ends_with(".tmp")
}

/// Names of one instance's files.
#[derive(Debug)]
pub(super) struct Names {
    pub target: PathBuf,
    pub generation: u64,
}

struct OpenFile {
    writer: ArrowWriter<File>,
    temporary: PathBuf,
    rows: u64,
}

/// What was gathered for the next exposure.
#[derive(Default)]
pub(super) struct Gathering {
    /// By folder, relative to the target.
    open: BTreeMap<String, OpenFile>,
}

impl Gathering {
    pub(super) fn folders(&self) -> usize {
        self.open.len()
    }

    /// About what the files will hold.
    pub(super) fn bytes(&self) -> usize {
        self.open.values().map(|file| file.writer.bytes_written() + file.writer.in_progress_size()).sum()
    }

    /// # Errors
    /// A [`SinkError`]; the gathering is then of no use any more.
    pub(super) fn add(
        &mut self,
        rows: &RecordBatch,
        partitioner: &Partitioner,
        names: &Names,
        schema: &SchemaRef,
        zstd_level: i32,
    ) -> Result<(), SinkError> {
        let parts = partitioner
            .split(rows)
            .map_err(|error| fatal(format!("rows cannot be partitioned: {error}"), "partition by other columns"))?;
        for part in parts {
            let taken = part.rows.map(|numbers| take_record_batch(rows, &UInt32Array::from(numbers))).transpose();
            let taken = taken.map_err(|error| {
                fatal(format!("rows cannot be partitioned: {error}"), "report it with the manifest")
            })?;
            if !self.open.contains_key(&part.folder) {
                let file = self.create(&part.folder, names, schema, zstd_level)?;
                self.open.insert(part.folder.clone(), file);
            }
            let file = self.open.get_mut(&part.folder).expect("it was opened just now");
            let rows = taken.as_ref().unwrap_or(rows);
            file.writer.write(rows).map_err(|error| write_error(&file.temporary, error))?;
            file.rows += rows.num_rows() as u64;
        }
        self.bound_memory()
    }

    fn create(&self, folder: &str, names: &Names, schema: &SchemaRef, zstd_level: i32) -> Result<OpenFile, SinkError> {
        if self.open.len() >= MAX_OPEN_FOLDERS {
            return Err(fatal(
                format!(
                    "one epoch has rows for more than {MAX_OPEN_FOLDERS} partition folders of {}",
                    names.target.display()
                ),
                "partition by columns of fewer values",
            ));
        }
        let folder = names.target.join(folder);
        durable::create_folders(&folder).map_err(|error| durable::sink_error("create", &folder, &error))?;
        let temporary = folder.join(format!(".part-{}-{}.tmp", names.generation, self.open.len()));
        let file = File::create(&temporary).map_err(|error| durable::sink_error("create", &temporary, &error))?;
        let level = ZstdLevel::try_new(zstd_level);
        let level = level.map_err(|error| fatal(error.to_string(), "give the sink a zstd level from 1 to 22"))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
            .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
        let writer = writer.map_err(|error| write_error(&temporary, error))?;
        Ok(OpenFile { writer, temporary, rows: 0 })
    }

    /// Closes the largest row groups until the rest fits.
    fn bound_memory(&mut self) -> Result<(), SinkError> {
        while self.open.values().map(|file| file.writer.memory_size()).sum::<usize>() > MAX_BUFFERED_BYTES {
            let largest = self.open.values_mut().max_by_key(|file| file.writer.in_progress_size());
            match largest.filter(|file| file.writer.in_progress_rows() > 0) {
                Some(file) => file.writer.flush().map_err(|error| write_error(&file.temporary, error))?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Closes every file, syncs it and gives it its lasting name; durable when it returns.
    ///
    /// # Errors
    /// A [`SinkError`]; some files may have their names already.
    pub(super) fn finish(self, names: &Names, epoch: u64) -> Result<Vec<ExposedFile>, SinkError> {
        let mut files = Vec::with_capacity(self.open.len());
        for (number, (folder, OpenFile { writer, temporary, rows })) in self.open.into_iter().enumerate() {
            let file = writer.into_inner().map_err(|error| write_error(&temporary, error))?;
            let synced = file.sync_all().and_then(|()| file.metadata());
            let bytes = synced.map_err(|error| durable::sink_error("sync", &temporary, &error))?.len();
            let name = format!("part-{epoch:020}-{}-{number}.parquet", names.generation);
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let lasting = names.target.join(&path);
            let renamed = fs::rename(&temporary, &lasting);
            let parent = lasting.parent().unwrap_or(Path::new(""));
            renamed
                .and_then(|()| durable::sync_folder(parent))
                .map_err(|error| durable::sink_error("rename", &temporary, &error))?;
            files.push(ExposedFile { path, rows, bytes });
        }
        Ok(files)
    }
}

fn write_error(path: &Path, error: ParquetError) -> SinkError {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => durable::sink_error("write", path, &error),
            Err(error) => fatal(format!("cannot write {}: {error}", path.display()), "report it with the manifest"),
        },
        error => fatal(format!("cannot write {}: {error}", path.display()), "report it with the manifest"),
    }
}
