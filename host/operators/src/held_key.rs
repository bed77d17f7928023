//! What a step holds for one key, for people who ask why nothing has come of it. Nothing here changes state: what is on
//! disk is looked at there.

/// One window, session, row, timer or value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEntry {
    /// In the words of the step's kind: `window`, `left row`, timer `quiet`.
    pub what: String,
    /// Start and end of a window or session; twice the event time of a row.
    pub span_us: Option<(i64, i64)>,
    /// Rows in it, where they are counted.
    pub rows: Option<u64>,
    /// What time will do to it, if anything.
    pub due: Option<DueAt>,
}

/// What happens to an entry, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAt {
    pub at_us: i64,
    /// By the wall clock, and not by the watermark.
    pub by_clock: bool,
    /// What happens then: `fires`, `is let go`.
    pub then: &'static str,
}

impl DueAt {
    /// At a watermark.
    pub fn watermark(at_us: i64, then: &'static str) -> Self {
        Self { at_us, by_clock: false, then }
    }
}

impl HeldEntry {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), span_us: None, rows: None, due: None }
    }

    #[must_use]
    pub fn span(self, start_us: i64, end_us: i64) -> Self {
        Self { span_us: Some((start_us, end_us)), ..self }
    }

    #[must_use]
    pub fn rows(self, rows: u64) -> Self {
        Self { rows: Some(rows), ..self }
    }

    #[must_use]
    pub fn due(self, due: Option<DueAt>) -> Self {
        Self { due, ..self }
    }
}

/// A window that fires at its end and takes corrections for a time after it.
pub(crate) fn window(
    what: &str,
    (start_us, end_us): (i64, i64),
    (reached_us, lateness_us, by_clock): (i64, i64, bool),
) -> HeldEntry {
    let (at_us, then) = match end_us <= reached_us {
        true => (end_us.saturating_add(lateness_us), "takes no more corrections"),
        false => (end_us, "fires"),
    };
    HeldEntry::new(what).span(start_us, end_us).due(Some(DueAt { at_us, by_clock, then }))
}
