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
