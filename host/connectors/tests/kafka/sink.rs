//! The sink: exactly once across every point at which it can stop, fencing, and what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use weir_connectors::SinkIdentity;
use weir_connectors::kafka::{
    KafkaAdmin, KafkaConnection, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, RecordTimestamps,
    TopicOptions,
};
use weir_stream::{Held, PayloadBlock, Sink, SinkData, SinkEpoch, SinkError, SinkPosition, Source};

use crate::broker::{BOUND, TestTopic, Watched, block, connection, numbered, payloads, texts, unique};

pub fn entry(epoch: u64, previous: u64, values: &[String]) -> SinkEpoch {
    SinkEpoch {
        epoch,
        previous,
        cut: Some(format!("cut {epoch}").into()),
        data: Arc::new(SinkData::Payloads(vec![block(values)])),
    }
}

/// What an instance that died in the middle of an epoch leaves behind: an open transaction.
pub struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    pub fn abort(self) {
        self.0.abort_transaction(BOUND).unwrap();
    }
}

pub fn open_transaction(topic: &TestTopic, transactional_id: &str, values: &[&str]) -> OpenTransaction {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", connection().brokers).set("transactional.id", transactional_id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(BOUND).unwrap();
    producer.begin_transaction().unwrap();
    for value in values {
        producer.send(BaseRecord::<(), str>::to(&topic.name).payload(value).partition(0)).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(BOUND).unwrap();
    OpenTransaction(producer)
}

fn sink_id(topic: &TestTopic) -> String {
    format!("weir.{}.out", topic.name)
}

fn group_consumer(topic: &TestTopic) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", connection().brokers).set("group.id", sink_id(topic));
    config.create().unwrap()
}

fn offset(topic: &TestTopic, epoch: i64) -> TopicPartitionList {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic.name, 0, Offset::Offset(epoch)).unwrap();
    offsets
}

fn fatal<T: std::fmt::Debug>(outcome: Result<T, SinkError>) -> (String, String) {
    match outcome {
        Err(SinkError::Fatal { message, next }) => (message, next),
        other => panic!("expected a fatal error, got {other:?}"),
    }
}

#[test]
fn a_new_sink_is_absent_and_then_at_its_last_epoch() {
    let topic = TestTopic::new("progress", 3);
    let mut sink = topic.sink();
    assert_eq!(sink.recover(0).unwrap(), SinkPosition::Absent);
    assert_eq!(sink.expose(&entry(3, 0, &numbered(0..5))).unwrap().exposed, Some(3));
    assert_eq!(sink.expose(&entry(7, 3, &numbered(5..9))).unwrap().exposed, Some(7));
    assert_eq!(topic.sink().recover(3).unwrap(), SinkPosition::Epoch(7));
    let mut read = topic.committed();
    read.sort_by_key(|text| text.trim_start_matches("record-").parse::<usize>().unwrap());
    assert_eq!(read, numbered(0..9));
}

#[test]
fn what_the_topic_holds_is_seen_without_taking_it_over() {
    let topic = TestTopic::new("held", 2);
    assert_eq!(topic.sink().held().unwrap(), None);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(3, 0, &numbered(0..5))).unwrap();
    let held = |epoch: u64| Some(Held { epoch, cut: Some(format!("cut {epoch}").into()), rejects: 0 });
    assert_eq!(topic.sink().held().unwrap(), held(3));
    sink.expose(&entry(7, 3, &numbered(5..9))).unwrap();
    topic.sink().recover(7).unwrap();
    assert_eq!(topic.sink().held().unwrap(), held(7), "the next owner leaves it");
}

