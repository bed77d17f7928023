//! Which folder a row belongs to. Invariant: whatever a value is, its folder's name is one path segment of at most
//! [`MAX_SEGMENT_BYTES`], made of letters, digits and `-_.%=~`, and it never is `.` or `..`.

use std::collections::HashMap;
use std::fmt::Write;
use std::str::FromStr;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, SchemaRef, TimeUnit};
use weir_stream::{SinkError, key};

use crate::identity::fatal;
use crate::row;

/// What file systems take.
const MAX_SEGMENT_BYTES: usize = 255;

/// The longest column name that leaves room for a value.
const MAX_KEY_BYTES: usize = 100;

/// As Hive, Spark and DuckDB write a null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Marks a null among codes.
const NULL_CODE: i64 = i64::MIN;

/// One level of folders. Written `column`, `date(column)` or `hour(column)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionBy {
    /// `category=books`: one folder per value.
    Column(String),
    /// `date=2026-03-01`: the UTC day of a timestamp, or a date.
    Date(String),
    /// `hour=00` to `hour=23`: the UTC hour of the day of a timestamp.
    Hour(String),
}

impl FromStr for PartitionBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let argument =
            |function: &str| text.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')').map(str::trim);
        let partition = match (argument("date"), argument("hour")) {
            (Some(column), _) => Self::Date(column.to_owned()),
            (_, Some(column)) => Self::Hour(column.to_owned()),
            _ => Self::Column(text.trim().to_owned()),
        };
        match partition.column() {
            column if column.is_empty() || column.contains(['(', ')']) => {
                Err(format!("`{text}` is no partition: write a column, date(column) or hour(column)"))
            }
            _ => Ok(partition),
        }
    }
}

impl PartitionBy {
    pub fn column(&self) -> &str {
        match self {
            Self::Column(column) | Self::Date(column) | Self::Hour(column) => column,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Column(column) => encode(column),
            Self::Date(_) => "date".to_owned(),
            Self::Hour(_) => "hour".to_owned(),
        }
    }
}

/// Splits rows by folder.
#[derive(Debug)]
pub(super) struct Partitioner {
    levels: Vec<(PartitionBy, usize)>,
}

/// The rows of one folder.
pub(super) struct Part {
    /// Relative to the target folder; empty without partitions.
    pub folder: String,
    /// `None`: all of them.
    pub rows: Option<Vec<u32>>,
}

impl Partitioner {
    /// # Errors
    /// `Fatal` for a column that is missing, has no day or hour, or gives two levels one name.
    pub(super) fn new(by: &[PartitionBy], schema: &SchemaRef) -> Result<Self, SinkError> {
        let mut levels: Vec<(PartitionBy, usize)> = Vec::new();
        for level in by {
            let next = "partition by columns of the sink's rows: column, date(column) or hour(column)";
            let index = schema.index_of(level.column());
            let index =
                index.map_err(|_| fatal(format!("there is no column `{}` to partition by", level.column()), next))?;
            let data_type = schema.field(index).data_type();
            let fits = match level {
                PartitionBy::Column(_) => arrow_cast::can_cast_types(data_type, &DataType::Utf8),
                PartitionBy::Date(_) => matches!(data_type, DataType::Timestamp(..) | DataType::Date32),
                PartitionBy::Hour(_) => matches!(data_type, DataType::Timestamp(..)),
            };
            if !fits {
                return Err(fatal(
                    format!("column `{}` of type {data_type} cannot be partitioned so", level.column()),
                    next,
                ));
            }
            let key = level.key();
            if key.len() > MAX_KEY_BYTES || levels.iter().any(|(other, _)| other.key() == key) {
                return Err(fatal(format!("two partition levels are called `{key}`, or its name is too long"), next));
            }
            levels.push((level.clone(), index));
        }
        Ok(Self { levels })
    }

