//! Looks after the files of tables while a pipeline runs, on a thread of its own.
//!
//! Files are looked at, not subscribed to: that works the same for renames, symbolic links that are turned (as mounted
//! configuration does) and shared folders. One that has just changed is left alone until it rests from one look to the next.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use weir_connectors::file::FileStamp;

use super::file::{Refused, TableFile};
use crate::status::StatusBoard;

/// Between two looks at the files. A change is in use after two of them and the time to read it.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The thread; ends when this is dropped.
pub struct TableWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TableWatch {
    /// # Errors
    /// The operating system's, when it has no thread.
    pub fn spawn(files: Vec<Arc<TableFile>>, status: &Arc<StatusBoard>) -> std::io::Result<Self> {
        let mut watched: Vec<Watched> = files.into_iter().map(Watched::new).collect();
        let (stop, stopped) = bounded(0);
        let status = Arc::clone(status);
        let thread = std::thread::Builder::new().name("lookups".into()).spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                watched.iter_mut().for_each(|file| file.look(&status));
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for TableWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Waited for: what it is still reading must not come after what a next watch has read.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the watch of look-up tables panicked; tables were not reloaded any more");
        }
    }
}

struct Watched {
    file: Arc<TableFile>,
    /// At the look before; none for no file.
    before: Option<FileStamp>,
    /// The content that was taken or refused last.
    judged: Option<FileStamp>,
}

impl Watched {
    fn new(file: Arc<TableFile>) -> Self {
        let taken = file.taken();
        Self { file, before: taken, judged: taken }
    }

    fn look(&mut self, status: &StatusBoard) {
        let now = self.file.stamp();
        let rests = now == self.before;
        self.before = now;
        if !rests || now == self.judged {
            return;
        }
        let step = self.file.step();
        match self.file.take() {
            Ok(size) => {
                status.lookups.loaded(step, size);
                status.lookups.trouble(step, None);
                self.judged = self.file.taken();
            }
            Err(Refused { message, next, passes }) => {
                status.lookups.trouble(step, Some(format!("{message}; the table before stays in use; {next}")));
                // What a later try may read is tried again at every look.
                self.judged = if passes { self.judged } else { now };
            }
        }
    }
}
