//! One request to its answer: tried again where that may help, sent on where its host may be asked, cut off at its bounds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::{self, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use url::Url;
use weir_stream::{FetchError, FetchMethod, FetchRequest, FetchResponse, Fetched};

use super::HttpSettings;
use super::allowed::{AllowedHost, is_public};
use crate::tls;

/// A `GET` or `HEAD` is sent on at most so often.
const MAX_REDIRECTS: usize = 5;
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
/// What a service asks to be left alone for beyond this is this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Headers of a response, all together.
const HEADER_BYTES: usize = 64 << 10;
/// Kept open to one host: as many as ask at once, up to this.
const IDLE_CONNECTIONS: usize = 32;

pub struct Exchange {
    agent: ureq::Agent,
    allow: Vec<AllowedHost>,
    timeout: Duration,
    retries: u32,
    response_bytes: usize,
}

/// How one try ended.
enum Tried {
    Answer(FetchResponse),
    /// Sent on, to be looked at before it is followed.
    Moved(Url),
    /// Another try may help, not before so long.
    Again {
        error: FetchError,
        not_before: Option<Duration>,
        answer: Option<FetchResponse>,
    },
    Failed(FetchError),
}

impl Exchange {
    pub fn new(settings: &HttpSettings) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            // Redirects are followed here, where their host is looked at.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy of the environment would resolve names beyond what is looked at here.
            .proxy(None)
            .tls_config(settings.trust.clone())
            .max_response_header_size(HEADER_BYTES)
            .max_idle_connections_per_host(settings.concurrency.min(IDLE_CONNECTIONS))
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = GuardedResolver { private: settings.private, inner: DefaultResolver::default() };
        Self {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), resolver),
            allow: settings.allow.clone(),
            timeout: settings.timeout,
            retries: settings.retries,
            response_bytes: settings.response_bytes,
        }
    }

    /// Carries a request out until `until` at the latest. `bytes_left`: of all responses of its call.
    pub fn run(&self, request: &FetchRequest, until: Instant, bytes_left: &AtomicUsize) -> Fetched {
        let mut url = self.checked(&request.url)?;
        let mut request = request.clone();
        for _ in 0..=MAX_REDIRECTS {
            match self.persist(&request, &url, until, bytes_left)? {
                Ok(answer) => return Ok(answer),
                Err(next) => url = self.follow(&mut request, &url, &next)?,
            }
        }
        Err(FetchError::Failed(format!("{url}: sent on more than {MAX_REDIRECTS} times")))
    }

    fn checked(&self, url: &str) -> Result<Url, FetchError> {
        let parsed = Url::parse(url).map_err(|error| FetchError::NotAllowed(format!("`{url:.200}`: {error}")))?;
        self.check(&parsed)?;
        Ok(parsed)
    }

    fn check(&self, url: &Url) -> Result<(), FetchError> {
        let refused = |why: &str| Err(FetchError::NotAllowed(format!("{:.200}: {why}", url.as_str())));
        if !matches!(url.scheme(), "http" | "https") {
            return refused("only http and https are spoken");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("a name or password in the address; give a header");
        }
        match AllowedHost::of(url) {
            Some(host) if self.allow.contains(&host) => Ok(()),
            Some(host) => refused(&format!("{host} is not among the step's `http.allow`")),
            None => refused("it has no host"),
        }
    }

    /// The next address of a request that was sent on. Another host gets none of its headers: they may be secrets.
    fn follow(&self, request: &mut FetchRequest, from: &Url, to: &Url) -> Result<Url, FetchError> {
        let mut to = to.clone();
        to.set_fragment(None);
        self.check(&to).map_err(|error| FetchError::NotAllowed(format!("{from} sends on to {error}")))?;
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(FetchError::NotAllowed(format!("{from} sends on to {to}, without encryption")));
        }
        if AllowedHost::of(from) != AllowedHost::of(&to) {
            request.headers.clear();
        }
        Ok(to)
    }

    /// Tries until there is an answer, or an address to go on with.
    fn persist(
        &self,
        request: &FetchRequest,
        url: &Url,
        until: Instant,
        bytes_left: &AtomicUsize,
    ) -> Result<Result<FetchResponse, Url>, FetchError> {
        let retries = if request.method.is_idempotent() { self.retries } else { 0 };
        let mut back_off = FIRST_BACK_OFF;
        for try_number in 0.. {
            let (error, not_before, answer) = match self.try_once(request, url, until, bytes_left) {
                Tried::Answer(answer) => return Ok(Ok(answer)),
                Tried::Moved(next) => return Ok(Err(next)),
                Tried::Failed(error) => return Err(error),
                Tried::Again { error, not_before, answer } => (error, not_before, answer),
            };
            let pause = not_before.unwrap_or(back_off);
            if try_number == retries || Instant::now() + pause >= until {
                return answer.map(Ok).ok_or(error);
            }
            std::thread::sleep(pause);
            back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        }
        unreachable!("the loop ends with the last try")
    }

    fn try_once(&self, request: &FetchRequest, url: &Url, until: Instant, bytes_left: &AtomicUsize) -> Tried {
        let timeout = self.timeout.min(until.saturating_duration_since(Instant::now()));
        if timeout.is_zero() {
            return Tried::Failed(FetchError::Timeout(format!("{url}: the time for all requests of the call is over")));
        }
        let again = |error| Tried::Again { error, not_before: None, answer: None };
        let sent = self.send(request, url, timeout);
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                if let Some(why) = tls::refusal(&error) {
                    let next = "name the authority's file as `http.ca`, if the server is the right one";
                    return Tried::Failed(FetchError::Failed(format!("{url}: {why}; {next}")));
                }
                return match self.error(url, timeout, error) {
                    error @ FetchError::NotAllowed(_) => Tried::Failed(error),
                    error => again(error),
                };
            }
        };
        let status = response.status().as_u16();
        if let Some(next) = redirect(request.method, url, &response) {
            return next.map_or_else(Tried::Failed, Tried::Moved);
        }
        let not_before = retry_after(&response);
        let body = match self.body(url, timeout, response.body_mut(), bytes_left) {
            Ok(body) => body,
            Err(error @ FetchError::TooLarge(_)) => return Tried::Failed(error),
            Err(error) => return again(error),
        };
        let answer = FetchResponse { status, headers: headers(&response), body: body.into() };
        if matches!(status, 429 | 500 | 502..=504) {
            let error = FetchError::Failed(format!("{url}: status {status}"));
            return Tried::Again { error, not_before, answer: Some(answer) };
        }
        Tried::Answer(answer)
    }

    fn send(
        &self,
        request: &FetchRequest,
        url: &Url,
        timeout: Duration,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let mut builder = http::Request::builder().method(request.method.name()).uri(url.as_str());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        // Without a body none is announced, whatever the method.
        if request.body.is_empty()
            && !matches!(request.method, FetchMethod::Post | FetchMethod::Put | FetchMethod::Patch)
        {
            let request = builder.body(())?;
            return self.agent.run(self.agent.configure_request(request).timeout_global(Some(timeout)).build());
        }
        let request = builder.body(request.body.as_slice())?;
        self.agent.run(self.agent.configure_request(request).timeout_global(Some(timeout)).build())
    }

    /// Reads a body within its own bound and what is left of its call's.
    fn body(
        &self,
        url: &Url,
        timeout: Duration,
        body: &mut ureq::Body,
        bytes_left: &AtomicUsize,
    ) -> Result<Vec<u8>, FetchError> {
        let left = bytes_left.load(Ordering::Acquire);
        let limit = self.response_bytes.min(left);
        // A body of just the limit passes: the library's own bound refuses one that reaches it.
        let read = body.with_config().limit(limit as u64 + 1).read_to_vec();
        let bytes = read.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) if limit < self.response_bytes => FetchError::TooLarge(format!(
                "{url}: the responses of the call have more than {} bytes together",
                super::CALL_RESPONSE_BYTES
            )),
            ureq::Error::BodyExceedsLimit(_) => {
                FetchError::TooLarge(format!("{url}: the response has more than {limit} bytes"))
            }
            error => self.error(url, timeout, error),
        })?;
        // Several threads may pass the bound together, each by one response at most.
        let _ =
            bytes_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left.saturating_sub(bytes.len())));
        Ok(bytes)
    }

    fn error(&self, url: &Url, timeout: Duration, error: ureq::Error) -> FetchError {
        match error {
            ureq::Error::Timeout(_) => {
                FetchError::Timeout(format!("{url}: no answer within {} ms", timeout.as_millis()))
            }
            ureq::Error::Other(cause) if cause.is::<PrivateAddress>() => {
                FetchError::NotAllowed(format!("{url}: {cause}"))
            }
            error => FetchError::Failed(format!("{url}: {error}")),
        }
    }
}

