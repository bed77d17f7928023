//! Gives decoded rows their event time and the watermark that they are judged by; refuses times that cannot be.
//!
//! A refused row never moves the watermark. What "far future" means depends on where the time comes from: a payload
//! column is held against the record's own timestamp; a record timestamp (or a column of a record without one) against
//! the smaller of the wall clock and the partition's largest time so far plus `max_jump_us`.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use weir_operators::{Evaluated, Expression};
use weir_stream::record::NO_TIMESTAMP;
use weir_stream::time::{BoundedDisorder, END_OF_TIME};
use weir_stream::{Bug, Reject, Rejects, SourceRecords, TimestampType};

/// 9999-12-31T23:59:59.999999Z: later times are refused.
const LAST_TIME_US: i64 = 253_402_300_799_999_999;

/// Where a source's event time comes from.
#[derive(Debug, Clone)]
pub enum TimeOrigin {
    /// The record's own timestamp.
    Record,
    Column(usize),
    /// Gives timestamps or dates; a row on which it fails is refused.
    Expression(Expression),
}

/// Where a source's event time comes from, and its bounds.
#[derive(Debug, Clone)]
pub struct EventTimeSpec {
    pub origin: TimeOrigin,
    /// No step works in time: a row without one gets the wall clock's, and none is refused.
    pub optional: bool,
    pub disorder_us: i64,
    pub max_future_us: i64,
    pub max_jump_us: i64,
    /// `None`: partitions never count as idle.
    pub idle_after_us: Option<i64>,
    /// A partition that is further ahead of the slowest waits for it.
    pub alignment_us: Option<i64>,
}

/// The event-time clock of one source partition.
#[derive(Debug)]
pub struct EventTimeAssigner {
    spec: EventTimeSpec,
    clock: BoundedDisorder,
    max_event_time_us: i64,
    ended: bool,
}

/// A record's own timestamp and who set it.
#[derive(Debug, Clone, Copy)]
struct RecordTime {
    timestamp_us: i64,
    timestamp_type: TimestampType,
}

impl RecordTime {
    fn of(records: &SourceRecords, record: usize) -> Self {
        let timestamp_type = records.timestamp_type.get(record).copied().unwrap_or_default();
        Self { timestamp_us: records.timestamps_us[record], timestamp_type }
    }
}

/// Rows that got their time.
pub struct Assigned {
    /// Rows of the decoded batch, ascending; `None`: all of them.
    pub kept: Option<Vec<u32>>,
    /// One a kept row.
    pub event_times_us: Vec<i64>,
    pub watermarks_us: Vec<i64>,
    /// `row` is the row of the decoded batch.
    pub rejects: Rejects,
}

impl EventTimeAssigner {
    pub fn new(spec: EventTimeSpec, watermark_us: i64, max_event_time_us: i64) -> Self {
        let restored_us = if Bug::WatermarkTooHigh.is_in() { max_event_time_us } else { watermark_us };
        let clock = BoundedDisorder::new(spec.disorder_us, restored_us);
        Self { spec, clock, max_event_time_us, ended: false }
    }

    /// What the tasks behind are told: the end of time once the partition has ended.
    pub fn watermark_us(&self) -> i64 {
        if self.ended { END_OF_TIME } else { self.clock.watermark_us() }
    }

    /// What an epoch stores: the watermark that the data gave, so that a later run may go on behind a bounded one.
    pub fn stored_watermark_us(&self) -> i64 {
        self.clock.watermark_us()
    }

    pub fn max_event_time_us(&self) -> i64 {
        self.max_event_time_us
    }

    pub fn end(&mut self) {
        self.ended = true;
    }

