//! The client that the readers of one source share, and what it last said about itself.
//!
//! Invariant: a partition counts as connected only by a recent statistics document that shows its broker up and
//! talking; error events are texts for people, since librdkafka suppresses repeated ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka_sys::rd_kafka_resp_err_t as Code;
use serde::Deserialize;
use weir_stream::SourceError;
use weir_stream::source::Waker;

use super::errors::{next_act, source_error};
use super::native::{Client, ClientEvent, Kind, NativeError};

/// How often librdkafka reports its connections.
pub const STATISTICS_INTERVAL_MS: u64 = 1000;

/// A report older than this proves nothing.
const STATISTICS_STALE: Duration = Duration::from_millis(3 * STATISTICS_INTERVAL_MS);

/// A broker that was silent for longer is not known to be there: fetches are answered every 100 ms.
const SILENCE_US: i64 = 3_000_000;

/// Events are looked at this often while records flow, at every look otherwise.
const SERVE_INTERVAL: Duration = Duration::from_millis(250);

/// One request for metadata waits this long, so that a refused login is seen soon.
const METADATA_ATTEMPT: Duration = Duration::from_millis(500);

const METADATA_PAUSE: Duration = Duration::from_millis(50);

/// A topic that was made a moment ago may be unknown to some broker for this long.
const NEW_TOPIC_GRACE: Duration = Duration::from_millis(1500);

pub struct Link {
    client: Arc<Client>,
    topic: String,
    state: Mutex<State>,
    wakers: Arc<Mutex<BTreeMap<u32, Waker>>>,
}

struct State {
    /// Partitions whose broker is up, by the last report.
    connected: Vec<u32>,
    reported_at: Option<Instant>,
    last_error: Option<NativeError>,
    fatal: Option<SourceError>,
    next_serve: Instant,
}

/// What a reader needs to know when it has nothing to read.
pub struct Health {
    pub connected: bool,
    pub last_error: Option<String>,
}

impl Link {
    pub fn new(topic: &str, properties: &BTreeMap<String, String>) -> Result<Self, NativeError> {
        let mut client = Client::new(Kind::Consumer, properties)?;
        let wakers = Arc::new(Mutex::new(BTreeMap::<u32, Waker>::new()));
        let listeners = Arc::clone(&wakers);
        client.set_event_waker(Box::new(move || {
            listeners.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(|waker| waker());
        }));
        let state = State {
            connected: Vec::new(),
            reported_at: None,
            last_error: None,
            fatal: None,
            next_serve: Instant::now(),
        };
        Ok(Self { client: Arc::new(client), topic: topic.into(), state: Mutex::new(state), wakers })
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub fn set_waker(&self, partition: u32, waker: Option<Waker>) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match waker {
            Some(waker) => wakers.insert(partition, waker),
            None => wakers.remove(&partition),
        };
    }

    /// Takes in waiting events when it is time to.
    pub fn serve_if_due(&self) -> Result<(), SourceError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= state.next_serve { self.serve(&mut state) } else { Ok(()) }
    }

    /// Takes in waiting events and says how `partition` is connected.
    pub fn health(&self, partition: u32) -> Result<Health, SourceError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.serve(&mut state)?;
        let recent = state.reported_at.is_some_and(|at| at.elapsed() < STATISTICS_STALE);
        let connected = recent && state.connected.contains(&partition);
        if connected {
            state.last_error = None;
        }
        Ok(Health { connected, last_error: state.last_error.as_ref().map(|error| error.message.clone()) })
    }

    /// The number of partitions of the link's topic, once all have a leader.
    ///
    /// # Errors
    /// What explains best that there was no answer in time; errors that waiting does not cure at once.
    pub fn topic_partitions(&self, timeout: Duration) -> Result<u32, NativeError> {
        let started = Instant::now();
        loop {
            let error = match self.client.topic_metadata(&self.topic, METADATA_ATTEMPT.min(timeout)) {
                Ok(metadata) if metadata.leaderless.is_empty() => return Ok(metadata.partitions),
                Ok(metadata) => NativeError {
                    code: Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                    message: format!("partitions {:?} have no leader", metadata.leaderless),
                    fatal: false,
                },
                Err(error) => self.explain(error),
            };
            let grace = if is_unknown_topic(error.code) { NEW_TOPIC_GRACE } else { Duration::ZERO };
            let hopeless = next_act(error.code).is_some() && started.elapsed() >= grace;
            if hopeless || started.elapsed() >= timeout {
                return Err(error);
            }
            std::thread::sleep(METADATA_PAUSE);
        }
    }

    /// The error that explains best why a request at start got no answer.
    pub fn explain(&self, error: NativeError) -> NativeError {
        if !is_silence(error.code) {
            return error;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What would be fatal is in `last_error` too.
        let _ = self.serve(&mut state);
        advise(state.last_error.clone().unwrap_or(error))
    }

    fn serve(&self, state: &mut State) -> Result<(), SourceError> {
        state.next_serve = Instant::now() + SERVE_INTERVAL;
        while let Some(event) = self.client.next_event() {
            match event {
                ClientEvent::Error(error) => self.note_error(state, error),
                ClientEvent::Statistics(json) => self.note_statistics(state, &json),
            }
        }
        state.fatal.clone().map_or(Ok(()), Err)
    }

    fn note_error(&self, state: &mut State, error: NativeError) {
        tracing::debug!(target: "weir::kafka", topic = self.topic, code = ?error.code, "{}", error.message);
        // A broker that stops in the middle of a TLS handshake looks like a wrong certificate: worth another try.
        let curable = next_act(error.code).is_none() || error.code == Code::RD_KAFKA_RESP_ERR__SSL;
        if error.fatal || !curable {
            state.fatal = Some(source_error(&format!("Kafka topic `{}`", self.topic), &error));
        }
        state.last_error = Some(more_telling(state.last_error.take(), error));
    }

    fn note_statistics(&self, state: &mut State, json: &str) {
        match serde_json::from_str::<Statistics>(json) {
            Ok(statistics) => {
                state.connected = statistics.connected(&self.topic);
                state.reported_at = Some(Instant::now());
            }
            Err(error) => tracing::warn!(target: "weir::kafka", "statistics are not readable: {error}"),
        }
    }
}

