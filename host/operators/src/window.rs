//! Window arithmetic: which windows an event time falls into, before and after 1970 and at the ends of time.
//!
//! Windows of a grid have one length and start a fixed step apart; their common slices are the panes, so that a row goes
//! into one pane however many windows overlap it. Windows of a time zone follow its clock: a day has 23 or 25 hours
//! where the clock changes, and each such window is a pane of its own.

mod zoned;

use zoned::ZonedWindows;

/// The most panes of one window, and so the most windows that hold one row.
pub const MAX_PANES: i64 = 10_000;

/// Windows aligned with the clock, all of one shape.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowGrid(Shape);

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Fixed(Fixed),
    Zoned(ZonedWindows),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fixed {
    size_us: i64,
    /// From one start to the next.
    every_us: i64,
    offset_us: i64,
    pane_us: i64,
}

/// Why there are no such windows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("a window of {size_us} us holds nothing; give it a length above zero")]
    Size { size_us: i64 },
    #[error("windows that start every {every_us} us never get on; give them a step above zero")]
    Every { every_us: i64 },
    #[error("the offset {offset_us} us is not within one step of {every_us} us")]
    Offset { offset_us: i64, every_us: i64 },
    #[error("windows of {size_us} us that start every {every_us} us leave rows between them out; start them closer")]
    Gaps { size_us: i64, every_us: i64 },
    #[error(
        "windows of {size_us} us that start every {every_us} us have {panes} common slices, more than {MAX_PANES}; \
         start them further apart, or let `every` divide `size`"
    )]
    Panes { size_us: i64, every_us: i64, panes: i64 },
    #[error("no time zone `{name}`; write an IANA name such as Europe/Berlin")]
    Zone { name: String },
    #[error("windows of a time zone are whole days, or whole hours that divide a day")]
    ZonedSize,
}

impl WindowGrid {
    /// Windows side by side; they start at `offset_us + n * size_us`.
    ///
    /// # Errors
    /// For a size of zero or less, and an offset that is as long as a window or longer, either way.
    pub fn tumbling(size_us: i64, offset_us: i64) -> Result<Self, WindowError> {
        Self::hopping(size_us, size_us, offset_us)
    }

    /// Windows that start at `offset_us + n * every_us`.
    ///
    /// # Errors
    /// For lengths of zero or less, an offset that is as long as a step or longer, either way, a step longer than a
    /// window, and windows of more than [`MAX_PANES`] panes.
    pub fn hopping(size_us: i64, every_us: i64, offset_us: i64) -> Result<Self, WindowError> {
        if size_us <= 0 {
            return Err(WindowError::Size { size_us });
        }
        if every_us <= 0 {
            return Err(WindowError::Every { every_us });
        }
        if offset_us.unsigned_abs() >= every_us.unsigned_abs() {
            return Err(WindowError::Offset { offset_us, every_us });
        }
        if every_us > size_us {
            return Err(WindowError::Gaps { size_us, every_us });
        }
        let pane_us = gcd(size_us, every_us);
        if size_us / pane_us > MAX_PANES {
            return Err(WindowError::Panes { size_us, every_us, panes: size_us / pane_us });
        }
        Ok(Self(Shape::Fixed(Fixed { size_us, every_us, offset_us, pane_us })))
    }

    /// Windows side by side by the clock of an IANA time zone, `offset_us` behind its midnight: whole days, or whole
    /// hours that divide a day.
    ///
    /// # Errors
    /// For another size, an unknown zone, and an offset that is as long as a window or longer, either way.
    pub fn zoned(size_us: i64, offset_us: i64, zone: &str) -> Result<Self, WindowError> {
        Self::tumbling(size_us, offset_us)?;
        Ok(Self(Shape::Zoned(ZonedWindows::new(size_us, offset_us, zone)?)))
    }

    /// Whether every window is one pane, its own.
    pub fn is_tumbling(&self) -> bool {
        match &self.0 {
            Shape::Fixed(fixed) => fixed.size_us == fixed.pane_us,
            Shape::Zoned(_) => true,
        }
    }

