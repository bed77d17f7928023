//! What can be said of a window without knowing its input: lengths that hold something, settings that go together.

use jiff::tz::TimeZone;

use crate::fault::{Fault, Faults};
use crate::model::{Emit, Manifest, SessionGap, StepKind, WindowShape, WindowStep, WindowTime};
use crate::scalar::Duration;
use crate::span::Spanned;

/// The longest lateness: for so long results, and what they are made of, are kept.
pub const MAX_LATENESS: Duration = Duration::from_secs(366 * 86_400);

/// The most common slices of overlapping windows, and so the most windows that hold one row.
pub const MAX_WINDOW_SLICES: i64 = 10_000;

/// The longest gap of a session.
pub const MAX_SESSION_GAP: Duration = Duration::from_secs(366 * 86_400);

const HOUR_US: i64 = 3_600_000_000;

pub(super) fn check(manifest: &Manifest, faults: &mut Faults) {
    for (id, step) in &manifest.steps {
        if let StepKind::Window(window) = &step.kind {
            let mut check = Check { window, faults };
            check.lengths();
            check.alignment();
            check.showing();
            check.global(id);
            check.assigned(id);
        }
    }
}

struct Check<'a> {
    window: &'a WindowStep,
    faults: &'a mut Faults,
}

impl Check<'_> {
    fn fault<T>(&mut self, place: &Spanned<T>, message: impl Into<String>) {
        self.faults.push(Fault::new(place.span, "out-of-range", message.into()));
    }

    fn lengths(&mut self) {
        match &self.window.shape {
            WindowShape::Tumbling { size } => self.longer_than_nothing(size, "a window is longer than 0s"),
            WindowShape::Hopping { size, every } => {
                self.longer_than_nothing(size, "a window is longer than 0s");
                self.longer_than_nothing(every, "windows start more than 0s apart");
                self.overlap(size, every);
            }
            WindowShape::Session { gap: SessionGap::Fixed(gap) } => {
                self.longer_than_nothing(gap, "a gap is longer than 0s");
                if gap.value > MAX_SESSION_GAP {
                    self.fault(gap, format!("longer than {MAX_SESSION_GAP}, the longest that a session waits for"));
                }
            }
            WindowShape::Session { .. } | WindowShape::Plugin(_) => {}
            WindowShape::Global { every: Some(every), .. } => {
                self.longer_than_nothing(every, "a window is longer than 0s");
            }
            WindowShape::Global { .. } => {}
        }
    }

    fn longer_than_nothing(&mut self, length: &Spanned<Duration>, message: &str) {
        if length.as_us() == 0 {
            self.fault(length, message);
        }
    }

    fn overlap(&mut self, size: &Spanned<Duration>, every: &Spanned<Duration>) {
        if size.as_us() == 0 || every.as_us() == 0 {
            return;
        }
        let (size_text, every_text) = (size.value, every.value);
        if every.as_us() > size.as_us() {
            let leave = "leave rows between them in none";
            let message = format!("windows of {size_text} that start every {every_text} {leave}; at most {size_text}");
            return self.fault(every, message);
        }
        let slices = size.as_us() / greatest_divisor(size.as_us(), every.as_us());
        if slices > MAX_WINDOW_SLICES {
            let message = format!(
                "windows of {size_text} that start every {every_text} have {slices} slices, more than \
                 {MAX_WINDOW_SLICES}; start them further apart, at a part of {size_text}"
            );
            self.fault(every, message);
        }
    }

    fn alignment(&mut self) {
        let step = match &self.window.shape {
            WindowShape::Tumbling { size } => size,
            WindowShape::Hopping { every, .. } => every,
            WindowShape::Session { .. } | WindowShape::Global { .. } | WindowShape::Plugin(_) => {
                return self.unaligned();
            }
        };
        if let Some(offset) = self.window.offset.as_ref().filter(|offset| offset.as_us() >= step.as_us()) {
            let message = format!("an offset is shorter than {}, the step from window to window", step.value);
            self.fault(offset, message);
        }
        let Some(zone) = &self.window.time_zone else { return };
        let whole = step.as_us() % (24 * HOUR_US) == 0;
        let divides = step.as_us() > 0 && step.as_us() % HOUR_US == 0 && (24 * HOUR_US) % step.as_us() == 0;
        if !matches!(self.window.shape, WindowShape::Tumbling { .. }) {
            self.fault(zone, "only tumbling windows follow the clock of a time zone");
        } else if !whole && !divides {
            self.fault(step, "windows of a time zone are whole days, or whole hours that divide a day");
        } else if TimeZone::get(zone).is_err() {
            let message = format!("no time zone `{}`; write an IANA name such as Europe/Berlin", zone.value);
            self.fault(zone, message);
        }
    }

    /// Windows that follow the rows do not follow a clock.
    fn unaligned(&mut self) {
        let message = "only tumbling and hopping windows are aligned with a clock";
        if let Some(offset) = &self.window.offset {
            self.fault(offset, message);
        }
        if let Some(zone) = &self.window.time_zone {
            self.fault(zone, message);
        }
    }

    fn global(&mut self, id: &Spanned<String>) {
        let WindowStep { shape: WindowShape::Global { rows, every }, showing, .. } = self.window else { return };
        if rows.is_none() && every.is_none() {
            let message = "a global window that nothing cuts never shows a result; give it `rows` or `every`";
            self.faults.push(Fault::new(id.span, "missing-key", message));
        }
        if let Some(lateness) = &showing.lateness {
            self.fault(lateness, "no row is late for a global window; leave `lateness` out");
        }
        if showing.emit != Emit::OnClose {
            let message = "a global window shows its result when it is cut; leave `emit` out";
            self.faults.push(Fault::new(id.span, "out-of-range", message));
        }
    }

    fn assigned(&mut self, id: &Spanned<String>) {
        let given_out = matches!(self.window.shape, WindowShape::Plugin(_));
        if given_out && self.window.time == WindowTime::Processing {
            let message = "windows of a plugin are in event time; leave `time` out";
            self.faults.push(Fault::new(id.span, "out-of-range", message));
        }
    }

    fn showing(&mut self) {
        let showing = &self.window.showing;
        if let Some(lateness) = &showing.lateness {
            if lateness.value > MAX_LATENESS {
                self.fault(lateness, format!("longer than {MAX_LATENESS}, the longest that windows are kept for"));
            } else if self.window.time == WindowTime::Processing {
                self.fault(lateness, "by the wall clock no row is late; leave `lateness` out");
            }
        }
        if let Some(throttle) = showing.throttle.as_ref().filter(|_| showing.emit == Emit::OnClose) {
            let message = "there are no updates to hold back; say `emit: on_update` or `emit: both`";
            self.fault(throttle, message);
        }
    }
}

fn greatest_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}
