//! The JSON decoder: the loop over records, the checks before the parser, and what a failure becomes.

use std::ops::Range;

use arrow_schema::SchemaRef;
use weir_stream::SourceRecords;

use crate::codec::{CodecError, Decoded, Decoder, reject_code};
use crate::column_set::{ColumnSet, Fault, span};
use crate::json::guard::{self, Refusal};
use crate::json::keys::{self, Object};
use crate::json::read::{self, Reader};
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
    /// The parser recurses on nesting; this much is safe on the smallest stack that a thread of the host has.
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
    pass: u64,
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
        Ok(Self { set, objects, limits, pass: 0 })
    }

    /// One payload into the payload columns. `text` is the payload when the whole arena was found to be UTF-8.
    fn decode_record(&mut self, records: &SourceRecords, record: usize, text: Option<&str>) -> Result<(), Fault> {
        let payload = check_payload(records, record, self.limits.max_record_bytes)?;
        let text = match text {
            Some(text) => text,
            None => simdutf8::compat::from_utf8(payload).map_err(|error| Fault {
                code: reject_code::NOT_UTF8,
                reason: format!("the payload is not UTF-8 from byte {}", error.valid_up_to()),
            })?,
        };
        guard::check(payload, self.limits.max_depth).map_err(|refusal| self.refused(refusal))?;
        if self.read(text, false).is_ok() {
            return Ok(());
        }
        self.set.abandon();
        // A document with a broken end is broken, whatever is wrong with the fields before.
        self.read(text, true).map_err(|fault| read::validate(text).err().map_or(fault, |error| syntax(&error)))
    }

    fn refused(&self, refusal: Refusal) -> Fault {
        let (code, reason) = match refusal {
            Refusal::TooDeep => {
                (reject_code::TOO_DEEP, format!("arrays and objects nested deeper than {}", self.limits.max_depth))
            }
            Refusal::Escape { at } => (reject_code::JSON_SYNTAX, format!("Invalid escape at byte {at}")),
        };
        Fault { code, reason }
    }

    fn read(&mut self, text: &str, exact: bool) -> Result<(), Fault> {
        self.pass += 1;
        let (objects, columns) = (&mut self.objects, &mut self.set.columns);
        let mut reader = Reader { objects, columns, pass: self.pass, exact, fault: Fault::default() };
        reader.read(text).map_err(|_| reader.fault)
    }
}

fn syntax(error: &sonic_rs::Error) -> Fault {
    // The parser's message goes on with an excerpt in further lines; the payload is in the dead letter anyway.
    let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
    Fault { code: reject_code::JSON_SYNTAX, reason }
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
            let text = all.map(|all| {
                let from = records.values.start(record) - start;
                &all[from..from + records.values.get(record).len()]
            });
            let payload = self.decode_record(records, record, text);
            self.set.end_record(records, record, payload);
        }
        self.set.finish()
    }
}
