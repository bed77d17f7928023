//! The admin API: health, readiness, metrics, status, swap, stop. Loopback only; a request that names another host is
//! refused, so that a page in a browser cannot reach it through a name of its own.
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

/// The largest component that is taken; the step's own limit may be lower.
const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("admin API on {0}: only loopback addresses are served; use 127.0.0.1 and reach it through a tunnel")]
    NotLoopback(SocketAddr),
    #[error("admin API on {0}: {1}; choose another port with --admin")]
    Bind(SocketAddr, std::io::Error),
    #[error("admin API has no runtime: {0}")]
    Runtime(std::io::Error),
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

/// Starts the API on a thread of its own and answers the address that it got. It ends with the process.
///
/// # Errors
/// See [`AdminError`].
pub fn spawn(address: SocketAddr, control: Arc<Control>) -> Result<SocketAddr, AdminError> {
    if !address.ip().is_loopback() {
        return Err(AdminError::NotLoopback(address));
    }
    let listener = std::net::TcpListener::bind(address).map_err(|error| AdminError::Bind(address, error))?;
    listener.set_nonblocking(true).map_err(AdminError::Runtime)?;
    let bound = listener.local_addr().map_err(AdminError::Runtime)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(AdminError::Runtime)?;
    let serve = move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router(control)).await
        })
    };
    let serve = move || {
        if let Err(error) = serve() {
            tracing::error!("the admin API ended: {error}");
        }
    };
    std::thread::Builder::new().name("admin".into()).spawn(serve).map_err(AdminError::Runtime)?;
    Ok(bound)
}

fn router(control: Arc<Control>) -> Router {
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
        .layer(axum::middleware::from_fn(loopback_host_only))
        .with_state(control)
}

async fn loopback_host_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    // An address, never a name that looks like one: a name can be made to mean this machine.
    let address = name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    let loopback = address || matches!(name, "localhost" | "[::1]");
    if loopback { next.run(request).await } else { StatusCode::FORBIDDEN.into_response() }
}

async fn ready(State(control): State<Arc<Control>>) -> Response {
    match control.status().is_ready() {
        Ok(()) => "ready\n".into_response(),
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
