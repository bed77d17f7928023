//! Where the records of a file end: at the end of a line or, for rows of CSV, at an end of line that is not in quotes.
//!
//! Invariant: what is found depends on the bytes from the record's first one on and on nothing before, so that reading
//! may begin at any record. What a record says is not looked at; that is the codec's part.

use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

/// Room for fields that are looked at and not kept; rows may be longer.
const SCRATCH_BYTES: usize = 4096;
const SCRATCH_FIELDS: usize = 256;

/// Says why a header row does not fit the columns that are wanted from it.
pub type HeaderCheck = Arc<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// How a file is cut into records.
#[derive(Clone)]
pub enum Framing {
    /// A line is a record.
    Lines,
    Rows(RowFraming),
}

/// CSV: a row may hold ends of lines between quotes.
#[derive(Clone)]
pub struct RowFraming {
    pub delimiter: u8,
    /// The first row of each file names the fields and must pass this.
    pub header: Option<HeaderCheck>,
}

impl Framing {
    pub(super) fn framer(&self) -> Framer {
        match self {
            Self::Lines => Framer::Lines,
            Self::Rows(rows) => Framer::Rows(Box::new(RowFramer {
                csv: row_reader(rows.delimiter),
                in_row: false,
                text: [0; SCRATCH_BYTES],
                ends: [0; SCRATCH_FIELDS],
            })),
        }
    }
}

/// Only `\n` ends a row; a `\r` before it is taken off by whoever takes the row.
fn row_reader(delimiter: u8) -> Reader {
    ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build()
}

/// Finds ends of records in bytes that come piece by piece.
pub(super) enum Framer {
    Lines,
    Rows(Box<RowFramer>),
}

pub(super) struct RowFramer {
    csv: Reader,
    /// Bytes of a row were seen, and not yet its end.
    in_row: bool,
    text: [u8; SCRATCH_BYTES],
    ends: [usize; SCRATCH_FIELDS],
}

impl Framer {
    /// The length of `bytes` up to and with the end of the record, if that is in them. Each byte is given once, in
    /// order; behind an end begins the next record.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Lines => line_end(bytes),
            Self::Rows(rows) => rows.end(bytes),
        }
    }

    /// The next byte given begins a record.
    pub(super) fn restart(&mut self) {
        if let Self::Rows(rows) = self {
            rows.csv.reset();
            rows.in_row = false;
        }
    }
}

impl RowFramer {
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        // An empty line is a record without anything; this reader would take it for the beginning of the next row.
        if !self.in_row && bytes.starts_with(b"\n") {
            return Some(1);
        }
        self.in_row = !bytes.is_empty() || self.in_row;
        let mut read = 0;
        // Nothing to read would mean the end of the file to this reader.
        while read < bytes.len() {
            let (result, length, _, _) = self.csv.read_record(&bytes[read..], &mut self.text, &mut self.ends);
            read += length;
            if result == ReadRecordResult::Record {
                self.in_row = false;
                return Some(read);
            }
        }
        None
    }
}

/// The length of `bytes` up to and with the first `\n`.
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|at| at + 1)
}

pub(super) fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
