//! A file on the simulated disk: what reads see now, and what of it would survive.
//!
//! Invariant: a sector survives as it was after some number of the writes since the last sync, each sector on its
//! own; so writes are dropped, torn and reordered between sectors, and never invented.

use std::io;

use super::{SECTOR, SimRng};

#[derive(Clone, Default)]
pub(super) struct SimInode {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Changes that are not synced, in order.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if contents.len() < end {
                    contents.resize(end, 0);
                }
                contents[*offset..end].copy_from_slice(bytes);
            }
            Self::SetLen(length) => contents.resize(*length, 0),
        }
    }
}

impl SimInode {
    pub(super) fn durable(contents: Vec<u8>) -> Self {
        Self { current: contents.clone(), durable: contents, pending: Vec::new() }
    }

    pub(super) fn contents(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn len(&self) -> usize {
        self.current.len()
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        let bytes = self.current.get(offset..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, length: usize) {
        self.change(Change::SetLen(length));
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A failed sync: the pages count as clean, so no later sync writes them. Lengths are metadata and survive.
    pub(super) fn lose(&mut self) {
        self.pending.clear();
        self.durable.resize(self.current.len(), 0);
    }

    /// Leaves all, none or some of what was not synced.
    pub(super) fn crash(&mut self, rng: &mut SimRng) {
        let pending = std::mem::take(&mut self.pending);
        match rng.below(4) {
            0 => {}
            1 => pending.iter().for_each(|change| change.apply(&mut self.durable)),
            _ => self.durable = survivors(&self.durable, &pending, rng),
        }
        self.current = self.durable.clone();
    }
}

/// Takes each sector, and the length, from after a random number of the pending changes.
fn survivors(durable: &[u8], pending: &[Change], rng: &mut SimRng) -> Vec<u8> {
    let mut version = durable.to_vec();
    let mut versions = vec![version.clone()];
    for change in pending {
        change.apply(&mut version);
        versions.push(version.clone());
    }
    let length = versions[rng.below(versions.len() as u64) as usize].len();
    let mut survived = vec![0; length];
    for (index, sector) in survived.chunks_mut(SECTOR).enumerate() {
        let start = index * SECTOR;
        let from = &versions[rng.below(versions.len() as u64) as usize];
        let bytes = from.get(start..).unwrap_or_default();
        let count = bytes.len().min(sector.len());
        sector[..count].copy_from_slice(&bytes[..count]);
    }
    survived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_each_sector_as_it_once_was_and_what_was_synced_as_it_is() {
        for seed in 0..200 {
            let mut rng = SimRng::new(seed);
            let mut inode = SimInode::default();
            inode.write(&[1; 4 * SECTOR], 0);
            inode.sync();
            inode.write(&[2; 2 * SECTOR], SECTOR);
            inode.write(&[3; SECTOR], SECTOR);
            inode.write(&[4; 2 * SECTOR], 3 * SECTOR);
            inode.crash(&mut rng);
            let sectors: Vec<&[u8]> = inode.contents().chunks(SECTOR).collect();
            assert!(sectors.len() == 4 || sectors.len() == 5, "seed {seed}");
            let possible: [&[u8]; 5] = [&[1], &[1, 2, 3], &[1, 2], &[1, 4], &[0, 4]];
            for (sector, possible) in sectors.iter().zip(possible) {
                assert!(sector.iter().all(|byte| *byte == sector[0]) && possible.contains(&sector[0]), "seed {seed}");
            }
        }
    }
}