    /// # Errors
    /// Arrow's own, for a column that does not cast to text.
    pub(super) fn split(&self, rows: &RecordBatch) -> Result<Vec<Part>, ArrowError> {
        if self.levels.is_empty() {
            return Ok(vec![Part { folder: String::new(), rows: None }]);
        }
        let levels: Result<Vec<Codes>, _> =
            self.levels.iter().map(|(by, column)| Codes::new(by, rows.column(*column))).collect();
        let levels = levels?;
        let mut parts: Vec<(Vec<i64>, Vec<u32>)> = Vec::new();
        let mut part_of: HashMap<Vec<i64>, usize> = HashMap::new();
        let mut current = usize::MAX;
        for row in 0..rows.num_rows() {
            let same = parts
                .get(current)
                .is_some_and(|(codes, _)| codes.iter().zip(&levels).all(|(code, level)| *code == level.codes[row]));
            if !same {
                let codes: Vec<i64> = levels.iter().map(|level| level.codes[row]).collect();
                current = *part_of.entry(codes.clone()).or_insert_with(|| {
                    parts.push((codes, Vec::new()));
                    parts.len() - 1
                });
            }
            parts[current].1.push(row as u32);
        }
        let whole = parts.len() == 1;
        let part = |(codes, numbers): (Vec<i64>, Vec<u32>)| Part {
            folder: levels.iter().zip(codes).map(|(level, code)| level.segment(code)).collect::<Vec<_>>().join("/"),
            rows: (!whole).then_some(numbers),
        };
        Ok(parts.into_iter().map(part).collect())
    }
}

/// One level's value of each row, as a number; and what the numbers mean.
struct Codes {
    key: String,
    codes: Vec<i64>,
    meaning: Meaning,
}

enum Meaning {
    Day,
    Hour,
    Text(ArrayRef),
}

impl Codes {
    fn new(by: &PartitionBy, column: &ArrayRef) -> Result<Self, ArrowError> {
        let code = |value: &dyn Fn(usize) -> i64| {
            (0..column.len()).map(|row| if column.is_null(row) { NULL_CODE } else { value(row) }).collect()
        };
        let (codes, meaning) = match by {
            PartitionBy::Date(_) => (code(&|row| days(column, row)), Meaning::Day),
            PartitionBy::Hour(_) => (code(&|row| hours(column, row).rem_euclid(24)), Meaning::Hour),
            PartitionBy::Column(_) => {
                let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
                let column = cast(&cast(column, &DataType::Utf8)?, &dictionary)?;
                let dictionary = column.as_dictionary::<Int32Type>();
                let keys = dictionary.keys();
                let codes =
                    (0..keys.len()).map(|row| if keys.is_null(row) { NULL_CODE } else { keys.value(row).into() });
                (codes.collect(), Meaning::Text(dictionary.values().clone()))
            }
        };
        Ok(Self { key: by.key(), codes, meaning })
    }

    fn segment(&self, code: i64) -> String {
        let value = match &self.meaning {
            _ if code == NULL_CODE => NULL.to_owned(),
            Meaning::Day => day_name(code),
            Meaning::Hour => format!("{code:02}"),
            Meaning::Text(values) => encode(values.as_string::<i32>().value(code as usize)),
        };
        shorten(format!("{}={value}", self.key))
    }
}

fn hours(column: &dyn Array, row: usize) -> i64 {
    let per_hour = |unit| match unit {
        TimeUnit::Second => 3_600,
        TimeUnit::Millisecond => 3_600_000,
        TimeUnit::Microsecond => 3_600_000_000,
        TimeUnit::Nanosecond => 3_600_000_000_000,
    };
    row::timestamp(column, row).map_or(0, |(value, unit)| value.div_euclid(per_hour(unit)))
}

fn days(column: &dyn Array, row: usize) -> i64 {
    match column.data_type() {
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).into(),
        _ => hours(column, row).div_euclid(24),
    }
}

/// The day's date, or its number where a calendar ends.
fn day_name(day: i64) -> String {
    let span = jiff::Span::new().try_days(day).ok();
    let date = span.and_then(|days| jiff::civil::date(1970, 1, 1).checked_add(days).ok());
    date.map_or_else(|| format!("day{day}"), |date| date.to_string())
}

/// Everything but letters, digits and `-_.` as `%XX`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

