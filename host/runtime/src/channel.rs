//! Queues between tasks: bounded in bytes, one producer task and one consumer task each, order kept.
//!
//! Nobody blocks on a queue. A producer looks for [`Channel::has_room`] before it makes more and may overshoot by what
//! one batch became; a consumer that finds nothing lets its worker rest until [`Wake`] is called.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use weir_operators::KeyedBatch;
use weir_stream::source::Waker;
use weir_stream::time::InputTime;

use crate::barrier::Barrier;

/// Wakes one worker; set when the worker's thread exists.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<std::sync::OnceLock<Thread>>);

impl Wake {
    pub fn set(&self, thread: Thread) {
        // A worker sets its own wake once, at start.
        let _ = self.0.set(thread);
    }

    pub fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }

    /// Itself as what others call.
    pub fn waker(&self) -> Waker {
        let wake = self.clone();
        Arc::new(move || wake.wake())
    }
}

/// What flows between two tasks.
#[derive(Debug)]
pub enum Message {
    Rows(KeyedBatch),
    Time(InputTime),
    Barrier(Arc<Barrier>),
}

impl Message {
    fn byte_size(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.byte_size(),
            Self::Time(_) | Self::Barrier(_) => 0,
        }
    }
}

/// A queue from one task to another.
#[derive(Debug)]
pub struct Channel {
    queue: Mutex<VecDeque<Message>>,
    bytes: AtomicUsize,
    capacity_bytes: usize,
    producer: Wake,
    consumer: Wake,
}

impl Channel {
    pub fn new(capacity_bytes: usize, producer: Wake, consumer: Wake) -> Arc<Self> {
        let queue = Mutex::new(VecDeque::new());
        Arc::new(Self { queue, bytes: AtomicUsize::new(0), capacity_bytes, producer, consumer })
    }

    pub fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Acquire) < self.capacity_bytes
    }

    pub fn send(&self, message: Message) {
        self.bytes.fetch_add(message.byte_size(), Ordering::AcqRel);
        self.lock().push_back(message);
        self.consumer.wake();
    }

    pub fn receive(&self) -> Option<Message> {
        let message = self.lock().pop_front()?;
        let size = message.byte_size();
        let before = self.bytes.fetch_sub(size, Ordering::AcqRel);
        if before >= self.capacity_bytes && before - size < self.capacity_bytes {
            self.producer.wake();
        }
        Some(message)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Message>> {
        // A panic elsewhere leaves the queue itself whole: push and pop do not panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
