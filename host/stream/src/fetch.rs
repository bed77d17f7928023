//! Requests to services outside that a user's function makes, and their answers: what a sandbox hands on and a connector
//! carries out.

use std::sync::Arc;
use std::time::Duration;

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl FetchMethod {
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether asking twice does what asking once does.
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FetchRequest {
    pub method: FetchMethod,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What a service answered, whatever its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Arc<[u8]>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The request goes, or was sent on, where it may not.
    #[error("{0}")]
    NotAllowed(String),
    #[error("{0}")]
    Timeout(String),
    #[error("{0}")]
    TooLarge(String),
    /// The service is away, or speaks nonsense.
    #[error("{0}")]
    Failed(String),
}

pub type Fetched = Result<FetchResponse, FetchError>;

/// What one call of a function may still use, over all its fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchBudget {
    pub time: Duration,
    /// Of all responses' bodies.
    pub bytes: usize,
}

/// Carries requests out, within the bounds that an operator set.
pub trait Fetch: Send + Sync {
    /// Of a call that begins.
    fn budget(&self) -> FetchBudget;

    /// Waits until each request has an answer or the time is over; answers in the order of the requests.
    fn fetch(&self, requests: Vec<FetchRequest>, budget: &mut FetchBudget) -> Vec<Fetched>;
}
