//! A step whose calls may wait, on a thread of its own: batch after batch, in their order. It may hold a whole call's time
//! without a task noticing more than that the answer is not there yet.
//!
//! The thread ends once nobody can give it work and what it has been given is done; nobody waits for it.

use crossbeam_channel::{Sender, unbounded};
use weir_operators::waiting::{Answerer, Reply};
use weir_operators::{Operator, Outputs};
use weir_stream::Batch;

use crate::lookup::asking_for;

enum Work<S> {
    Batch(Batch, Reply),
    Change(Box<dyn FnOnce(&mut S) + Send>),
}

/// A way to the thread; clones are ways to the same one.
pub struct OwnThread<S>(Sender<Work<S>>);

impl<S> Clone for OwnThread<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Operator + 'static> OwnThread<S> {
    /// # Errors
    /// The operating system's, when it has no thread.
    pub fn spawn(name: &str, mut step: S) -> std::io::Result<Self> {
        let (work, work_in) = unbounded();
        let run = move || {
            for work in work_in {
                match work {
                    Work::Change(change) => change(&mut step),
                    // The task is gone, and with it everything that it was still owed.
                    Work::Batch(_, reply) if reply.is_forgotten() => {}
                    Work::Batch(batch, reply) => {
                        let _asking = asking_for(reply.wanted());
                        let mut outputs = Outputs::default();
                        let answer = step.process(batch, &mut outputs).map(|()| outputs);
                        reply.answer(answer);
                    }
                }
            }
        };
        // The name of a thread has 15 bytes on Linux.
        std::thread::Builder::new().name(format!("wait-{name:.10}")).spawn(run)?;
        Ok(Self(work))
    }

    /// Changes the step behind what it has been given.
    pub fn change(&self, change: impl FnOnce(&mut S) + Send + 'static) {
        // A thread that panicked has dropped a reply, which the task hears of.
        let _ = self.0.send(Work::Change(Box::new(change)));
    }
}

impl<S: Operator + 'static> Answerer for OwnThread<S> {
    fn ask(&mut self, batch: Batch, reply: Reply) {
        // As above: the reply is dropped with the work that nobody takes.
        let _ = self.0.send(Work::Batch(batch, reply));
    }
}