fn shorten(mut segment: String) -> String {
    if segment.len() > MAX_SEGMENT_BYTES {
        let mark = format!("~{:016x}", key::hash(segment.as_bytes()));
        segment.truncate(MAX_SEGMENT_BYTES - mark.len());
        // Not in the middle of `%XX`.
        if let Some(at) = segment.rfind('%').filter(|at| at + 3 > segment.len()) {
            segment.truncate(at);
        }
        segment.push_str(&mark);
    }
    segment
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Component, Path};
    use std::sync::Arc;

    use arrow_array::{Date32Array, Int64Array, StringArray, TimestampMillisecondArray};
    use arrow_schema::{Field, Schema};

    use super::*;

    fn folders(by: &str, column: ArrayRef) -> Vec<String> {
        let schema = Arc::new(Schema::new(vec![Field::new("c", column.data_type().clone(), true)]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let partitioner = Partitioner::new(&[by.parse().unwrap()], &schema).unwrap();
        partitioner.split(&rows).unwrap().into_iter().map(|part| part.folder).collect()
    }

    #[test]
    fn a_hostile_value_stays_inside_one_segment() {
        let long = "\u{1F30A}".repeat(500);
        let hostile = ["..", ".", "", "a/b", "../../etc", "a\\b", "a\0b", "%2e%2e", "a=b", "~", " ", &long];
        let found = folders("c", Arc::new(StringArray::from(hostile.to_vec())));
        assert_eq!(found.len(), hostile.len(), "two values met in one folder");
        for folder in &found {
            assert!(folder.len() <= MAX_SEGMENT_BYTES && folder.starts_with("c="), "{folder}");
            let parts: Vec<_> = Path::new(folder).components().collect();
            assert!(matches!(parts[..], [Component::Normal(_)]), "{folder}");
            assert!(folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.%=~".contains(&byte)), "{folder}");
        }
        assert_eq!(&found[..5], ["c=..", "c=.", "c=", "c=a%2Fb", "c=..%2F..%2Fetc"]);
    }

    #[test]
    fn cut_values_stay_apart() {
        let values: Vec<String> = (0..50).map(|n| format!("{}{n}", "\u{e4}".repeat(200))).collect();
        let found: BTreeSet<_> = folders("c", Arc::new(StringArray::from(values))).into_iter().collect();
        assert_eq!(found.len(), 50);
    }

    #[test]
    fn times_fall_into_their_utc_day_and_hour() {
        let times = [Some(-1), Some(0), None, Some(1_772_359_200_000), Some(i64::MAX), Some(i64::MIN)];
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times.to_vec()));
        let days = folders("date(c)", Arc::clone(&times));
        assert_eq!(
            days[..4],
            ["date=1969-12-31", "date=1970-01-01", "date=__HIVE_DEFAULT_PARTITION__", "date=2026-03-01"]
        );
        assert_eq!((days.len(), days[4].starts_with("date=day")), (6, true));
        assert_eq!(
            folders("hour( c )", times)[..4],
            ["hour=23", "hour=00", "hour=__HIVE_DEFAULT_PARTITION__", "hour=10"]
        );
        assert_eq!(folders("date(c)", Arc::new(Date32Array::from(vec![20_513]))), ["date=2026-03-01"]);
        assert_eq!(folders("c", Arc::new(Int64Array::from(vec![7, 7, -1]))), ["c=7", "c=-1"]);
    }

    #[test]
    fn a_partition_that_makes_no_sense_is_refused() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("date", DataType::Date32, false),
        ]));
        let refused = |by: &[&str]| {
            Partitioner::new(&by.iter().map(|by| by.parse().unwrap()).collect::<Vec<_>>(), &schema)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&["missing"]).contains("no column `missing`"));
        assert!(refused(&["date(n)"]).contains("cannot be partitioned so"));
        assert!(refused(&["hour(date)"]).contains("cannot be partitioned so"));
        assert!(refused(&["date(date)", "date"]).contains("two partition levels are called `date`"));
        assert!("month(n)".parse::<PartitionBy>().is_err() && "".parse::<PartitionBy>().is_err());
    }
}
