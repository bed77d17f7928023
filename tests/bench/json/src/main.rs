//! JSON to columns and columns to JSON, ours against arrow-json, interleaved in one run.
//!
//! Unit: CPU time of the thread per event, in nanoseconds, arrays and payload offsets included; best and median of
//! the passes. The rival decodes into nested struct columns and is not asked to flatten them; it writes with its
//! row encoder into one buffer, the fastest way that it has. Both get the same allocator and the same payloads.
//!
//!     cargo run --release -p weir-bench-json -- [passes]

mod contest;
mod payloads;

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use weir_codecs::{ColumnSource, Decoder, Encoder, JsonDecoder, JsonEncodeOptions, JsonEncoder, JsonLimits};
use weir_stream::{PayloadBuilder, SourceRecords};

use crate::contest::Contest;
use crate::payloads::Case;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of each case.
const EVENTS: usize = 65_536;

/// Events of one batch.
const BATCH: usize = 8_192;

const DEFAULT_PASSES: usize = 15;

fn main() {
    let passes = std::env::args().nth(1).and_then(|passes| passes.parse().ok()).unwrap_or(DEFAULT_PASSES);
    println!("ns of CPU per event, {EVENTS} events in batches of {BATCH}, {passes} passes, load {}", load());
    println!("{:44} {:>16} {:>16} {:>14}", "", "ours best/median", "rival best/median", "ratio");
    for case in payloads::cases() {
        let records = case.records(EVENTS);
        let bytes = records.values.byte_size() / EVENTS;
        decode_contest(&case, &records).run(&format!("decode {}, {bytes} B", case.name), EVENTS, passes);
        let batches = decode_all(&mut our_decoder(&case), &records);
        encode_contest(&batches).run(&format!("encode {}", case.name), EVENTS, passes);
    }
    println!("load at the end {}", load());
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".into(), |load| load.trim().to_owned())
}

fn our_decoder(case: &Case) -> JsonDecoder {
    let fields: Vec<Field> = case.columns.iter().map(|(path, data_type)| field(path, data_type)).collect();
    let sources = case.columns.iter().map(|(path, _)| ColumnSource::path(path)).collect();
    JsonDecoder::new(Arc::new(Schema::new(fields)), sources, JsonLimits::default()).expect("the case is valid")
}

fn field(path: &str, data_type: &DataType) -> Field {
    Field::new(path.rsplit('.').next().unwrap_or(path), data_type.clone(), true)
}

/// The same columns as the rival wants them: structs where paths have dots.
fn nested_schema(case: &Case) -> SchemaRef {
    let mut fields: Vec<(String, Vec<Field>)> = Vec::new();
    for (path, data_type) in &case.columns {
        let (parent, leaf) = path.split_once('.').unwrap_or(("", path));
        match fields.iter_mut().find(|(name, _)| name == parent && !parent.is_empty()) {
            Some((_, children)) => children.push(field(leaf, data_type)),
            None => fields.push((parent.to_owned(), vec![field(leaf, data_type)])),
        }
    }
    let nest = |(name, children): (String, Vec<Field>)| match name.as_str() {
        "" => children[0].clone(),
        name => Field::new(name, DataType::Struct(children.into()), true),
    };
    Arc::new(Schema::new(fields.into_iter().map(nest).collect::<Vec<_>>()))
}

fn decode_all(decoder: &mut JsonDecoder, records: &SourceRecords) -> Vec<RecordBatch> {
    let batches = (0..EVENTS).step_by(BATCH).map(|start| decoder.decode(records, start..start + BATCH));
    batches
        .map(|decoded| {
            assert_eq!(decoded.rejects, []);
            decoded.columns
        })
        .collect()
}

fn decode_contest<'a>(case: &Case, records: &'a SourceRecords) -> Contest<'a> {
    let mut ours = our_decoder(case);
    let rival = arrow_json::ReaderBuilder::new(nested_schema(case)).with_batch_size(BATCH).build_decoder();
    let mut rival = rival.expect("the rival takes the same types");
    Contest {
        ours: Box::new(move || {
            let batches = (0..EVENTS).step_by(BATCH).map(|start| ours.decode(records, start..start + BATCH));
            batches.map(|decoded| decoded.columns.num_rows()).sum()
        }),
        rival: Box::new(move || {
            let mut rows = 0;
            for start in (0..EVENTS).step_by(BATCH) {
                for record in start..start + BATCH {
                    rival.decode(records.values.get(record)).expect("the payloads are good");
                }
                rows += rival.flush().expect("the payloads are good").map_or(0, |batch| batch.num_rows());
            }
            rows
        }),
    }
}

fn encode_contest(batches: &[RecordBatch]) -> Contest<'_> {
    let mut ours = JsonEncoder::new(batches[0].schema(), JsonEncodeOptions::default()).expect("the types are ours");
    let options = arrow_json::EncoderOptions::default().with_explicit_nulls(true);
    let mut size = 0;
    let (mut buffer, mut starts) = (Vec::new(), Vec::new());
    Contest {
        ours: Box::new(move || {
            let mut payloads = 0;
            for batch in batches {
                let mut out = PayloadBuilder::with_capacity(BATCH, size);
                ours.encode(batch, &mut out).expect("the batch is of the schema");
                size = out.byte_len();
                payloads += out.finish().len();
            }
            payloads
        }),
        rival: Box::new(move || {
            let mut payloads = 0;
            for batch in batches {
                let rows: ArrayRef = Arc::new(StructArray::from(batch.clone()));
                let field = Arc::new(Field::new("row", rows.data_type().clone(), false));
                let mut encoder = arrow_json::writer::make_encoder(&field, &rows, &options).expect("supported types");
                buffer.clear();
                starts.clear();
                for row in 0..batch.num_rows() {
                    starts.push(buffer.len() as u32);
                    encoder.encode(row, &mut buffer);
                }
                payloads += starts.len();
            }
            payloads
        }),
    }
}
