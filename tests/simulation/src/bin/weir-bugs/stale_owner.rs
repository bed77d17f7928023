//! Two instances of one sink on one file: the older one is fenced.

use std::sync::Arc;

use weir_connectors::SinkIdentity;
use weir_connectors::file::JsonLinesSink;
use weir_stream::{PayloadBlock, Sink, SinkData, SinkEpoch, SinkError};

pub fn run() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let sink = || JsonLinesSink::new(SinkIdentity::new("sums", "lines"), folder.path().join("lines.jsonl"));
    let (mut older, mut newer) = (sink(), sink());
    older.recover(0).map_err(|error| error.to_string())?;
    newer.recover(0).map_err(|error| error.to_string())?;
    let block = PayloadBlock { values: [b"{}".as_slice()].into_iter().collect(), keys: None, timestamps_us: vec![0] };
    let entry = SinkEpoch { epoch: 1, previous: 0, cut: None, data: Arc::new(SinkData::Payloads(vec![block])) };
    match older.expose(&entry) {
        Err(SinkError::Fenced(_)) => Ok(()),
        other => Err(format!("the older owner was not fenced: {other:?}")),
    }
}
