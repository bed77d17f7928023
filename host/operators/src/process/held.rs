//! What is held for one key: its states, its timers, and when it was last touched.
//!
//! Stored form, version 1, all numbers little-endian:
//!
//! | what        | bytes                                                                      |
//! | ----------- | -------------------------------------------------------------------------- |
//! | version     | `01`                                                                       |
//! | newest time | i64, microseconds: of the key's newest row or timer                        |
//! | timers      | their number as u32; each: time as i64, number of its kind as u32; ascending |
//! | states      | for each declared one, in order: length as u32, bytes as in [`super::entries`] |

use std::cell::Cell;

use weir_state::table::StateValue;

const VERSION: u8 = 1;

/// A pending timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pending {
    pub(super) time_us: i64,
    /// Number of its kind in the contract.
    pub(super) timer: u32,
}

/// Everything of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) newest_us: i64,
    /// Ascending.
    pub(super) timers: Vec<Pending>,
    /// By number of the state; empty bytes for no entries.
    pub(super) states: Vec<Vec<u8>>,
    /// Where the key stands in the list of what is due, by domain. Not stored, so changing it changes no state.
    pub(super) listed_us: [Cell<Option<i64>>; 2],
}

impl Held {
    pub(super) fn new(states: usize) -> Self {
        Self {
            newest_us: i64::MIN,
            timers: Vec::new(),
            states: vec![Vec::new(); states],
            listed_us: Default::default(),
        }
    }

    /// Whether there is anything to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.timers.is_empty() && self.states.iter().all(Vec::is_empty)
    }

    /// Bytes of all states.
    pub(super) fn state_bytes(&self) -> usize {
        self.states.iter().map(Vec::len).sum()
    }
}

impl StateValue for Held {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.newest_us.to_le_bytes());
        bytes.extend_from_slice(&(self.timers.len() as u32).to_le_bytes());
        for Pending { time_us, timer } in &self.timers {
            bytes.extend_from_slice(&time_us.to_le_bytes());
            bytes.extend_from_slice(&timer.to_le_bytes());
        }
        for state in &self.states {
            bytes.extend_from_slice(&(state.len() as u32).to_le_bytes());
            bytes.extend_from_slice(state);
        }
    }

    fn read(mut bytes: &[u8]) -> Result<Self, String> {
        let [version] = chunk(&mut bytes)?;
        if version != VERSION {
            return Err(format!("a key's state of version {version}, this Weir reads {VERSION}"));
        }
        let mut held = Self::new(0);
        held.newest_us = i64::from_le_bytes(chunk(&mut bytes)?);
        for _ in 0..u32::from_le_bytes(chunk(&mut bytes)?) {
            let time_us = i64::from_le_bytes(chunk(&mut bytes)?);
            held.timers.push(Pending { time_us, timer: u32::from_le_bytes(chunk(&mut bytes)?) });
        }
        while !bytes.is_empty() {
            let length = u32::from_le_bytes(chunk(&mut bytes)?) as usize;
            let (state, rest) = bytes.split_at_checked(length).ok_or("a key's state ends too early")?;
            held.states.push(state.to_vec());
            bytes = rest;
        }
        Ok(held)
    }

    fn heap_bytes(&self) -> usize {
        let states: usize = self.states.iter().map(Vec::capacity).sum();
        self.timers.capacity() * size_of::<Pending>() + self.states.capacity() * size_of::<Vec<u8>>() + states
    }
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    let (taken, rest) = bytes.split_first_chunk().ok_or("a key's state ends too early")?;
    *bytes = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        let timers = vec![Pending { time_us: -5, timer: 1 }, Pending { time_us: 7, timer: 0 }];
        Held { newest_us: 9, timers, states: vec![vec![1, 2], Vec::new(), vec![3]], listed_us: Default::default() }
    }

    #[test]
    fn what_is_held_comes_back_as_it_was() {
        let mut bytes = Vec::new();
        held().write(&mut bytes);
        assert_eq!(Held::read(&bytes).unwrap(), held());
    }

    #[test]
    fn a_state_that_is_cut_or_of_another_version_is_refused() {
        let mut bytes = Vec::new();
        held().write(&mut bytes);
        // Whole states may be missing at the end: their number is not stored.
        for length in [0, 1, 8, 12, 20, bytes.len() - 1] {
            assert!(Held::read(&bytes[..length]).is_err(), "{length} bytes");
        }
        bytes[0] = 2;
        assert_eq!(Held::read(&bytes).unwrap_err(), "a key's state of version 2, this Weir reads 1");
    }
}
