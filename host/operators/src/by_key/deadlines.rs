//! Which keys time will do something to, soonest first.
//!
//! A key may be here under a time that has been put off since: whoever takes it out looks at the value. Rebuilt from the
//! values after a restart, never stored.

use std::collections::BTreeSet;

#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    sorted: BTreeSet<(i64, u16, Box<[u8]>)>,
    key_bytes: usize,
}

impl Deadlines {
    pub fn add(&mut self, due_us: i64, key_group: u16, key: &[u8]) {
        if self.sorted.insert((due_us, key_group, key.into())) {
            self.key_bytes += key.len();
        }
    }

    /// Takes out the keys that are due at `watermark_us`, in the order of their deadlines, each once.
    pub fn take_due(&mut self, watermark_us: i64) -> Vec<(u16, Box<[u8]>)> {
        let mut due = Vec::new();
        while let Some((at, ..)) = self.sorted.first()
            && *at <= watermark_us
        {
            let (_, key_group, key) = self.sorted.pop_first().expect("the first one is there");
            self.key_bytes -= key.len();
            due.push((key_group, key));
        }
        due
    }

    pub fn byte_size(&self) -> usize {
        self.sorted.len() * size_of::<(i64, u16, Box<[u8]>)>() + self.key_bytes
    }
}

impl<'a> FromIterator<(i64, u16, &'a [u8])> for Deadlines {
    fn from_iter<I: IntoIterator<Item = (i64, u16, &'a [u8])>>(deadlines: I) -> Self {
        let mut made = Self::default();
        deadlines.into_iter().for_each(|(due, key_group, key)| made.add(due, key_group, key));
        made
    }
}
