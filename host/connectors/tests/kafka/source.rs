//! The source: positions, bounded runs, back-pressure, and what is told when something is wrong.

use weir_connectors::kafka::{KafkaAdmin, KafkaConnection, KafkaSource, KafkaSourceConfig, Start};
use weir_stream::{PayloadBlock, Poll, Sink, Source, SourceError, TimestampType};

use crate::broker::{TestTopic, Watched, block, connection, count, numbered, payloads, texts, unique};
use crate::sink::entry;

fn fatal(error: SourceError) -> (String, String) {
    match error {
        SourceError::Fatal { message, next } => (message, next),
        SourceError::Retry(message) => panic!("expected a fatal error, got a retry: {message}"),
    }
}

fn write_numbered(topic: &TestTopic, range: std::ops::Range<usize>) {
    topic.write_block(block(&numbered(range)));
}

#[test]
fn all_records_are_read_and_reading_goes_on_from_any_position() {
    let topic = TestTopic::new("resume", 1);
    write_numbered(&topic, 0..2500);
    let mut source = topic.source();
    assert_eq!(source.partitions().unwrap(), 1);
    let mut reader = Watched::new(source.open(0, None).unwrap());
    let taken = reader.take(2500);
    assert_eq!(texts(&taken), numbered(0..2500));
    let offsets: Vec<i64> = taken.iter().flat_map(|batch| batch.offsets.clone()).collect();
    assert_eq!(offsets, (0..2500).collect::<Vec<_>>());
    for batch in &taken {
        assert_eq!(batch.next_offset, batch.offsets.last().unwrap() + 1);
        assert_eq!((&*batch.source, &*batch.topic, batch.partition), ("events", topic.name.as_str(), 0));
        assert!(batch.timestamps_us.iter().all(|us| *us == 1_767_225_600_000_000));
        assert!(batch.timestamp_type.iter().all(|kind| *kind == TimestampType::CreateTime));
    }
    drop(reader);
    let mut reader = Watched::new(source.open(0, Some(1234.into())).unwrap());
    assert_eq!(texts(&reader.take(2500 - 1234)), numbered(1234..2500));
}

#[test]
fn a_poll_keeps_to_its_limits() {
    let topic = TestTopic::new("limits", 1);
    write_numbered(&topic, 0..1000);
    let mut reader = Watched::new(topic.source().open(0, None).unwrap());
    let first = reader.until_with(1, 1 << 20, |polled| match polled.unwrap() {
        Poll::Records(records) => Some(records.len()),
        _ => None,
    });
    assert_eq!(first, 1);
    let polled = reader.reader.poll(7, usize::MAX).unwrap();
    let Poll::Records(records) = polled else { panic!("expected records, got {polled:?}") };
    assert_eq!(records.len(), 7);
    let polled = reader.reader.poll(usize::MAX, 100).unwrap();
    let Poll::Records(records) = polled else { panic!("expected records, got {polled:?}") };
    assert!(records.values.byte_size() < 1000, "100 bytes were asked for, {} came", records.values.byte_size());
}

#[test]
fn a_start_at_a_time_reads_from_the_first_record_that_is_not_older() {
    let topic = TestTopic::new("timestamp", 1);
    const FIRST_US: i64 = 1_767_225_600_000_000;
    let timestamps_us = [0, 1_000, 2_000].map(|us| FIRST_US + us).to_vec();
    topic.write_block(PayloadBlock { timestamps_us, ..block(&numbered(0..3)) });
    for (after_us, expected) in [(-1, 0), (0, 0), (1_000, 1), (1_001, 2), (2_000, 2), (2_001, 3)] {
        let start = Start::At { timestamp_us: FIRST_US + after_us };
        let mut source = KafkaSource::new(KafkaSourceConfig { start, ..topic.source_config() }).unwrap();
        assert_eq!(source.open(0, None).unwrap().position(), Some(expected.into()), "{after_us} us");
    }
    // A millisecond before 1970 is what brokers call the end.
    let config = KafkaSourceConfig { start: Start::At { timestamp_us: -1_000 }, ..topic.source_config() };
    assert_eq!(KafkaSource::new(config).unwrap().open(0, None).unwrap().position(), Some(0.into()));
}

