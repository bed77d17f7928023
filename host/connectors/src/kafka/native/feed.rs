//! One partition being fetched: batches of messages from its own queue.
//!
//! librdkafka's manual consumer is used on purpose: it needs no group, knows no stored offsets and starts each
//! partition by itself at the offset it is told.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use weir_stream::TimestampType;
use weir_stream::record::NO_TIMESTAMP;

use super::client::{Client, Topic, Waker};
use super::{NativeError, c_string, text};

/// Most messages that one call takes.
pub const MAX_TAKE: usize = 1024;

/// A partition that is being fetched until this is dropped.
pub struct Feed {
    queue: NonNull<sys::rd_kafka_queue_t>,
    waker: Option<Box<Waker>>,
    partition: i32,
    name: std::ffi::CString,
    slots: Vec<*mut sys::rd_kafka_message_t>,
    // Dropped before the client.
    topic: Topic,
    client: Arc<Client>,
}

// SAFETY: invariant 2; slots are empty between calls.
unsafe impl Send for Feed {}

impl Feed {
    /// Starts fetching at `offset` (absolute, or one of librdkafka's logical offsets).
    ///
    /// # Errors
    /// An invalid offset or topic name.
    pub fn start(client: Arc<Client>, topic: &str, partition: i32, offset: i64) -> Result<Self, NativeError> {
        let name = c_string(topic)?;
        let topic = Topic::new(&client, topic)?;
        // SAFETY: live handles; the queue reference is ours until Drop.
        unsafe {
            let queue = sys::rd_kafka_queue_get_partition(client.handle(), name.as_ptr(), partition);
            let queue =
                NonNull::new(queue).ok_or_else(|| NativeError::of(Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION))?;
            let feed = Self { queue, waker: None, partition, name, slots: Vec::with_capacity(MAX_TAKE), topic, client };
            if sys::rd_kafka_consume_start(feed.topic.0, partition, offset) != 0 {
                return Err(NativeError::of(sys::rd_kafka_last_error()));
            }
            Ok(feed)
        }
    }

    /// Up to `most` (at most [`MAX_TAKE`]) messages that wait, without blocking.
    pub fn take(&mut self, most: usize) -> Messages<'_> {
        let most = most.min(MAX_TAKE);
        // SAFETY: the slots have room for `most` pointers; as many as returned are then initialised.
        unsafe {
            let taken = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.slots.as_mut_ptr(), most);
            self.slots.set_len(usize::try_from(taken).unwrap_or(0));
        }
        Messages(&mut self.slots)
    }

    pub fn set_waker(&mut self, waker: Waker) {
        let waker = Box::new(waker);
        // SAFETY: the new waker is in place before the old one is dropped, and the callback runs under the queue's
        // lock, which the call takes: no callback with the old address is under way when it returns.
        unsafe {
            let opaque = (&raw const *waker).cast_mut().cast();
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), Some(wake), opaque);
        }
        self.waker = Some(waker);
    }

    /// The high watermark as of the last fetch, open transactions included.
    pub fn high_watermark(&self) -> Option<i64> {
        let (mut low, mut high) = (0, 0);
        // SAFETY: live handle, plain out-parameters.
        let code = unsafe {
            let handle = self.client.handle();
            sys::rd_kafka_get_watermark_offsets(handle, self.name.as_ptr(), self.partition, &mut low, &mut high)
        };
        (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // SAFETY: the callback is disabled before its waker goes; stop waits for the fetcher.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, std::ptr::null_mut());
            sys::rd_kafka_consume_stop(self.topic.0, self.partition);
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Knocks at the waker whose address was given with the queue.
pub(super) unsafe extern "C" fn wake(_: *mut sys::rd_kafka_t, waker: *mut c_void) {
    // SAFETY: the address of a boxed Waker that lives until the callback is disabled.
    unsafe { (*waker.cast::<Waker>())() }
}

/// Messages taken in one call; given back to librdkafka when dropped.
pub struct Messages<'a>(&'a mut Vec<*mut sys::rd_kafka_message_t>);

impl Messages<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: invariant 3.
        self.0.iter().map(|message| Message(unsafe { &**message }))
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: each message is given back once.
            unsafe { sys::rd_kafka_message_destroy(message) }
        }
    }
}

/// One record, or what librdkafka says in a record's place.
#[derive(Clone, Copy)]
pub struct Message<'a>(&'a sys::rd_kafka_message_t);

impl<'a> Message<'a> {
    /// The record's offset; for the end of the partition, where the next record will be.
    pub fn offset(self) -> i64 {
        self.0.offset
    }

    pub fn error(self) -> Option<NativeError> {
        let code = self.0.err;
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: for an error the text lives as long as the message.
        let text = unsafe { text(sys::rd_kafka_message_errstr(self.0)) };
        Some(NativeError::new(code, text))
    }

    pub fn is_end_of_partition(self) -> bool {
        self.0.err == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF
    }

    pub fn is_record(self) -> bool {
        self.0.err == Code::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    pub fn value(self) -> Option<&'a [u8]> {
        // SAFETY: payload and length belong together, invariant 3.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    pub fn key(self) -> Option<&'a [u8]> {
        // SAFETY: as for the value.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// Microseconds and who set them.
    pub fn timestamp(self) -> (i64, TimestampType) {
        use sys::rd_kafka_timestamp_type_t::*;
        let mut kind = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: live message, plain out-parameter.
        let millis = unsafe { sys::rd_kafka_message_timestamp(self.0, &mut kind) };
        match kind {
            RD_KAFKA_TIMESTAMP_CREATE_TIME => (millis.saturating_mul(1000), TimestampType::CreateTime),
            RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => (millis.saturating_mul(1000), TimestampType::LogAppendTime),
            RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => (NO_TIMESTAMP, TimestampType::None),
        }
    }

    /// Header `index`: its name and value (`None`: null).
    pub fn header(self, index: usize) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let mut headers = std::ptr::null_mut();
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: headers, names and values live as long as the message.
        unsafe {
            if sys::rd_kafka_message_headers(self.0, &mut headers) != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let code = sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
            (code == Code::RD_KAFKA_RESP_ERR_NO_ERROR)
                .then(|| (CStr::from_ptr(name).to_bytes(), bytes(value.cast_mut(), size)))
        }
    }

    pub fn headers(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        (0..).map_while(move |index| self.header(index))
    }
}

/// # Safety
/// `start` is null or points to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: promised by the caller.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast(), length) })
}
