//! CSV (RFC 4180): a row a record, its fields by the names of a header row or by their order.
//!
//! A field is text until its column says what it is: numbers, dates and timestamps as JSON writes them, booleans as
//! `true` and `false`, binary as base64; nothing is trimmed. A field whose text is `null_as` is null, quoted or not. Every row
//! has as many fields as the header, or, without one, as there are columns; text behind a closing quote belongs to its
//! field, as most readers take it.
//!
//! The header comes with the records, because a reader may begin in the middle of a file.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use weir_stream::SourceRecords;

use crate::codec::{CodecError, Decoded, Decoder, reject_code};
use crate::column::Refused;
use crate::column_set::{ColumnSet, Fault};
use crate::raw::check_payload;
use crate::source::ColumnSource;

const FORMAT: &str = "csv";

/// Field names that a fault lists.
const MAX_NAMED: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    pub delimiter: u8,
    /// Whether the first row of a file names the fields.
    pub header: bool,
    /// What null is written as.
    pub null_as: String,
    /// Largest payload, in bytes.
    pub max_record_bytes: usize,
}

/// Rows of CSV into the columns of a schema.
pub struct CsvDecoder {
    set: ColumnSet,
    wanted: Vec<Wanted>,
    options: CsvOptions,
    splitter: Splitter,
    /// The header that `layout` was made from.
    header: Option<Arc<[u8]>>,
    /// Which of `wanted` each field of a row is; or what is wrong with the header.
    layout: Result<Vec<Option<usize>>, String>,
}

/// A column that is read from a field.
#[derive(Debug, Clone)]
struct Wanted {
    column: usize,
    field: String,
}

impl CsvDecoder {
    /// `sources` has one entry per column of `schema`; a field path is a name in the header, dots and all.
    ///
    /// # Errors
    /// [`CodecError`] when a type is not supported, or a field is named where no header names any.
    pub fn new(schema: SchemaRef, sources: Vec<ColumnSource>, options: CsvOptions) -> Result<Self, CodecError> {
        let set = ColumnSet::new(schema, &sources, FORMAT)?;
        let mut wanted = Vec::new();
        for (column, source) in sources.iter().enumerate() {
            let name = set.schema.field(column).name();
            if !options.header && matches!(source, ColumnSource::Path(_)) {
                return Err(CodecError::FieldWithoutHeader { column: name.clone() });
            }
            if let Some(path) = source.field_path(name) {
                if set.columns[column].is_nested() {
                    let (column, data_type) = (name.clone(), set.columns[column].type_name());
                    return Err(CodecError::UnsupportedType { column, format: FORMAT, data_type });
                }
                wanted.push(Wanted { column, field: path.join(".") });
            }
        }
        let splitter = Splitter::new(options.delimiter);
        let layout = Ok((0..wanted.len()).map(Some).collect());
        Ok(Self { set, wanted, options, splitter, header: None, layout })
    }

    /// Whether a header row names every column that is wanted, once.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_header(&mut self, header: &[u8]) -> Result<(), String> {
        self.layout_of(header).map(|_| ())
    }

    fn layout_of(&mut self, header: &[u8]) -> Result<Vec<Option<usize>>, String> {
        let count = self.splitter.split(header).map_err(|cause| format!("the header row is not CSV: {cause}"))?;
        let names: Vec<_> = (0..count).map(|field| String::from_utf8_lossy(self.splitter.field(field))).collect();
        let mut layout = vec![None; count];
        for (number, Wanted { field, .. }) in self.wanted.iter().enumerate() {
            let mut found = (0..count).filter(|at| names[*at] == **field);
            match (found.next(), found.next()) {
                (Some(at), None) => layout[at] = Some(number),
                (Some(_), Some(_)) => return Err(format!("the header row names `{field}` twice")),
                (None, _) => {
                    let named = names.iter().take(MAX_NAMED).map(|name| &**name).collect::<Vec<_>>().join(", ");
                    let more = if count > MAX_NAMED { ", ..." } else { "" };
                    return Err(format!("the header row has no `{field}`; it has {named}{more}"));
                }
            }
        }
        Ok(layout)
    }

    fn take_header(&mut self, header: &Option<Arc<[u8]>>) {
        if let Some(header) = header.as_ref().filter(|header| self.header.as_ref() != Some(header)) {
            self.layout = self.layout_of(header);
            self.header = Some(Arc::clone(header));
        }
    }

    fn decode_record(&mut self, records: &SourceRecords, record: usize) -> Result<(), Fault> {
        let payload = check_payload(records, record, self.options.max_record_bytes)?;
        let syntax = |reason: String| Fault { code: reject_code::CSV_SYNTAX, reason };
        let layout = self.layout.as_ref().map_err(|cause| syntax(cause.clone()))?;
        let count = self.splitter.split(payload).map_err(|cause| syntax(cause.into()))?;
        if count != layout.len() {
            let wanted = if self.header.is_some() { "the header has" } else { "there are columns for" };
            let reason = format!("{count} fields, {wanted} {}", layout.len());
            return Err(Fault { code: reject_code::CSV_FIELDS, reason });
        }
        for (field, number) in layout.iter().enumerate() {
            let Some(number) = number else { continue };
            let Wanted { column, field: name } = &self.wanted[*number];
            let column = &mut self.set.columns[*column];
            let bytes = self.splitter.field(field);
            let put = match simdutf8::basic::from_utf8(bytes) {
                Ok(text) if text == self.options.null_as => column.put_null(),
                Ok(text) => column.put_plain_text(text),
                Err(_) => Err(Refused::NotUtf8),
            };
            put.map_err(|refused| {
                let found = String::from_utf8_lossy(bytes);
                let found = if refused == Refused::Null { "null" } else { &*found };
                Fault::refused(refused, name, &column.type_name(), found)
            })?;
        }
        Ok(())
    }
}

impl Decoder for CsvDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.set.schema
    }

    fn decode(&mut self, records: &SourceRecords, range: Range<usize>) -> Decoded {
        self.set.begin(records, &range);
        self.take_header(&records.header);
        for record in range {
            let payload = self.decode_record(records, record);
            self.set.end_record(records, record, payload);
        }
        self.set.finish()
    }
}

/// Splits one row into its fields.
struct Splitter {
    csv: Reader,
    /// The fields of the row, one behind the other, quotes resolved.
    text: Vec<u8>,
    /// Where each ends in `text`.
    ends: Vec<usize>,
}

impl Splitter {
    fn new(delimiter: u8) -> Self {
        let csv = ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
        Self { csv, text: Vec::new(), ends: vec![0; 64] }
    }

    /// The number of fields of a row, which may end in one end of line.
    fn split(&mut self, row: &[u8]) -> Result<usize, &'static str> {
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if row.is_empty() {
            return Err("the row is empty");
        }
        self.csv.reset();
        // Fields are never longer together than their row and the end of line that closes it.
        self.text.resize(self.text.len().max(row.len() + 1), 0);
        let (mut read, mut written, mut count) = (0, 0, 0);
        loop {
            let closing = read == row.len();
            let input = if closing { b"\n" } else { &row[read..] };
            let (result, length, bytes, fields) =
                self.csv.read_record(input, &mut self.text[written..], &mut self.ends[count..]);
            (written, count) = (written + bytes, count + fields);
            read += if closing { 0 } else { length };
            match result {
                ReadRecordResult::Record if closing => return Ok(count),
                ReadRecordResult::Record => return Err("an end of line outside of quotes"),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if !closing => {}
                _ => return Err("a quote is opened and not closed"),
            }
        }
    }

    fn field(&self, number: usize) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.text[start..self.ends[number]]
    }
}
