//! A partition that is read up to a given place and no further.
//!
//! Invariant: no record at or behind the place is handed on, and once all before it are, the count of partitions that have
//! come so far is one more. Such a partition is never idle and never ends: time must stand where the records put it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_stream::{PartitionReader, PayloadBuilder, Payloads, Poll, Position, SourceError, SourceRecords};

/// So long may the records before the place be away before it is said that they are not there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads another reader's partition up to `until`.
pub struct ReadUntil {
    inner: Box<dyn PartitionReader>,
    /// None: nothing of the partition is wanted.
    until: Option<Position>,
    reached: bool,
    count: Arc<AtomicUsize>,
    /// Since when the reader has nothing more, though the place is not reached.
    dry_since: Option<Instant>,
    patience: Duration,
}

impl ReadUntil {
    /// `from`: where reading begins.
    pub fn new(
        inner: Box<dyn PartitionReader>,
        from: Option<&Position>,
        until: Option<Position>,
        count: Arc<AtomicUsize>,
    ) -> Self {
        let there = until.as_ref().is_none_or(|until| from.is_some_and(|from| !is_before(from, until)));
        let mut reader = Self { inner, until, reached: false, count, dry_since: None, patience: PATIENCE };
        if there {
            reader.reach();
        }
        reader
    }

    fn reach(&mut self) {
        self.reached = true;
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// The records before the place; none when all are behind it.
    fn before(&mut self, records: SourceRecords, until: &Position) -> Option<SourceRecords> {
        let next = Position { offset: records.next_offset, file: records.file.clone() };
        if is_before(&next, until) {
            return Some(records);
        }
        self.reach();
        let same_file = records.file == until.file;
        let wanted = if same_file { records.offsets.partition_point(|offset| *offset < until.offset) } else { 0 };
        (wanted > 0).then(|| first(&records, wanted, until.offset))
    }

    fn dry(&mut self, until: &Position) -> Result<Poll, SourceError> {
        let file = until.file.as_ref().map_or(String::new(), |file| format!(" of {file}"));
        let since = *self.dry_since.get_or_insert_with(Instant::now);
        if until.offset == Position::END_OF_FILE {
            self.reach();
        } else if since.elapsed() > self.patience {
            return Err(SourceError::Fatal {
                message: format!(
                    "there is nothing more before offset {}{file}, up to which rows were made of it once",
                    until.offset
                ),
                next: "read the input that the targets' rows were made of, or restore with `fresh` or `overwrite`"
                    .into(),
            });
        }
        Ok(Poll::Pending { caught_up: false })
    }
}

fn is_before(position: &Position, until: &Position) -> bool {
    (&position.file, position.offset) < (&until.file, until.offset)
}

fn first(records: &SourceRecords, wanted: usize, next_offset: i64) -> SourceRecords {
    let payloads = |of: &Payloads| {
        let mut builder = PayloadBuilder::with_capacity(wanted, of.byte_size());
        for row in 0..wanted {
            if of.is_absent(row) { builder.push_absent() } else { builder.push(of.get(row)) }
        }
        builder.finish()
    };
    SourceRecords {
        offsets: records.offsets[..wanted].to_vec(),
        timestamps_us: records.timestamps_us[..wanted].to_vec(),
        timestamp_type: records.timestamp_type[..wanted].to_vec(),
        values: payloads(&records.values),
        keys: records.keys.as_ref().map(payloads),
        headers: records.headers.as_ref().map(payloads),
        next_offset,
        lines: records.lines.get(..wanted).unwrap_or_default().to_vec(),
        ..records.clone()
    }
}

impl PartitionReader for ReadUntil {
    fn poll(&mut self, max_records: usize, max_bytes: usize) -> Result<Poll, SourceError> {
        let Some(until) = self.until.clone().filter(|_| !self.reached) else {
            return Ok(Poll::Pending { caught_up: false });
        };
        match self.inner.poll(max_records, max_bytes)? {
            Poll::Records(records) => {
                self.dry_since = None;
                let wanted = self.before(records, &until);
                Ok(wanted.map_or(Poll::Pending { caught_up: false }, Poll::Records))
            }
            Poll::Pending { caught_up: false } => Ok(Poll::Pending { caught_up: false }),
            Poll::Pending { caught_up: true } | Poll::End => self.dry(&until),
        }
    }

    fn set_waker(&mut self, waker: weir_stream::source::Waker) {
        self.inner.set_waker(waker);
    }

