//! The sink on connections that break inside a transaction. librdkafka sends the end of a transaction again on a new
//! connection, with the same producer epoch: the first request, late, may end the next transaction. So a producer whose
//! connections were not all sound is given up, and its successor's epoch fences whatever is still on its way.

use weir_connectors::SinkIdentity;
use weir_connectors::kafka::{
    KafkaAdmin, KafkaConnection, KafkaSink, KafkaSinkConfig, KafkaSource, KafkaSourceConfig, TopicOptions,
};
use weir_services::proxy::{END_TXN, INIT_PRODUCER_ID, PRODUCE};
use weir_services::{Kafka, Proxy};
use weir_stream::{Sink, SinkEpoch, SinkError, SinkPosition, Source};

use crate::broker::{BOUND, Watched, numbered, texts};
use crate::sink::entry;

const TOPIC: &str = "out";

struct Broker {
    connection: KafkaConnection,
    proxy: Proxy,
    _kafka: Kafka,
}

impl Broker {
    fn start() -> Self {
        let (kafka, proxy) = Kafka::start_behind_proxy().unwrap();
        let connection = KafkaConnection::new(kafka.brokers());
        assert!(KafkaAdmin::new(connection.clone()).create_topic(TOPIC, &TopicOptions::new(1)).unwrap());
        Self { connection, proxy, _kafka: kafka }
    }

    fn sink(&self) -> KafkaSink {
        let identity = SinkIdentity::new("p", "out");
        KafkaSink::new(KafkaSinkConfig::new(identity, self.connection.clone(), TOPIC)).unwrap()
    }

    fn committed(&self) -> Vec<String> {
        let config = KafkaSourceConfig::new("events", self.connection.clone(), TOPIC);
        let mut source = KafkaSource::new(KafkaSourceConfig { until_end: true, ..config }).unwrap();
        texts(&Watched::new(source.open(0, None).unwrap()).read_to_end())
    }
}

/// What the runtime does with an entry: after a loss the target is asked, and decides.
fn expose(sink: &mut KafkaSink, entry: &SinkEpoch) {
    loop {
        match sink.expose(entry) {
            Ok(outcome) => return assert_eq!(outcome.exposed, Some(entry.epoch)),
            Err(SinkError::Retry(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        if sink.recover(entry.previous).unwrap() == SinkPosition::Epoch(entry.epoch) {
            return;
        }
    }
}

#[test]
fn a_connection_lost_inside_a_transaction_costs_the_producer_and_doubles_nothing() {
    let broker = Broker::start();
    let mut sink = broker.sink();
    sink.recover(0).unwrap();
    expose(&mut sink, &entry(1, 0, &numbered(0..3)));
    // A broker that has just started may want to be asked again.
    let producers = broker.proxy.requests(INIT_PRODUCER_ID);
    expose(&mut sink, &entry(2, 1, &numbered(3..6)));
    assert_eq!(broker.proxy.requests(INIT_PRODUCER_ID), producers, "sound connections keep their producer");
    for (number, kind) in [PRODUCE, END_TXN].into_iter().enumerate() {
        let producers = broker.proxy.requests(INIT_PRODUCER_ID);
        let (epoch, row) = (3 + 2 * number as u64, 6 + 6 * number);
        broker.proxy.cut_at_next(kind);
        expose(&mut sink, &entry(epoch, epoch - 1, &numbered(row..row + 3)));
        expose(&mut sink, &entry(epoch + 1, epoch, &numbered(row + 3..row + 6)));
        assert!(broker.proxy.requests(INIT_PRODUCER_ID) > producers, "the producer outlived a lost connection");
    }
    assert_eq!(broker.committed(), numbered(0..18));
}

#[test]
fn the_late_end_of_a_transaction_does_not_end_the_next_one() {
    let broker = Broker::start();
    let mut sink = broker.sink();
    sink.recover(0).unwrap();
    expose(&mut sink, &entry(1, 0, &numbered(0..3)));
    // The first request to end transaction 2 stays on its way; librdkafka's second one ends it.
    broker.proxy.hold_next(END_TXN);
    expose(&mut sink, &entry(2, 1, &numbered(3..6)));
    // Transaction 3 is open at the broker, and its records wait: late, the first request would end it now.
    broker.proxy.stall(PRODUCE);
    let (proxy, produced) = (&broker.proxy, broker.proxy.requests(PRODUCE));
    std::thread::scope(|scope| {
        let next = scope.spawn(|| sink.expose(&entry(3, 2, &numbered(6..9))));
        let opened = proxy.wait_for_more(PRODUCE, produced, BOUND);
        let released = proxy.release_held(BOUND);
        proxy.let_go(PRODUCE);
        assert_eq!(next.join().unwrap().unwrap().exposed, Some(3), "transaction 3 was ended by another's request");
        assert!(opened && released.unwrap(), "nothing was held, or transaction 3 wrote nothing");
    });
    expose(&mut sink, &entry(4, 3, &numbered(9..12)));
    assert_eq!(broker.committed(), numbered(0..12));
}
