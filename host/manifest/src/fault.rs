//! Faults: what is wrong with a manifest, where, and what to do about it; collected, then shown all at once.
//!
//! Invariant: the text of a place that holds a secret written out is never shown, whatever fault stands on its
//! line.

use std::fmt;
use std::sync::Arc;

use crate::render;
use crate::source_text::Texts;
use crate::span::Span;

/// Whether a fault stops the pipeline from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Absent: the first file as a whole.
    pub place: Option<Span>,
    pub severity: Severity,
    /// Stable and kebab-case: `unknown-key`, `cycle`.
    pub code: &'static str,
    /// What is wrong, with names in backquotes; one line, no full stop.
    pub message: String,
    /// The next act, where the message does not already say it.
    pub next: Option<String>,
}

impl Fault {
    pub fn new(place: Span, code: &'static str, message: impl Into<String>) -> Self {
        Self { place: Some(place), severity: Severity::Error, code, message: message.into(), next: None }
    }

    /// A fault of the whole file.
    pub fn of_file(code: &'static str, message: impl Into<String>) -> Self {
        Self { place: None, severity: Severity::Error, code, message: message.into(), next: None }
    }

    pub fn warning(place: Span, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(place, code, message) }
    }

    pub fn next(self, act: impl Into<String>) -> Self {
        Self { next: Some(act.into()), ..self }
    }
}

/// The most faults that are kept; more are counted.
pub const MAX_FAULTS: usize = 1_000;

/// The most names that a misspelt one is compared with.
const MAX_CANDIDATES: usize = 256;

/// Everything that is wrong, in the order of the text.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    texts: Arc<Texts>,
    faults: Vec<Fault>,
    /// Errors beyond [`MAX_FAULTS`].
    more: usize,
    /// Places of secrets that were written out.
    secrets: Vec<Span>,
}

impl Faults {
    pub fn new(texts: Arc<Texts>) -> Self {
        Self { texts, faults: Vec::new(), more: 0, secrets: Vec::new() }
    }

    /// Adds a fault, unless it is already there: what stands behind an alias is met at every use.
    pub fn push(&mut self, fault: Fault) {
        if self.faults.len() >= MAX_FAULTS {
            self.more += 1;
        } else if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }

    /// Masks the text of a place in everything that is shown.
    pub fn hide(&mut self, place: Span) {
        self.secrets.push(place);
    }

    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether anything keeps the pipeline from starting.
    pub fn has_errors(&self) -> bool {
        self.more > 0 || self.faults.iter().any(|fault| fault.severity == Severity::Error)
    }

    /// In the order of the text; what belongs to the whole file comes first.
    pub fn sorted(&self) -> Vec<&Fault> {
        let mut sorted: Vec<_> = self.faults.iter().collect();
        sorted.sort_by_key(|fault| fault.place.map(|place| (place.file, place.start, place.end)));
        sorted
    }

    pub(crate) fn warnings(&self) -> Vec<Fault> {
        self.faults.iter().filter(|fault| fault.severity == Severity::Warning).cloned().collect()
    }

    /// For people: file, line and column, the line, a caret and the message, for each fault; then how many.
    pub fn render(&self, colour: bool) -> String {
        render::text(&self.texts, &self.sorted(), self.more, &self.secrets, colour)
    }

    /// For machines: an array of `{file, line, column, severity, code, message, next}`.
    pub fn to_json(&self) -> serde_json::Value {
        render::json(&self.texts, &self.sorted())
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Faults {}

/// The candidate, among the first few hundred, that a misspelt name most likely meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = match name.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let distance = |candidate: &str| strsim::osa_distance(&name.to_lowercase(), &candidate.to_lowercase());
    let near = candidates.into_iter().take(MAX_CANDIDATES).map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, candidate)| *distance <= most && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
