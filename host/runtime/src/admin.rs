//! The admin API: health, readiness, metrics, status, swap, stop.
//!
//! Invariant: beyond loopback it is served with TLS and a token, or not at all. With a token every request must bring it but
//! the first two, and those tell nothing without it. Without one a request that names another host is refused, so that a page
//! in a browser cannot reach it through a name of its own.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /health` | 200 while the process lives |
//! | `GET /ready` | 200 when rows can flow, else 503 and why |
//! | `GET /metrics` | OpenMetrics |
//! | `GET /pipeline` | status as JSON |
//! | `POST /pipeline/steps/{step}/plugin` | the body is a component: gate, swap, answer |
//! | `POST /pipeline/steps/{step}/key` | the body names a key, `{"key": ["books"]}`: what the step holds for it |
//! | `POST /pipeline/savepoint` | the body names a folder of this machine: `{"folder": "/..."}` |
//! | `POST /pipeline/stop` | stop as on SIGTERM |

mod listener;
mod tls;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::control::{Control, SwapError, SwapReport};
use crate::held_key::KeyReport;
use crate::metrics;
use crate::savepoint::Description;
use crate::status::Status;

use listener::TlsListener;
pub use tls::{TlsError, TlsFiles};
pub use token::{Token, TokenError};

/// The largest component that is taken; the step's own limit may be lower.
const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// Where the API is served, and to whom.
#[derive(Debug, Clone)]
pub struct Settings {
    pub address: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// What every request must bring.
    pub token: Option<Token>,
}

/// Where the API is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    pub address: SocketAddr,
    pub tls: bool,
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http{}://{}", if self.tls { "s" } else { "" }, self.address)
    }
}

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("admin API on {0}: beyond loopback it is served with TLS and a token only")]
    Open(SocketAddr),
    #[error("admin API: {0}")]
    Tls(#[from] TlsError),
    #[error("admin API on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    #[error("admin API has no runtime: {0}")]
    Runtime(std::io::Error),
}

impl AdminError {
    /// The next act.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Open(_) => {
                "give --admin-certificate, --admin-key and, in WEIR_ADMIN_TOKEN, a token; or use 127.0.0.1"
            }
            Self::Tls(error) => error.next,
            Self::Bind(..) => "choose another address or port with --admin",
            Self::Runtime(_) => "raise the limits on threads and files of this process",
        }
    }
}

/// What a refused request says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    pub message: String,
    /// Everything that does not fit, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    pub next: String,
}

/// Starts the API on a thread of its own and answers where it is. It ends with the process.
///
/// # Errors
/// See [`AdminError`].
pub fn spawn(settings: Settings, control: Arc<Control>) -> Result<Served, AdminError> {
    let Settings { address, tls, token } = settings;
    if !address.ip().is_loopback() && (tls.is_none() || token.is_none()) {
        return Err(AdminError::Open(address));
    }
    let tls = tls.as_ref().map(tls::load).transpose()?;
    let listener = std::net::TcpListener::bind(address).map_err(|error| AdminError::Bind(address, error))?;
    listener.set_nonblocking(true).map_err(AdminError::Runtime)?;
    let bound = listener.local_addr().map_err(AdminError::Runtime)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(AdminError::Runtime)?;
    let served = Served { address: bound, tls: tls.is_some() };
    let router = router(control, token);
    let serve = move || {
        let served = runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            match tls {
                Some(config) => axum::serve(TlsListener::new(listener, config)?, router).await,
                None => axum::serve(listener, router).await,
            }
        });
        if let Err(error) = served {
            tracing::error!("the admin API ended: {error}");
        }
    };
    std::thread::Builder::new().name("admin".into()).spawn(serve).map_err(AdminError::Runtime)?;
    Ok(served)
}

