//! A server of HTTP for tests of what asks one: answers as the test says, byte for byte, and notes what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a server does with a request: the whole response as bytes.
type Handler = dyn Fn(&Seen) -> Vec<u8> + Send + Sync;

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// A server on loopback. It ends with the process.
pub struct HttpServer {
    pub port: u16,
    tls: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    most: Arc<AtomicUsize>,
}

impl HttpServer {
    /// Answers each request with what `handler` makes of it; see [`response`].
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(handler: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> std::io::Result<Self> {
        Self::listen(None, handler)
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// As [`HttpServer::start`].
    pub fn start_tls(
        config: Arc<ServerConfig>,
        handler: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Self::listen(Some(config), handler)
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (seen, most): (Arc<Mutex<Vec<Seen>>>, _) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (noted, highest) = (Arc::clone(&seen), Arc::clone(&most));
        let handler: Arc<Handler> = Arc::new(handler);
        let (now, is_tls) = (Arc::new(AtomicUsize::new(0)), tls.is_some());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, noted) = (Arc::clone(&handler), Arc::clone(&noted));
                let (highest, now) = (Arc::clone(&highest), Arc::clone(&now));
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    None => serve(stream, &*handler, &noted, &now, &highest),
                    Some(config) => {
                        let connection = ServerConnection::new(config).ok()?;
                        serve(StreamOwned::new(connection, stream), &*handler, &noted, &now, &highest)
                    }
                });
            }
        });
        Ok(Self { port, tls: is_tls, seen, most })
    }

    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    /// Everything that was asked, in its order.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    /// The most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    stream: impl Read + Write,
    handler: &Handler,
    noted: &Mutex<Vec<Seen>>,
    now: &AtomicUsize,
    highest: &AtomicUsize,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let seen = Seen { method, path, headers, body };
        lock(noted).push(seen.clone());
        highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let response = handler(&seen);
        now.fetch_sub(1, Ordering::SeqCst);
        // One that sends its request as a whole: nothing is read ahead while this is written.
        reader.get_mut().write_all(&response).ok()?;
        reader.get_mut().flush().ok()?;
    }
}

/// A response as it goes over the wire; `headers` are whole lines, each with its `\r\n`.
pub fn response(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