#[test]
fn a_stop_after_the_commit_and_before_the_acknowledgement_doubles_nothing() {
    let topic = TestTopic::new("after-commit", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    let second = entry(2, 1, &numbered(3..6));
    sink.expose(&entry(1, 0, &numbered(0..3))).unwrap();
    sink.expose(&second).unwrap();
    drop(sink);
    let mut sink = topic.sink();
    assert_eq!(sink.recover(1).unwrap(), SinkPosition::Epoch(2));
    assert_eq!(sink.expose(&second).unwrap().exposed, Some(2), "an entry that is there is not written again");
    assert_eq!(topic.committed(), numbered(0..6));
}

#[test]
fn the_epochs_that_a_sink_behind_is_owed_take_one_transaction() {
    let topic = TestTopic::new("together", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(1, 0, &numbered(0..2))).unwrap();
    let owed = [(1, 0, 0..2), (2, 1, 2..5), (5, 2, 5..6), (6, 5, 6..9)];
    let owed = owed.map(|(epoch, previous, rows)| entry(epoch, previous, &numbered(rows)));
    assert_eq!(sink.expose_together(&owed).unwrap().exposed, Some(6));
    assert_eq!(sink.expose_together(&owed[2..]).unwrap().exposed, Some(6), "all of it is there");
    assert_eq!(topic.committed(), numbered(0..9));
    // A transaction's end takes an offset of its own.
    let (_, end) = group_consumer(&topic).fetch_watermarks(&topic.name, 0, BOUND).unwrap();
    assert_eq!(end, 9 + 2);
    assert_eq!(topic.sink().recover(1).unwrap(), SinkPosition::Epoch(6));
}

#[test]
fn a_stop_in_the_middle_of_a_transaction_leaves_nothing_of_it() {
    let topic = TestTopic::new("in-transaction", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(1, 0, &numbered(0..3))).unwrap();
    for with_offset in [false, true] {
        let died = open_transaction(&topic, &sink_id(&topic), &["half an epoch"]);
        if with_offset {
            let group = group_consumer(&topic).group_metadata().unwrap();
            died.0.send_offsets_to_transaction(&offset(&topic, 2), &group, BOUND).unwrap();
        }
        let mut successor = topic.sink();
        assert_eq!(successor.recover(1).unwrap(), SinkPosition::Epoch(1));
        assert!(died.0.commit_transaction(BOUND).is_err(), "the dead instance's commit came through");
    }
    let mut successor = topic.sink();
    assert_eq!(successor.recover(1).unwrap(), SinkPosition::Epoch(1));
    successor.expose(&entry(2, 1, &numbered(3..6))).unwrap();
    assert_eq!(topic.committed(), numbered(0..6));
}

#[test]
fn records_of_a_transaction_are_read_when_it_is_committed_and_a_bounded_run_waits_for_that() {
    for (commit, expected) in [(true, vec!["half an epoch"]), (false, vec![])] {
        let topic = TestTopic::new("together", 1);
        let open = open_transaction(&topic, &topic.name, &["half an epoch"]);
        let config = KafkaSourceConfig { until_end: true, ..topic.source_config() };
        let mut reader = Watched::new(KafkaSource::new(config).unwrap().open(0, None).unwrap());
        for _ in 0..5 {
            let polled = reader.reader.poll(10, 1000);
            assert!(matches!(polled, Ok(weir_stream::Poll::Pending { caught_up: false })), "{polled:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        if commit {
            open.0.commit_transaction(BOUND).unwrap()
        } else {
            open.abort()
        }
        assert_eq!(texts(&reader.read_to_end()), expected);
    }
}

#[test]
fn an_instance_that_was_taken_over_is_fenced() {
    let topic = TestTopic::new("fenced", 1);
    let mut zombie = topic.sink();
    zombie.recover(0).unwrap();
    zombie.expose(&entry(1, 0, &numbered(0..1))).unwrap();
    let mut successor = topic.sink();
    assert_eq!(successor.recover(0).unwrap(), SinkPosition::Epoch(1));
    match zombie.expose(&entry(2, 1, &["zombie".into()])) {
        Err(SinkError::Fenced(message)) => assert!(message.contains(&sink_id(&topic)), "{message}"),
        other => panic!("the zombie was not fenced: {other:?}"),
    }
    successor.expose(&entry(2, 1, &numbered(1..2))).unwrap();
    assert_eq!(topic.committed(), numbered(0..2));
}

/// What a disturbance makes of a sink: its next act is to recover, which takes the transactional id from whoever has it.
#[test]
fn an_instance_that_was_taken_over_does_not_take_it_back_by_recovering() {
    let topic = TestTopic::new("taken-back", 1);
    let mut zombie = topic.sink();
    zombie.recover(0).unwrap();
    zombie.expose(&entry(1, 0, &numbered(0..1))).unwrap();
    let mut successor = topic.sink();
    assert_eq!(successor.recover(1).unwrap(), SinkPosition::Epoch(1));
    match zombie.recover(1) {
        Err(SinkError::Fenced(message)) => assert!(message.contains("generation 2, this one is 1"), "{message}"),
        other => panic!("the zombie took it back: {other:?}"),
    }
    successor.expose(&entry(2, 1, &numbered(1..2))).expect("the successor was fenced by the zombie");
    assert_eq!(successor.recover(2).unwrap(), SinkPosition::Epoch(2), "its own generation it takes again");
    successor.expose(&entry(3, 2, &numbered(2..3))).unwrap();
    assert_eq!(topic.committed(), numbered(0..3));
}

#[test]
fn an_expired_offset_is_found_again_in_the_tail_of_the_topic() {
    let topic = TestTopic::new("expired", 2);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(5, 0, &numbered(0..3000))).unwrap();
    sink.expose(&entry(6, 5, &numbered(3000..3001))).unwrap();
    drop(sink);
    // Another writer in the same topic, more than the first look at the tail takes in.
    topic.write_block(block(&numbered(0..1500)));
    delete_group(&sink_id(&topic));
    let mut sink = topic.sink();
    assert_eq!(sink.recover(5).unwrap(), SinkPosition::Epoch(6));
    sink.expose(&entry(8, 6, &numbered(0..1))).unwrap();
    assert_eq!(topic.sink().recover(6).unwrap(), SinkPosition::Epoch(8));
}

fn delete_group(group: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", connection().brokers);
    let admin: rdkafka::admin::AdminClient<_> = config.create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let results = runtime.block_on(admin.delete_groups(&[group], &rdkafka::admin::AdminOptions::new())).unwrap();
    assert_eq!(results, [Ok(group.to_string())]);
}

#[test]
fn a_topic_that_lost_every_trace_of_the_sink_is_refused() {
    let topic = TestTopic::new("lost", 1);
    topic.write(&[b"of somebody else"]);
    let (message, next) = fatal(topic.sink().recover(41));
    assert!(message.contains("has written up to epoch 41"), "{message}");
    assert!(message.contains("shows no trace of it"), "{message}");
    assert!(next.contains("restore the topic"), "{next}");
}

#[test]
fn an_entry_that_does_not_follow_the_targets_epoch_is_refused() {
    let topic = TestTopic::new("chain", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    sink.expose(&entry(4, 0, &numbered(0..1))).unwrap();
    let (message, _) = fatal(sink.expose(&entry(9, 8, &numbered(1..2))));
    assert!(message.contains("holds epoch 4"), "{message}");
    assert_eq!(topic.committed(), numbered(0..1));
}

#[test]
fn keys_timestamps_and_tombstones_are_written_where_a_java_client_looks_for_them() {
    let topic = TestTopic::new("keyed", 5);
    for timestamps in [RecordTimestamps::EventTime, RecordTimestamps::WriteTime] {
        let mut sink = KafkaSink::new(KafkaSinkConfig { timestamps, ..topic.sink_config() }).unwrap();
        let previous = match sink.recover(0).unwrap() {
            SinkPosition::Absent => 0,
            SinkPosition::Epoch(epoch) => epoch,
        };
        let keys = payloads(&[Some(b"21"), Some(b"foobar"), Some(b"abc")]);
        let values = payloads(&[Some(b"first"), None, Some(b"third")]);
        let timestamps_us = vec![1_000_000, 2_000_000, 3_000_000];
        let block = PayloadBlock { values, keys: Some(keys), timestamps_us };
        let data = Arc::new(SinkData::Payloads(vec![block]));
        sink.expose(&SinkEpoch { epoch: previous + 1, previous, cut: None, data }).unwrap();
    }
    let config = KafkaSourceConfig { include_keys: true, until_end: true, ..topic.source_config() };
    let mut source = KafkaSource::new(config).unwrap();
    let mut found = BTreeMap::new();
    for partition in 0..source.partitions().unwrap() {
        for batch in Watched::new(source.open(partition, None).unwrap()).read_to_end() {
            for row in 0..batch.len() {
                let key = String::from_utf8(batch.keys.as_ref().unwrap().get(row).to_vec()).unwrap();
                let value = (!batch.values.is_absent(row)).then(|| batch.values.get(row).to_vec());
                let event_time = batch.timestamps_us[row] < 10_000_000;
                found.entry((key, event_time)).or_insert((partition, value));
            }
        }
    }
    // murmur2 without its sign, modulo 5: what Kafka's own partitioner answers.
    let expected = |hash: i32| ((hash & 0x7fff_ffff) % 5) as u32;
    for event_time in [true, false] {
        let of = |key: &str| found[&(key.to_string(), event_time)].clone();
        assert_eq!(of("21"), (expected(-973_932_308), Some(b"first".to_vec())));
        assert_eq!(of("foobar"), (expected(-790_332_482), None));
        assert_eq!(of("abc"), (expected(479_470_107), Some(b"third".to_vec())));
    }
}

#[test]
fn a_large_epoch_in_several_blocks_loses_nothing_and_keeps_its_order_in_each_partition() {
    let rows = 250_000;
    let blocks = || (0..5).map(|part| block(&numbered(part * rows / 5..(part + 1) * rows / 5)));
    for timestamps in [RecordTimestamps::EventTime, RecordTimestamps::WriteTime] {
        let topic = TestTopic::new("large", 3);
        let mut sink = KafkaSink::new(KafkaSinkConfig { timestamps, ..topic.sink_config() }).unwrap();
        sink.recover(0).unwrap();
        let data = Arc::new(SinkData::Payloads(blocks().collect()));
        sink.expose(&SinkEpoch { epoch: 1, previous: 0, cut: None, data }).unwrap();
        let read = topic.committed();
        let number = |text: &String| text.trim_start_matches("record-").parse::<usize>().unwrap();
        let mut numbers: Vec<usize> = read.iter().map(number).collect();
        let turns_back = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert_eq!(turns_back, 2, "the numbers fall only from one partition to the next");
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..rows));
    }
}

