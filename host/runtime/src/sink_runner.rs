//! One thread per sink: carries out what the protocol wants of it, waits out a target that is down, and reports.
//!
//! The thread keeps no truth: after any loss it asks the target, and the protocol decides what is sent again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use weir_stream::{ExposeOutcome, Sink, SinkEpoch, SinkError, SinkPosition, SinkReject};

/// How often a gathering sink is asked whether its time has come.
const FLUSH_CHECK: Duration = Duration::from_millis(200);
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// What the coordinator wants of a sink.
#[derive(Debug)]
pub enum SinkCommand {
    /// Ask the target what it holds; `acked` is the last epoch known to be exposed.
    Recover {
        acked: u64,
    },
    /// One entry, or several in order.
    Expose(Vec<SinkEpoch>),
    Flush,
    /// Rejects through this epoch are durable as dead letters.
    ForgetRejects {
        through: u64,
    },
}

/// What a sink tells.
#[derive(Debug)]
pub enum SinkEvent {
    Recovered(SinkPosition),
    Accepted {
        through: u64,
    },
    Exposed {
        through: u64,
    },
    Rejected(Vec<SinkReject>),
    /// The target is away; recovery goes on by itself after the back-off once the coordinator asks.
    Lost(String),
    Fenced(String),
    Failed {
        message: String,
        next: String,
    },
}

/// Starts the sink's thread. It ends when the commands' sender is dropped.
pub fn spawn(
    name: &str,
    sink: Box<dyn Sink>,
    commands: Receiver<SinkCommand>,
    report: impl Fn(SinkEvent) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let mut runner = Runner { sink, report, back_off: FIRST_BACK_OFF, lost_at: None };
    std::thread::Builder::new().name(format!("sink-{name}")).spawn(move || {
        // A panic is a fault of Weir or of the target's driver: nobody must wait for this sink.
        if catch_unwind(AssertUnwindSafe(|| runner.run(&commands))).is_err() {
            let message = "its thread panicked; the message is in the log".to_owned();
            (runner.report)(SinkEvent::Failed { message, next: "start again, and report it".to_owned() });
        }
    })
}

struct Runner<R> {
    sink: Box<dyn Sink>,
    report: R,
    back_off: Duration,
    lost_at: Option<Instant>,
}

impl<R: Fn(SinkEvent)> Runner<R> {
    fn run(&mut self, commands: &Receiver<SinkCommand>) {
        loop {
            match commands.recv_timeout(FLUSH_CHECK) {
                Ok(command) => self.carry_out(command, commands),
                Err(RecvTimeoutError::Timeout) if self.lost_at.is_none() => self.flush(false),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn carry_out(&mut self, command: SinkCommand, commands: &Receiver<SinkCommand>) {
        match command {
            SinkCommand::Recover { acked } => self.recover(acked, commands),
            // What was sent before the loss is sent again after recovery.
            _ if self.lost_at.is_some() => {}
            SinkCommand::Expose(entries) => self.expose(&entries),
            SinkCommand::Flush => self.flush(true),
            SinkCommand::ForgetRejects { through } => {
                if let Err(error) = self.sink.forget_rejects(through) {
                    self.fail(error);
                }
            }
        }
    }

    fn recover(&mut self, acked: u64, commands: &Receiver<SinkCommand>) {
        if self.lost_at.is_some() {
            // Bounded by the pipeline's end: a dropped sender ends the wait.
            let until = Instant::now() + self.back_off;
            self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                if let Err(RecvTimeoutError::Disconnected) = commands.recv_timeout(left) {
                    return;
                }
            }
        }
        let recovered = self.sink.recover(acked).and_then(|position| Ok((position, self.sink.remembered_rejects()?)));
        match recovered {
            Ok((position, rejects)) => {
                (self.lost_at, self.back_off) = (None, FIRST_BACK_OFF);
                if !rejects.is_empty() {
                    (self.report)(SinkEvent::Rejected(rejects));
                }
                (self.report)(SinkEvent::Recovered(position));
            }
            Err(error) => self.fail(error),
        }
    }

    fn expose(&mut self, entries: &[SinkEpoch]) {
        let Some(SinkEpoch { epoch: through, .. }) = entries.last() else { return };
        match self.sink.expose_together(entries) {
            Ok(outcome) => {
                (self.report)(SinkEvent::Accepted { through: *through });
                self.exposed(outcome);
            }
            Err(error) => self.fail(error),
        }
    }

    fn flush(&mut self, force: bool) {
        match self.sink.flush(force) {
            Ok(outcome) => self.exposed(outcome),
            Err(error) => self.fail(error),
        }
    }

    fn exposed(&mut self, outcome: ExposeOutcome) {
        if !outcome.rejects.is_empty() {
            (self.report)(SinkEvent::Rejected(outcome.rejects));
        }
        if let Some(through) = outcome.exposed {
            (self.report)(SinkEvent::Exposed { through });
        }
    }

    fn fail(&mut self, error: SinkError) {
        self.lost_at = Some(Instant::now());
        (self.report)(match error {
            SinkError::Retry(message) => SinkEvent::Lost(message),
            SinkError::Fenced(message) => SinkEvent::Fenced(message),
            SinkError::Fatal { message, next } => SinkEvent::Failed { message, next },
        });
    }
}
