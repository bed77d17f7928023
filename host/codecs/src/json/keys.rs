//! Which field of a payload goes where: a tree of objects, each with the keys that were declared or met.
//!
//! Payloads of one source repeat their keys in the same order, so each key remembers the one that last followed it;
//! a right guess costs one comparison of text. A wrong one costs a hash look-up. Keys that no column wants are
//! remembered as well, up to a bound, because they must be recognised just as often.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow_schema::SchemaRef;

use crate::codec::CodecError;
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

#[derive(Debug)]
pub(crate) struct Key {
    pub name: Box<str>,
    pub action: Action,
    /// The key that followed this one last time.
    successor: u32,
    /// Number of the pass in which this key was last seen.
    pub seen_in: u64,
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
    first: u32,
}

impl Object {
    fn new(path: String) -> Self {
        Self { keys: Vec::new(), declared: 0, path, by_name: HashMap::new(), first: NO_KEY }
    }

    fn declare(&mut self, name: &str, action: Action) {
        self.by_name.insert(name.into(), self.keys.len() as u32);
        self.keys.push(Key { name: name.into(), action, successor: NO_KEY, seen_in: 0 });
        self.declared = self.keys.len();
    }

    fn action(&self, name: &str) -> Option<Action> {
        self.by_name.get(name).map(|key| self.keys[*key as usize].action)
    }

    /// The key called `name`, which follows `previous`; `None` when it is undeclared and not remembered.
    #[inline]
    pub(crate) fn find(&mut self, previous: Option<usize>, name: &str) -> Option<usize> {
        let guess = previous.map_or(self.first, |previous| self.keys[previous].successor) as usize;
        match self.keys.get(guess) {
            Some(key) if *key.name == *name => Some(guess),
            _ => self.look_up(previous, name),
        }
    }

    #[cold]
    fn look_up(&mut self, previous: Option<usize>, name: &str) -> Option<usize> {
        let found = match self.by_name.get(name) {
            Some(key) => *key,
            None => self.learn(name)?,
        };
        match previous {
            Some(previous) => self.keys[previous].successor = found,
            None => self.first = found,
        }
        Some(found as usize)
    }

    fn learn(&mut self, name: &str) -> Option<u32> {
        if self.keys.len() - self.declared >= MAX_LEARNED_KEYS || name.len() > MAX_LEARNED_KEY_BYTES {
            return None;
        }
        let key = self.keys.len() as u32;
        self.keys.push(Key { name: name.into(), action: Action::Skip, successor: NO_KEY, seen_in: 0 });
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
