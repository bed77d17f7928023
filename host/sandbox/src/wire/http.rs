//! The types of `weir:plugin/http`.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting a case's number")]
pub enum Method {
    #[component(name = "get")]
    Get,
    #[component(name = "head")]
    Head,
    #[component(name = "post")]
    Post,
    #[component(name = "put")]
    Put,
    #[component(name = "patch")]
    Patch,
    #[component(name = "delete")]
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Header {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub struct Request {
    pub method: Method,
    pub url: String,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Arc<[u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum ErrorCode {
    #[component(name = "not-allowed")]
    NotAllowed,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "failed")]
    Failed,
}

#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub struct Error {
    pub code: ErrorCode,
    pub message: String,
}

/// Parameters and results of `fetch`.
pub type FetchParams = (Vec<Request>,);
pub type FetchResult = (Vec<Result<Response, Error>>,);
