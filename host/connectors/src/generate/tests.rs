//! The generator as a source: restart, partitions, pace, end.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

fn config(partitions: u32, limit: Option<u64>, rate: Option<u64>) -> GeneratorConfig {
    let events = EventOptions { duplicates: 0.05, malformed: 0.05, ..EventOptions::default() };
    GeneratorConfig { source: "events".into(), preset: Preset::Ecommerce, seed: 7, rate, limit, partitions, events }
}

fn collect(reader: &mut dyn PartitionReader, max_records: usize, into: &mut BTreeMap<i64, Vec<u8>>) -> i64 {
    let mut position = 0;
    while let Poll::Records(records) = reader.poll(max_records, 1 << 20).unwrap() {
        assert!(records.len() <= max_records);
        for (row, offset) in records.offsets.iter().enumerate() {
            assert!(into.insert(*offset, records.values.get(row).to_vec()).is_none(), "offset {offset} came twice");
        }
        position = records.next_offset;
    }
    position
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_batching_and_wherever_it_starts() {
    let mut source = GeneratorSource::new(config(3, Some(5_000), None)).unwrap();
    for partition in 0..3 {
        let (mut whole, mut pieces) = (BTreeMap::new(), BTreeMap::new());
        let end = collect(&mut *source.open(partition, None).unwrap(), 1024, &mut whole);
        let mut position = None;
        for max_records in (1..).map(|step| step * 7 % 97 + 1) {
            let mut reader = source.open(partition, position.map(Position::from)).unwrap();
            let Poll::Records(records) = reader.poll(max_records, 1 << 20).unwrap() else { break };
            for (row, offset) in records.offsets.iter().enumerate() {
                pieces.insert(*offset, records.values.get(row).to_vec());
            }
            position = Some(records.next_offset);
        }
        assert_eq!(whole, pieces);
        assert_eq!(end, [1_667, 1_667, 1_666][partition as usize], "5000 events over 3 partitions");
    }
}

#[test]
fn a_paced_generator_gives_what_the_clock_allows_and_no_more() {
    let now = Arc::new(Mutex::new(Duration::ZERO));
    let clock: Clock = {
        let now = Arc::clone(&now);
        Arc::new(move || *now.lock().unwrap())
    };
    let mut source = GeneratorSource::with_clock(config(2, None, Some(1_000)), clock).unwrap();
    let mut reader = source.open(0, None).unwrap();
    assert!(matches!(reader.poll(10, 1 << 20).unwrap(), Poll::Pending { caught_up: true }));
    let mut given = 0;
    for millisecond in 1..=2_000_u64 {
        *now.lock().unwrap() = Duration::from_millis(millisecond);
        if let Poll::Records(records) = reader.poll(1_000, 1 << 20).unwrap() {
            given += records.len() as u64;
        }
        assert!(given <= millisecond / 2, "{given} records after {millisecond} ms");
        assert!(given + 1 >= millisecond / 2, "{given} records after {millisecond} ms");
    }
    *now.lock().unwrap() += Duration::from_secs(60);
    let mut burst = 0;
    while let Poll::Records(records) = reader.poll(100, 1 << 20).unwrap() {
        burst += records.len();
    }
    assert_eq!(burst, 500, "a minute without reading is not caught up with at once");
}

#[test]
fn a_tombstone_is_absent_and_a_poll_keeps_to_its_bytes() {
    let mut source = GeneratorSource::new(config(1, Some(20_000), None)).unwrap();
    let mut reader = source.open(0, None).unwrap();
    let mut absent = 0;
    while let Poll::Records(records) = reader.poll(usize::MAX >> 40, 10_000).unwrap() {
        absent += (0..records.len()).filter(|row| records.values.is_absent(*row)).count();
        assert!(records.values.byte_size() < 30_000 || records.values.byte_size() > ecommerce::OVERSIZE_BYTES);
    }
    assert!(absent > 20, "{absent}");
}

#[test]
fn settings_that_make_no_sense_are_refused_with_the_next_act() {
    for (config, expected) in [
        (config(0, None, None), "0 partitions"),
        (config(1, None, Some(0)), "0 records per second"),
        (
            GeneratorConfig { events: EventOptions { malformed: 1.5, ..Default::default() }, ..config(1, None, None) },
            "a share is from 0 to 1",
        ),
    ] {
        let Err(SourceError::Fatal { message, next }) = GeneratorSource::new(config) else { panic!("{expected}") };
        assert!(message.contains(expected) && next.contains("generate"), "{message}; {next}");
    }
}