    fn pause(&mut self) {
        self.inner.pause();
    }

    fn resume(&mut self) {
        self.inner.resume();
    }

    fn position(&self) -> Option<Position> {
        self.inner.position()
    }

    fn lag(&self) -> Option<u64> {
        self.inner.lag()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    struct Fed(VecDeque<Poll>);

    impl PartitionReader for Fed {
        fn poll(&mut self, _: usize, _: usize) -> Result<Poll, SourceError> {
            Ok(self.0.pop_front().unwrap_or(Poll::End))
        }
    }

    fn records(offsets: &[i64], file: Option<&str>) -> Poll {
        Poll::Records(SourceRecords {
            offsets: offsets.to_vec(),
            timestamps_us: vec![0; offsets.len()],
            timestamp_type: vec![weir_stream::TimestampType::None; offsets.len()],
            values: offsets
                .iter()
                .map(|offset| offset.to_string())
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_bytes)
                .collect(),
            next_offset: offsets.last().unwrap() + 1,
            file: file.map(Into::into),
            ..SourceRecords::default()
        })
    }

    fn reader(polls: Vec<Poll>, until: Option<Position>) -> (ReadUntil, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        (ReadUntil::new(Box::new(Fed(polls.into())), None, until, Arc::clone(&count)), count)
    }

    fn offsets(reader: &mut ReadUntil) -> Vec<i64> {
        match reader.poll(100, 100).unwrap() {
            Poll::Records(records) => records.offsets,
            Poll::Pending { caught_up } => {
                assert!(!caught_up, "it would count as idle");
                Vec::new()
            }
            Poll::End => panic!("time would end"),
        }
    }

    #[test]
    fn records_at_the_place_and_behind_it_are_not_read() {
        let (mut reader, count) = reader(vec![records(&[1, 2], None), records(&[3, 7, 8], None)], Some(7.into()));
        assert_eq!((offsets(&mut reader), count.load(Ordering::SeqCst)), (vec![1, 2], 0));
        let Ok(Poll::Records(last)) = reader.poll(100, 100) else { panic!("records are before the place") };
        assert_eq!((last.offsets, last.next_offset, last.values.len()), (vec![3], 7, 1));
        assert_eq!((offsets(&mut reader), count.load(Ordering::SeqCst)), (vec![], 1));
    }

    #[test]
    fn a_gap_before_the_place_and_a_place_that_nothing_is_behind_are_both_reached() {
        let (mut gap, count) = reader(vec![records(&[1], None), records(&[9], None)], Some(5.into()));
        assert_eq!((offsets(&mut gap), offsets(&mut gap), count.load(Ordering::SeqCst)), (vec![1], vec![], 1));
        let (mut exact, count) = reader(vec![records(&[1, 4], None)], Some(5.into()));
        assert_eq!((offsets(&mut exact), count.load(Ordering::SeqCst)), (vec![1, 4], 1));
    }

    #[test]
    fn the_end_of_a_file_is_reached_when_the_next_one_begins_or_nothing_follows() {
        let end = || Some(Position { offset: Position::END_OF_FILE, file: Some("a".into()) });
        let (mut next, count) = reader(vec![records(&[1], Some("a")), records(&[0], Some("b"))], end());
        assert_eq!((offsets(&mut next), offsets(&mut next), count.load(Ordering::SeqCst)), (vec![1], vec![], 1));
        let (mut last, count) = reader(vec![records(&[1], Some("a"))], end());
        assert_eq!((offsets(&mut last), offsets(&mut last), count.load(Ordering::SeqCst)), (vec![1], vec![], 1));
    }

    #[test]
    fn a_partition_of_which_nothing_was_read_is_not_read() {
        let (mut reader, count) = reader(vec![records(&[0], None)], None);
        assert_eq!((offsets(&mut reader), count.load(Ordering::SeqCst)), (vec![], 1));
    }

    #[test]
    fn an_input_that_ends_before_the_place_is_another_input() {
        let (mut reader, count) = reader(vec![records(&[1], None)], Some(5.into()));
        reader.patience = Duration::ZERO;
        assert_eq!(offsets(&mut reader), [1]);
        let failed = std::iter::repeat_with(|| reader.poll(1, 1)).find_map(Result::err).unwrap();
        assert_eq!(failed.to_string(), "there is nothing more before offset 5, up to which rows were made of it once");
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}
