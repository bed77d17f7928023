//! The list of partitions that librdkafka's calls about offsets take, here always of one.

use rdkafka_sys as sys;

use super::{NativeError, c_string};

/// A list of one partition with an offset.
pub(super) struct PartitionList(*mut sys::rd_kafka_topic_partition_list_t);

impl PartitionList {
    pub fn one(topic: &str, partition: i32, offset: i64) -> Result<Self, NativeError> {
        let topic = c_string(topic)?;
        // SAFETY: the added element is live until the list changes.
        unsafe {
            let list = Self(sys::rd_kafka_topic_partition_list_new(1));
            (*sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition)).offset = offset;
            Ok(list)
        }
    }

    /// Puts a text beside the offset of the one element.
    pub fn set_metadata(&mut self, metadata: &str) {
        // SAFETY: the list has the one element that was added, without metadata; it frees what malloc gave.
        unsafe {
            let element = &mut *(*self.0).elems;
            let copy = libc::malloc(metadata.len().max(1));
            if !copy.is_null() {
                copy.copy_from_nonoverlapping(metadata.as_ptr().cast(), metadata.len());
                (element.metadata, element.metadata_size) = (copy, metadata.len());
            }
        }
    }

    pub fn as_mut_ptr(&mut self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}
