//! Which field of a payload goes where: a tree of objects, each with the keys that were declared or met.
//!
//! Payloads of one source repeat their keys in the same order, so each key remembers which followed it; a right guess
//! costs one comparison of two words. A wrong one costs reading the key and a hash look-up. Keys that no column wants are
//! remembered as well, up to a bound, because they must be recognised just as often.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow_schema::SchemaRef;

use crate::codec::CodecError;
use crate::json::write;
use crate::source::ColumnSource;

/// Undeclared keys that an object remembers; what comes later is looked up and forgotten each time.
const MAX_LEARNED_KEYS: usize = 1024;

/// Longest undeclared key that is remembered, in bytes.
const MAX_LEARNED_KEY_BYTES: usize = 256;

/// No key, as a guess.
const NO_KEY: u32 = u32::MAX;

/// What to do with a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Column(u32),
    Object(u32),
    Skip,
}

/// A key as it usually stands in a payload: `"name":`, its first sixteen bytes as two masked words.
#[derive(Debug)]
struct Literal {
    bytes: Vec<u8>,
    words: [u64; 2],
    masks: [u64; 2],
}

impl Literal {
    fn new(name: &str) -> Self {
        let mut bytes = Vec::new();
        write::string(name.as_bytes(), &mut bytes);
        bytes.push(b':');
        let word = |from: usize, byte: &dyn Fn(u8) -> u8| {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(bytes.iter().skip(from)) {
                *to = byte(*from);
            }
            u64::from_le_bytes(word)
        };
        let words = [word(0, &|byte| byte), word(8, &|byte| byte)];
        let masks = [word(0, &|_| 0xff), word(8, &|_| 0xff)];
        Self { bytes, words, masks }
    }

    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        let Some((low, rest)) = text.split_first_chunk::<8>() else { return text.starts_with(&self.bytes) };
        let Some(high) = rest.first_chunk::<8>() else { return text.starts_with(&self.bytes) };
        let differs = ((u64::from_le_bytes(*low) ^ self.words[0]) & self.masks[0])
            | ((u64::from_le_bytes(*high) ^ self.words[1]) & self.masks[1]);
        differs == 0 && (self.bytes.len() <= 16 || text.starts_with(&self.bytes))
    }
}

#[derive(Debug)]
pub(crate) struct Key {
    pub name: Box<str>,
    pub action: Action,
    /// Number of the payload in which this key was last seen.
    pub seen_in: u64,
    literal: Literal,
    /// The last two different keys that followed this one, the latest first.
    successors: [u32; 2],
}

impl Key {
    fn new(name: &str, action: Action) -> Self {
        Self { name: name.into(), action, seen_in: 0, literal: Literal::new(name), successors: [NO_KEY; 2] }
    }
}

/// One object of the payload: the document itself or one on the way to a nested field.
#[derive(Debug)]
pub(crate) struct Object {
    /// The first `declared` keys are columns or objects, the others were learned.
    pub keys: Vec<Key>,
    pub declared: usize,
    /// Where this object is in the payload; empty for the document itself.
    pub path: String,
    by_name: HashMap<Box<str>, u32>,
    /// The last two different keys that came first.
    first: [u32; 2],
}

impl Object {
    fn new(path: String) -> Self {
        Self { keys: Vec::new(), declared: 0, path, by_name: HashMap::new(), first: [NO_KEY; 2] }
    }

    fn declare(&mut self, name: &str, action: Action) {
        self.by_name.insert(name.into(), self.keys.len() as u32);
        self.keys.push(Key::new(name, action));
        self.declared = self.keys.len();
    }

    fn action(&self, name: &str) -> Option<Action> {
        self.by_name.get(name).map(|key| self.keys[*key as usize].action)
    }

    /// The key that `text` begins with, colon included, and its length there, if it is one of those that followed
    /// `previous` before.
    #[inline]
    pub(crate) fn guess(&self, previous: Option<usize>, text: &[u8]) -> Option<(usize, usize)> {
        let guesses = previous.map_or(self.first, |previous| self.keys[previous].successors);
        guesses.into_iter().find_map(|guess| {
            let key = self.keys.get(guess as usize)?;
            key.literal.begins(text).then_some((guess as usize, key.literal.bytes.len()))
        })
    }

    /// The key called `name`, which follows `previous`; `None` when it is undeclared and not remembered.
    pub(crate) fn look_up(&mut self, previous: Option<usize>, name: &str) -> Option<usize> {
        let found = match self.by_name.get(name) {
            Some(key) => *key,
            None => self.learn(name)?,
        };
        let successors = match previous {
            Some(previous) => &mut self.keys[previous].successors,
            None => &mut self.first,
        };
        if !successors.contains(&found) {
            *successors = [found, successors[0]];
        }
        Some(found as usize)
    }

    fn learn(&mut self, name: &str) -> Option<u32> {
        if self.keys.len() - self.declared >= MAX_LEARNED_KEYS || name.len() > MAX_LEARNED_KEY_BYTES {
            return None;
        }
        let key = self.keys.len() as u32;
        self.keys.push(Key::new(name, Action::Skip));
        self.by_name.insert(name.into(), key);
        Some(key)
    }

    /// The path of a field of this object, as reasons name it.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// The tree for a schema; the document itself is object 0.
pub(crate) fn objects(schema: &SchemaRef, sources: &[ColumnSource]) -> Result<Vec<Object>, CodecError> {
    let mut objects = vec![Object::new(String::new())];
    let mut owners: HashMap<Vec<String>, usize> = HashMap::new();
    for (column, source) in sources.iter().enumerate() {
        let Some(path) = source.field_path(schema.field(column).name()) else { continue };
        let name = |column: usize| schema.field(column).name().clone();
        match owners.entry(path.clone()) {
            Entry::Occupied(owner) => {
                let (first, second) = (name(*owner.get()), name(column));
                return Err(CodecError::SameField { first, second, path: path.join(".") });
            }
            Entry::Vacant(free) => free.insert(column),
        };
    }
    for (path, column) in &owners {
        let inside = (1..path.len()).find_map(|length| owners.get(&path[..length]).map(|outer| (*outer, length)));
        if let Some((outer, length)) = inside {
            let (column, inner) = (schema.field(outer).name().clone(), schema.field(*column).name().clone());
            return Err(CodecError::FieldAndObject { column, inner, path: path[..length].join(".") });
        }
    }
    for (column, source) in sources.iter().enumerate() {
        if let Some(path) = source.field_path(schema.field(column).name()) {
            declare(&mut objects, &path, column as u32);
        }
    }
    Ok(objects)
}

fn declare(objects: &mut Vec<Object>, path: &[String], column: u32) {
    let (leaf, parents) = path.split_last().expect("a field path has at least one name");
    let mut object = 0;
    for name in parents {
        object = match objects[object].action(name) {
            Some(Action::Object(inner)) => inner as usize,
            _ => {
                let inner = objects.len();
                let path = objects[object].path_of(name);
                objects[object].declare(name, Action::Object(inner as u32));
                objects.push(Object::new(path));
                inner
            }
        };
    }
    objects[object].declare(leaf, Action::Column(column));
}
