//! A producer that sends payloads from the memory they are in.
//!
//! Deliveries are not reported, failures are: the first one is kept as the cause of the commit that it fails.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_resp_err_t as Code;
use rdkafka_sys::rd_kafka_vtype_t as Field;
use weir_stream::{PayloadBlock, Payloads, SinkData};

use super::client::{Client, Committed, Kind, Topic, millis};
use super::partition_list::PartitionList;
use super::{NativeError, c_string};

const NO_ERROR: Code = Code::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Messages handed over in one call of librdkafka's batch interface.
const BATCH: usize = 1024;

/// In place of a partition: every message names its own.
const EACH_ITS_OWN: i32 = -1;

/// Rows in a run to one partition that make a batch of their own cheaper than a look-up per row.
const WORTH_A_BATCH: usize = 64;

/// How long to serve callbacks before a full queue is tried again. librdkafka's own blocking would wait for ever for
/// failed messages, whose callbacks only this thread runs.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(2);

/// One payload block of an entry, by number, so that its bytes provably live in memory that is kept.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub data: &'a Arc<SinkData>,
    pub block: usize,
}

impl<'a> Outgoing<'a> {
    pub fn payloads(self) -> &'a PayloadBlock {
        match &**self.data {
            SinkData::Payloads(blocks) => &blocks[self.block],
            SinkData::Rows(_) => unreachable!("callers refuse rows before they produce"),
        }
    }
}

/// What one message carries beside its bytes.
#[derive(Default, Clone, Copy)]
pub struct Stamp<'a> {
    /// The time of the call if none.
    pub timestamp_ms: Option<i64>,
    pub header: Option<(&'a CStr, &'a [u8])>,
}

/// A producer into one topic, transactional if its properties say so.
pub struct Producer {
    // Dropped before the client, which also holds the memory that messages point to.
    topic: Topic,
    client: Client,
    messages: Vec<sys::rd_kafka_message_t>,
}

// SAFETY: invariant 2; `messages` is scratch space, empty between calls.
unsafe impl Send for Producer {}

