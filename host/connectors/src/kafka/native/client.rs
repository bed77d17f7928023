//! One librdkafka client: creation from properties, its events, metadata and watermarks.
//!
//! It deliberately does not decide what an event means.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use weir_stream::SinkData;

use super::partition_list::PartitionList;
use super::{NativeError, c_string, text};

/// Called from librdkafka's threads, under a queue's lock: must be short and must not call into the client.
pub type Waker = Box<dyn Fn() + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Consumer,
    Producer,
}

/// What a client tells about itself, outside the data path.
#[derive(Debug, Clone)]
pub enum ClientEvent {
    Error(NativeError),
    /// librdkafka's statistics document (JSON), as often as `statistics.interval.ms` says.
    Statistics(String),
}

/// A topic as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    pub partitions: u32,
    /// Partitions that have no leader right now.
    pub leaderless: Vec<i32>,
}

/// How long the end of a client is waited for. librdkafka can wait for ever for a partition of a topic that was
/// deleted; then its threads are left behind, with everything that they may still look at.
const DESTROY_WAIT: Duration = Duration::from_secs(2);

/// An owned client, with its main queue.
pub struct Client {
    handle: ManuallyDrop<Handle>,
    events: NonNull<sys::rd_kafka_queue_t>,
}

/// The C handle and what its threads look at, destroyed in this order.
struct Handle {
    client: NonNull<sys::rd_kafka_t>,
    /// Boxed twice: the C side holds the address of the inner box.
    event_waker: Option<Box<Waker>>,
    callbacks: Box<Callbacks>,
    /// Memory that produced messages point to (invariant 4).
    held: Vec<Arc<SinkData>>,
}

// SAFETY: invariant 2; the rest is Send and Sync itself.
unsafe impl Send for Handle {}

/// What librdkafka's callbacks write to.
#[derive(Default)]
struct Callbacks {
    closed_connections: AtomicU64,
    events: Mutex<VecDeque<ClientEvent>>,
    failed_delivery: Mutex<Option<NativeError>>,
}