    /// Start (within) and end (behind) of the pane of an event time; none where one of its windows is beyond i64 or the
    /// calendar.
    pub fn pane_of(&self, event_time_us: i64) -> Option<(i64, i64)> {
        match &self.0 {
            Shape::Fixed(fixed) => fixed.pane_of(event_time_us),
            Shape::Zoned(zoned) => zoned.window_of(event_time_us),
        }
    }

    /// The start of the oldest window that holds the pane.
    pub fn oldest_start(&self, pane_us: i64) -> i64 {
        match &self.0 {
            Shape::Fixed(fixed) => clamp(fixed.oldest_start(pane_us)),
            Shape::Zoned(_) => pane_us,
        }
    }

    /// The start of the newest window that holds the pane.
    pub fn newest_start(&self, pane_us: i64) -> i64 {
        match &self.0 {
            Shape::Fixed(fixed) => clamp(fixed.floor(pane_us, fixed.every_us)),
            Shape::Zoned(_) => pane_us,
        }
    }

    /// Start and end of every window that holds the pane, oldest first.
    pub fn windows_of(&self, pane_us: i64) -> impl Iterator<Item = (i64, i64)> {
        let every_us = match &self.0 {
            Shape::Fixed(fixed) => fixed.every_us,
            Shape::Zoned(_) => i64::MAX,
        };
        let newest = self.newest_start(pane_us);
        let next = move |start: &i64| start.checked_add(every_us).filter(|next| *next <= newest);
        std::iter::successors(Some(self.oldest_start(pane_us)), next).map(|start| (start, self.end_of(start)))
    }

    /// The end of the window that starts at `start_us`.
    pub fn end_of(&self, start_us: i64) -> i64 {
        match &self.0 {
            Shape::Fixed(fixed) => start_us.saturating_add(fixed.size_us),
            Shape::Zoned(zoned) => zoned.window_of(start_us).map_or(i64::MAX, |(_, end)| end),
        }
    }

    /// The start of the oldest window that ends behind `watermark_us`.
    pub fn first_open(&self, watermark_us: i64) -> i64 {
        match &self.0 {
            Shape::Fixed(fixed) => clamp(
                fixed.floor_wide(i128::from(watermark_us) - i128::from(fixed.size_us)) + i128::from(fixed.every_us),
            ),
            Shape::Zoned(zoned) => zoned.first_open(watermark_us),
        }
    }

    /// What stored state depends on.
    pub fn layout(&self) -> String {
        match &self.0 {
            Shape::Fixed(Fixed { size_us, offset_us, .. }) if self.is_tumbling() => {
                format!("size_us={size_us} offset_us={offset_us}")
            }
            Shape::Fixed(Fixed { size_us, every_us, offset_us, .. }) => {
                format!("size_us={size_us} every_us={every_us} offset_us={offset_us}")
            }
            Shape::Zoned(zoned) => zoned.layout(),
        }
    }
}

impl Fixed {
    fn floor(&self, time_us: i64, step_us: i64) -> i128 {
        let shift = i128::from(time_us) - i128::from(self.offset_us);
        i128::from(time_us) - shift.rem_euclid(i128::from(step_us))
    }

    fn floor_wide(&self, time_us: i128) -> i128 {
        time_us - (time_us - i128::from(self.offset_us)).rem_euclid(i128::from(self.every_us))
    }

    fn pane_of(&self, event_time_us: i64) -> Option<(i64, i64)> {
        let start = self.floor(event_time_us, self.pane_us);
        let newest_end = self.floor(event_time_us, self.every_us) + i128::from(self.size_us);
        i64::try_from(newest_end).ok()?;
        let start = i64::try_from(start).ok()?;
        i64::try_from(self.oldest_start(start)).ok()?;
        Some((start, start.checked_add(self.pane_us)?))
    }

    /// The first start that is not before the pane's end less the size.
    fn oldest_start(&self, pane_us: i64) -> i128 {
        let least = i128::from(pane_us) + i128::from(self.pane_us) - i128::from(self.size_us);
        self.floor_wide(least + i128::from(self.every_us) - 1)
    }
}

fn clamp(time_us: i128) -> i64 {
    time_us.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