#[test]
fn only_an_unbounded_run_looks_for_partitions_that_are_added() {
    let topic = TestTopic::new("growing", 1);
    let config = KafkaSourceConfig { start: Start::Latest, ..topic.source_config() };
    let mut source = KafkaSource::new(config.clone()).unwrap();
    assert_eq!(source.partitions().unwrap(), 1);
    assert!(source.refresh().is_some());
    assert_eq!(KafkaSource::new(KafkaSourceConfig { until_end: true, ..config }).unwrap().refresh(), None);
    KafkaAdmin::new(connection()).add_partitions(&topic.name, 2).unwrap();
    let until = std::time::Instant::now() + crate::broker::BOUND;
    while source.partitions().unwrap_or(1) < 2 {
        assert!(std::time::Instant::now() < until, "the new partition is not seen");
    }
    // A run of a thousand goes to the first, the rest to the second.
    write_numbered(&topic, 0..1500);
    let mut added = Watched::new(source.open_added(1).unwrap());
    assert_eq!(texts(&added.take(500)), numbered(1000..1500));
}

#[test]
fn a_start_at_the_latest_offset_sees_only_what_comes_later() {
    let topic = TestTopic::new("latest", 1);
    write_numbered(&topic, 0..10);
    let config = KafkaSourceConfig { start: Start::Latest, ..topic.source_config() };
    let mut reader = Watched::new(KafkaSource::new(config).unwrap().open(0, None).unwrap());
    assert_eq!(reader.reader.position(), Some(10.into()), "the position is known before the first record");
    reader.until_caught_up();
    write_numbered(&topic, 10..12);
    assert_eq!(texts(&reader.take(2)), numbered(10..12));
}

#[test]
fn a_bounded_run_ends_at_the_end_it_saw_even_behind_transaction_markers() {
    let topic = TestTopic::new("bounded", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(1, 0, &numbered(0..5))).unwrap();
    sink.expose(&entry(2, 1, &numbered(5..6))).unwrap();
    let config = KafkaSourceConfig { until_end: true, ..topic.source_config() };
    let mut source = KafkaSource::new(config).unwrap();
    let mut reader = Watched::new(source.open(0, None).unwrap());
    sink.expose(&entry(3, 2, &numbered(6..9))).unwrap();
    assert_eq!(texts(&reader.read_to_end()), numbered(0..6), "records behind the end that was seen must not be read");
    assert!(matches!(reader.reader.poll(10, 1000), Ok(Poll::End)), "the end is told again");
}

#[test]
fn a_bounded_run_over_an_empty_or_fully_read_partition_ends_at_once() {
    let topic = TestTopic::new("bounded-empty", 2);
    let config = KafkaSourceConfig { until_end: true, ..topic.source_config() };
    let mut source = KafkaSource::new(config).unwrap();
    assert_eq!(source.partitions().unwrap(), 2);
    for partition in 0..2 {
        let mut reader = source.open(partition, None).unwrap();
        assert!(matches!(reader.poll(10, 1000), Ok(Poll::End)));
    }
    topic.write(&[b"one"]);
    assert!(matches!(source.open(0, Some(1.into())).unwrap().poll(10, 1000), Ok(Poll::End)));
}

#[test]
fn a_partition_is_caught_up_at_its_end_but_not_while_a_transaction_is_open_behind_it() {
    let topic = TestTopic::new("caught-up", 1);
    write_numbered(&topic, 0..3);
    let mut reader = Watched::new(topic.source().open(0, None).unwrap());
    reader.take(3);
    reader.until_caught_up();
    assert_eq!(reader.reader.lag(), Some(0));
    let open = crate::sink::open_transaction(&topic, "somebody", &["half"]);
    reader.until(|polled| match polled.unwrap() {
        Poll::Pending { caught_up } => (!caught_up).then_some(()),
        other => panic!("a record of an open transaction was read: {other:?}"),
    });
    open.abort();
    reader.until_caught_up();
}

