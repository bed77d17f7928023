//! A proxy between Kafka clients and a broker that knows where requests begin: it counts them by kind, holds one back,
//! and cuts connections at a chosen one.
//!
//! It never changes a byte. Answers pass through unread.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Kinds of requests, by Kafka's number.
pub const PRODUCE: i16 = 0;
pub const INIT_PRODUCER_ID: i16 = 22;
pub const END_TXN: i16 = 26;

/// Larger requests are not Kafka's.
const MAX_REQUEST_BYTES: usize = 128 << 20;

/// Nobody who stalls a request forgets it for longer.
const LONGEST_STALL: Duration = Duration::from_secs(60);

/// What happens to the next request of one kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// It is lost, and every connection with it.
    Cut,
    /// It is kept, its connection to the client closed, its connection to the broker left open.
    Hold,
    /// It waits, and all behind it, until [`Proxy::let_go`].
    Stall,
}

#[derive(Default)]
struct Traffic {
    seen: BTreeMap<i16, usize>,
    orders: BTreeMap<i16, Order>,
    /// Both ends of each, by number.
    connections: BTreeMap<usize, [TcpStream; 2]>,
    opened: usize,
    /// Bytes that the broker has answered, by connection.
    answered: BTreeMap<usize, usize>,
    held: Option<Held>,
}

/// A request that waits for [`Proxy::release_held`], and where it goes.
struct Held {
    request: Vec<u8>,
    broker: TcpStream,
    connection: usize,
}

#[derive(Default)]
struct State {
    traffic: Mutex<Traffic>,
    changed: Condvar,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request and answers what is to happen to it.
    fn next_order(&self, kind: i16) -> Option<Order> {
        let mut traffic = self.lock();
        *traffic.seen.entry(kind).or_default() += 1;
        self.changed.notify_all();
        match traffic.orders.get(&kind).copied() {
            Some(Order::Stall) => Some(Order::Stall),
            _ => traffic.orders.remove(&kind),
        }
    }

    fn wait(&self, bound: Duration, mut until: impl FnMut(&mut Traffic) -> bool) -> bool {
        let end = Instant::now() + bound;
        let mut traffic = self.lock();
        while !until(&mut traffic) {
            let Some(left) = end.checked_duration_since(Instant::now()) else { return false };
            (traffic, _) = self.changed.wait_timeout(traffic, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// A running proxy. Its threads end with their connections.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `broker`.
    ///
    /// # Errors
    /// When the machine has no port or no thread left.
    pub fn start(broker: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::Builder::new().name("proxy".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                // A broker that is away closes the client's connection too.
                let _ = forward(client, broker, &shared);
            }
        })?;
        Ok(Self { port, state })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Requests of a kind so far.
    pub fn requests(&self, kind: i16) -> usize {
        self.state.lock().seen.get(&kind).copied().unwrap_or(0)
    }

    /// Waits until more than `count` requests of a kind were seen; answers whether they were.
    pub fn wait_for_more(&self, kind: i16, count: usize, bound: Duration) -> bool {
        self.state.wait(bound, |traffic| traffic.seen.get(&kind).copied().unwrap_or(0) > count)
    }

    /// Loses the next request of a kind, and closes every connection.
    pub fn cut_at_next(&self, kind: i16) {
        self.state.lock().orders.insert(kind, Order::Cut);
    }

    /// Keeps the next request of a kind from the broker and closes its client's connection.
    pub fn hold_next(&self, kind: i16) {
        self.state.lock().orders.insert(kind, Order::Hold);
    }

    /// Lets requests of a kind wait until [`Proxy::let_go`].
    pub fn stall(&self, kind: i16) {
        self.state.lock().orders.insert(kind, Order::Stall);
    }

    pub fn let_go(&self, kind: i16) {
        self.state.lock().orders.remove(&kind);
        self.state.changed.notify_all();
    }

    /// Hands the held request to the broker now and waits for its answer; answers whether there was one to hand over.
    ///
    /// # Errors
    /// When the broker has closed the connection or does not answer.
    pub fn release_held(&self, bound: Duration) -> std::io::Result<bool> {
        let (held, before) = {
            let mut traffic = self.state.lock();
            let Some(held) = traffic.held.take() else { return Ok(false) };
            let before = traffic.answered.get(&held.connection).copied();
            (held, before)
        };
        let Held { request, mut broker, connection } = held;
        broker.write_all(&request)?;
        let answered = self.state.wait(bound, |traffic| traffic.answered.get(&connection).copied() > before);
        if answered { Ok(true) } else { Err(std::io::Error::other("the broker does not answer")) }
    }
}

/// One connection through the proxy.
struct Connection {
    number: usize,
    client: TcpStream,
    broker: TcpStream,
}

fn forward(client: TcpStream, broker: SocketAddr, state: &Arc<State>) -> std::io::Result<()> {
    let broker = TcpStream::connect(broker)?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let number = {
        let mut traffic = state.lock();
        traffic.opened += 1;
        let number = traffic.opened;
        traffic.connections.insert(number, [client.try_clone()?, broker.try_clone()?]);
        number
    };
    let answers = Connection { number, client: client.try_clone()?, broker: broker.try_clone()? };
    let requests = Connection { number, client, broker };
    let shared = Arc::clone(state);
    thread::Builder::new().name("proxy-answers".into()).spawn(move || answers.pass_answers(&shared))?;
    let shared = Arc::clone(state);
    thread::Builder::new().name("proxy-requests".into()).spawn(move || requests.pass_requests(&shared))?;
    Ok(())
}

impl Connection {
    /// Goes on behind a client that was closed: the answer to a held request comes then.
    fn pass_answers(mut self, state: &State) {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = self.broker.read(&mut bytes) {
            let _ = self.client.write_all(&bytes[..count]);
            *state.lock().answered.entry(self.number).or_default() += count;
            state.changed.notify_all();
        }
        let _ = self.client.shutdown(Shutdown::Both);
        state.lock().connections.remove(&self.number);
    }

    fn pass_requests(mut self, state: &State) {
        while let Ok(request) = next_request(&mut self.client) {
            if !self.pass(request, state) {
                return;
            }
        }
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    /// Answers whether the connection goes on.
    fn pass(&mut self, request: Vec<u8>, state: &State) -> bool {
        let bytes = request.get(4..6).and_then(|bytes| bytes.first_chunk());
        let kind = bytes.map_or(-1, |bytes| i16::from_be_bytes(*bytes));
        match state.next_order(kind) {
            None => self.broker.write_all(&request).is_ok(),
            Some(Order::Stall) => {
                state.wait(LONGEST_STALL, |traffic| !traffic.orders.contains_key(&kind));
                self.broker.write_all(&request).is_ok()
            }
            Some(Order::Cut) => {
                let connections = std::mem::take(&mut state.lock().connections);
                connections.values().flatten().for_each(|end| drop(end.shutdown(Shutdown::Both)));
                false
            }
            Some(Order::Hold) => {
                if let Ok(broker) = self.broker.try_clone() {
                    state.lock().held = Some(Held { request, broker, connection: self.number });
                }
                let _ = self.client.shutdown(Shutdown::Both);
                false
            }
        }
    }
}

/// One request with its length in front.
fn next_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let bytes = u32::from_be_bytes(length) as usize;
    if bytes > MAX_REQUEST_BYTES {
        return Err(std::io::Error::other("no request of Kafka's"));
    }
    let mut request = length.to_vec();
    request.resize(4 + bytes, 0);
    client.read_exact(&mut request[4..])?;
    Ok(request)
}
