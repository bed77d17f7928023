//! The only place that touches librdkafka's C interface: safe types over its handles.
//!
//! Why not the `rdkafka` crate's clients: they hand over one event per record, and producing through them copies
//! every payload. The batch calls that are worth 1.3 to 1.5 times the CPU exist in the C interface alone.
//!
//! Invariants that every `unsafe` block below leans on:
//!
//! 1. A [`Client`] owns its `rd_kafka_t`; everything made from it (topics, queues, feeds) holds an `Arc` of it or
//!    borrows it, so the handle is destroyed last.
//! 2. librdkafka's handles are thread-safe; message structs are not shared between threads by us.
//! 3. A fetched message's memory is valid until `rd_kafka_message_destroy`, which [`Messages`] calls once per message
//!    when it is dropped; everything borrowed from it borrows the `Messages`.
//! 4. Payloads are produced without copying: a producer's client keeps an `Arc` of their memory until a commit
//!    returned without error (all messages acknowledged) or the handle was destroyed (its threads have ended).
//! 5. Callbacks run on librdkafka's threads, some of them under a queue's lock: they never call back into it.
//!
//! It deliberately knows no error policy: codes and texts go up as [`NativeError`].

mod client;
mod feed;
mod partition_list;
mod producer;

pub(super) use client::{Client, ClientEvent, Committed, Kind};
pub(super) use feed::{Feed, Message};
pub(super) use producer::{Outgoing, Producer, Stamp};

use std::ffi::{CStr, CString};

use rdkafka_sys::rd_kafka_resp_err_t as Code;

/// What librdkafka said, unjudged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NativeError {
    pub code: Code,
    pub message: String,
    /// The client instance is unusable from now on.
    pub fatal: bool,
}

impl NativeError {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fatal: false }
    }

    /// librdkafka's own text for a bare code.
    pub fn of(code: Code) -> Self {
        // SAFETY: the returned text is static.
        let text = unsafe { CStr::from_ptr(rdkafka_sys::rd_kafka_err2str(code)) };
        Self::new(code, text.to_string_lossy())
    }

    fn check(code: Code) -> Result<(), Self> {
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(Self::of(code)) }
    }

    /// Takes over an error object; null is success.
    fn take(error: *mut rdkafka_sys::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: a non-null error object is ours to read and, once, to destroy.
        unsafe {
            let taken = Self {
                code: rdkafka_sys::rd_kafka_error_code(error),
                message: text(rdkafka_sys::rd_kafka_error_string(error)),
                fatal: rdkafka_sys::rd_kafka_error_is_fatal(error) != 0,
            };
            rdkafka_sys::rd_kafka_error_destroy(error);
            Err(taken)
        }
    }
}

/// A C text as ours; empty for null.
///
/// # Safety
/// `text` is null or a NUL-terminated text that stays valid during the call.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn c_string(value: &str) -> Result<CString, NativeError> {
    CString::new(value)
        .map_err(|_| NativeError::new(Code::RD_KAFKA_RESP_ERR__INVALID_ARG, format!("`{value}` contains a NUL")))
}