impl Callbacks {
    fn push(&self, event: ClientEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

// SAFETY: invariant 2; the waker and the counters are Send and Sync themselves.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    /// Creates a client; it connects by itself.
    ///
    /// # Errors
    /// An unknown or invalid property, or a combination that librdkafka refuses.
    pub fn new(kind: Kind, properties: &BTreeMap<String, String>) -> Result<Self, NativeError> {
        let conf = Conf::new(properties)?;
        let callbacks = Box::<Callbacks>::default();
        let mut reason = [0 as c_char; 512];
        let native_kind = match kind {
            Kind::Consumer => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            Kind::Producer => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        // SAFETY: `conf` is live; the callbacks' state outlives the handle (it is dropped after it). On success
        // rd_kafka_new owns the conf, on failure it stays ours.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf.0, (&raw const *callbacks).cast_mut().cast());
            sys::rd_kafka_conf_set_log_cb(conf.0, Some(log));
            sys::rd_kafka_conf_set_closesocket_cb(conf.0, Some(close_socket));
            sys::rd_kafka_conf_set_error_cb(conf.0, Some(note_error));
            sys::rd_kafka_conf_set_stats_cb(conf.0, Some(note_statistics));
            if kind == Kind::Producer {
                sys::rd_kafka_conf_set_dr_msg_cb(conf.0, Some(note_delivery));
            }
            let handle = sys::rd_kafka_new(native_kind, conf.0, reason.as_mut_ptr(), reason.len());
            let Some(handle) = NonNull::new(handle) else {
                let reason = CStr::from_ptr(reason.as_ptr()).to_string_lossy();
                return Err(NativeError::new(Code::RD_KAFKA_RESP_ERR__INVALID_ARG, reason));
            };
            std::mem::forget(conf);
            let events = NonNull::new(sys::rd_kafka_queue_get_main(handle.as_ptr()));
            let events = events.expect("every client has a main queue");
            let handle = Handle { client: handle, event_waker: None, callbacks, held: Vec::new() };
            Ok(Self { handle: ManuallyDrop::new(handle), events })
        }
    }

    pub(super) fn handle(&self) -> *mut sys::rd_kafka_t {
        self.handle.client.as_ptr()
    }

    pub(super) fn held(&mut self) -> &mut Vec<Arc<SinkData>> {
        &mut self.handle.held
    }

    /// The next event that waits, without blocking.
    pub fn next_event(&self) -> Option<ClientEvent> {
        self.serve(Duration::ZERO);
        self.handle.callbacks.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Lets waiting callbacks run on this thread, waiting for one at most this long.
    pub fn serve(&self, timeout: Duration) {
        // SAFETY: live handle.
        unsafe { sys::rd_kafka_poll(self.handle(), millis(timeout)) };
    }

    /// The first message that failed for good since this was last asked; known after a flush or commit.
    pub fn take_failed_delivery(&self) -> Option<NativeError> {
        self.handle.callbacks.failed_delivery.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Where to knock when [`Client::next_event`] may have something. Set once, before the client is shared.
    pub fn set_event_waker(&mut self, waker: Waker) {
        let waker = Box::new(waker);
        // SAFETY: the waker stays at its address until Drop has disabled the callback.
        unsafe {
            let opaque = (&raw const *waker).cast_mut().cast();
            sys::rd_kafka_queue_cb_event_enable(self.events.as_ptr(), Some(super::feed::wake), opaque);
        }
        self.handle.event_waker = Some(waker);
    }

    /// Connections closed by either side since the client was created. Exact, unlike error events, which
    /// librdkafka suppresses when they repeat.
    pub fn closed_connections(&self) -> u64 {
        self.handle.callbacks.closed_connections.load(Ordering::Acquire)
    }

    /// Asks the cluster about one topic.
    ///
    /// # Errors
    /// The request's error, or the topic's own (unknown, not authorized).
    pub fn topic_metadata(&self, topic: &str, timeout: Duration) -> Result<TopicMetadata, NativeError> {
        let topic = Topic::new(self, topic)?;
        let mut metadata = std::ptr::null();
        // SAFETY: the metadata is read before it is destroyed; counts and pointers in it belong together.
        unsafe {
            let millis = millis(timeout);
            NativeError::check(sys::rd_kafka_metadata(self.handle(), 0, topic.0, &mut metadata, millis))?;
            let topics = slice((*metadata).topics, (*metadata).topic_cnt);
            let read = topics.first().map(|topic| {
                let partitions = slice(topic.partitions, topic.partition_cnt);
                let leaderless = partitions.iter().filter(|partition| partition.leader < 0);
                let leaderless = leaderless.map(|partition| partition.id).collect();
                (topic.err, TopicMetadata { partitions: partitions.len() as u32, leaderless })
            });
            sys::rd_kafka_metadata_destroy(metadata);
            let (code, read) = read.ok_or_else(|| NativeError::of(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART))?;
            NativeError::check(code)?;
            Ok(read)
        }
    }

    /// The first offset held and the end that this client's isolation level sees, asked from the leader.
    ///
    /// # Errors
    /// The request's error.
    pub fn query_watermarks(&self, topic: &str, partition: i32, wait: Duration) -> Result<(i64, i64), NativeError> {
        let topic = c_string(topic)?;
        let (mut low, mut high) = (0, 0);
        // SAFETY: plain out-parameters.
        NativeError::check(unsafe {
            let wait = millis(wait);
            sys::rd_kafka_query_watermark_offsets(self.handle(), topic.as_ptr(), partition, &mut low, &mut high, wait)
        })?;
        Ok((low, high))
    }

    /// The first offset whose record is not older than `timestamp_ms`; `None` when all are.
    ///
    /// # Errors
    /// The request's or the partition's error.
    pub fn offset_at(
        &self,
        topic: &str,
        partition: i32,
        timestamp_ms: i64,
        wait: Duration,
    ) -> Result<Option<i64>, NativeError> {
        let mut list = PartitionList::one(topic, partition, timestamp_ms)?;
        // SAFETY: the list is live and has the one element that was added.
        unsafe {
            NativeError::check(sys::rd_kafka_offsets_for_times(self.handle(), list.as_mut_ptr(), millis(wait)))?;
            let element = &*(*list.as_mut_ptr()).elems;
            NativeError::check(element.err)?;
            Ok((element.offset >= 0).then_some(element.offset))
        }
    }

    /// What is committed for a partition by the group in `group.id`, if anything is; waits for open transactions under
    /// `read_committed`.
    ///
    /// # Errors
    /// The request's or the partition's error.
    pub fn committed(&self, topic: &str, partition: i32, wait: Duration) -> Result<Option<Committed>, NativeError> {
        let mut list = PartitionList::one(topic, partition, i64::from(sys::RD_KAFKA_OFFSET_INVALID))?;
        // SAFETY: the list is live and has the one element that was added.
        unsafe {
            NativeError::check(sys::rd_kafka_committed(self.handle(), list.as_mut_ptr(), millis(wait)))?;
            let element = &*(*list.as_mut_ptr()).elems;
            NativeError::check(element.err)?;
            let metadata = slice(element.metadata.cast::<u8>(), element.metadata_size as c_int);
            let metadata = String::from_utf8_lossy(metadata).into_owned();
            Ok((element.offset >= 0).then_some(Committed { offset: element.offset, metadata }))
        }
    }
}

/// An offset of a group, with the text that was committed beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub metadata: String,
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: invariant 1: nothing made from this handle is alive any more; it is taken once.
        let handle = unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.events.as_ptr(), None, std::ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.events.as_ptr());
            ManuallyDrop::take(&mut self.handle)
        };
        let (ended, end) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("kafka-destroy".into());
        let spawned = thread.spawn(move || {
            drop(handle);
            drop(ended);
        });
        // Without a thread the handle was destroyed here, with the closure.
        if spawned.is_ok() && end.recv_timeout(DESTROY_WAIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::debug!(target: "weir::kafka", "a client does not end: its threads are left behind");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once, before the fields that its threads look at.
        unsafe { sys::rd_kafka_destroy(self.client.as_ptr()) }
    }
}

