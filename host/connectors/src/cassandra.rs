//! Cassandra: a connection to a cluster, how its types meet Arrow's, and a table that look-ups ask.
//!
//! Column types that are read and, where it says so, asked with:
//!
//! | declared | Cassandra | as a key |
//! | --- | --- | --- |
//! | bool | boolean | yes |
//! | int8 to int64, uint8 to uint64 | tinyint, smallint, int, bigint, varint, counter; what does not fit costs the rows of its key | yes, but varint and counter |
//! | float32, float64 | float, double | no: equal numbers may have different bytes |
//! | decimal | decimal, varint and integers, exactly | no: 1.0 and 1.00 are two keys to Cassandra |
//! | utf8 | text, varchar, ascii, uuid, timeuuid, inet | yes, but inet |
//! | binary | blob | yes |
//! | date | date | yes |
//! | timestamp with a zone | timestamp, which has milliseconds | yes |

mod connection;
mod reader;
mod types;

pub use connection::CassandraCluster;
pub use reader::CassandraReader;

/// Where Cassandra listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 9042;
