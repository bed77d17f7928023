//! One transaction of the sink: the rows of one or more epochs and the mark that stands for them, visible together or not at all.
//!
//! Every call is watched: one that never returns ends the process.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::native::{NativeError, Outgoing, Producer, Stamp};
use super::partition::Partitioner;
use super::progress::{EPOCH_HEADER, Mark, group, header_value};
use super::sink::{KafkaSinkConfig, RecordTimestamps, WATCHDOG_GRACE, timestamp_ms};
use super::watchdog::Watchdog;

/// Rows on their way into the topic.
pub(super) struct Transaction<'a> {
    pub config: &'a KafkaSinkConfig,
    pub watchdog: &'a Watchdog,
    pub deadline: Instant,
}

impl Transaction<'_> {
    /// Writes rows and commits them with the mark of the last epoch that they are of.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn write(
        &self,
        producer: &mut Producer,
        partitioner: &mut Partitioner,
        blocks: &[Outgoing<'_>],
        mark: &Mark,
    ) -> Result<(), NativeError> {
        self.begin(producer)?;
        self.send(producer, partitioner, blocks, mark.epoch)?;
        self.commit(producer, mark)
    }

    /// Commits a mark alone.
    ///
    /// # Errors
    /// librdkafka's.
    pub fn mark(&self, producer: &mut Producer, mark: &Mark) -> Result<(), NativeError> {
        self.begin(producer)?;
        self.commit(producer, mark)
    }

    fn limit(&self) -> Duration {
        self.config.transaction_timeout() + WATCHDOG_GRACE
    }

    fn begin(&self, producer: &mut Producer) -> Result<(), NativeError> {
        self.watchdog.watch("begin_transaction", self.limit(), || producer.begin_transaction())
    }

    fn commit(&self, producer: &mut Producer, mark: &Mark) -> Result<(), NativeError> {
        let KafkaSinkConfig { identity, topic, .. } = self.config;
        let (group, committed, limit) = (group(identity), mark.committed(), self.limit());
        let left = || self.deadline.saturating_duration_since(Instant::now());
        self.watchdog.watch("send_offsets_to_transaction", limit, || {
            producer.send_offset(&group, topic, 0, &committed, left())
        })?;
        self.watchdog.watch("commit_transaction", limit, || producer.commit_transaction(left()))
    }

    fn send(
        &self,
        producer: &mut Producer,
        partitioner: &mut Partitioner,
        blocks: &[Outgoing<'_>],
        epoch: u64,
    ) -> Result<(), NativeError> {
        let to: Vec<Vec<i32>> = blocks.iter().map(|out| partitioner.assign(out.payloads())).collect();
        let header = header_value(&self.config.identity, epoch);
        let marked = last_rows(&to, partitioner.partitions());
        for (block, to) in to.iter().enumerate() {
            let out = blocks[block];
            let mut marked = marked.iter().filter(|(of, _)| *of == block).map(|(_, row)| *row).peekable();
            let mut next = 0;
            while next < to.len() {
                let stop = marked.peek().copied().unwrap_or(to.len());
                self.send_plain(producer, out, next..stop, to)?;
                if marked.next().is_some() {
                    let stamp = Stamp { header: Some((EPOCH_HEADER, header.as_bytes())), ..self.stamp(out, stop) };
                    producer.send_row(out, stop, to[stop], stamp, self.deadline)?;
                }
                next = stop + 1;
            }
        }
        Ok(())
    }

    fn send_plain(
        &self,
        producer: &mut Producer,
        out: Outgoing<'_>,
        rows: Range<usize>,
        to: &[i32],
    ) -> Result<(), NativeError> {
        if self.config.timestamps == RecordTimestamps::WriteTime {
            return producer.send_rows(out, rows, to, self.deadline);
        }
        rows.into_iter().try_for_each(|row| producer.send_row(out, row, to[row], self.stamp(out, row), self.deadline))
    }

    fn stamp(&self, out: Outgoing<'_>, row: usize) -> Stamp<'static> {
        let event_time = self.config.timestamps == RecordTimestamps::EventTime;
        let timestamp_ms = event_time.then(|| timestamp_ms(out.payloads(), row)).flatten();
        Stamp { timestamp_ms, header: None }
    }
}

/// The last row of each partition, as (block, row) in sending order: these carry the epoch.
fn last_rows(to: &[Vec<i32>], partitions: u32) -> Vec<(usize, usize)> {
    let mut last = vec![None; partitions as usize];
    for (block, to) in to.iter().enumerate() {
        to.iter().enumerate().for_each(|(row, partition)| last[*partition as usize] = Some((block, row)));
    }
    let mut last: Vec<_> = last.into_iter().flatten().collect();
    last.sort_unstable();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_of_each_partition_carries_the_epoch() {
        let to = [vec![0, 1, 0, 3], vec![1, 0]];
        assert_eq!(last_rows(&to, 4), [(0, 3), (1, 0), (1, 1)]);
    }
}