    /// `rows`: the record number of each row; `wall_us`: now.
    pub fn assign(&mut self, columns: &RecordBatch, rows: &[u32], records: &SourceRecords, wall_us: i64) -> Assigned {
        let (column_times, failed) = match &self.spec.origin {
            TimeOrigin::Record => (None, Vec::new()),
            TimeOrigin::Column(column) => (Some(to_micros(columns.column(*column))), Vec::new()),
            TimeOrigin::Expression(expression) => {
                let Evaluated { array, rejects } = expression.evaluate_columns(columns);
                (Some(to_micros(&array)), rejects)
            }
        };
        let mut failed = failed.into_iter().peekable();
        let mut assigned = Assigned {
            kept: None,
            event_times_us: Vec::with_capacity(rows.len()),
            watermarks_us: Vec::with_capacity(rows.len()),
            rejects: Vec::new(),
        };
        for (row, record) in rows.iter().enumerate() {
            let record = RecordTime::of(records, *record as usize);
            let time = column_times.as_ref().map_or(Some(record.timestamp_us), |times| times[row]);
            let judged = match failed.next_if(|reject| reject.row as usize == row) {
                Some(reject) => Err((reject.code, reject.reason)),
                None => self.judge(time, record, wall_us).map_err(|(code, reason)| (code.into(), reason)),
            };
            match judged {
                Ok(time) => {
                    self.max_event_time_us = self.max_event_time_us.max(time);
                    assigned.event_times_us.push(time);
                    assigned.watermarks_us.push(self.clock.observe(time));
                    if let Some(kept) = &mut assigned.kept {
                        kept.push(row as u32);
                    }
                }
                Err((code, reason)) => {
                    assigned.kept.get_or_insert_with(|| (0..row as u32).collect());
                    assigned.rejects.push(Reject::new(row as u32, code, reason));
                }
            }
        }
        assigned
    }

    fn judge(&self, time: Option<i64>, record: RecordTime, wall_us: i64) -> Result<i64, (&'static str, String)> {
        let record_time = record.timestamp_us;
        let time = time.filter(|time| *time != NO_TIMESTAMP);
        if self.spec.optional {
            return Ok(time.unwrap_or(wall_us));
        }
        let time = time.ok_or_else(|| ("event-time-missing", "the row has no event time".to_owned()))?;
        if !(0..=LAST_TIME_US).contains(&time) {
            let reason = format!("event time {time} us is outside 1970-01-01 to 9999-12-31");
            return Err(("event-time-range", reason));
        }
        let (base, of) = if !matches!(self.spec.origin, TimeOrigin::Record) && record_time != NO_TIMESTAMP {
            // A producer's clock may be as wrong as the payload; the broker's is taken at its word.
            let trusted = record.timestamp_type == TimestampType::LogAppendTime || record_time <= wall_us;
            if trusted { (record_time, "its record's timestamp") } else { (wall_us, "now") }
        } else {
            let reach = self.max_event_time_us.saturating_add(self.spec.max_jump_us);
            let started = self.max_event_time_us != i64::MIN;
            if started && reach < wall_us { (reach, "what its partition reached") } else { (wall_us, "now") }
        };
        if time > base.saturating_add(self.spec.max_future_us) {
            let ahead_s = (time - base) / 1_000_000;
            return Err(("event-time-future", format!("event time is {ahead_s} s ahead of {of}")));
        }
        Ok(time)
    }
}

