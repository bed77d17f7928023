//! Time that waits for the rows before it: a task says how far event time is only once everything that it read before has
//! gone on, also what a step of it answers later.
//!
//! Invariant: what is held is bounded by what is outstanding: of times behind the same batch only the newest is kept.

use std::collections::VecDeque;

use weir_stream::time::InputTime;

#[derive(Debug, Default)]
pub struct HeldTime {
    /// Newest batch that was outstanding, by its ticket, and the time to say once it and all before it are not.
    held: VecDeque<(u64, InputTime)>,
}

impl HeldTime {
    /// Holds `time` behind the batch `newest` and all before it.
    pub fn hold(&mut self, newest: u64, time: InputTime) {
        match self.held.back_mut() {
            Some((behind, held)) if *behind >= newest => *held = time,
            _ => self.held.push_back((newest, time)),
        }
    }

    /// The time that may be said now that `oldest` is the first batch outstanding, if it is another than before.
    pub fn release(&mut self, oldest: Option<u64>) -> Option<InputTime> {
        let mut released = None;
        while let Some((behind, time)) = self.held.front() {
            if oldest.is_some_and(|oldest| oldest <= *behind) {
                break;
            }
            released = Some(*time);
            self.held.pop_front();
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(watermark_us: i64) -> InputTime {
        InputTime { watermark_us, idle: false }
    }

    #[test]
    fn a_time_is_said_once_nothing_before_it_is_outstanding() {
        let mut held = HeldTime::default();
        held.hold(2, at(20));
        held.hold(3, at(30));
        assert_eq!(held.release(Some(1)), None);
        assert_eq!(held.release(Some(2)), None);
        assert_eq!(held.release(Some(3)), Some(at(20)));
        assert_eq!(held.release(Some(3)), None);
        assert_eq!(held.release(None), Some(at(30)));
    }

    #[test]
    fn of_times_behind_the_same_batch_only_the_newest_is_held() {
        let mut held = HeldTime::default();
        (0..1000).for_each(|time| held.hold(1 + time / 500, at(time as i64)));
        assert_eq!(held.held.len(), 2);
        assert_eq!(held.release(None), Some(at(999)));
    }
}
