//! Requests to services and their answers, for plugins of the world `enrich`; see [`mod@crate::enrich`].
//!
//! In a component the host makes the requests, within what the manifest allows; in a native test the test answers them
//! ([`testing::Instance::process_with`](crate::testing::Instance::process_with)).

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::json::Json;
use crate::reject::Reject;

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Whole, with scheme and host; see [`encode`] for what comes from a row.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: Method, url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: body.into() }
    }

    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url, Vec::new())
    }

    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new(Method::Post, url, body)
    }

    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// What a service answered, whatever its status says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// For tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// # Errors
    /// A reject, when the body is not UTF-8.
    pub fn text(&self) -> Result<&str, Reject> {
        std::str::from_utf8(&self.body).map_err(|error| Reject::new("http-body", error.to_string()))
    }

    /// # Errors
    /// A reject, when the body is not JSON.
    pub fn json(&self) -> Result<Json, Reject> {
        Json::parse(self.text()?).map_err(|fault| Reject::new("http-body", fault))
    }
}

/// Why there is no answer. `?` makes a reject of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The request goes, or was sent on, where the manifest does not let it.
    NotAllowed(String),
    Timeout(String),
    TooLarge(String),
    /// The service is away, or speaks nonsense.
    Failed(String),
}

pub type Fetched = Result<Response, FetchError>;

impl From<FetchError> for Reject {
    fn from(error: FetchError) -> Self {
        let (code, reason) = match error {
            FetchError::NotAllowed(reason) => ("http-not-allowed", reason),
            FetchError::Timeout(reason) => ("http-timeout", reason),
            FetchError::TooLarge(reason) => ("http-too-large", reason),
            FetchError::Failed(reason) => ("http-failed", reason),
        };
        Self::new(code, reason)
    }
}

/// A text of a row as part of a URL's path or query: everything but letters, digits and `-._~` is escaped.
pub fn encode(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
    }
    Cow::Owned(encoded)
}

/// Makes the requests, several at once; the answers come in the order of the requests.
#[cfg(target_arch = "wasm32")]
pub fn fetch(requests: Vec<Request>) -> Vec<Fetched> {
    use crate::enrich_bindings::weir::plugin::http as wit;
    if requests.is_empty() {
        return Vec::new();
    }
    let headers = |headers: Vec<(String, String)>| {
        headers.into_iter().map(|(name, value)| wit::Header { name, value }).collect::<Vec<_>>()
    };
    let request = |request: Request| wit::Request {
        method: match request.method {
            Method::Get => wit::Method::Get,
            Method::Head => wit::Method::Head,
            Method::Post => wit::Method::Post,
            Method::Put => wit::Method::Put,
            Method::Patch => wit::Method::Patch,
            Method::Delete => wit::Method::Delete,
        },
        url: request.url,
        headers: headers(request.headers),
        body: request.body,
    };
    let requests: Vec<wit::Request> = requests.into_iter().map(request).collect();
    let answers = wit::fetch(&requests).into_iter();
    answers.map(|answer| answer.map(response).map_err(error)).collect()
}

#[cfg(target_arch = "wasm32")]
fn response(response: crate::enrich_bindings::weir::plugin::http::Response) -> Response {
    let headers = response.headers.into_iter().map(|header| (header.name, header.value));
    Response { status: response.status, headers: headers.collect(), body: response.body }
}

#[cfg(target_arch = "wasm32")]
fn error(error: crate::enrich_bindings::weir::plugin::http::Error) -> FetchError {
    use crate::enrich_bindings::weir::plugin::http::ErrorCode;
    match error.code {
        ErrorCode::NotAllowed => FetchError::NotAllowed(error.message),
        ErrorCode::Timeout => FetchError::Timeout(error.message),
        ErrorCode::TooLarge => FetchError::TooLarge(error.message),
        ErrorCode::Failed => FetchError::Failed(error.message),
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use native::{fetch, with_service};

/// What answers in a native test.
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;

    use super::{Fetched, Request};

    type Service = Box<dyn FnMut(&Request) -> Fetched>;

    std::thread_local! {
        static SERVICE: RefCell<Option<Service>> = const { RefCell::new(None) };
    }

    /// # Panics
    /// When the test answers no requests.
    pub fn fetch(requests: Vec<Request>) -> Vec<Fetched> {
        SERVICE.with_borrow_mut(|service| {
            let mut answer = |request: &Request| match service {
                Some(service) => service(request),
                None => panic!("nobody answers {}: use `process_with`", request.url),
            };
            requests.iter().map(&mut answer).collect()
        })
    }

    /// Lets `service` answer what `run` asks.
    pub fn with_service<T>(service: impl FnMut(&Request) -> Fetched + 'static, run: impl FnOnce() -> T) -> T {
        let before = SERVICE.replace(Some(Box::new(service)));
        let result = run();
        SERVICE.replace(before);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_row_cannot_leave_its_place_in_a_url() {
        assert_eq!(encode("EUR"), "EUR");
        assert_eq!(encode("../a b?c&d=é#"), "..%2Fa%20b%3Fc%26d%3D%C3%A9%23");
    }

    #[test]
    fn an_answer_that_is_no_json_is_a_reject() {
        assert_eq!(Response::new(200, "{").json().unwrap_err().code, "http-body");
        assert_eq!(Response::new(200, [0xff]).text().unwrap_err().code, "http-body");
        assert_eq!(Reject::from(FetchError::Timeout("late".into())).to_string(), "http-timeout: late");
    }
}