/// A time column in microseconds; `None` where it is null or does not fit.
///
/// # Panics
/// For columns that are neither timestamps nor dates; the planner lets no other through.
fn to_micros(column: &dyn Array) -> Vec<Option<i64>> {
    let scaled = |values: &[i64], multiply: i64, divide: i64| -> Vec<Option<i64>> {
        let micros = |value: i64| value.checked_mul(multiply).map(|value| value.div_euclid(divide));
        let value = |(row, value): (usize, &i64)| if column.is_null(row) { None } else { micros(*value) };
        values.iter().enumerate().map(value).collect()
    };
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(column.as_primitive::<TimestampSecondType>().values(), 1_000_000, 1)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(column.as_primitive::<TimestampMillisecondType>().values(), 1000, 1)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            scaled(column.as_primitive::<TimestampMicrosecondType>().values(), 1, 1)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled(column.as_primitive::<TimestampNanosecondType>().values(), 1, 1000)
        }
        DataType::Date32 => {
            let days: Vec<i64> =
                column.as_primitive::<Date32Type>().values().iter().map(|day| i64::from(*day)).collect();
            scaled(&days, 86_400_000_000, 1)
        }
        other => unreachable!("the planner lets no {other} be an event time"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::TimestampMillisecondArray;
    use arrow_schema::{Field, Schema};

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn assign(times_ms: Vec<Option<i64>>, record_times_us: Vec<i64>, wall_us: i64) -> (Assigned, EventTimeAssigner) {
        let spec = EventTimeSpec {
            origin: TimeOrigin::Column(0),
            optional: false,
            disorder_us: 2 * SECOND,
            max_future_us: 60 * SECOND,
            max_jump_us: 3600 * SECOND,
            idle_after_us: None,
            alignment_us: None,
        };
        let field = Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true);
        let rows: Vec<u32> = (0..times_ms.len() as u32).collect();
        let column = Arc::new(TimestampMillisecondArray::from(times_ms));
        let columns = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
        let records = SourceRecords { timestamps_us: record_times_us, ..SourceRecords::default() };
        let mut assigner = EventTimeAssigner::new(spec, i64::MIN, i64::MIN);
        (assigner.assign(&columns, &rows, &records, wall_us), assigner)
    }

    #[test]
    fn a_far_future_time_is_refused_and_moves_nothing() {
        let times = vec![Some(10_000), Some(4_070_908_800_000), Some(11_000)];
        let (assigned, assigner) = assign(times, vec![10 * SECOND; 3], 20 * SECOND);
        assert_eq!(assigned.kept, Some(vec![0, 2]));
        assert_eq!(assigned.rejects[0].code, "event-time-future");
        assert_eq!(assigner.watermark_us(), 9 * SECOND);
        assert_eq!(assigner.max_event_time_us(), 11 * SECOND);
    }

    #[test]
    fn without_a_record_timestamp_the_wall_clock_judges() {
        let (assigned, _) = assign(vec![Some(100_000), Some(1_000)], vec![NO_TIMESTAMP; 2], SECOND);
        assert_eq!(assigned.kept, Some(vec![1]));
    }

    #[test]
    fn a_producers_clock_that_is_wrong_too_does_not_excuse_the_future() {
        let (assigned, _) = assign(vec![Some(100_000)], vec![100 * SECOND], SECOND);
        assert_eq!(assigned.rejects[0].code, "event-time-future");
    }

    #[test]
    fn a_row_on_which_the_expression_fails_is_refused_and_moves_nothing() {
        let schema = Arc::new(Schema::new(vec![Field::new("sent", DataType::Utf8, true)]));
        let sent = arrow_array::StringArray::from(vec![Some("5000"), Some("soon"), None, Some("3000")]);
        let columns = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(sent)]).unwrap();
        let expression = Expression::compile("to_timestamp_millis(cast(sent as bigint))", &schema).unwrap();
        let spec = EventTimeSpec {
            origin: TimeOrigin::Expression(expression),
            optional: false,
            disorder_us: 2 * SECOND,
            max_future_us: 60 * SECOND,
            max_jump_us: 3600 * SECOND,
            idle_after_us: None,
            alignment_us: None,
        };
        let records = SourceRecords { timestamps_us: vec![6 * SECOND; 4], ..SourceRecords::default() };
        let mut assigner = EventTimeAssigner::new(spec, i64::MIN, i64::MIN);
        let assigned = assigner.assign(&columns, &[0, 1, 2, 3], &records, 10 * SECOND);
        assert_eq!((assigned.kept, assigned.event_times_us), (Some(vec![0, 3]), vec![5 * SECOND, 3 * SECOND]));
        let codes: Vec<_> = assigned.rejects.iter().map(|reject| (reject.row, reject.code.as_ref())).collect();
        assert_eq!(codes, [(1, "expression"), (2, "event-time-missing")]);
        assert_eq!(assigner.watermark_us(), 3 * SECOND);
    }

    #[test]
    fn a_missing_or_negative_time_is_refused() {
        let (assigned, _) = assign(vec![None, Some(-1)], vec![0; 2], 0);
        let codes: Vec<_> = assigned.rejects.iter().map(|reject| reject.code.as_ref()).collect();
        assert_eq!(codes, ["event-time-missing", "event-time-range"]);
        assert!(assigned.event_times_us.is_empty());
    }

    #[test]
    fn when_all_rows_are_good_no_row_list_is_made() {
        let (assigned, _) = assign(vec![Some(5_000), Some(3_000)], vec![6 * SECOND; 2], 10 * SECOND);
        assert_eq!(assigned.kept, None);
        assert_eq!(assigned.watermarks_us, [i64::MIN, 3 * SECOND]);
    }
}
