//! Component bytes by digest: what a start needs to go on with the plugins that its epochs were made with.
//!
//! Invariant: a file gets its name only when it is whole and synced. The digest names the file and is not
//! recomputed; a checksum of the store's own guards the bytes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{OpenError, ReadError, WriteError};
use crate::format::{self, Fields, PROLOGUE, hash, read_prologue};
use crate::identity::read_file;
use crate::names;
use crate::snapshot::write_whole;

/// Longest digest text in bytes.
const MAX_DIGEST_LEN: usize = 160;

const HEADER: usize = PROLOGUE + 8;

/// The components of a state folder. A handle: clones may go to other threads, one writes at a time.
#[derive(Clone)]
pub struct PluginFolder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl PluginFolder {
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Self, OpenError> {
        let folder = Self { disk, dir };
        let io = |error| OpenError::io(&folder.dir, error);
        folder.disk.create_dir(&folder.dir).map_err(io)?;
        for name in folder.disk.list(&folder.dir).map_err(io)? {
            if name.ends_with(names::TEMPORARY) {
                folder.disk.remove(&folder.dir.join(name)).map_err(io)?;
            }
        }
        Ok(folder)
    }

    /// Keeps a component under `digest` (`sha256:<hex>`), durably. Nothing happens when it is there already and whole.
    ///
    /// # Errors
    /// A [`WriteError`]; a digest that is not `<letters and digits>:<hex>` is `InvalidInput`.
    pub fn put(&self, digest: &str, component: &[u8]) -> Result<(), WriteError> {
        let path = self.path(digest).map_err(|error| WriteError::write(&self.dir, error))?;
        match self.get(digest) {
            Ok(Some(_)) => return Ok(()),
            // A damaged one is replaced, atomically, by the same component.
            Ok(None) | Err(ReadError::Corrupt { .. }) => {}
            Err(ReadError::Io { path, source }) => return Err(WriteError::write(&path, source)),
        }
        let mut header = Vec::with_capacity(HEADER);
        format::write_prologue(&mut header, format::PLUGIN);
        header.extend_from_slice(&content_check(digest, component).to_le_bytes());
        write_whole(&*self.disk, &self.dir, &path, [&header[..], component].into_iter())
    }

    /// The component that was put under `digest`.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when the file is not what was written; [`ReadError::Io`].
    pub fn get(&self, digest: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let path = self.path(digest).map_err(|source| ReadError::Io { path: self.dir.clone(), source })?;
        let mut bytes = match read_file(&*self.disk, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let good = read_prologue(&bytes, format::PLUGIN) == format::Prologue::Good
            && bytes.len() >= HEADER
            && Fields::new(&bytes[PROLOGUE..]).u64() == Some(content_check(digest, &bytes[HEADER..]));
        if !good {
            let what = "the component is not what was stored".to_owned();
            return Err(ReadError::Corrupt { file: path, offset: 0, what });
        }
        Ok(Some(bytes.split_off(HEADER)))
    }

    /// The digests that are kept, in order.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn digests(&self) -> Result<Vec<String>, ReadError> {
        let names = self.disk.list(&self.dir);
        let names = names.map_err(|source| ReadError::Io { path: self.dir.clone(), source })?;
        Ok(names.iter().filter_map(|name| name.split_once('-')).map(|(kind, hex)| format!("{kind}:{hex}")).collect())
    }

    /// Removes what is not in `digests`.
    ///
    /// # Errors
    /// A [`WriteError`]; some may be removed then.
    pub fn retain(&self, digests: &[&str]) -> Result<(), WriteError> {
        let kept = self.digests().map_err(|error| match error {
            ReadError::Io { path, source } => WriteError::Io { path, source },
            ReadError::Corrupt { file, what, .. } => WriteError::Io { path: file, source: io::Error::other(what) },
        })?;
        for digest in kept.iter().filter(|digest| !digests.contains(&digest.as_str())) {
            let path = self.path(digest).map_err(|error| WriteError::write(&self.dir, error))?;
            self.disk.remove(&path).map_err(|source| WriteError::Io { path, source })?;
        }
        self.disk.sync_dir(&self.dir).map_err(|error| WriteError::sync(&self.dir, error))
    }

    fn path(&self, digest: &str) -> io::Result<PathBuf> {
        let parts = digest.split_once(':').filter(|(kind, hex)| {
            let is_name = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_name(kind) && is_name(hex) && digest.len() <= MAX_DIGEST_LEN
        });
        let (kind, hex) = parts.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("`{digest}` is not a digest like sha256:0a1b.."))
        })?;
        Ok(self.dir.join(format!("{kind}-{hex}")))
    }
}

fn content_check(digest: &str, component: &[u8]) -> u64 {
    hash(hash(0, digest.as_bytes()), component)
}
