//! Bytes to columns and back: the codecs between connectors and steps.
//!
//! A [`Decoder`] turns the records of one partition into Arrow columns; a record that it cannot read becomes a
//! reject and costs no other record anything. An [`Encoder`] writes one payload per row into one arena.
//! Nothing here does I/O, keeps state between batches beyond learned key orders, or knows event time.

mod civil;
mod codec;
mod column;
mod column_set;
mod csv;
mod decimal;
mod json;
mod raw;
mod source;
mod table;

pub use codec::{CodecError, Decoded, Decoder, EncodeError, Encoder, MAX_DECODE_BYTES, reject_code};
pub use csv::{CsvDecoder, CsvOptions};
pub use json::{JsonDecoder, JsonEncodeOptions, JsonEncoder, JsonLimits, RowJson};
pub use raw::{RawDecoder, RawEncoder};
pub use source::ColumnSource;
pub use table::{MAX_TABLE_BYTES, TableError, TableFormat, TableRows, read_table};
