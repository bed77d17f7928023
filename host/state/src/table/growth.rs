//! How columns grow: by an eighth. What doubles is a third empty on average, and with millions of keys that is most of what
//! a key costs; the copies of growing by less come to a few nanoseconds for each new key.

/// Below this many values a column doubles.
const SMALL: usize = 64;

/// Makes room for `more` values.
pub fn reserve<T>(values: &mut Vec<T>, more: usize) {
    if more > values.capacity() - values.len() {
        let len = values.len();
        values.reserve_exact(more.max(len.min(SMALL)).max(len / 8));
    }
}

/// As [`Vec::resize`].
pub fn resize<T: Clone>(values: &mut Vec<T>, len: usize, value: T) {
    reserve(values, len.saturating_sub(values.len()));
    values.resize(len, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_never_more_than_an_eighth_empty_and_is_copied_seldom() {
        let (mut values, mut copies, mut capacity) = (Vec::new(), 0, 0);
        for len in 1..=100_000 {
            resize(&mut values, len, 0u64);
            assert!(values.capacity() <= len + SMALL.max(len / 8), "{len} values in room for {}", values.capacity());
            if values.capacity() != capacity {
                (copies, capacity) = (copies + len, values.capacity());
            }
        }
        assert!(copies < 100_000 * 10, "{copies}");
    }
}