fn router(control: Arc<Control>, token: Option<Token>) -> Router {
    Router::new()
        .route("/health", get(async || "ok\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .route("/pipeline", get(pipeline))
        .route("/pipeline/steps/{step}/plugin", post(swap))
        .route("/pipeline/steps/{step}/key", post(held_key))
        .route("/pipeline/savepoint", post(savepoint))
        .route("/pipeline/stop", post(stop))
        .layer(DefaultBodyLimit::max(MAX_COMPONENT_BYTES))
        .layer(axum::middleware::from_fn_with_state(token, admit))
        .with_state(control)
}

/// A request that may see everything.
#[derive(Debug, Clone, Copy)]
struct Trusted;

/// For probes, which bring no token.
const OPEN_PATHS: [&str; 2] = ["/health", "/ready"];

async fn admit(State(token): State<Option<Token>>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let trusted = match &token {
        Some(token) => bearer(headers).is_some_and(|given| token.is(given)),
        None if names_loopback(headers) => true,
        None => return StatusCode::FORBIDDEN.into_response(),
    };
    if trusted {
        request.extensions_mut().insert(Trusted);
    } else if !OPEN_PATHS.contains(&request.uri().path()) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    next.run(request).await
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    // An address, never a name that looks like one: a name can be made to mean this machine.
    let address = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    address || matches!(name, "localhost" | "[::1]")
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

async fn ready(State(control): State<Arc<Control>>, request: Request) -> Response {
    match control.status().is_ready() {
        Ok(()) => "ready\n".into_response(),
        Err(_) if request.extensions().get::<Trusted>().is_none() => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn metrics_page(State(control): State<Arc<Control>>) -> Response {
    let page = metrics::page(&control.status().status());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

async fn pipeline(State(control): State<Arc<Control>>) -> Json<Status> {
    Json(control.status().status())
}

async fn swap(
    State(control): State<Arc<Control>>,
    Path(step): Path<String>,
    headers: HeaderMap,
    component: Bytes,
) -> Result<Json<SwapReport>, Response> {
    // A content type that no plain form can send: a page in a browser would need our leave first.
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/wasm") {
        let message = "a swap's body is a component, content type application/wasm".to_owned();
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, vec![], "send the component's bytes"));
    }
    let swapped = tokio::task::spawn_blocking(move || control.swap(&step, &component)).await;
    let swapped = swapped.unwrap_or(Err(SwapError::Ended));
    swapped.map(Json).map_err(|error| {
        let (message, faults) = (error.to_string(), error.faults().to_vec());
        problem(StatusCode::UNPROCESSABLE_ENTITY, message, faults, error.next())
    })
}

/// A key that somebody asks about.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyRequest {
    /// A text for each key column; `null` for none.
    pub key: Vec<String>,
}

async fn held_key(
    State(control): State<Arc<Control>>,
    Path(step): Path<String>,
    Json(request): Json<KeyRequest>,
) -> Result<Json<KeyReport>, Response> {
    let held = tokio::task::spawn_blocking(move || control.held_key(&step, &request.key)).await;
    let held = held.unwrap_or_else(|_| Err("the question's thread panicked".to_owned()));
    held.map(Json).map_err(|message| {
        let next = "name a keyed step and a value for each of its key columns";
        problem(StatusCode::UNPROCESSABLE_ENTITY, message, vec![], next)
    })
}

/// Where a savepoint goes.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavepointRequest {
    /// An absolute path on the pipeline's machine.
    pub folder: std::path::PathBuf,
}

/// [`Json`] takes content type application/json alone, which no plain form can send.
async fn savepoint(
    State(control): State<Arc<Control>>,
    Json(request): Json<SavepointRequest>,
) -> Result<Json<Description>, Response> {
    if !request.folder.is_absolute() {
        let message = format!("{} is no absolute path", request.folder.display());
        return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, message, vec![], "name the folder from the root on"));
    }
    let made = tokio::task::spawn_blocking(move || control.savepoint(&request.folder)).await;
    let made = made.unwrap_or_else(|_| Err("the savepoint's thread panicked".to_owned()));
    made.map(Json).map_err(|message| problem(StatusCode::UNPROCESSABLE_ENTITY, message, vec![], "name a new folder"))
}

async fn stop(State(control): State<Arc<Control>>, headers: HeaderMap) -> Result<&'static str, Response> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        let message = "content type application/json is needed".to_owned();
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, vec![], "use `weir stop`"));
    }
    control.stop();
    Ok("stopping\n")
}

fn problem(status: StatusCode, message: String, faults: Vec<String>, next: &str) -> Response {
    (status, Json(Problem { message, faults, next: next.to_owned() })).into_response()
}
