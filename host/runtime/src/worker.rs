//! Threads that run tasks. A task is bound to one worker for its whole life, so that its state is touched by one thread;
//! a worker with nothing to do sleeps until somebody knocks.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::channel::Wake;
use crate::shared::{Shared, TaskEvent, TaskFault};

/// The longest sleep of an idle worker: idle clocks and readers without a waker are looked at this often.
const LONGEST_SLEEP: Duration = Duration::from_millis(5);

/// What a task found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Something; ask again soon.
    Busy,
    /// Nothing now.
    Idle,
    /// Nothing ever: the last barrier was passed.
    Done,
}

/// One unit of work that owns its state.
pub trait Task: Send {
    /// Does a bounded piece of work without blocking.
    ///
    /// # Errors
    /// A [`TaskFault`]: the task cannot go on and is not run again.
    fn run(&mut self, shared: &Shared) -> Result<Activity, TaskFault>;
}

/// Starts one worker with its tasks. It ends when all are done or failed, or the incarnation is abandoned.
///
/// # Errors
/// The operating system's, when it has no thread.
pub fn spawn(
    number: usize,
    tasks: Vec<Box<dyn Task>>,
    wake: Wake,
    shared: Arc<Shared>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        wake.set(std::thread::current());
        // A panic is a fault of Weir: the open epoch is worthless, and nobody must wait for its barrier.
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(tasks, &shared)));
        if ran.is_err() {
            let message = "a worker panicked; its message is in the log".to_owned();
            shared.tell(TaskEvent::Failed(TaskFault::Internal { step: format!("worker {number}").into(), message }));
        }
    })
}

fn run(mut tasks: Vec<Box<dyn Task>>, shared: &Shared) {
    while !tasks.is_empty() && !shared.abandoned.load(Ordering::Acquire) {
        let mut busy = false;
        tasks.retain_mut(|task| match task.run(shared) {
            Ok(Activity::Busy) => {
                busy = true;
                true
            }
            Ok(Activity::Idle) => true,
            Ok(Activity::Done) => false,
            Err(fault) => {
                shared.tell(TaskEvent::Failed(fault));
                false
            }
        });
        if !busy {
            std::thread::park_timeout(LONGEST_SLEEP);
        }
    }
}