#[test]
fn a_record_over_the_topics_limit_is_fatal_before_anything_is_written() {
    let topic = TestTopic::with_configs("too-large", 1, &[("max.message.bytes", "20000")]);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    let (message, next) = fatal(sink.expose(&entry(1, 0, &["small".into(), "x".repeat(30_000)])));
    assert!(message.contains("a record of 30000 bytes is over the topic's limit of 19488"), "{message}");
    assert_eq!(next, "raise `max.message.bytes` of the topic to 30512 or more");
    assert_eq!(topic.committed(), [""; 0]);
    // What fits goes through, one by one or many together.
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    let values: Vec<String> = (0..100).map(|_| "y".repeat(19_488)).collect();
    sink.expose(&entry(1, 0, &values)).unwrap();
    assert_eq!(topic.committed(), values);
}

#[test]
fn a_timestamp_that_the_broker_refuses_is_fatal_with_its_cause() {
    let topic = TestTopic::new("future", 1);
    let mut sink = topic.sink();
    sink.recover(0).unwrap();
    let mut block = block(&numbered(0..1));
    block.timestamps_us = vec![32_503_680_000_000_000];
    let data = Arc::new(SinkData::Payloads(vec![block]));
    let (message, next) = fatal(sink.expose(&SinkEpoch { epoch: 1, previous: 0, cut: None, data }));
    assert!(message.contains("timestamp"), "{message}");
    assert!(next.contains("message.timestamp.after.max.ms"), "{next}");
    assert_eq!(topic.committed(), [""; 0]);
}

