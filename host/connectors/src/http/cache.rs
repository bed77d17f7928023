//! Answers to `GET`s that are kept for a while: those with content, and "not there".
//!
//! Invariant: bounded in entries and bytes, the oldest goes first; nothing is given out past its time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use weir_stream::{FetchRequest, FetchResponse};

/// Bytes of one cache, whatever its entries are allowed to be.
pub const CACHE_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Entries at most.
    pub rows: usize,
    pub ttl: Duration,
}

pub struct Cache {
    settings: CacheSettings,
    entries: HashMap<FetchRequest, (Instant, FetchResponse)>,
    /// The same requests, oldest first.
    order: VecDeque<(Instant, FetchRequest)>,
    bytes: usize,
}

impl Cache {
    pub fn new(settings: CacheSettings) -> Self {
        Self { settings, entries: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    pub fn get(&self, request: &FetchRequest, now: Instant) -> Option<FetchResponse> {
        let (since, response) = self.entries.get(request)?;
        (now.saturating_duration_since(*since) < self.settings.ttl).then(|| response.clone())
    }

    pub fn put(&mut self, request: &FetchRequest, response: &FetchResponse, now: Instant) {
        let worth_keeping = (200..300).contains(&response.status) || response.status == 404;
        if !worth_keeping {
            return;
        }
        self.bytes += size(request, response);
        if let Some((_, before)) = self.entries.insert(request.clone(), (now, response.clone())) {
            self.bytes -= size(request, &before);
        }
        self.order.push_back((now, request.clone()));
        // An entry that was put again stands in the order twice: `order` is bounded too.
        while self.entries.len() > self.settings.rows
            || self.bytes > CACHE_BYTES
            || self.order.len() > 2 * self.settings.rows
        {
            let Some((since, oldest)) = self.order.pop_front() else { return };
            if self.entries.get(&oldest).is_some_and(|(put, _)| *put == since)
                && let Some((_, response)) = self.entries.remove(&oldest)
            {
                self.bytes -= size(&oldest, &response);
            }
        }
    }
}

/// Twice the request: it stands in the map and in the order.
fn size(request: &FetchRequest, response: &FetchResponse) -> usize {
    let headers =
        |headers: &[(String, String)]| headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
    2 * (request.url.len() + headers(&request.headers)) + response.body.len() + headers(&response.headers) + 256
}

#[cfg(test)]
mod tests {
    use weir_stream::FetchMethod;

    use super::*;

    fn request(number: usize) -> FetchRequest {
        let url = format!("http://h/{number}");
        FetchRequest { method: FetchMethod::Get, url, headers: Vec::new(), body: Vec::new() }
    }

    fn response(status: u16, bytes: usize) -> FetchResponse {
        FetchResponse { status, headers: Vec::new(), body: vec![0; bytes].into() }
    }

    #[test]
    fn an_answer_is_kept_until_its_time_is_over() {
        let mut cache = Cache::new(CacheSettings { rows: 10, ttl: Duration::from_secs(5) });
        let start = Instant::now();
        cache.put(&request(1), &response(200, 1), start);
        cache.put(&request(2), &response(404, 0), start);
        cache.put(&request(3), &response(500, 0), start);
        let at = |cache: &Cache, number, seconds| cache.get(&request(number), start + Duration::from_secs(seconds));
        assert_eq!(at(&cache, 1, 4).map(|response| response.status), Some(200));
        assert_eq!(at(&cache, 2, 4).map(|response| response.status), Some(404));
        assert_eq!(at(&cache, 3, 0), None, "a failure is asked about again");
        assert_eq!(at(&cache, 1, 5), None);
        cache.put(&request(1), &response(201, 1), start + Duration::from_secs(6));
        assert_eq!(at(&cache, 1, 10).map(|response| response.status), Some(201));
    }

    #[test]
    fn the_oldest_goes_when_entries_or_bytes_are_too_many() {
        let start = Instant::now();
        let mut few = Cache::new(CacheSettings { rows: 2, ttl: Duration::from_secs(60) });
        for number in 0..3 {
            few.put(&request(number), &response(200, 1), start + Duration::from_millis(number as u64));
        }
        let has = |cache: &Cache, number| cache.get(&request(number), start).is_some();
        assert_eq!((0..3).map(|number| has(&few, number)).collect::<Vec<_>>(), [false, true, true]);
        for again in 0..1000 {
            few.put(&request(1), &response(200, 1), start + Duration::from_millis(10 + again));
        }
        assert!(few.order.len() <= 4 && few.entries.len() <= 2);
        let mut large = Cache::new(CacheSettings { rows: 1000, ttl: Duration::from_secs(60) });
        for number in 0..3 {
            large.put(
                &request(number),
                &response(200, CACHE_BYTES / 2 - 1000),
                start + Duration::from_millis(number as u64),
            );
        }
        assert_eq!((0..3).map(|number| has(&large, number)).collect::<Vec<_>>(), [false, true, true]);
        assert!(large.bytes <= CACHE_BYTES);
    }
}
