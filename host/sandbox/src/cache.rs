//! Compiled components on disk, so that a start does not compile.
//!
//! A compiled component is machine code: loading one that somebody else wrote is running it. The invariant that
//! makes loading sound: only bytes whose keyed hash (HMAC-SHA256, over the file's name and its bytes) verifies
//! are deserialized, the very bytes that were hashed, and the key is 32 random bytes in a folder that belongs to
//! this user and that nobody else may enter. Whatever is odd - folder, key, name, hash, version - means: compile
//! again. The key does not defend against this user itself; it keeps out torn, copied and foreign files.
//!
//! | file | what |
//! | --- | --- |
//! | `key` | 32 bytes, mode 0600 |
//! | `<digest hex>-<engine hash>.cwasm` | 32 bytes of HMAC, then what wasmtime serialized |
//!
//! The engine hash covers wasmtime's version, its settings and the CPU features in use. Nothing is evicted: an
//! entry is a few hundred KiB and the folder may be deleted at any time.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// A folder of compiled components that only this user can write.
pub(crate) struct CompileCache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    engine: Engine,
    engine_hash: String,
}

impl CompileCache {
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        check_private(folder)?;
        let key = read_or_make_key(folder)?;
        Ok(Self { folder: folder.to_owned(), key, engine: engine.clone(), engine_hash: engine_hash(engine) })
    }

    /// The compiled component with this digest, if a file that this cache wrote holds it.
    pub(crate) fn load(&self, digest: &str) -> Option<Component> {
        let name = self.name(digest);
        let path = self.folder.join(&name);
        let file = fs::read(&path).ok()?;
        let (mac, compiled) = file.split_at_checked(MAC_BYTES)?;
        if self.mac(&name, compiled).verify_slice(mac).is_err() {
            tracing::warn!(file = %path.display(), "compiled component is not what was written; compiling again");
            return None;
        }
        // SAFETY: the bytes are those that `store` serialized: their keyed hash, checked above on this very
        // buffer, can only be made with the key of a folder that belongs to this user alone.
        let component = unsafe { Component::deserialize(&self.engine, compiled) };
        component.inspect_err(|cause| tracing::debug!("compiled component is for another engine: {cause:#}")).ok()
    }

    /// Keeps a compiled component. A failure costs only the next start's time and is told to the log.
    pub(crate) fn store(&self, digest: &str, component: &Component) {
        let stored = component.serialize().map_err(io::Error::other).and_then(|bytes| self.write(digest, &bytes));
        if let Err(cause) = stored {
            tracing::warn!(folder = %self.folder.display(), "compiled component was not kept: {cause}");
        }
    }

    /// Writes beside and renames, so that readers see a whole file or none. A crash may lose it: no sync.
    fn write(&self, digest: &str, compiled: &[u8]) -> io::Result<()> {
        check_private(&self.folder)?;
        let name = self.name(digest);
        let mut random = [0; 8];
        fill_random(&mut random)?;
        let draft = self.folder.join(format!("{name}.{}.draft", hex(&random)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file
            .write_all(&self.mac(&name, compiled).finalize().into_bytes())
            .and_then(|()| file.write_all(compiled))
            .and_then(|()| fs::rename(&draft, self.folder.join(&name)));
        written.inspect_err(|_| drop(fs::remove_file(&draft)))
    }

    fn name(&self, digest: &str) -> String {
        format!("{}-{}.cwasm", digest.trim_start_matches("sha256:"), self.engine_hash)
    }

    fn mac(&self, name: &str, compiled: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(compiled);
        mac
    }
}

/// Refuses a folder or file that another user owns or may touch.
fn check_private(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let mine = fs::metadata("/proc/self").map(|process| process.uid());
    let owner_is_me = mine.map_or(true, |me| me == found.uid());
    if found.file_type().is_symlink() || !owner_is_me || found.mode() & 0o077 != 0 {
        let mode = found.mode() & 0o7777;
        let why = format!("{} must belong to this user alone (mode 0700), has mode {mode:04o}", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

fn read_or_make_key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join(KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => {
            check_private(&path)?;
            bytes.try_into().map_err(|_| io::Error::other(format!("{} is not a key; delete it", path.display())))
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => make_key(folder, &path),
        Err(cause) => Err(cause),
    }
}

/// Two processes may start at once: the key is linked into place, and the one that comes second takes the first's.
fn make_key(folder: &Path, path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    fill_random(&mut key)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.as_file().set_permissions(Permissions::from_mode(0o600))?;
    draft.write_all(&key)?;
    match draft.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => read_or_make_key(folder),
        Err(lost) => Err(lost.error),
    }
}

fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

/// wasmtime's own answer to "may this engine load what that one compiled", as a file name.
fn engine_hash(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex(&hasher.0.finalize()[..8])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
