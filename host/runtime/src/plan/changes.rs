//! Change kinds: which steps and sinks take rows that update, and what updates are called.
//!
//! A stream adds rows, or keeps a table up to date by key, or takes rows back. What a consumer cannot do something sound
//! with is a fault here, with the way out; nothing is left to be found out while rows flow.

use weir_manifest::{Fault, SinkMode, Spanned, StepKind};
use weir_stream::ChangeMode;

use super::{Output, Planner, Side};

/// What rows of a stream do, for people.
pub(super) fn doing(changes: &ChangeMode) -> String {
    match changes {
        ChangeMode::Append => "only adds rows".into(),
        ChangeMode::Upsert { key, .. } => format!("replaces rows by [{}]", key.join(", ")),
        ChangeMode::Retract => "takes rows back".into(),
    }
}

/// Whether a step takes back what rows of its input replace, and so must be told.
pub(super) fn takes_back(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Group(_))
}

/// Whether rows of an input may do more than add. A kind that says yes plans for it.
fn takes_changes(kind: &StepKind) -> bool {
    match kind {
        StepKind::Where(_) | StepKind::Select(_) | StepKind::Split(_) | StepKind::Sample(_) => true,
        // The items of a replaced row would have to be taken back.
        StepKind::Flatten(_) => false,
        // A plugin sees rows, not what they do: it could not tell a delete from a row.
        StepKind::Plugin(_) => false,
        StepKind::Dedup(_) | StepKind::Latest(_) | StepKind::Top(_) | StepKind::Sessions(_) => false,
        StepKind::Window(_) => false,
        // A table's rows do not say what they replace: a step before it does.
        StepKind::Group(_) => true,
        // They look for themselves: a table may stand on the right of `as_of`, and before a look-up of one row.
        StepKind::Join(_) | StepKind::Lookup(_) => true,
    }
}

impl Planner<'_> {
    /// Whether a step can do something sound with the changes of its inputs.
    pub(super) fn changes_fit(&mut self, kind: &StepKind, sides: &[Side]) -> Option<()> {
        let mut fits = Some(());
        for side in sides {
            if side.changes != ChangeMode::Append && !takes_changes(kind) {
                let (from, doing) = (&side.from.value, doing(&side.changes));
                let message = format!("{} takes rows that add, but `{from}` {doing}", kind.name());
                let fault = Fault::new(side.from.span, "changes", message);
                self.fault(fault.next(format!("read what stands before `{from}`, or put this step there")));
                fits = None;
            }
        }
        fits
    }

    /// Rows that are read together: a table's rows would overwrite each other.
    pub(super) fn one_table(&mut self, first: &Side, from: &Spanned<String>, other: &Output) -> Option<()> {
        let table = |changes: &ChangeMode| matches!(changes, ChangeMode::Upsert { .. });
        if first.changes == other.changes && !table(&other.changes) {
            return Some(());
        }
        let message = format!(
            "`{}` {} and `{}` {}: they cannot be read together",
            first.from.value,
            doing(&first.changes),
            from.value,
            doing(&other.changes)
        );
        let fault = Fault::new(from.span, "changes", message);
        self.fault(fault.next("read together what stands before the steps that make tables of them"));
        None
    }

    /// Whether a sink's mode suits what comes to it.
    pub(super) fn sink_fits(&mut self, id: &str, from: &Spanned<String>, mode: &SinkMode, changes: &ChangeMode) {
        let (what, did) = (&from.value, doing(changes));
        match (mode, changes) {
            (_, ChangeMode::Append) | (SinkMode::Upsert(_), ChangeMode::Retract) => {}
            (SinkMode::Append, _) => {
                let message = format!("sink `{id}` only adds rows, but `{what}` {did}");
                let next = match changes {
                    ChangeMode::Upsert { key, .. } => {
                        format!("write `upsert: [{}]` instead of `append: true`", key.join(", "))
                    }
                    _ => "write `upsert: [...]` with the columns that name a row, instead of `append: true`".into(),
                };
                self.fault(Fault::new(from.span, "changes", message).next(next));
            }
            (SinkMode::Upsert(columns), ChangeMode::Upsert { key, .. }) => {
                let same = columns.len() == key.len() && columns.iter().all(|column| key.contains(column));
                if !same {
                    let columns: Vec<&str> = columns.iter().map(|column| column.value.as_str()).collect();
                    let columns = columns.join(", ");
                    let message = format!("sink `{id}` replaces rows by [{columns}], but `{what}` {did}");
                    let next = format!("write `upsert: [{}]`", key.join(", "));
                    self.fault(Fault::new(from.span, "changes", message).next(next));
                }
            }
        }
    }
}
