//! Connections that have shaken hands: the admin API beyond loopback.
//!
//! Invariant: a client that is slow, silent or speaks no TLS holds nobody else up, for no longer than
//! [`HANDSHAKE`], and at most [`MAX_HANDSHAKES`] of them are waited for at once. One that speaks HTTP without TLS is
//! told so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Problem;

/// From the connection to the end of its handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections whose handshake is waited for at once.
pub const MAX_HANDSHAKES: usize = 64;

/// How every connection begins that speaks TLS.
const TLS_HANDSHAKE: u8 = 22;

/// Gives out connections that have shaken hands.
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    /// Must be called on a runtime: accepts on a task of its own.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (shaken, ready) = mpsc::channel(1);
        tokio::spawn(accept_all(listener, TlsAcceptor::from(config), shaken));
        Ok(Self { ready, address })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ends with the process only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

async fn accept_all(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    shaken: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, from) = Listener::accept(&mut listener).await;
        let (acceptor, shaken) = (acceptor.clone(), shaken.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, shake_hands(&acceptor, stream)).await {
                Ok(Ok(stream)) => drop(shaken.send((stream, from)).await),
                Ok(Err(error)) => tracing::debug!("admin API: {from}: {error}"),
                Err(_) => tracing::debug!("admin API: {from}: no handshake within {} s", HANDSHAKE.as_secs()),
            }
            drop(place);
        });
    }
}

async fn shake_hands(acceptor: &TlsAcceptor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [TLS_HANDSHAKE];
    stream.peek(&mut first).await?;
    if first == [TLS_HANDSHAKE] {
        return acceptor.accept(stream).await;
    }
    stream.write_all(without_tls().as_bytes()).await?;
    stream.shutdown().await?;
    // What is left unread when it closes would take the answer away from the client.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Err(io::Error::other("speaks no TLS"))
}

fn without_tls() -> String {
    let problem = Problem {
        message: "this port speaks TLS only".into(),
        faults: Vec::new(),
        next: "say --admin https://HOST:PORT, and with --ca whose certificates are trusted".into(),
    };
    let body = serde_json::to_string(&problem).expect("a problem has only text");
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
