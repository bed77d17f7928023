//! The Kafka and the PostgreSQL of these tests: those that the environment names, or own ones.

use std::sync::OnceLock;

use anyhow::Result;
use weir_services::{Kafka, Postgres};

/// Where they are, and the handles that keep own ones alive.
#[derive(Debug)]
pub struct Services {
    pub brokers: String,
    pub postgres: String,
    _kafka: Option<Kafka>,
    _postgres: Option<Postgres>,
}

impl Services {
    /// # Errors
    /// When a service that the environment does not name cannot be started.
    pub fn find_or_start() -> Result<Self> {
        let named = |name: &str| std::env::var(name).ok();
        let (kafka, brokers) = match named("WEIR_TEST_KAFKA") {
            Some(brokers) => (None, brokers),
            None => {
                let kafka = Kafka::start()?;
                let brokers = kafka.brokers();
                (Some(kafka), brokers)
            }
        };
        let (server, postgres) = match named("WEIR_TEST_POSTGRES") {
            Some(url) => (None, url),
            None => {
                let server = Postgres::start()?;
                let url = server.url();
                (Some(server), url)
            }
        };
        Ok(Self { brokers, postgres, _kafka: kafka, _postgres: server })
    }

    /// The services that all tests of this process share. The kernel ends own ones with the process.
    ///
    /// # Panics
    /// When they cannot be started: no test can run then.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Services> = OnceLock::new();
        SHARED.get_or_init(|| Self::find_or_start().unwrap_or_else(|error| panic!("{error:#}")))
    }
}
