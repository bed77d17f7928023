//! Payload lines to standard output: for looking at a stream, not for keeping it.
//!
//! At-least-once: a terminal cannot be asked what it has seen, so after a crash the lines of entries that the store
//! does not know as exposed are printed again.

use std::io::{self, Stdout, Write};

use weir_stream::{ExposeOutcome, Sink, SinkData, SinkEpoch, SinkError, SinkPosition};

use crate::file::sink::append_lines;
use crate::identity::fatal;

/// Writes each payload and a newline; flushed once an entry.
#[derive(Debug)]
pub struct StdoutSink<W = Stdout> {
    output: W,
    /// Newest epoch that this process has written.
    written: u64,
}

impl StdoutSink {
    pub fn new() -> Self {
        Self::to(io::stdout())
    }
}

impl Default for StdoutSink {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Write> StdoutSink<W> {
    /// The same to another stream.
    pub fn to(output: W) -> Self {
        Self { output, written: 0 }
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    fn recover(&mut self, acked: u64) -> Result<SinkPosition, SinkError> {
        Ok(SinkPosition::Epoch(self.written.max(acked)))
    }

    fn expose(&mut self, entry: &SinkEpoch) -> Result<ExposeOutcome, SinkError> {
        let SinkData::Payloads(blocks) = &*entry.data else {
            return Err(fatal("standard output takes encoded rows, not columns", "give the sink a `format`"));
        };
        let mut lines = Vec::new();
        append_lines(blocks, &mut lines)?;
        self.output.write_all(&lines).and_then(|()| self.output.flush()).map_err(|error| {
            fatal(format!("cannot write to standard output: {error}"), "keep its reader open, or use a file sink")
        })?;
        self.written = entry.epoch;
        Ok(ExposeOutcome { exposed: Some(entry.epoch), rejects: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_stream::{PayloadBlock, Payloads};

    use super::*;

    #[test]
    fn lines_come_out_in_order_and_what_is_not_acknowledged_is_asked_for_again() {
        let entry = |epoch: u64, line: &str| {
            let values: Payloads = [line.as_bytes()].into_iter().collect();
            let block = PayloadBlock { values, keys: None, timestamps_us: vec![0] };
            SinkEpoch { epoch, previous: epoch - 1, cut: None, data: Arc::new(SinkData::Payloads(vec![block])) }
        };
        let mut sink = StdoutSink::to(Vec::new());
        assert_eq!(sink.recover(4).unwrap(), SinkPosition::Epoch(4));
        assert_eq!(sink.expose(&entry(5, "a")).unwrap().exposed, Some(5));
        sink.expose(&entry(6, "b")).unwrap();
        assert_eq!(sink.recover(4).unwrap(), SinkPosition::Epoch(6), "this process knows what it has written");
        assert_eq!(sink.output, b"a\nb\n");
        assert_eq!(
            StdoutSink::to(Vec::new()).recover(0).unwrap(),
            SinkPosition::Epoch(0),
            "a new one wants everything"
        );
    }
}
