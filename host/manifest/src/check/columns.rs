//! What can be said of sources and steps alone: that parts of the record have fitting types, that event time is a
//! timestamp, that lengths of time are some.

use arrow_schema::DataType;

use crate::fault::{Fault, Faults, nearest};
use crate::model::{Column, ColumnOrigin, EventTimeOrigin, Manifest, RecordPart, Source, StepKind};
use crate::scalar::Duration;
use crate::span::Spanned;

pub(super) fn check(manifest: &Manifest, faults: &mut Faults) {
    for (id, source) in &manifest.sources {
        for (_, column) in &source.columns {
            if let ColumnOrigin::Record(part) = &column.origin {
                record_part(column, part, faults);
            }
        }
        event_time(id, source, faults);
    }
    for (_, step) in &manifest.steps {
        for (what, duration) in lengths(&step.kind) {
            if duration.as_us() == 0 {
                faults.push(Fault::new(duration.span, "out-of-range", format!("{what} is longer than 0s")));
            }
        }
    }
}

fn ttl(ttl: &Option<Spanned<Duration>>) -> Option<(&'static str, &Spanned<Duration>)> {
    ttl.as_ref().map(|ttl| ("a time to live", ttl))
}

/// Lengths of time of a step that must not be nothing.
fn lengths(kind: &StepKind) -> Vec<(&'static str, &Spanned<Duration>)> {
    match kind {
        StepKind::Plugin(_) | StepKind::Where(_) | StepKind::Select(_) => vec![],
        StepKind::Split(_) | StepKind::Sample(_) | StepKind::Flatten(_) | StepKind::Lookup(_) => vec![],
        StepKind::Dedup(dedup) => vec![("a time to live", &dedup.ttl)],
        StepKind::Latest(latest) => ttl(&latest.ttl).into_iter().collect(),
        StepKind::Top(top) => ttl(&top.ttl).into_iter().collect(),
        StepKind::Sessions(sessions) => ttl(&sessions.ttl).into_iter().chain([("a gap", &sessions.gap)]).collect(),
        // These have checks of their own.
        StepKind::Window(_) | StepKind::Group(_) | StepKind::Join(_) => vec![],
    }
}

fn record_part(column: &Column, part: &Spanned<RecordPart>, faults: &mut Faults) {
    let data_type = &column.column_type.data_type;
    let (fits, wanted) = match part.value {
        RecordPart::Key => (matches!(data_type, DataType::Utf8 | DataType::Binary), "utf8 or binary"),
        RecordPart::Headers | RecordPart::Topic => (*data_type == DataType::Utf8, "utf8"),
        RecordPart::Partition => (matches!(data_type, DataType::Int32 | DataType::Int64), "int32 or int64"),
        RecordPart::Offset => (*data_type == DataType::Int64, "int64"),
        RecordPart::Timestamp => (matches!(data_type, DataType::Timestamp(..)), "timestamp(ms)"),
    };
    if !fits {
        let message = format!("`{}` does not hold it; it is {wanted}", column.column_type.value);
        faults.push(Fault::new(column.column_type.span, "column-type", message));
    }
    let may_be_absent = matches!(part.value, RecordPart::Key | RecordPart::Timestamp);
    if may_be_absent && !column.column_type.nullable {
        let message = "a record may come without it; leave out the `!`";
        faults.push(Fault::new(column.column_type.span, "column-type", message));
    }
}

fn event_time(id: &Spanned<String>, source: &Source, faults: &mut Faults) {
    let Some(event_time) = &source.event_time else { return };
    let EventTimeOrigin::Column(name) = &event_time.origin else { return };
    let Some(column) = source.columns.get(name) else {
        let near = nearest(name, source.columns.names());
        let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("no column `{name}` in source `{id}`{meant}");
        faults.push(Fault::new(name.span, "unknown-column", message));
        return;
    };
    match &column.column_type.data_type {
        DataType::Timestamp(_, Some(_)) => {}
        DataType::Timestamp(_, None) => {
            let message = format!("`{name}` is a wall-clock time without zone; event time is an instant");
            faults.push(Fault::new(name.span, "column-type", message).next("make it timestamp(ms) or give its zone"));
        }
        _ => {
            let message = format!("`{name}` is {}; event time is a timestamp", column.column_type.value);
            faults.push(Fault::new(name.span, "column-type", message));
        }
    }
}
