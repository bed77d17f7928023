//! The JSON decoder: the loop over records, and the checks before a payload is read.

use std::ops::Range;

use arrow_schema::SchemaRef;
use weir_stream::SourceRecords;

use crate::codec::{CodecError, Decoded, Decoder, reject_code};
use crate::column_set::{ColumnSet, Fault, span};
use crate::json::keys::{self, Object};
use crate::json::read::Reader;
use crate::json::scan::Scanner;
use crate::raw::check_payload;
use crate::source::ColumnSource;

/// What one payload may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Deepest nesting of arrays and objects, the document itself counted; at most [`JsonLimits::MOST_DEPTH`].
    pub max_depth: usize,
    /// Largest payload, in bytes.
    pub max_record_bytes: usize,
}

impl JsonLimits {
    /// Skipping recurses on nesting; this much is safe on the smallest stack that a thread of the host has.
    pub const MOST_DEPTH: usize = 128;
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { max_depth: 64, max_record_bytes: 512 * 1024 }
    }
}

/// One JSON object per payload, into the columns of a schema.
pub struct JsonDecoder {
    set: ColumnSet,
    objects: Vec<Object>,
    limits: JsonLimits,
    /// Payloads read so far.
    payload: u64,
    scratch: String,
}

impl JsonDecoder {
    /// `sources` has one entry per column of `schema`.
    ///
    /// # Errors
    /// [`CodecError`] when a type is not supported, two columns want the same field, or a limit makes no sense.
    pub fn new(schema: SchemaRef, sources: Vec<ColumnSource>, limits: JsonLimits) -> Result<Self, CodecError> {
        if !(1..=JsonLimits::MOST_DEPTH).contains(&limits.max_depth) {
            return Err(CodecError::DepthLimit { given: limits.max_depth, most: JsonLimits::MOST_DEPTH });
        }
        let set = ColumnSet::new(schema, &sources, "json")?;
        let objects = keys::objects(&set.schema, &sources)?;
        Ok(Self { set, objects, limits, payload: 0, scratch: String::new() })
    }

    /// One payload into the payload columns. `text` begins with the payload and its NUL, when the whole arena was
    /// found to be UTF-8.
    fn decode_record(&mut self, records: &SourceRecords, record: usize, text: Option<&str>) -> Result<(), Fault> {
        let payload = check_payload(records, record, self.limits.max_record_bytes)?;
        let text = match text {
            Some(text) => text,
            None => text_of(records, record)?,
        };
        self.payload += 1;
        let mut reader = Reader {
            scanner: Scanner::new(text, payload.len(), self.limits.max_depth),
            objects: &mut self.objects,
            columns: &mut self.set.columns,
            payload: self.payload,
            scratch: &mut self.scratch,
        };
        reader.read().map_err(|stop| *stop)
    }
}

/// A payload and the NUL behind it, if it is UTF-8.
fn text_of(records: &SourceRecords, record: usize) -> Result<&str, Fault> {
    let (start, length) = (records.values.start(record), records.values.get(record).len());
    simdutf8::compat::from_utf8(&records.values.arena()[start..=start + length]).map_err(|error| Fault {
        code: reject_code::NOT_UTF8,
        reason: format!("the payload is not UTF-8 from byte {}", error.valid_up_to()),
    })
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.set.schema
    }

    fn decode(&mut self, records: &SourceRecords, range: Range<usize>) -> Decoded {
        self.set.begin(records, &range);
        if range.is_empty() {
            return self.set.finish();
        }
        // One check of all payloads costs a fraction of one check per payload.
        let all = simdutf8::basic::from_utf8(span(records, &range)).ok();
        let start = records.values.start(range.start);
        for record in range {
            let text = all.map(|all| &all[records.values.start(record) - start..]);
            let payload = self.decode_record(records, record, text);
            self.set.end_record(records, record, payload);
        }
        self.set.finish()
    }
}
