//! The import `weir:plugin/http`: what a plugin of the world `enrich` asks of services.
//!
//! Invariant: nothing is asked but through the client that the step's operator granted, and only in a `process` call; what
//! the host does and waits for meanwhile is not the plugin's time.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::StoreContextMut;
use weir_stream::{Fetch, FetchBudget, FetchError, FetchMethod, FetchRequest, Fetched};

use crate::clock::thread_cpu_time;
use crate::instance::HostState;
use crate::limits::FETCH_REQUESTS;
use crate::wire::http as wire;

pub(crate) const HTTP_INTERFACE: &str = "weir:plugin/http@0.1.0";

/// What one instance may ask.
pub(crate) struct Fetching {
    client: Arc<dyn Fetch>,
    /// Of the running call.
    budget: FetchBudget,
}

impl Fetching {
    pub(crate) fn new(client: Arc<dyn Fetch>) -> Self {
        let budget = client.budget();
        Self { client, budget }
    }

    pub(crate) fn begin_call(&mut self) {
        self.budget = self.client.budget();
    }
}

/// More at once than a fetch may ask: the call ends as a trap does.
#[derive(Debug, thiserror::Error)]
#[error("{0} requests in one fetch")]
pub(crate) struct TooManyRequests(pub(crate) usize);

pub(crate) fn fetch(
    mut store: StoreContextMut<'_, HostState>,
    (requests,): wire::FetchParams,
) -> wasmtime::Result<wire::FetchResult> {
    if requests.len() > FETCH_REQUESTS {
        return Err(wasmtime::Error::new(TooManyRequests(requests.len())));
    }
    let state = store.data_mut();
    let Some(fetching) = &mut state.fetching else {
        let why = match state.tables {
            Some(_) => "the step grants no `http`",
            None => "nothing can be fetched in `describe` and `open`",
        };
        let refused = || FetchError::NotAllowed(why.into());
        return Ok((requests.iter().map(|_| Err(error_to_wire(refused()))).collect(),));
    };
    let (cpu, wall) = (thread_cpu_time(), Instant::now());
    let requests: Vec<FetchRequest> = requests.into_iter().map(request_from_wire).collect();
    let answers = fetching.client.fetch(requests, &mut fetching.budget);
    state.deadline.pause(thread_cpu_time().saturating_sub(cpu), wall.elapsed());
    Ok((answers.into_iter().map(answer_to_wire).collect(),))
}

fn request_from_wire(request: wire::Request) -> FetchRequest {
    let method = match request.method {
        wire::Method::Get => FetchMethod::Get,
        wire::Method::Head => FetchMethod::Head,
        wire::Method::Post => FetchMethod::Post,
        wire::Method::Put => FetchMethod::Put,
        wire::Method::Patch => FetchMethod::Patch,
        wire::Method::Delete => FetchMethod::Delete,
    };
    let headers = request.headers.into_iter().map(|header| (header.name, header.value)).collect();
    FetchRequest { method, url: request.url, headers, body: request.body }
}

fn answer_to_wire(answer: Fetched) -> Result<wire::Response, wire::Error> {
    let response = answer.map_err(error_to_wire)?;
    let headers = response.headers.into_iter().map(|(name, value)| wire::Header { name, value }).collect();
    Ok(wire::Response { status: response.status, headers, body: response.body })
}

fn error_to_wire(error: FetchError) -> wire::Error {
    let code = match error {
        FetchError::NotAllowed(_) => wire::ErrorCode::NotAllowed,
        FetchError::Timeout(_) => wire::ErrorCode::Timeout,
        FetchError::TooLarge(_) => wire::ErrorCode::TooLarge,
        FetchError::Failed(_) => wire::ErrorCode::Failed,
    };
    wire::Error { code, message: error.to_string() }
}
