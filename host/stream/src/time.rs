//! Event time: watermarks per source partition, and the watermark of a set of inputs.
//!
//! The disorder bound works as in Flink and Beam: a partition's watermark is its largest event time less the
//! bound. Nothing here reads a clock.

/// The watermark of an input that promised nothing yet.
pub const NO_WATERMARK: i64 = i64::MIN;

/// The watermark of an input that has ended.
pub const END_OF_TIME: i64 = i64::MAX;

/// Watermark of one source partition under bounded disorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundedDisorder {
    disorder_us: i64,
    watermark_us: i64,
}

impl BoundedDisorder {
    /// `watermark_us`: the watermark of an earlier run, or [`NO_WATERMARK`].
    pub fn new(disorder_us: i64, watermark_us: i64) -> Self {
        Self { disorder_us, watermark_us }
    }

    /// Notes an event and answers the watermark just before it: the one its lateness is judged by.
    pub fn observe(&mut self, event_time_us: i64) -> i64 {
        let before = self.watermark_us;
        self.watermark_us = before.max(event_time_us.saturating_sub(self.disorder_us));
        before
    }

    pub fn watermark_us(&self) -> i64 {
        self.watermark_us
    }
}

/// What one input of a task last said about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputTime {
    pub watermark_us: i64,
    /// An idle input does not hold the others back.
    pub idle: bool,
}

impl Default for InputTime {
    fn default() -> Self {
        Self { watermark_us: NO_WATERMARK, idle: false }
    }
}

/// The watermark of a task with several inputs: the minimum over those that are not idle, never going back.
/// When all are idle it stays.
#[derive(Debug, Clone)]
pub struct CombinedWatermark {
    inputs: Vec<InputTime>,
    watermark_us: i64,
}

impl CombinedWatermark {
    pub fn new(inputs: usize) -> Self {
        Self { inputs: vec![InputTime::default(); inputs], watermark_us: NO_WATERMARK }
    }

    /// Starts from the watermark of an earlier run.
    pub fn restore(&mut self, watermark_us: i64) {
        self.watermark_us = self.watermark_us.max(watermark_us);
    }

    /// Notes what `input` says and answers the new combined watermark if it moved.
    pub fn update(&mut self, input: usize, time: InputTime) -> Option<i64> {
        self.inputs[input] = time;
        let active = self.inputs.iter().filter(|input| !input.idle).map(|input| input.watermark_us);
        let minimum = active.min()?;
        (minimum > self.watermark_us).then(|| {
            self.watermark_us = minimum;
            minimum
        })
    }

    pub fn watermark_us(&self) -> i64 {
        self.watermark_us
    }

    pub fn inputs(&self) -> &[InputTime] {
        &self.inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_judged_by_the_watermark_before_it() {
        let mut clock = BoundedDisorder::new(5, NO_WATERMARK);
        assert_eq!(clock.observe(100), NO_WATERMARK);
        assert_eq!(clock.observe(90), 95);
        assert_eq!(clock.observe(110), 95);
        assert_eq!(clock.watermark_us(), 105);
    }

    #[test]
    fn the_combined_watermark_waits_for_the_slowest_active_input() {
        let mut combined = CombinedWatermark::new(2);
        let at = |watermark_us, idle| InputTime { watermark_us, idle };
        assert_eq!(combined.update(0, at(10, false)), None);
        assert_eq!(combined.update(1, at(7, false)), Some(7));
        assert_eq!(combined.update(1, at(7, true)), Some(10));
    }

    #[test]
    fn an_input_that_comes_back_from_idle_never_moves_the_watermark_back() {
        let mut combined = CombinedWatermark::new(2);
        combined.update(0, InputTime { watermark_us: 50, idle: false });
        combined.update(1, InputTime { watermark_us: 0, idle: true });
        assert_eq!(combined.watermark_us(), 50);
        assert_eq!(combined.update(1, InputTime { watermark_us: 20, idle: false }), None);
        assert_eq!(combined.watermark_us(), 50);
    }

    #[test]
    fn when_all_inputs_are_idle_time_stands_still() {
        let mut combined = CombinedWatermark::new(1);
        combined.update(0, InputTime { watermark_us: 5, idle: false });
        assert_eq!(combined.update(0, InputTime { watermark_us: 9, idle: true }), None);
        assert_eq!(combined.watermark_us(), 5);
    }
}
