//! Key groups: the unit in which keyed state moves, is snapshotted and is spread over tasks.
//!
//! A row's key group is xxh3-64 of its canonical key bytes modulo the pipeline's number of key groups, which is
//! fixed when the pipeline is created. The canonical bytes are written by `operators::key`.

use std::ops::Range;

/// Key groups of a pipeline unless its store says otherwise.
pub const DEFAULT_KEY_GROUPS: u16 = 64;

/// The hash that key groups and state tables share. Unseeded on purpose: it is part of the stored format.
pub fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

pub fn key_group(hash: u64, key_groups: u16) -> u16 {
    (hash % u64::from(key_groups)) as u16
}

/// The key groups of task `task` out of `tasks`: contiguous ranges that differ by at most one in size.
pub fn task_key_groups(task: usize, tasks: usize, key_groups: u16) -> Range<u16> {
    let bound = |task: usize| (task * usize::from(key_groups)).div_ceil(tasks) as u16;
    bound(task)..bound(task + 1)
}

/// The task that owns a key group: the inverse of [`task_key_groups`].
pub fn owner(key_group: u16, tasks: usize, key_groups: u16) -> usize {
    usize::from(key_group) * tasks / usize::from(key_groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_group_has_exactly_the_owner_whose_range_holds_it() {
        for key_groups in [1, 7, 64, 1000] {
            for tasks in 1..=usize::from(key_groups).min(70) {
                for group in 0..key_groups {
                    let owner = owner(group, tasks, key_groups);
                    assert!(task_key_groups(owner, tasks, key_groups).contains(&group), "{group} {tasks} {key_groups}");
                }
            }
        }
    }

    #[test]
    fn the_hash_is_the_published_xxh3() {
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
    }
}
