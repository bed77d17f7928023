//! The chain of manifests: the only truth about which files are exposed, and the fence between instances.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_stream::SinkError;

use super::OWN_FOLDER;
use crate::durable;
use crate::identity::{SinkIdentity, fatal};

/// Version of the manifest format.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub version: u32,
    pub pipeline: String,
    pub sink: String,
    pub generation: u64,
    /// Epoch of the exposure before.
    pub previous: u64,
    /// Newest epoch whose rows are exposed.
    pub epoch: u64,
    /// What came with that epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Arc<str>>,
    pub files: Vec<ExposedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExposedFile {
    /// Relative to the target folder.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
}

/// The newest manifest and its number.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub number: u64,
    pub manifest: Manifest,
}

/// The manifests of one target folder.
#[derive(Debug)]
pub(super) struct Manifests {
    identity: SinkIdentity,
    folder: PathBuf,
}

impl Manifests {
    pub(super) fn new(identity: SinkIdentity, target: &Path) -> Self {
        Self { identity, folder: target.join(OWN_FOLDER) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("manifest-{number:010}.json"))
    }

    /// Numbers of all manifests, ascending; none when the folder is not there.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, SinkError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(durable::sink_error("read", &self.folder, &error)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| durable::sink_error("read", &self.folder, &error))?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix("manifest-")?.strip_suffix(".json")?.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// # Errors
    /// `Fatal` when the manifest is not readable as one, or belongs to another sink.
    pub(super) fn read(&self, number: u64) -> Result<Manifest, SinkError> {
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(|error| durable::sink_error("read", &path, &error))?;
        let manifest = parse(&bytes).map_err(|why| {
            fatal(
                format!("{} cannot be used: {why}", path.display()),
                "restore it, or start the sink on a new folder: without it, it is not known which files are exposed",
            )
        })?;
        if (&manifest.pipeline, &manifest.sink) != (&self.identity.pipeline, &self.identity.sink) {
            let owner = SinkIdentity::new(manifest.pipeline, manifest.sink);
            return Err(fatal(format!("{} belongs to {owner}", path.display()), "give this sink a folder of its own"));
        }
        Ok(manifest)
    }

    pub(super) fn newest(&self) -> Result<Option<Newest>, SinkError> {
        match self.numbers()?.pop() {
            Some(number) => Ok(Some(Newest { number, manifest: self.read(number)? })),
            None => Ok(None),
        }
    }

    /// Puts the manifest after `before`, unless another instance was first: then the answer is `None`.
    pub(super) fn put(
        &self,
        before: Option<&Newest>,
        generation: u64,
        (epoch, cut): (u64, Option<Arc<str>>),
        files: Vec<ExposedFile>,
    ) -> Result<Option<Newest>, SinkError> {
        let number = before.map_or(0, |before| before.number) + 1;
        let previous = before.map_or(0, |before| before.manifest.epoch);
        let SinkIdentity { pipeline, sink } = self.identity.clone();
        let manifest = Manifest { version: VERSION, pipeline, sink, generation, previous, epoch, cut, files };
        let bytes = serde_json::to_vec(&manifest).expect("a manifest has only text and numbers");
        let put = durable::put_if_absent(&self.path(number), &bytes);
        let put = put.map_err(|error| durable::sink_error("write", &self.path(number), &error))?;
        Ok(put.then_some(Newest { number, manifest }))
    }
}

/// # Errors
/// Why the bytes are no manifest that this version knows.
pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if manifest.version != VERSION {
        return Err(format!("its version is {}, known is {VERSION}", manifest.version));
    }
    Ok(manifest)
}
