//! Real services for tests: a Kafka broker, a PostgreSQL server, a Cassandra node, and the `weir` binary under test; and a proxy that lets
//! connections break where a test wants it, an HTTP server that answers as a test says, and
//! certificates for it.
//!
//! Invariant: a service that was started is killed and reaped when its handle is dropped, and dies with this process
//! whatever ends it. Everything listens on free loopback ports and keeps its data in a folder that goes with it.
//!
//! Nothing here imitates a service, and nothing is shared between two handles but the download cache.

pub mod cassandra;
pub mod certificates;
pub mod http;
pub mod install;
mod jars;
pub mod kafka;
pub mod pipeline;
pub mod postgres;
pub mod process;
pub mod proxy;

pub use cassandra::Cassandra;
pub use kafka::Kafka;
pub use pipeline::{Run, Weir};
pub use postgres::Postgres;
pub use proxy::Proxy;

use std::path::{Path, PathBuf};

/// Where downloads are kept: `WEIR_CACHE`, or `.cache/weir` of this user.
///
/// # Errors
/// When neither `WEIR_CACHE` nor `HOME` is set.
pub fn cache_folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("WEIR_CACHE") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").ok_or_else(|| anyhow::anyhow!("set WEIR_CACHE: there is no HOME"))?;
    Ok(Path::new(&home).join(".cache/weir"))
}

/// The root of this checkout.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A loopback port that nobody listens on now.
///
/// # Errors
/// When the machine has none left.
pub fn free_port() -> std::io::Result<u16> {
    free_ports().map(|[port]| port)
}

/// Loopback ports that nobody listens on now, each another one.
///
/// # Errors
/// As [`free_port`].
pub fn free_ports<const N: usize>() -> std::io::Result<[u16; N]> {
    // All are held until the last is found: the system may give one that was let go at once again.
    let mut held = Vec::with_capacity(N);
    for _ in 0..N {
        held.push(std::net::TcpListener::bind(("127.0.0.1", 0))?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
