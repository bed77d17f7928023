//! Window arithmetic: which window an event time falls into, before and after 1970 and at the ends of time.

/// Windows of one size, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TumblingWindow {
    size_us: i64,
    offset_us: i64,
}

/// Why there are no such windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("a window of {size_us} us holds nothing; give it a length above zero")]
    Size { size_us: i64 },
    #[error("the offset {offset_us} us is not within one window of {size_us} us")]
    Offset { offset_us: i64, size_us: i64 },
}

impl TumblingWindow {
    /// Windows start at `offset_us + n * size_us`.
    ///
    /// # Errors
    /// For a size of zero or less, and an offset that is as long as a window or longer, either way.
    pub fn new(size_us: i64, offset_us: i64) -> Result<Self, WindowError> {
        if size_us <= 0 {
            return Err(WindowError::Size { size_us });
        }
        if offset_us.unsigned_abs() >= size_us.unsigned_abs() {
            return Err(WindowError::Offset { offset_us, size_us });
        }
        Ok(Self { size_us, offset_us })
    }

    pub fn size_us(&self) -> i64 {
        self.size_us
    }

    pub fn offset_us(&self) -> i64 {
        self.offset_us
    }

    /// Start (within) and end (behind) of the window of an event time; none where one of them is beyond i64.
    pub fn window_of(&self, event_time_us: i64) -> Option<(i64, i64)> {
        let shift = i128::from(event_time_us) - i128::from(self.offset_us);
        let start = i128::from(event_time_us) - shift.rem_euclid(i128::from(self.size_us));
        let end = start + i128::from(self.size_us);
        Some((i64::try_from(start).ok()?, i64::try_from(end).ok()?))
    }

    /// The end of the window that starts at `start_us`.
    pub fn end_of(&self, start_us: i64) -> i64 {
        start_us.saturating_add(self.size_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_before_1970_fall_into_the_window_that_holds_them() {
        let minute = TumblingWindow::new(60, 0).unwrap();
        assert_eq!(minute.window_of(-1), Some((-60, 0)));
        assert_eq!(minute.window_of(-60), Some((-60, 0)));
        assert_eq!(minute.window_of(-61), Some((-120, -60)));
        assert_eq!(minute.window_of(0), Some((0, 60)));
        assert_eq!(minute.window_of(59), Some((0, 60)));
    }

    #[test]
    fn an_offset_moves_the_starts_and_nothing_else() {
        for (offset, expected) in [(15, (-45, 15)), (-15, (-15, 45))] {
            assert_eq!(TumblingWindow::new(60, offset).unwrap().window_of(5), Some(expected));
        }
    }

    #[test]
    fn a_window_that_leaves_i64_is_none_and_the_last_whole_one_is_there() {
        let window = TumblingWindow::new(10, 0).unwrap();
        assert_eq!(window.window_of(i64::MAX), None);
        assert_eq!(window.window_of(i64::MIN), None);
        let last = i64::MAX / 10 * 10;
        assert_eq!(window.window_of(last - 1), Some((last - 10, last)));
        assert_eq!(TumblingWindow::new(i64::MAX, 0).unwrap().window_of(5), Some((0, i64::MAX)));
        assert_eq!(TumblingWindow::new(i64::MAX, i64::MAX - 1).unwrap().window_of(i64::MIN), Some((i64::MIN, -1)));
    }

    #[test]
    fn windows_without_length_or_with_a_useless_offset_are_refused() {
        assert_eq!(TumblingWindow::new(0, 0), Err(WindowError::Size { size_us: 0 }));
        assert_eq!(TumblingWindow::new(-5, 0), Err(WindowError::Size { size_us: -5 }));
        assert_eq!(TumblingWindow::new(60, 60), Err(WindowError::Offset { offset_us: 60, size_us: 60 }));
        assert_eq!(TumblingWindow::new(60, i64::MIN), Err(WindowError::Offset { offset_us: i64::MIN, size_us: 60 }));
    }
}