impl Producer {
    /// # Errors
    /// As [`Client::new`].
    pub fn new(topic: &str, properties: &BTreeMap<String, String>) -> Result<Self, NativeError> {
        let client = Client::new(Kind::Producer, properties)?;
        let topic = Topic::new(&client, topic)?;
        Ok(Self { topic, client, messages: Vec::with_capacity(BATCH) })
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Hands over rows of a block, each to its partition, stamped with the time of the call. Waits while the
    /// producer's queue is full, at most until `deadline`.
    ///
    /// # Errors
    /// The first error of a message that was refused or failed.
    pub fn send_rows(
        &mut self,
        out: Outgoing<'_>,
        rows: Range<usize>,
        to: &[i32],
        deadline: Instant,
    ) -> Result<(), NativeError> {
        self.hold(out.data);
        let block = out.payloads();
        let mut next = rows.start;
        while next < rows.end {
            let chunk = next..next + run(&to[next..rows.end]);
            self.messages.clear();
            self.messages.extend(chunk.clone().map(|row| message(block, row, to[row])));
            let (partition, flags) = destination(&to[chunk]);
            // SAFETY: live topic; payloads point into `held` (invariant 4); keys are copied by the call.
            let accepted = unsafe {
                let (messages, count) = (self.messages.as_mut_ptr(), self.messages.len() as i32);
                sys::rd_kafka_produce_batch(self.topic.0, partition, flags, messages, count)
            };
            // Once one message finds the queue full, all behind it do: what was accepted is the front.
            next += usize::try_from(accepted).unwrap_or(0);
            let refusal = self.messages.iter().map(|message| message.err).find(|code| *code != NO_ERROR);
            self.messages.clear();
            if let Some(code) = refusal {
                self.wait_if_full(NativeError::of(code), deadline)?;
            }
        }
        Ok(())
    }

    /// Hands over one row with a timestamp of its own (milliseconds) and, if given, a header.
    ///
    /// # Errors
    /// As [`Producer::send_rows`].
    pub fn send_row(
        &mut self,
        out: Outgoing<'_>,
        row: usize,
        partition: i32,
        stamp: Stamp<'_>,
        deadline: Instant,
    ) -> Result<(), NativeError> {
        self.hold(out.data);
        let block = out.payloads();
        let mut fields = Fields::new(self.topic.0, partition);
        fields.memory(Field::RD_KAFKA_VTYPE_VALUE, payload(&block.values, row));
        if let Some(keys) = &block.keys {
            fields.memory(Field::RD_KAFKA_VTYPE_KEY, payload(keys, row));
        }
        if let Some(timestamp_ms) = stamp.timestamp_ms {
            fields.push(Field::RD_KAFKA_VTYPE_TIMESTAMP, |value| value.i64_ = timestamp_ms);
        }
        if let Some((name, value)) = stamp.header {
            let (val, size) = (value.as_ptr().cast(), value.len() as isize);
            let header = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 { name: name.as_ptr(), val, size };
            fields.push(Field::RD_KAFKA_VTYPE_HEADER, |value| value.header = header);
        }
        loop {
            // SAFETY: the fields are initialised up to `count`; the value points into `held` (invariant 4); key and
            // header are copied by the call.
            let outcome = NativeError::take(unsafe {
                sys::rd_kafka_produceva(self.client.handle(), fields.values.as_ptr(), fields.count)
            });
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) => self.wait_if_full(error, deadline)?,
            }
        }
    }

    fn wait_if_full(&self, error: NativeError, deadline: Instant) -> Result<(), NativeError> {
        if error.code != Code::RD_KAFKA_RESP_ERR__QUEUE_FULL || Instant::now() >= deadline {
            return Err(self.client.take_failed_delivery().unwrap_or(error));
        }
        self.client.serve(FULL_QUEUE_WAIT);
        self.client.take_failed_delivery().map_or(Ok(()), Err)
    }

    /// Waits until all messages are delivered, then lets their memory go.
    ///
    /// # Errors
    /// The first message's that failed, or time-out: then messages stay in flight and their memory held.
    pub fn flush(&mut self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: live handle.
        let flushed = NativeError::check(unsafe { sys::rd_kafka_flush(self.client.handle(), millis(timeout)) });
        self.client.take_failed_delivery().map_or(flushed, Err)?;
        self.client.held().clear();
        Ok(())
    }

    /// Fences older producers of the same transactional id and waits for their open transaction to end.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn init_transactions(&mut self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: live handle.
        NativeError::take(unsafe { sys::rd_kafka_init_transactions(self.client.handle(), millis(timeout)) })
    }

    /// # Errors
    /// librdkafka's.
    pub fn begin_transaction(&mut self) -> Result<(), NativeError> {
        // SAFETY: live handle.
        NativeError::take(unsafe { sys::rd_kafka_begin_transaction(self.client.handle()) })
    }

    /// Makes a commit for (topic, partition) in `group` part of the open transaction.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn send_offset(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        committed: &Committed,
        timeout: Duration,
    ) -> Result<(), NativeError> {
        let group = c_string(group)?;
        let mut list = PartitionList::one(topic, partition, committed.offset)?;
        list.set_metadata(&committed.metadata);
        // SAFETY: live handle and list; the group metadata is destroyed once.
        NativeError::take(unsafe {
            let metadata = sys::rd_kafka_consumer_group_metadata_new(group.as_ptr());
            let (handle, millis) = (self.client.handle(), millis(timeout));
            let outcome = sys::rd_kafka_send_offsets_to_transaction(handle, list.as_mut_ptr(), metadata, millis);
            sys::rd_kafka_consumer_group_metadata_destroy(metadata);
            outcome
        })
        .map_err(|error| self.cause(error))
    }

    /// Delivers what is outstanding and commits; then lets the payloads' memory go.
    ///
    /// # Errors
    /// librdkafka's: the transaction may be committed or not, and the memory stays held until this is dropped.
    pub fn commit_transaction(&mut self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: live handle.
        let committed = unsafe { sys::rd_kafka_commit_transaction(self.client.handle(), millis(timeout)) };
        NativeError::take(committed).map_err(|error| self.cause(error))?;
        self.client.held().clear();
        Ok(())
    }

    /// A transaction's own calls only say that some message failed before.
    fn cause(&self, error: NativeError) -> NativeError {
        match self.client.take_failed_delivery() {
            Some(cause) if !error.fatal => cause,
            _ => error,
        }
    }

    fn hold(&mut self, data: &Arc<SinkData>) {
        let held = self.client.held();
        if !held.last().is_some_and(|last| Arc::ptr_eq(last, data)) {
            held.push(Arc::clone(data));
        }
    }
}