/// The part of librdkafka's statistics that tells who is connected.
#[derive(Deserialize)]
struct Statistics {
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i64,
    state: String,
    /// Microseconds since something was received; -1 for never.
    rxidle: i64,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i64,
    /// Where it is fetched from.
    broker: i64,
}

/// Explains an error that only says that no answer came by what the client noted meanwhile.
pub fn explain_by_events(error: NativeError, events: impl Iterator<Item = ClientEvent>) -> NativeError {
    let noted = events.filter_map(|event| match event {
        ClientEvent::Error(error) => Some(error),
        ClientEvent::Statistics(_) => None,
    });
    let noted = noted.fold(None, |best, error| Some(more_telling(best, error)));
    advise(noted.filter(|_| is_silence(error.code)).unwrap_or(error))
}

/// The newer of two events, unless it is the generic "all brokers down", which says less than the failure of one.
fn more_telling(older: Option<NativeError>, newer: NativeError) -> NativeError {
    match older {
        Some(older) if newer.code == Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN => older,
        _ => newer,
    }
}

/// "All brokers down" is also what a client hears that speaks another protocol than the broker.
fn advise(error: NativeError) -> NativeError {
    if error.code != Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN {
        return error;
    }
    NativeError { message: "no broker keeps a connection: check its address and `security.protocol`".into(), ..error }
}

/// No answer came; why not is told by events.
fn is_silence(code: Code) -> bool {
    use Code::*;
    matches!(code, RD_KAFKA_RESP_ERR__TIMED_OUT | RD_KAFKA_RESP_ERR__TRANSPORT | RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
}

pub fn is_unknown_topic(code: Code) -> bool {
    matches!(code, Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
}

impl Statistics {
    fn connected(&self, topic: &str) -> Vec<u32> {
        let up = |broker: &&Broker| broker.state == "UP" && (0..SILENCE_US).contains(&broker.rxidle);
        let up: Vec<i64> = self.brokers.values().filter(up).map(|broker| broker.nodeid).collect();
        let partitions = self.topics.get(topic).into_iter().flat_map(|topic| topic.partitions.values());
        let connected = partitions.filter(|partition| up.contains(&partition.broker));
        connected.filter_map(|partition| u32::try_from(partition.partition).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(state: &str, rxidle: i64) -> Statistics {
        let json = format!(
            r#"{{"brokers": {{"b:1/1": {{"nodeid": 1, "state": "{state}", "rxidle": {rxidle}, "other": []}}}},
                "topics": {{"t": {{"partitions": {{
                    "0": {{"partition": 0, "broker": 1}}, "1": {{"partition": 1, "broker": 2}},
                    "-1": {{"partition": -1, "broker": -1}} }} }} }} }}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_partition_is_connected_only_while_its_own_broker_is_up_and_talking() {
        assert_eq!(statistics("UP", 90_000).connected("t"), [0]);
        assert_eq!(statistics("CONNECT", 90_000).connected("t"), [0u32; 0]);
        assert_eq!(statistics("UP", SILENCE_US).connected("t"), [0u32; 0]);
        assert_eq!(statistics("UP", -1).connected("t"), [0u32; 0]);
        assert_eq!(statistics("UP", 90_000).connected("another"), [0u32; 0]);
    }
}
