//! The rivals: queries by hand, on the fastest calls that librdkafka has. At least once: no epochs, no transactions, no
//! state that outlives the process.

mod client;
mod rows;
mod windows;

use client::{Reader, Writer};

/// The queries that have a rival.
pub const QUERIES: [&str; 6] = ["q0", "q1", "q2", "q5", "q7", "q14"];

/// One record of the input.
struct Record<'a> {
    partition: i32,
    time_ms: i64,
    payload: &'a [u8],
}

trait Query {
    fn record(&mut self, record: &Record<'_>, out: &mut Writer);

    fn finish(&mut self, _out: &mut Writer) {}
}

/// Reads `events` records of `input` and writes the query's rows to `output`.
pub fn run(query: &str, input: &str, output: &str, events: u64) {
    let mut query: Box<dyn Query> = match query {
        "q0" => Box::new(rows::PassThrough),
        "q1" => Box::new(rows::Convert),
        "q2" => Box::new(rows::Choose),
        "q5" => Box::new(windows::HotItems::default()),
        "q7" => Box::new(windows::HighestBids::default()),
        "q14" => Box::new(rows::Count),
        other => panic!("{other} has no rival; those that have: {QUERIES:?}"),
    };
    let (mut reader, mut writer) = (Reader::new(input), Writer::new(output));
    let mut read = 0;
    while read < events {
        read += reader.poll(|record| query.record(&record, &mut writer));
    }
    query.finish(&mut writer);
    writer.finish();
}
