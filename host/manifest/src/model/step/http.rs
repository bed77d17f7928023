//! What a plugin may ask of services over HTTP: nothing that is not written here.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::MAX_ENTRIES;
use crate::scalar::{Duration, Size};
use crate::span::Spanned;

/// The services that a plugin of the world `enrich` may ask, and how much.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a plugin's HTTP requests")]
pub struct PluginHttp {
    /// Hosts, each with its port: rates.example:443. No other is asked, redirects included.
    #[schemars(extend("minItems" = 1, "maxItems" = MAX_ENTRIES))]
    pub allow: Vec<Spanned<String>>,
    /// Whether a host that is allowed by its name may have an address of a private network. Default false.
    #[serde(default)]
    pub private: bool,
    /// Requests under way at once, over all tasks of the step. Default 8.
    #[serde(default = "PluginHttp::default_concurrency")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u16,
    /// For one try of one request. Default 2s.
    #[serde(default = "PluginHttp::default_timeout")]
    pub timeout: Duration,
    /// For all requests of one batch together. Default 30s.
    #[serde(default = "PluginHttp::default_total")]
    pub total: Duration,
    /// Tries of a request beyond the first: `POST` and `PATCH` have none. Default 2.
    #[serde(default = "PluginHttp::default_retries")]
    #[schemars(range(max = 10))]
    pub retries: u8,
    /// The body of one response. Default 1MiB.
    #[serde(default = "PluginHttp::default_response")]
    pub response: Size,
    /// PEM file of the authorities whose certificates are trusted over https. Absent: those of the system.
    pub ca: Option<Spanned<String>>,
    /// Keeps answers to `GET`. Absent: none is kept.
    pub cache: Option<HttpCache>,
}

/// Answers that are kept for a while, over all tasks of the step.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a cache of answers")]
pub struct HttpCache {
    /// Answers at most.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rows: u32,
    /// How long one is good.
    pub ttl: Duration,
}

impl PluginHttp {
    fn default_concurrency() -> u16 {
        8
    }

    fn default_timeout() -> Duration {
        Duration::from_secs(2)
    }

    fn default_total() -> Duration {
        Duration::from_secs(30)
    }

    fn default_retries() -> u8 {
        2
    }

    fn default_response() -> Size {
        Size::from_mib(1)
    }
}
