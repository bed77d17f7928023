//! The table that q13 looks its rows up in: a value for each of ten thousand keys.

use std::fmt::Write;

use crate::engine;

pub const KEYS: i64 = 10_000;

pub fn value(key: i64) -> String {
    format!("value of {key}")
}

/// Writes the table where q13's manifest has it; it is not kept in the repository.
pub fn write() {
    let mut table = "key,value\n".to_owned();
    for key in 0..KEYS {
        writeln!(table, "{key},{}", value(key)).expect("memory takes text");
    }
    let folder = engine::folder().join("out");
    std::fs::create_dir_all(&folder).expect("a folder beside the queries");
    std::fs::write(folder.join("side-input.csv"), table).expect("a file beside the queries");
}