/// Where a response sends a request on to; only what changes nothing there is sent on.
fn redirect(method: FetchMethod, url: &Url, response: &http::Response<ureq::Body>) -> Option<Result<Url, FetchError>> {
    let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let asks = matches!(method, FetchMethod::Get | FetchMethod::Head);
    let location = response.headers().get("location").filter(|_| moved && asks)?;
    let location = location.to_str().ok().and_then(|location| url.join(location).ok());
    Some(location.ok_or_else(|| FetchError::Failed(format!("{url}: sends on to no address"))))
}

/// Seconds alone; a date is as good as nothing.
fn retry_after(response: &http::Response<ureq::Body>) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// Those that are text.
fn headers(response: &http::Response<ureq::Body>) -> Vec<(String, String)> {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    response.headers().iter().filter_map(text).collect()
}

/// Resolves names, and gives no address of a private network for one unless that was allowed.
#[derive(Debug)]
struct GuardedResolver {
    private: bool,
    inner: DefaultResolver,
}

#[derive(Debug, thiserror::Error)]
#[error("the name stands for an address of a private network, which `http.private` would allow")]
struct PrivateAddress;

impl Resolver for GuardedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.inner.resolve(uri, config, timeout)?;
        let by_itself = Url::parse(&uri.to_string()).ok().and_then(|url| AllowedHost::of(&url));
        if self.private || by_itself.is_some_and(|host| host.is_address()) {
            return Ok(addresses);
        }
        let mut public = self.empty();
        let found: Vec<SocketAddr> = addresses.iter().copied().filter(|address| is_public(address.ip())).collect();
        found.into_iter().for_each(|address| public.push(address));
        if public.is_empty() { Err(ureq::Error::Other(Box::new(PrivateAddress))) } else { Ok(public) }
    }
}
