//! A disk in memory that behaves as badly as a real one may: for tests of this store and of what is built on it.
//!
//! Invariant: what a crash may keep is decided per 512-byte sector and per name: anything between the last sync and
//! now, never anything else. All randomness comes from the caller's [`SimRng`], so a seed repeats a run as long as
//! calls come from one thread. It does not model time, permissions or damage that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock, LockError};

mod file;
mod names;
mod rng;

use file::SimInode;
use names::Names;
pub use rng::SimRng;

/// The unit in which a disk writes or does not.
pub const SECTOR: usize = 512;

/// A simulated disk; clones are handles to the same one.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    inodes: BTreeMap<u64, SimInode>,
    names: Names,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    /// Locks and files of before the last kill or crash are dead.
    life: u64,
    operations: u64,
    /// The power is cut at this operation.
    stop_at: Option<u64>,
    capacity: Option<u64>,
    failing_syncs: u64,
    ignores_syncs: bool,
}

impl State {
    /// Counts a call that changes something; all calls fail once the power is cut.
    fn operate(&mut self, life: u64) -> io::Result<()> {
        self.operations += 1;
        self.alive(life)
    }

    fn alive(&self, life: u64) -> io::Result<()> {
        let stopped = self.stop_at.is_some_and(|stop_at| self.operations >= stop_at);
        if stopped || life != self.life { Err(io::Error::other("the simulated machine has stopped")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.current().values().map(|inode| self.inodes[inode].len() as u64).sum()
    }

    fn begin_life(&mut self) {
        self.locks.clear();
        self.life += 1;
        self.stop_at = None;
        self.failing_syncs = 0;
    }
}

impl SimDisk {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another disk with the same content, durable or not.
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.begin_life();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changing calls so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Cuts the power after `operations` more changing calls: then every call fails until a crash or a kill. The
    /// call at which it stops is lost, or torn if it is a write.
    pub fn stop_after(&self, operations: u64) {
        let mut state = self.state();
        state.stop_at = Some(state.operations + operations);
    }

    /// The machine loses power: of what was not synced anything may be left.
    pub fn crash(&self, rng: &mut SimRng) {
        let mut state = self.state();
        for inode in state.inodes.values_mut() {
            inode.crash(rng);
        }
        state.names.crash(rng);
        state.begin_life();
        state.drop_nameless();
    }

    /// The process ends, the machine goes on: the page cache survives.
    pub fn kill(&self) {
        let mut state = self.state();
        state.begin_life();
        state.drop_nameless();
    }

    /// How many bytes all files together may have; `None`: any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The next `count` syncs of files fail, and what they should have made durable counts as clean.
    pub fn fail_syncs(&self, count: u64) {
        self.state().failing_syncs = count;
    }

    /// From now on syncs say yes and do nothing: what a store that forgets them would amount to.
    pub fn ignore_syncs(&self) {
        self.state().ignores_syncs = true;
    }

    /// Every file's path, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.current().keys().cloned().collect()
    }

    /// A file's bytes, or `None` when there is none of that name.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.current().get(path).map(|inode| state.inodes[inode].contents().to_vec())
    }

    /// Puts a file in place, durably, as damage or a restored copy would.
    pub fn put(&self, path: &Path, contents: Vec<u8>) {
        let mut state = self.state();
        let inode = state.add_inode(SimInode::durable(contents));
        state.names.put(path, inode);
    }

    /// Takes a file away, durably, as damage would.
    pub fn take(&self, path: &Path) {
        self.state().names.take(path);
    }
}

impl State {
    fn add_inode(&mut self, inode: SimInode) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, inode);
        self.next_inode
    }

    fn drop_nameless(&mut self) {
        let named = self.names.all_inodes();
        self.inodes.retain(|inode, _| named.contains(inode));
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operate(life)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let life = state.life;
        state.operate(life)?;
        if state.names.current().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.add_inode(SimInode::default());
        state.names.set(path, inode);
        Ok(Arc::new(SimFile { disk: self.clone(), inode, life }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.alive(state.life)?;
        let inode = *state.names.current().get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, life: state.life }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operate(life)?;
        state.names.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operate(life)?;
        let inode = *state.names.current().get(from).ok_or(io::ErrorKind::NotFound)?;
        if state.names.current().contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.names.set(to, inode);
        Ok(())
    }

    fn is_linked(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.alive(state.life)?;
        let inode = state.names.current().get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.names.current().values().filter(|other| *other == inode).count() > 1)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operate(life)?;
        state.names.unset(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let life = state.life;
        state.operate(life)?;
        if !state.ignores_syncs {
            state.names.sync(dir);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive(state.life)?;
        let names = state.names.current().keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn DiskLock>, LockError> {
        let mut state = self.state();
        state.alive(state.life)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(LockError::Held { pid: Some(std::process::id()) });
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned(), life: state.life }))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

/// A handle to a file; a kill or crash makes it dead.
struct SimFile {
    disk: SimDisk,
    inode: u64,
    life: u64,
}

impl SimFile {
    fn read<T>(&self, read: impl FnOnce(&SimInode) -> io::Result<T>) -> io::Result<T> {
        let state = self.disk.state();
        state.alive(self.life)?;
        read(&state.inodes[&self.inode])
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read(|inode| inode.read(buffer, offset as usize))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let stopped = state.operate(self.life);
        let room = state.capacity.map(|capacity| capacity.saturating_sub(state.used()) as usize);
        let dead = state.life != self.life;
        let Some(inode) = state.inodes.get_mut(&self.inode).filter(|_| !dead) else { return stopped };
        // A write at which the power is cut is in the cache, unsynced: the crash decides what is left of it.
        let grown = (offset as usize + bytes.len()).saturating_sub(inode.len());
        let missing = room.map_or(0, |room| grown.saturating_sub(room));
        inode.write(&bytes[..bytes.len() - missing.min(bytes.len())], offset as usize);
        stopped?;
        if missing > 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(self.life)?;
        state.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?.set_len(length as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.read(|inode| Ok(inode.len() as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(self.life)?;
        let ignored = state.ignores_syncs;
        let failed = state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        let inode = state.inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        if failed {
            inode.lose();
            return Err(io::Error::other("the simulated disk could not write"));
        }
        if !ignored {
            inode.sync();
        }
        Ok(())
    }
}
