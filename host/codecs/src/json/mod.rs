//! JSON: one object per payload.
//!
//! Decoding is strict: integers only from integer numbers, decimals from strings or numbers and never through a
//! float, nothing coerced, every byte of the document validated. Undeclared fields are skipped.
//!
//! Encoding is the other direction of the same table, so that what is encoded decodes to the same values:
//!
//! | column | JSON |
//! | --- | --- |
//! | bool | `true`, `false` |
//! | int8 to int64, uint8 to uint64 | number; up to 20 digits, more than some readers keep |
//! | float32, float64 | shortest number that reads back the same; NaN and infinities are `null` |
//! | utf8 | string |
//! | binary | base64 string, standard alphabet, padded (read with or without padding) |
//! | date | `"2026-03-01"` |
//! | timestamp | `"2026-03-01T10:00:10.000Z"`, the unit's digits, `Z` when the column has a zone. Read as well: an integer in the unit; other offsets; without a zone, no offset |
//! | decimal | string with the scale's digits, `"10.00"` (a number is read as well) |
//! | list | array |
//! | struct | object; undeclared fields are skipped |
//! | null | `null`; an absent field reads as null |

mod decode;
mod encode;
mod keys;
mod nested;
mod read;
mod scan;
mod write;

pub use decode::{JsonDecoder, JsonLimits};
pub use encode::{JsonEncodeOptions, JsonEncoder, RowJson};
