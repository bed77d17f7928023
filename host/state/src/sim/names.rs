//! Names on the simulated disk: what a folder shows now, and what of it would survive.
//!
//! Invariant: without a sync of its folder each change of a name survives or not on its own; a rename survives whole
//! or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::SimRng;

type Map = BTreeMap<PathBuf, u64>;

#[derive(Clone, Default)]
pub(super) struct Names {
    current: Map,
    durable: Map,
    pending: Vec<Change>,
}

/// One change; a rename is both halves.
#[derive(Clone)]
struct Change {
    gone: Option<(PathBuf, u64)>,
    new: Option<(PathBuf, u64)>,
}

impl Change {
    fn apply(&self, map: &mut Map) {
        if let Some((path, inode)) = &self.gone
            && map.get(path) == Some(inode)
        {
            map.remove(path);
        }
        if let Some((path, inode)) = &self.new {
            map.insert(path.clone(), *inode);
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let halves = self.gone.iter().chain(&self.new);
        halves.map(|(path, _)| path.parent()).any(|parent| parent == Some(dir))
    }
}

impl Names {
    pub(super) fn current(&self) -> &Map {
        &self.current
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub(super) fn set(&mut self, path: &Path, inode: u64) {
        self.change(Change { gone: None, new: Some((path.to_owned(), inode)) });
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        self.current.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn unset(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.inode(path)?;
        self.change(Change { gone: Some((path.to_owned(), inode)), new: None });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.inode(from)?;
        self.change(Change { gone: Some((from.to_owned(), inode)), new: Some((to.to_owned(), inode)) });
        Ok(())
    }

    pub(super) fn sync(&mut self, dir: &Path) {
        let (synced, pending) = std::mem::take(&mut self.pending).into_iter().partition(|change| change.is_in(dir));
        self.pending = pending;
        let synced: Vec<Change> = synced;
        synced.iter().for_each(|change| change.apply(&mut self.durable));
    }

    /// Leaves all, none or some of the changes.
    pub(super) fn crash(&mut self, rng: &mut SimRng) {
        let mode = rng.below(4);
        for change in std::mem::take(&mut self.pending) {
            let survives = match mode {
                0 => false,
                1 => true,
                _ => rng.one_in(2),
            };
            if survives {
                change.apply(&mut self.durable);
            }
        }
        self.current = self.durable.clone();
    }

    pub(super) fn put(&mut self, path: &Path, inode: u64) {
        self.current.insert(path.to_owned(), inode);
        self.durable.insert(path.to_owned(), inode);
    }

    pub(super) fn take(&mut self, path: &Path) {
        self.current.remove(path);
        self.durable.remove(path);
    }

    /// Everything that some name leads to or may lead to after a crash.
    pub(super) fn all_inodes(&self) -> BTreeSet<u64> {
        let pending = self.pending.iter().filter_map(|change| change.new.as_ref()).map(|(_, inode)| *inode);
        self.current.values().chain(self.durable.values()).copied().chain(pending).collect()
    }
}
