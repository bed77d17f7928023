//! Where a column's values come from: a field of the payload, or the record around it.
//!
//! Invariant: a source passes [`ColumnSource::check`] for its column before any record is read, so that reading it
//! cannot meet a type it does not know.

use arrow_schema::{DataType, Field};
use weir_stream::SourceRecords;
use weir_stream::record::NO_TIMESTAMP;

use crate::codec::{CodecError, type_name};
use crate::column::{Column, Refused};

/// The source of one column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ColumnSource {
    /// The payload's field of the column's own name (the whole payload for the raw format).
    #[default]
    Field,
    /// The payload's field at this path, outermost name first: `["bid", "price"]`.
    Path(Vec<String>),
    /// The record's key: binary or utf8. Null when the record has none.
    Key,
    /// The record's headers as one JSON object: utf8. Null when the record has none.
    Headers,
    /// The topic, file or generator: utf8.
    Topic,
    /// The source partition: int32, int64 or uint32.
    Partition,
    /// The record's offset: int64.
    Offset,
    /// The record's own timestamp: any timestamp. Null when the record has none.
    Timestamp,
}

impl ColumnSource {
    /// The field at `path`, names joined by dots: `bid.price`.
    pub fn path(path: &str) -> Self {
        Self::Path(path.split('.').map(str::to_owned).collect())
    }

    /// The field path of a payload column named `column`; `None` for a column of the record around it.
    pub(crate) fn field_path(&self, column: &str) -> Option<Vec<String>> {
        match self {
            Self::Field => Some(vec![column.to_owned()]),
            Self::Path(path) => Some(path.clone()),
            _ => None,
        }
    }

    pub(crate) fn check(&self, field: &Field) -> Result<(), CodecError> {
        use DataType::{Binary, Int32, Int64, Timestamp, UInt32, Utf8};
        let data_type = field.data_type();
        let (source_name, possible, fits) = match self {
            Self::Field => return Ok(()),
            Self::Path(path) if path.is_empty() || path.iter().any(String::is_empty) => {
                return Err(CodecError::BadPath { column: field.name().clone(), path: path.join(".") });
            }
            Self::Path(_) => return Ok(()),
            Self::Key => ("key", "binary or utf8", matches!(data_type, Binary | Utf8)),
            Self::Headers => ("headers object", "utf8", matches!(data_type, Utf8)),
            Self::Topic => ("topic", "utf8", matches!(data_type, Utf8)),
            Self::Partition => ("partition", "int32, int64 or uint32", matches!(data_type, Int32 | Int64 | UInt32)),
            Self::Offset => ("offset", "int64", matches!(data_type, Int64)),
            Self::Timestamp => ("timestamp", "a timestamp", matches!(data_type, Timestamp(..))),
        };
        if fits {
            return Ok(());
        }
        let (column, data_type) = (field.name().clone(), type_name(data_type));
        Err(CodecError::MetadataType { column, source_name, possible, data_type })
    }

    /// Appends the value that `record` has for this source.
    pub(crate) fn read(&self, records: &SourceRecords, record: usize, column: &mut Column) -> Result<(), Refused> {
        let payload = |side: &Option<weir_stream::Payloads>, column: &mut Column| match side {
            Some(side) if !side.is_absent(record) => column.put_bytes(side.get(record)),
            _ => column.put_null(),
        };
        match self {
            Self::Key => payload(&records.keys, column),
            Self::Headers => payload(&records.headers, column),
            Self::Topic => column.put_text(&records.topic),
            Self::Partition => column.put_u64(u64::from(records.partition)),
            Self::Offset => column.put_i64(records.offsets[record]),
            Self::Timestamp => match records.timestamps_us[record] {
                NO_TIMESTAMP => column.put_null(),
                timestamp_us => column.put_timestamp_us(timestamp_us),
            },
            Self::Field | Self::Path(_) => unreachable!("payload columns are read by the decoder"),
        }
    }
}