#[test]
fn a_paused_reader_gives_nothing_loses_nothing_and_goes_on() {
    let topic = TestTopic::new("pause", 1);
    write_numbered(&topic, 0..100);
    let mut reader = Watched::new(topic.source().open(0, None).unwrap());
    let first = reader.take(1);
    reader.reader.pause();
    write_numbered(&topic, 100..200);
    assert!(matches!(reader.reader.poll(10, 1000), Ok(Poll::Pending { caught_up: false })));
    reader.reader.resume();
    let mut all = texts(&first);
    all.extend(texts(&reader.take(200 - count(&first))));
    assert_eq!(all, numbered(0..200));
}

#[test]
fn a_position_outside_of_the_topic_is_fatal_and_says_what_the_broker_holds() {
    let topic = TestTopic::new("range", 1);
    write_numbered(&topic, 0..5);
    let (message, next) = fatal(topic.source().open(0, Some(99.into())).err().unwrap());
    assert!(message.contains("partition 0: offset 99 cannot be read: the broker holds offsets 0 to 5"), "{message}");
    assert!(next.contains("new state folder"), "{next}");
    let (message, _) = fatal(topic.source().open(7, None).err().unwrap());
    assert!(message.contains("partition 7 of 1 does not exist"), "{message}");
}

#[test]
fn a_missing_topic_is_fatal() {
    let name = unique("missing");
    let config = KafkaSourceConfig::new("events", connection(), &name);
    let (message, next) = fatal(KafkaSource::new(config).unwrap().partitions().unwrap_err());
    assert!(message.contains(&name), "{message}");
    assert_eq!(next, "create the topic or correct its name in the manifest");
}

#[test]
fn a_topic_deleted_under_a_reader_is_fatal() {
    let topic = TestTopic::new("deleted", 1);
    topic.write(&[b"one"]);
    let mut config = topic.source_config();
    config.connection.properties.insert("topic.metadata.propagation.max.ms".into(), "1000".into());
    let mut reader = Watched::new(KafkaSource::new(config).unwrap().open(0, None).unwrap());
    reader.take(1);
    assert!(KafkaAdmin::new(connection()).delete_topic(&topic.name).unwrap());
    let (message, next) = fatal(reader.error());
    assert!(message.contains(&topic.name), "{message}");
    assert_eq!(next, "create the topic or correct its name in the manifest");
}

#[test]
fn an_address_without_a_broker_is_worth_another_try() {
    // Port 1 on loopback: nobody listens.
    let mut config = KafkaSourceConfig::new("events", KafkaConnection::new("127.0.0.1:1"), "any");
    config.connect_timeout_ms = 1500;
    match KafkaSource::new(config).unwrap().partitions() {
        Err(SourceError::Retry(message)) => assert!(message.contains("Connection refused"), "{message}"),
        other => panic!("expected a retry, got {other:?}"),
    }
}

#[test]
fn tls_to_a_listener_without_it_is_told_with_its_likely_cause() {
    let topic = TestTopic::new("tls", 1);
    let mut config = KafkaSourceConfig { connect_timeout_ms: 1500, ..topic.source_config() };
    config.connection.properties.insert("security.protocol".into(), "ssl".into());
    match KafkaSource::new(config).unwrap().partitions() {
        Err(SourceError::Retry(message)) => assert!(message.contains("SSL connection closed by peer"), "{message}"),
        other => panic!("expected a retry, got {other:?}"),
    }
}

#[test]
fn a_certificate_file_that_is_not_there_is_fatal() {
    let mut config = KafkaSourceConfig::new("events", KafkaConnection::new("127.0.0.1:1"), "any");
    config.connection.properties.insert("security.protocol".into(), "ssl".into());
    config.connection.properties.insert("ssl.ca.location".into(), "/no/such/file".into());
    let (message, next) = fatal(KafkaSource::new(config).unwrap().partitions().unwrap_err());
    assert!(message.contains("ssl.ca.location"), "{message}");
    assert!(next.contains("properties"), "{next}");
}

