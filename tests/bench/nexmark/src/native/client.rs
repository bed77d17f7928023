//! librdkafka's batch calls, which the `rdkafka` crate does not offer: messages in by the thousand, payloads out by the
//! thousand. Handles live as long as the process.

use std::ffi::{CString, c_void};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;

use super::Record;
use crate::topic::{PARTITIONS, brokers};

const READ_AT_ONCE: usize = 4096;
const WRITE_AT_ONCE: usize = 1000;
/// How long a read gathers: the call returns when it has as many as it may, or when this is over.
const GATHER_MS: i32 = 20;

const BOUND: Duration = Duration::from_secs(60);

fn client(kind: sys::rd_kafka_type_t, settings: &[(&str, &str)]) -> *mut sys::rd_kafka_t {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let config = config.create_native_config().expect("the settings are sound");
    let mut error = [0; 512];
    // SAFETY: the client owns the copy of the configuration; the buffer is as long as said.
    unsafe {
        let copy = sys::rd_kafka_conf_dup(config.ptr());
        let client = sys::rd_kafka_new(kind, copy, error.as_mut_ptr(), error.len());
        assert!(!client.is_null(), "librdkafka makes no client");
        client
    }
}

fn topic(client: *mut sys::rd_kafka_t, name: &str) -> *mut sys::rd_kafka_topic_t {
    let name = CString::new(name).expect("a topic's name has no NUL");
    // SAFETY: a live client; no configuration of the topic's own.
    let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), std::ptr::null_mut()) };
    assert!(!topic.is_null(), "librdkafka knows no such topic");
    topic
}

/// All partitions of a topic from their beginning, through one queue.
pub struct Reader {
    queue: *mut sys::rd_kafka_queue_t,
    slots: Vec<*mut sys::rd_kafka_message_t>,
}

impl Reader {
    pub fn new(name: &str) -> Self {
        let client = client(
            sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            &[
                ("group.id", "nexmark-native"),
                ("enable.auto.commit", "false"),
                ("fetch.queue.backoff.ms", "2"),
                ("queued.max.messages.kbytes", "4096"),
                ("fetch.message.max.bytes", "1048576"),
            ],
        );
        let topic = topic(client, name);
        // SAFETY: live handles, never destroyed.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        for partition in 0..PARTITIONS {
            let beginning = i64::from(sys::RD_KAFKA_OFFSET_BEGINNING);
            // SAFETY: as above.
            let started = unsafe { sys::rd_kafka_consume_start_queue(topic, partition, beginning, queue) };
            assert_eq!(started, 0, "partition {partition} is there");
        }
        Self { queue, slots: Vec::with_capacity(READ_AT_ONCE) }
    }

    /// Hands over what has come, and says how many records that were.
    pub fn poll(&mut self, mut each: impl FnMut(Record<'_>)) -> u64 {
        let until = Instant::now() + BOUND;
        let taken = loop {
            // SAFETY: the slots have room for as many pointers as said; as many as returned are initialised.
            let taken = unsafe {
                sys::rd_kafka_consume_batch_queue(self.queue, GATHER_MS, self.slots.as_mut_ptr(), READ_AT_ONCE)
            };
            assert!(taken >= 0 && Instant::now() < until, "no more records come");
            if taken > 0 {
                break taken;
            }
        };
        for slot in 0..taken as usize {
            // SAFETY: one of the initialised pointers; its message lives until it is destroyed, once, below.
            unsafe {
                let message = *self.slots.as_ptr().add(slot);
                assert_eq!((*message).err, Code::RD_KAFKA_RESP_ERR_NO_ERROR, "the broker is there");
                let payload = std::slice::from_raw_parts((*message).payload.cast(), (*message).len);
                let time_ms = sys::rd_kafka_message_timestamp(message, std::ptr::null_mut());
                each(Record { partition: (*message).partition, time_ms, payload });
                sys::rd_kafka_message_destroy(message);
            }
        }
        taken as u64
    }
}

/// Payloads to a topic: gathered in one buffer, handed over a thousand at a time.
pub struct Writer {
    client: *mut sys::rd_kafka_t,
    topic: *mut sys::rd_kafka_topic_t,
    payloads: Vec<u8>,
    ends: Vec<usize>,
    messages: Vec<sys::rd_kafka_message_t>,
}

impl Writer {
    pub fn new(name: &str) -> Self {
        let client = client(
            sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            &[
                ("compression.type", "lz4"),
                ("linger.ms", "20"),
                ("batch.size", "1000000"),
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("queue.buffering.max.messages", "100000"),
                ("delivery.report.only.error", "true"),
            ],
        );
        let topic = topic(client, name);
        Self { client, topic, payloads: Vec::new(), ends: Vec::new(), messages: Vec::new() }
    }

    pub fn write(&mut self, row: &impl serde::Serialize) {
        sonic_rs::to_writer(&mut self.payloads, row).expect("rows are plain values");
        self.ends.push(self.payloads.len());
        if self.ends.len() == WRITE_AT_ONCE {
            self.send();
        }
    }

    fn send(&mut self) {
        let mut start = 0;
        self.messages.clear();
        for end in self.ends.drain(..) {
            // SAFETY: plain numbers and pointers, for which zeros are valid.
            let mut message: sys::rd_kafka_message_t = unsafe { std::mem::zeroed() };
            message.payload = self.payloads[start..end].as_ptr().cast_mut().cast::<c_void>();
            message.len = end - start;
            self.messages.push(message);
            start = end;
        }
        let mut sent = 0;
        while sent < self.messages.len() {
            let rest = &mut self.messages[sent..];
            // SAFETY: live handles; the call copies the payloads, which lie in `self.payloads`.
            let taken = unsafe {
                let copy = sys::RD_KAFKA_MSG_F_COPY;
                sys::rd_kafka_produce_batch(self.topic, -1, copy, rest.as_mut_ptr(), rest.len() as i32)
            };
            sent += taken as usize;
            if sent < self.messages.len() {
                // The queue is full: let some go out.
                // SAFETY: a live handle.
                unsafe { sys::rd_kafka_poll(self.client, 10) };
            }
        }
        self.payloads.clear();
    }

    pub fn finish(&mut self) {
        self.send();
        let started = Instant::now();
        // SAFETY: a live handle.
        let flushed = unsafe { sys::rd_kafka_flush(self.client, BOUND.as_millis() as i32) };
        assert_eq!(flushed, Code::RD_KAFKA_RESP_ERR_NO_ERROR, "all is sent after {:?}", started.elapsed());
    }
}
