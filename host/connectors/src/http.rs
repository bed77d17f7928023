//! Asks services over HTTP for a user's function: several requests at once, within bounds, to allowed hosts only.
//!
//! Invariant: nothing is ever sent to a host and port that the operator did not name, redirects included, nor to a private
//! address behind a name unless that was allowed; a call ends within [`HttpSettings::total`], a response within its size,
//! all responses of a call within [`CALL_RESPONSE_BYTES`]. Equal `GET`s of a call are asked once.
//!
//! A request may reach its service more than once: when it is tried again, and when an epoch runs again.

mod allowed;
mod cache;
mod exchange;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use ureq::tls::TlsConfig;
use weir_stream::{Fetch, FetchBudget, FetchError, FetchMethod, FetchRequest, Fetched};

pub use allowed::{AllowedHost, AllowedHostError};
use cache::Cache;
pub use cache::CacheSettings;
use exchange::Exchange;

/// Bytes of all responses of one call together.
pub const CALL_RESPONSE_BYTES: usize = 32 << 20;

/// What may be asked, and how much of it.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    pub allow: Vec<AllowedHost>,
    /// Whether an allowed name may stand for an address of a private network. Addresses that are allowed by themselves may
    /// be private.
    pub private: bool,
    /// Requests under way at once, over all tasks.
    pub concurrency: usize,
    /// For one try of one request, from the connection to the last byte.
    pub timeout: Duration,
    /// For all requests of a call, tries and waiting included.
    pub total: Duration,
    /// Tries of a request beyond the first.
    pub retries: u32,
    /// Of one response's body.
    pub response_bytes: usize,
    pub cache: Option<CacheSettings>,
    /// Whose certificates are trusted.
    pub trust: TlsConfig,
}

/// One operator's grant to one function. Clones of the `Arc` share connections, threads and cache.
pub struct HttpClient {
    settings: HttpSettings,
    exchange: Arc<Exchange>,
    cache: Option<Mutex<Cache>>,
    /// The threads end when this is dropped.
    jobs: OnceLock<Sender<Job>>,
}

/// One request on its way to a thread.
struct Job {
    number: usize,
    request: FetchRequest,
    until: Instant,
    bytes_left: Arc<AtomicUsize>,
    answers: Sender<(usize, Fetched)>,
}

impl HttpClient {
    pub fn new(settings: HttpSettings) -> Self {
        let exchange = Arc::new(Exchange::new(&settings));
        let cache = settings.cache.map(|settings| Mutex::new(Cache::new(settings)));
        Self { settings, exchange, cache, jobs: OnceLock::new() }
    }

    /// Where requests are taken up; the threads are there from the first request on.
    fn jobs(&self) -> &Sender<Job> {
        self.jobs.get_or_init(|| {
            let (jobs, jobs_in) = unbounded();
            for number in 0..self.settings.concurrency {
                let (exchange, jobs_in) = (Arc::clone(&self.exchange), jobs_in.clone());
                let work = move || work(&exchange, &jobs_in);
                if let Err(error) = std::thread::Builder::new().name(format!("http-{number}")).spawn(work) {
                    tracing::error!("no thread for HTTP requests: {error}");
                }
            }
            jobs
        })
    }

    fn cached(&self, request: &FetchRequest) -> Option<Fetched> {
        let cache = self.cache.as_ref().filter(|_| request.method == FetchMethod::Get)?;
        cache.lock().unwrap_or_else(PoisonError::into_inner).get(request, Instant::now()).map(Ok)
    }

    fn remember(&self, request: &FetchRequest, answer: &Fetched) {
        let (Some(cache), Ok(response)) = (&self.cache, answer) else { return };
        if request.method == FetchMethod::Get {
            cache.lock().unwrap_or_else(PoisonError::into_inner).put(request, response, Instant::now());
        }
    }

    /// Hands out what the cache does not have, equal `GET`s once, and waits for it.
    fn ask(&self, requests: Vec<FetchRequest>, budget: &mut FetchBudget, answers: &mut [Option<Fetched>]) {
        let start = Instant::now();
        let (until, bytes_left) = (start + budget.time, Arc::new(AtomicUsize::new(budget.bytes)));
        let (answer, answers_in) = unbounded();
        let mut first: HashMap<FetchRequest, usize> = HashMap::new();
        let mut asked: Vec<Vec<usize>> = Vec::new();
        for (place, request) in requests.into_iter().enumerate() {
            if answers[place].is_some() {
                continue;
            }
            if request.method == FetchMethod::Get {
                if let Some(number) = first.get(&request) {
                    asked[*number].push(place);
                    continue;
                }
                first.insert(request.clone(), asked.len());
            }
            let (number, bytes_left) = (asked.len(), Arc::clone(&bytes_left));
            asked.push(vec![place]);
            // The receiving threads live as long as this client.
            let _ = self.jobs().send(Job { number, request, until, bytes_left, answers: answer.clone() });
        }
        drop(answer);
        let by_number: HashMap<usize, FetchRequest> =
            first.into_iter().map(|(request, number)| (number, request)).collect();
        for (number, fetched) in answers_in {
            if let Some(request) = by_number.get(&number) {
                self.remember(request, &fetched);
            }
            asked[number].iter().for_each(|place| answers[*place] = Some(fetched.clone()));
        }
        budget.time = budget.time.saturating_sub(start.elapsed());
    }
}

impl Fetch for HttpClient {
    fn budget(&self) -> FetchBudget {
        FetchBudget { time: self.settings.total, bytes: CALL_RESPONSE_BYTES }
    }

    fn fetch(&self, requests: Vec<FetchRequest>, budget: &mut FetchBudget) -> Vec<Fetched> {
        let mut answers: Vec<Option<Fetched>> = requests.iter().map(|request| self.cached(request)).collect();
        if answers.iter().any(Option::is_none) {
            self.ask(requests, budget, &mut answers);
        }
        let lost = || Err(FetchError::Failed("the thread that asked ended; its message is in the log".into()));
        answers.into_iter().map(|answer| within(&mut budget.bytes, answer.unwrap_or_else(lost))).collect()
    }
}

/// What the function gets of an answer, counted whether it was fetched for it alone or not.
fn within(bytes_left: &mut usize, fetched: Fetched) -> Fetched {
    let response = fetched?;
    *bytes_left = bytes_left.checked_sub(response.body.len()).ok_or_else(|| {
        FetchError::TooLarge(format!("the responses of the call have more than {CALL_RESPONSE_BYTES} bytes together"))
    })?;
    Ok(response)
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn work(exchange: &Exchange, jobs: &Receiver<Job>) {
    for Job { number, request, until, bytes_left, answers } in jobs {
        let fetched = exchange.run(&request, until, &bytes_left);
        // Who asked may be gone.
        let _ = answers.send((number, fetched));
    }
}