/// The fields of one message, in the form that librdkafka's `produceva` takes.
struct Fields {
    values: [sys::rd_kafka_vu_t; Fields::MOST],
    count: usize,
}

impl Fields {
    /// Topic, partition, value, key, timestamp, header.
    const MOST: usize = 6;

    fn new(topic: *mut sys::rd_kafka_topic_t, partition: i32) -> Self {
        // SAFETY: plain C data for which zeros are valid.
        let mut fields = Self { values: unsafe { std::mem::zeroed() }, count: 0 };
        fields.push(Field::RD_KAFKA_VTYPE_RKT, |value| value.rkt = topic);
        fields.push(Field::RD_KAFKA_VTYPE_PARTITION, |value| value.i32_ = partition);
        fields
    }

    fn push(&mut self, field: Field, set: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1)) {
        let slot = &mut self.values[self.count];
        slot.vtype = field;
        set(&mut slot.u);
        self.count += 1;
    }

    fn memory(&mut self, field: Field, bytes: Option<&[u8]>) {
        let (ptr, size) = raw(bytes);
        let memory = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size };
        self.push(field, |value| value.mem = memory);
    }
}

/// How many of the next rows make one batch: a run that goes to one partition if it is worth a batch of its own.
fn run(to: &[i32]) -> usize {
    let same = to.iter().take(BATCH).take_while(|partition| **partition == to[0]).count();
    if same >= WORTH_A_BATCH { same } else { to.len().min(BATCH) }
}

/// How librdkafka is told where a batch goes: one look-up when all rows go to one partition, else one per row.
fn destination(to: &[i32]) -> (i32, i32) {
    match to {
        [first, rest @ ..] if rest.iter().all(|partition| partition == first) => (*first, 0),
        _ => (EACH_ITS_OWN, sys::RD_KAFKA_MSG_F_PARTITION),
    }
}

fn message(block: &PayloadBlock, row: usize, partition: i32) -> sys::rd_kafka_message_t {
    let (payload_ptr, len) = raw(payload(&block.values, row));
    let (key, key_len) = raw(block.keys.as_ref().and_then(|keys| payload(keys, row)));
    sys::rd_kafka_message_t {
        err: Code::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: std::ptr::null_mut(),
        partition,
        payload: payload_ptr,
        len,
        key,
        key_len,
        offset: 0,
        _private: std::ptr::null_mut(),
    }
}

fn payload(payloads: &Payloads, row: usize) -> Option<&[u8]> {
    (!payloads.is_absent(row)).then(|| payloads.get(row))
}

/// librdkafka takes `void *` but only reads.
fn raw(bytes: Option<&[u8]>) -> (*mut std::ffi::c_void, usize) {
    bytes.map_or((std::ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_to_one_partition_is_a_batch_of_its_own_and_short_ones_share_one() {
        let long = [vec![2; WORTH_A_BATCH], vec![1, 2]].concat();
        assert_eq!(run(&long), WORTH_A_BATCH);
        assert_eq!(destination(&long[..WORTH_A_BATCH]), (2, 0));
        let mixed = [vec![2; WORTH_A_BATCH - 1], vec![1, 2]].concat();
        assert_eq!(run(&mixed), mixed.len());
        assert_eq!(destination(&mixed), (EACH_ITS_OWN, sys::RD_KAFKA_MSG_F_PARTITION));
        assert_eq!(run(&[0; BATCH + 1]), BATCH);
    }
}
