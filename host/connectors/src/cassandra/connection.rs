//! One connection to a cluster: opened, used with a bound on every answer, and errors sorted by what happens next.
//!
//! The driver keeps its own connections to the nodes that it finds, on a small runtime of its own. Nothing here puts a
//! password into a text.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError};
use weir_stream::SinkError;

use super::DEFAULT_PORT;
use crate::identity::fatal;

/// How long a connection may take to open, all nodes tried.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long one statement may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Which cluster, and as whom.
#[derive(Clone)]
pub struct CassandraCluster {
    /// `host` or `host:port`; others are found through them.
    pub hosts: Vec<String>,
    pub user: Option<String>,
    /// Not for showing.
    pub password: Option<String>,
}

impl std::fmt::Debug for CassandraCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CassandraCluster").field("hosts", &self.hosts).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A connection, and the small runtime that drives it.
pub(super) struct Connection {
    session: Option<Arc<Session>>,
    cluster: CassandraCluster,
    target: String,
    runtime: tokio::runtime::Runtime,
}

impl Connection {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// `Fatal` when there is no runtime.
    pub(super) fn new(cluster: CassandraCluster) -> Result<Self, SinkError> {
        let hosts: Vec<String> = cluster.hosts.iter().map(|host| with_port(host)).collect();
        let target = format!("Cassandra {}", hosts.join(", "));
        // One thread beside those who ask: the driver looks after its connections in between.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime =
            runtime.map_err(|error| fatal(format!("no I/O runtime: {error}"), "free memory and file handles"))?;
        Ok(Self { session: None, cluster: CassandraCluster { hosts, ..cluster }, target, runtime })
    }

    /// The cluster as error texts name it, without credentials.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// # Errors
    /// `Retry` while no node answers, `Fatal` when it will never let us in.
    pub(super) fn session(&mut self) -> Result<Arc<Session>, SinkError> {
        if let Some(session) = &self.session {
            return Ok(Arc::clone(session));
        }
        let profile = ExecutionProfile::builder().request_timeout(Some(ANSWER_PATIENCE)).build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&self.cluster.hosts)
            .default_execution_profile_handle(profile.into_handle())
            .connection_timeout(CONNECT_PATIENCE / 2)
            // Where keys live is all that is needed of it.
            .fetch_full_schema_metadata(false);
        if let Some(user) = &self.cluster.user {
            builder = builder.user(user, self.cluster.password.as_deref().unwrap_or_default());
        }
        let opening = async { tokio::time::timeout(CONNECT_PATIENCE, builder.build()).await };
        let session = match self.runtime.block_on(opening) {
            Ok(opened) => Arc::new(opened.map_err(|error| self.not_opened(&error))?),
            Err(_) => {
                let seconds = CONNECT_PATIENCE.as_secs();
                return Err(SinkError::Retry(format!("{} did not accept within {seconds} s", self.target)));
            }
        };
        self.session = Some(Arc::clone(&session));
        Ok(session)
    }

    pub(super) fn disconnect(&mut self) {
        self.session = None;
    }

    /// Drives an exchange to its end; each statement in it is bounded.
    pub(super) fn drive<T>(&self, exchange: impl Future<Output = T>) -> T {
        self.runtime.block_on(exchange)
    }

    fn not_opened(&self, error: &NewSessionError) -> SinkError {
        let message = format!("{}: {error}", self.target);
        // The driver wraps what a node said in many layers, whose types are not for matching.
        if message.to_ascii_lowercase().contains("authenticat") {
            return fatal(message, "correct `user` and the secret of `password`");
        }
        SinkError::Retry(message)
    }

    pub(super) fn not_prepared(&self, error: &PrepareError) -> SinkError {
        match error {
            PrepareError::AllAttemptsFailed { first_attempt, .. } => self.refused(first_attempt, &error.to_string()),
            other => SinkError::Retry(format!("{}: {other}", self.target)),
        }
    }

    pub(super) fn not_executed(&self, error: &ExecutionError) -> SinkError {
        match error {
            ExecutionError::LastAttemptError(attempt) => self.refused(attempt, &error.to_string()),
            ExecutionError::PrepareError(error) => self.not_prepared(error),
            ExecutionError::BadQuery(bad) => fatal(format!("{}: {bad}", self.target), "report it with the manifest"),
            other => SinkError::Retry(format!("{}: {other}", self.target)),
        }
    }

    fn refused(&self, attempt: &RequestAttemptError, text: &str) -> SinkError {
        let RequestAttemptError::DbError(error, said) = attempt else {
            return SinkError::Retry(format!("{}: {text}", self.target));
        };
        let message = format!("{}: {said}", self.target);
        match error {
            DbError::SyntaxError | DbError::Invalid | DbError::ConfigError | DbError::FunctionFailure { .. } => {
                let next = "let the table's columns be those that are named here and its whole partition key be looked up \
                            by, or choose another `table`";
                fatal(message, next)
            }
            DbError::AuthenticationError => fatal(message, "correct `user` and the secret of `password`"),
            DbError::Unauthorized => fatal(message, "grant the user SELECT on the table"),
            _ => SinkError::Retry(format!("{}: {text}", self.target)),
        }
    }
}

/// With the port that Cassandra has unless told otherwise.
fn with_port(host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
        !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (!name.contains(':') || name.ends_with(']'))
    });
    if has_port { host.to_owned() } else { format!("{host}:{DEFAULT_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_has_cassandras() {
        assert_eq!(with_port("db1"), "db1:9042");
        assert_eq!(with_port("db1:19042"), "db1:19042");
        assert_eq!(with_port("[::1]:19042"), "[::1]:19042");
        assert_eq!(with_port("[::1]"), "[::1]:9042");
    }

    #[test]
    fn a_password_is_never_shown() {
        let cluster = CassandraCluster {
            hosts: vec!["db1".into()],
            user: Some("weir".into()),
            password: Some("canary-hunter2".into()),
        };
        assert_eq!(format!("{cluster:?}"), r#"CassandraCluster { hosts: ["db1"], user: Some("weir"), .. }"#);
    }
}
