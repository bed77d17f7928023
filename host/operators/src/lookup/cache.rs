//! Answers about keys, kept for a while: that a key has no row is an answer too.
//!
//! Invariant: an answer is given until its time to live is over and never after; what was asked for least recently goes
//! first when there are too many.

use std::sync::Arc;

use hashlink::LruCache;

use super::questions::KeyAnswer;

/// Bytes of keys and answers in one cache.
pub const MAX_CACHE_BYTES: usize = 64 << 20;

/// What one entry takes beside its key and answer, about.
const ENTRY_BYTES: usize = 128;

#[derive(Debug)]
struct Entry {
    answer: Arc<KeyAnswer>,
    until_ns: u64,
}

/// Answers by key.
pub struct AnswerCache {
    entries: LruCache<Box<[u8]>, Entry>,
    most_keys: usize,
    ttl_ns: u64,
    bytes: usize,
}

impl std::fmt::Debug for AnswerCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AnswerCache({} keys, {} bytes)", self.entries.len(), self.bytes)
    }
}

impl AnswerCache {
    /// For at most `most_keys`, each for `ttl_ns`; none are kept where one of them is 0.
    pub fn new(most_keys: usize, ttl_ns: u64) -> Self {
        Self { entries: LruCache::new_unbounded(), most_keys, ttl_ns, bytes: 0 }
    }

    pub(super) fn get(&mut self, key: &[u8], now_ns: u64) -> Option<Arc<KeyAnswer>> {
        let entry = self.entries.get(key)?;
        if entry.until_ns > now_ns {
            return Some(Arc::clone(&entry.answer));
        }
        self.remove(key);
        None
    }

    pub(super) fn put(&mut self, key: &[u8], answer: &Arc<KeyAnswer>, now_ns: u64) {
        if self.most_keys == 0 || self.ttl_ns == 0 {
            return;
        }
        self.remove(key);
        self.bytes += size(key, answer);
        let until_ns = now_ns.saturating_add(self.ttl_ns);
        self.entries.insert(key.into(), Entry { answer: Arc::clone(answer), until_ns });
        while self.entries.len() > self.most_keys || self.bytes > MAX_CACHE_BYTES {
            let Some((key, entry)) = self.entries.remove_lru() else { return };
            self.bytes -= size(&key, &entry.answer);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= size(key, &entry.answer);
        }
    }
}

fn size(key: &[u8], answer: &KeyAnswer) -> usize {
    key.len() + answer.byte_size() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Arc<KeyAnswer> {
        Arc::new(KeyAnswer::Rows(vec![vec![0; bytes].into()]))
    }

    #[test]
    fn an_answer_is_given_until_its_time_is_over() {
        let mut cache = AnswerCache::new(10, 5);
        cache.put(b"a", &answer(1), 100);
        cache.put(b"b", &Arc::new(KeyAnswer::Rows(vec![])), 102);
        assert_eq!(cache.get(b"a", 104), Some(answer(1)));
        assert_eq!(cache.get(b"a", 105), None);
        assert_eq!(cache.get(b"b", 105), Some(Arc::new(KeyAnswer::Rows(vec![]))), "no row is an answer");
        assert_eq!((cache.get(b"b", 107), cache.bytes), (None, 0));
    }

    #[test]
    fn what_was_asked_for_least_recently_goes_first() {
        let mut cache = AnswerCache::new(2, 100);
        ["a", "b"].into_iter().for_each(|key| cache.put(key.as_bytes(), &answer(1), 0));
        assert!(cache.get(b"a", 1).is_some());
        cache.put(b"c", &answer(1), 1);
        assert!(cache.get(b"b", 1).is_none() && cache.get(b"a", 1).is_some() && cache.get(b"c", 1).is_some());
    }

    #[test]
    fn large_answers_push_others_out_and_nothing_is_kept_where_nothing_may_be() {
        let mut cache = AnswerCache::new(1_000_000, 100);
        for key in 0..3_000_u32 {
            cache.put(&key.to_be_bytes(), &answer(64 << 10), 0);
        }
        assert!(cache.bytes <= MAX_CACHE_BYTES && cache.entries.len() > 900, "{cache:?}");
        for mut none in [AnswerCache::new(0, 100), AnswerCache::new(100, 0)] {
            none.put(b"a", &answer(1), 0);
            assert_eq!(none.get(b"a", 0), None);
        }
    }
}