#[test]
fn a_property_of_weirs_own_or_an_unknown_one_is_fatal_by_name() {
    let with = |name: &str| {
        let mut config = KafkaSourceConfig::new("events", KafkaConnection::new("127.0.0.1:1"), "any");
        config.connection.properties.insert(name.into(), "true".into());
        config
    };
    let (message, _) = fatal(KafkaSource::new(with("enable.auto.commit")).err().unwrap());
    assert!(message.contains("`enable.auto.commit` is set by Weir"), "{message}");
    let (message, _) = fatal(KafkaSource::new(with("no.such.property")).unwrap().partitions().unwrap_err());
    assert!(message.contains("`no.such.property`"), "{message}");
}

#[test]
fn keys_and_tombstones_come_through_when_asked_for() {
    let topic = TestTopic::new("keys", 1);
    let values: [Option<&[u8]>; 4] = [Some(b"a"), None, Some(b""), Some(b"d")];
    let keys: [Option<&[u8]>; 4] = [Some(b"k1"), Some(b"k2"), None, Some(b"")];
    topic.write_block(PayloadBlock {
        values: payloads(&values),
        keys: Some(payloads(&keys)),
        timestamps_us: vec![5_000, 6_000, 7_000, 8_999],
    });
    let config = KafkaSourceConfig { include_keys: true, ..topic.source_config() };
    let mut reader = Watched::new(KafkaSource::new(config).unwrap().open(0, None).unwrap());
    let taken = reader.take(4).remove(0);
    let read = |payloads: &weir_stream::Payloads| -> Vec<Option<Vec<u8>>> {
        (0..4).map(|row| (!payloads.is_absent(row)).then(|| payloads.get(row).to_vec())).collect()
    };
    assert_eq!(read(&taken.values), values.map(|value| value.map(<[u8]>::to_vec)));
    assert_eq!(read(taken.keys.as_ref().unwrap()), keys.map(|key| key.map(<[u8]>::to_vec)));
    assert_eq!(taken.timestamps_us, [5_000, 6_000, 7_000, 8_000], "Kafka keeps milliseconds");
    assert!(taken.headers.is_none());
    let mut reader = Watched::new(topic.source().open(0, None).unwrap());
    assert!(reader.take(4).remove(0).keys.is_none(), "keys cost nothing unless asked for");
}

#[test]
fn headers_come_as_json_when_asked_for() {
    let topic = TestTopic::new("headers", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(4, 0, &numbered(0..2))).unwrap();
    let config = KafkaSourceConfig { include_headers: true, ..topic.source_config() };
    let mut reader = Watched::new(KafkaSource::new(config).unwrap().open(0, None).unwrap());
    let taken = reader.take(2).remove(0);
    let headers: Vec<_> = taken.headers.as_ref().unwrap().iter().map(String::from_utf8_lossy).collect();
    assert_eq!(headers, ["{}".to_string(), format!(r#"{{"weir-epoch":"{}/out/4"}}"#, topic.name)]);
}

#[test]
fn records_of_a_megabyte_are_read() {
    let topic = TestTopic::with_configs("megabyte", 1, &[("max.message.bytes", "2000000")]);
    let mut connection = connection();
    connection.properties.insert("message.max.bytes".into(), "2000000".into());
    let mut writer = weir_connectors::kafka::KafkaWriter::new(&connection, &topic.name).unwrap();
    let values: Vec<Vec<u8>> = (0..12u8).map(|number| vec![b'a' + number; 1 << 20]).collect();
    let values = values.iter().map(Vec::as_slice).collect();
    writer.write(PayloadBlock { values, keys: None, timestamps_us: vec![] }).unwrap();
    writer.flush().unwrap();
    let mut reader = Watched::new(topic.source().open(0, None).unwrap());
    let taken = reader.take(12);
    let first: Vec<(usize, u8)> =
        taken.iter().flat_map(|batch| batch.values.iter()).map(|value| (value.len(), value[value.len() - 1])).collect();
    assert_eq!(first, (0..12u8).map(|number| (1 << 20, b'a' + number)).collect::<Vec<_>>());
}