/// A configuration not yet owned by a client.
struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    fn new(properties: &BTreeMap<String, String>) -> Result<Self, NativeError> {
        // SAFETY: no preconditions.
        let conf = Self(unsafe { sys::rd_kafka_conf_new() });
        for (name, value) in properties {
            let (c_name, c_value) = (c_string(name)?, c_string(value)?);
            let mut reason = [0 as c_char; 512];
            // SAFETY: live conf, NUL-terminated texts, a buffer with its length.
            let outcome = unsafe {
                let (name, value) = (c_name.as_ptr(), c_value.as_ptr());
                sys::rd_kafka_conf_set(conf.0, name, value, reason.as_mut_ptr(), reason.len())
            };
            if outcome != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                // SAFETY: librdkafka terminates what it writes.
                let reason = unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy();
                let message = format!("property `{name}`: {reason}");
                return Err(NativeError::new(Code::RD_KAFKA_RESP_ERR__INVALID_ARG, message));
            }
        }
        Ok(conf)
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: still ours: a conf that a client took over is forgotten, not dropped.
        unsafe { sys::rd_kafka_conf_destroy(self.0) }
    }
}

/// A reference to a topic in a client; must not outlive it.
pub(super) struct Topic(pub *mut sys::rd_kafka_topic_t);

impl Topic {
    pub fn new(client: &Client, name: &str) -> Result<Self, NativeError> {
        let name = c_string(name)?;
        // SAFETY: live handle and text; a null conf means the client's default topic configuration.
        let topic = unsafe { sys::rd_kafka_topic_new(client.handle(), name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: reads a thread-local.
            return Err(NativeError::of(unsafe { sys::rd_kafka_last_error() }));
        }
        Ok(Self(topic))
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { sys::rd_kafka_topic_destroy(self.0) }
    }
}

pub(super) fn millis(duration: Duration) -> c_int {
    duration.as_millis().try_into().unwrap_or(c_int::MAX)
}

/// # Safety
/// `start` points to `count` values that outlive the use of the slice, or `count` is 0.
unsafe fn slice<'a, T>(start: *const T, count: c_int) -> &'a [T] {
    if count <= 0 || start.is_null() {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(start, count as usize) }
}

/// librdkafka's log lines as ours; syslog levels.
unsafe extern "C" fn log(_: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    // SAFETY: librdkafka passes NUL-terminated texts that live during the call.
    let (facility, line) = unsafe { (text(facility), text(line)) };
    match level {
        0..=3 => tracing::warn!(target: "weir::kafka", "{facility}: {line}"),
        4..=6 => tracing::info!(target: "weir::kafka", "{facility}: {line}"),
        _ => tracing::debug!(target: "weir::kafka", "{facility}: {line}"),
    }
}

unsafe extern "C" fn close_socket(socket: c_int, opaque: *mut c_void) -> c_int {
    // SAFETY: the opaque is the client's `Callbacks`, alive until the handle is destroyed; the socket is
    // librdkafka's, handed over to be closed.
    unsafe {
        callbacks(opaque).closed_connections.fetch_add(1, Ordering::AcqRel);
        libc::close(socket)
    }
}

/// # Safety
/// `opaque` is a client's `Callbacks`, which live until its handle is destroyed.
unsafe fn callbacks<'a>(opaque: *mut c_void) -> &'a Callbacks {
    // SAFETY: promised by the caller.
    unsafe { &*opaque.cast::<Callbacks>() }
}

unsafe extern "C" fn note_error(client: *mut sys::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    let mut buffer = [0 as c_char; 512];
    // SAFETY: the client is live during its callback, the reason NUL-terminated, the buffer's length is right.
    unsafe {
        let fatal = code == Code::RD_KAFKA_RESP_ERR__FATAL as c_int;
        let (code, message) = if fatal {
            let code = sys::rd_kafka_fatal_error(client, buffer.as_mut_ptr(), buffer.len());
            (code, text(buffer.as_ptr()))
        } else {
            let code = Code::try_from(code).unwrap_or(Code::RD_KAFKA_RESP_ERR_UNKNOWN);
            (code, text(reason))
        };
        callbacks(opaque).push(ClientEvent::Error(NativeError { code, message, fatal }));
    }
}

unsafe extern "C" fn note_statistics(
    _: *mut sys::rd_kafka_t,
    json: *mut c_char,
    length: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: the document has `length` bytes and lives during the call; 0 leaves it to librdkafka.
    unsafe {
        let json = std::slice::from_raw_parts(json.cast::<u8>(), length);
        callbacks(opaque).push(ClientEvent::Statistics(String::from_utf8_lossy(json).into_owned()));
    }
    0
}

unsafe extern "C" fn note_delivery(
    _: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: the message lives during the call.
    unsafe {
        if (*message).err != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            let failed = &callbacks(opaque).failed_delivery;
            failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| NativeError::of((*message).err));
        }
    }
}