#[test]
fn a_missing_topic_is_made_only_when_the_manifest_says_so() {
    let name = unique("made");
    let config = KafkaSinkConfig::new(SinkIdentity::new(&name, "out"), connection(), &name);
    let (message, next) = fatal(KafkaSink::new(config.clone()).unwrap().recover(0));
    assert!(message.contains(&name), "{message}");
    assert_eq!(next, "create the topic or correct its name in the manifest");
    let create = Some(TopicOptions::new(3));
    let mut sink = KafkaSink::new(KafkaSinkConfig { create, ..config }).unwrap();
    assert_eq!(sink.recover(0).unwrap(), SinkPosition::Absent);
    let admin = KafkaAdmin::new(connection());
    assert_eq!(admin.end_offsets(&name).unwrap(), [0, 0, 0]);
    assert!(!admin.create_topic(&name, &TopicOptions::new(1)).unwrap(), "it is there already");
    assert!(admin.delete_topic(&name).unwrap());
    assert!(!admin.delete_topic(&name).unwrap());
}

#[test]
fn an_address_without_a_broker_is_worth_another_try() {
    let identity = SinkIdentity::new("p", "out");
    let mut config = KafkaSinkConfig::new(identity, KafkaConnection::new("127.0.0.1:1"), "any");
    config.connect_timeout_ms = 1500;
    match KafkaSink::new(config).unwrap().recover(0) {
        Err(SinkError::Retry(message)) => assert!(message.contains("Connection refused"), "{message}"),
        other => panic!("expected a retry, got {other:?}"),
    }
}

#[test]
fn a_transaction_that_takes_too_long_is_tried_again_not_taken_for_fencing() {
    let topic = TestTopic::new("slow", 1);
    let mut sink = KafkaSink::new(KafkaSinkConfig { transaction_timeout_ms: 1000, ..topic.sink_config() }).unwrap();
    sink.recover(0).unwrap();
    // More than one connection can carry in a second, uncompressed.
    let values: Vec<String> = (0..3).map(|_| "z".repeat(1000)).collect();
    sink.expose(&entry(1, 0, &values)).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    sink.expose(&entry(2, 1, &values)).expect("an idle producer outlives its transaction time-out");
    assert_eq!(texts(&Watched::new(topic.source().open(0, None).unwrap()).take(6)).len(), 6);
}
