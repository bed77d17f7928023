//! The structural check: every key, kind and scalar of the tree against the manifest's shape.
//!
//! Reports everything, then mends: what is unknown or wrong is taken out of the tree, up to the nearest entry of a
//! map with names of the user's own (a step, a column, a binding), so that later passes still see the sound rest.
//! Does not look from one place to another; that is the semantic passes' work.

use std::collections::BTreeSet;

use super::format::{self, Refusal};
use super::node::{Node, TextOrigin, Value};
use super::shape::{Shape, either};
use crate::fault::{Fault, Faults, nearest};
use crate::span::Span;

/// Checks and mends. Whether the node itself is sound.
pub(crate) fn check(node: &mut Node, shape: &Shape, faults: &mut Faults) -> bool {
    Structure { faults }.node(node, shape, None)
}

struct Structure<'a> {
    faults: &'a mut Faults,
}

impl Structure<'_> {
    /// `owner`: the key that the node stands behind; the whole file has none.
    fn node(&mut self, node: &mut Node, shape: &Shape, owner: Option<Span>) -> bool {
        if node.origin == TextOrigin::Unresolved {
            return false;
        }
        if !shape.any_of.is_empty() {
            let fitting = shape.any_of.iter().find(|option| option.fits_kind(node));
            return match fitting {
                Some(option) => self.node(node, option, owner),
                None => self.wrong_kind(node, shape, owner),
            };
        }
        if !shape.fits_kind(node) {
            return self.wrong_kind(node, shape, owner);
        }
        match &mut node.value {
            Value::Map(pairs) if shape.entries.is_some() => self.entries(pairs, shape, owner),
            Value::Map(pairs) if !shape.properties.is_empty() || shape.takes_only("object") => {
                self.keys(pairs, shape, owner)
            }
            Value::List(items) if shape.items.is_some() => self.items(items, shape, owner.unwrap_or(node.span)),
            Value::Map(_) | Value::List(_) => {
                self.anything(node);
                true
            }
            _ => self.scalar(node, shape),
        }
    }

    fn wrong_kind(&mut self, node: &Node, shape: &Shape, owner: Option<Span>) -> bool {
        let place = if node.span.start == node.span.end { owner.unwrap_or(node.span) } else { node.span };
        let wanted = wanted(shape);
        let fault = match &node.value {
            Value::Null => Fault::new(place, "nothing", format!("nothing here where {wanted} is wanted")),
            value => Fault::new(place, "wrong-kind", format!("{} where {wanted} is wanted", value.kind())),
        };
        let scalar = matches!(node.value, Value::Bool(_) | Value::Integer(_) | Value::Float(_));
        let fault = if scalar && shape.takes("string") { fault.next("put it in quotes") } else { fault };
        self.faults.push(fault);
        false
    }

    fn items(&mut self, items: &mut Vec<Node>, shape: &Shape, owner: Span) -> bool {
        if (items.len() as u64) < shape.fewest {
            self.faults.push(Fault::new(owner, "empty", "an empty list; give at least one"));
            return false;
        }
        let Some(item_shape) = &shape.items else { return true };
        let mut sound = true;
        for item in items {
            sound &= self.node(item, item_shape, None);
        }
        sound
    }

    /// What the schema leaves open, such as a plugin's `config`: only its keys must be keys.
    fn anything(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.anything(item)),
            Value::Map(pairs) => {
                self.without_duplicates(pairs);
                pairs.iter_mut().for_each(|(_, value)| self.anything(value));
            }
            _ => {}
        }
    }

    /// A map with names of the user's own: a faulty entry leaves, the map stays.
    fn entries(&mut self, pairs: &mut Vec<(Node, Node)>, shape: &Shape, owner: Option<Span>) -> bool {
        let Some(entry_shape) = &shape.entries else { return true };
        if (pairs.len() as u64) < shape.fewest {
            let place = owner.unwrap_or_default();
            self.faults.push(Fault::new(place, "empty", "an empty map; give at least one entry"));
            return false;
        }
        if let Some(most) = shape.most.filter(|most| pairs.len() as u64 > *most) {
            let place = owner.unwrap_or_default();
            self.faults.push(Fault::new(place, "too-much", format!("{} entries; at most {most}", pairs.len())));
            return false;
        }
        self.without_duplicates(pairs);
        pairs.retain_mut(|(key, value)| {
            let named = match (&shape.names_format, key.as_text()) {
                (Some(format), Some(name)) => self.judged(key, format, name),
                (_, name) => name.is_some(),
            };
            self.node(value, entry_shape, Some(key.span)) && named
        });
        true
    }

    /// A map with keys that the structs name.
    fn keys(&mut self, pairs: &mut Vec<(Node, Node)>, shape: &Shape, owner: Option<Span>) -> bool {
        self.without_duplicates(pairs);
        let mut present = BTreeSet::new();
        let mut faulty = BTreeSet::new();
        pairs.retain_mut(|(key, value)| {
            let name = key.as_text().unwrap_or_default().to_owned();
            let Some(property) = shape.property(&name) else {
                faulty.extend(self.unknown(key, &name, shape));
                return false;
            };
            present.insert(name.clone());
            let sound = self.node(value, property, Some(key.span));
            if !sound {
                faulty.insert(name);
            }
            sound
        });
        let place = |name: &str| pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(key, _)| key.span);
        let missing = shape.required.iter().filter(|name| !present.contains(*name) && !faulty.contains(*name));
        let mut found: Vec<Fault> = missing.map(|name| missing_key(shape, name, owner)).collect();
        let keys = Keys { present: &present, faulty: &faulty, place: &place };
        found.extend(keys.choice(shape, owner));
        let needed = |name: &String| shape.required.contains(name) || shape.groups.iter().flatten().any(|n| n == name);
        let sound = found.is_empty() && !faulty.iter().any(needed);
        self.faults.extend(found);
        sound
    }

    /// Reports an unknown key and answers the known one that was probably meant.
    fn unknown(&mut self, key: &Node, name: &str, shape: &Shape) -> Option<String> {
        let keys = shape.keys();
        let near = nearest(name, keys.iter().copied());
        let meant = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let taken = match keys.as_slice() {
            [] => format!("{} takes no keys", shape.name()),
            keys => format!("{} takes {}", shape.name(), keys.join(", ")),
        };
        self.faults.push(Fault::new(key.span, "unknown-key", format!("unknown key; {meant}{taken}")));
        near.map(str::to_owned)
    }

    /// Reports keys that are no text and keys that are there twice, and takes them out.
    fn without_duplicates(&mut self, pairs: &mut Vec<(Node, Node)>) {
        let mut seen = BTreeSet::new();
        pairs.retain(|(key, _)| {
            let Some(name) = key.as_text() else {
                let message = format!("{} where a key is wanted", key.value.kind());
                self.faults.push(Fault::new(key.span, "wrong-kind", message).next("put it in quotes"));
                return false;
            };
            let new = seen.insert(name.to_owned());
            if !new {
                self.faults.push(Fault::new(key.span, "duplicate-key", format!("`{name}` is here a second time")));
            }
            new
        });
    }

    fn scalar(&mut self, node: &Node, shape: &Shape) -> bool {
        if node.origin == TextOrigin::Deferred {
            return true;
        }
        let value = node.interpolated_scalar().filter(|_| !shape.takes("string"));
        let value = value.as_ref().unwrap_or(&node.value);
        let as_text = shape.parses() && !shape.takes("integer") && !shape.takes("number");
        let refusal = match value {
            Value::Text(text) => return self.text(node, text, shape),
            Value::Integer(number) if as_text => return self.text(node, &number.to_string(), shape),
            Value::Float(number) if as_text => return self.text(node, &number.to_string(), shape),
            Value::Bool(false) if shape.only_true => Some("only `true` makes sense here".to_owned()),
            Value::Integer(number) => out_of_range(*number as f64, shape),
            Value::Float(number) => out_of_range(*number, shape),
            _ => None,
        };
        let sound = refusal.is_none();
        self.faults.extend(refusal.map(|message| Fault::new(node.span, "out-of-range", message)));
        sound
    }

    fn text(&mut self, node: &Node, text: &str, shape: &Shape) -> bool {
        if !shape.words.is_empty() && !shape.words.iter().any(|word| word == text) {
            let near = nearest(text, shape.words.iter().map(String::as_str));
            let near = near.filter(|_| shape.words.len() > 1);
            let meant = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let message = format!("unknown word; {meant}write {}", either(&shape.words));
            self.faults.push(Fault::new(node.span, "unknown-word", message));
            return false;
        }
        shape.format.as_ref().is_none_or(|format| self.judged(node, format, text))
    }

    fn judged(&mut self, node: &Node, format: &str, text: &str) -> bool {
        let (code, message) = match format::judge(format, text) {
            Ok(()) => return true,
            Err(Refusal::Unfit(message)) => ("bad-value", message),
            Err(Refusal::Secret(message)) => {
                self.faults.hide(node.span);
                ("secret-written-out", message)
            }
        };
        // What was looked up may be secret: its text stays out of the message.
        let message = match node.origin {
            TextOrigin::Interpolated => message.replace(&format!("`{text}`"), "what this stands for"),
            _ => message,
        };
        self.faults.push(Fault::new(node.span, code, message));
        false
    }
}

/// The keys that a map has, where exactly one of its shape's groups is to be there.
struct Keys<'a> {
    present: &'a BTreeSet<String>,
    faulty: &'a BTreeSet<String>,
    place: &'a dyn Fn(&str) -> Option<Span>,
}

impl Keys<'_> {
    fn choice(&self, shape: &Shape, owner: Option<Span>) -> Vec<Fault> {
        let owner_or = |name: &str| (self.place)(name).or(owner).unwrap_or_default();
        let chosen: Vec<&String> = shape.groups.iter().flatten().filter(|name| self.present.contains(*name)).collect();
        let Some(one) = chosen.first() else {
            let guessed = shape.groups.iter().flatten().any(|name| self.faulty.contains(name));
            return if shape.groups.is_empty() || guessed { vec![] } else { vec![no_choice(shape, owner)] };
        };
        let fitting = || shape.groups.iter().filter(|group| chosen.iter().all(|name| group.contains(name)));
        let missing = |group: &Vec<String>| -> Vec<String> {
            let absent = |name: &&String| !self.present.contains(*name) && !self.faulty.contains(*name);
            group.iter().filter(absent).cloned().collect()
        };
        if let Some(group) = fitting().min_by_key(|group| missing(group).len()) {
            let has = group.iter().find(|name| self.present.contains(*name)).unwrap_or(one);
            let needs =
                |what: &str| Fault::new(owner_or(has), "missing-key", format!("`{has}` needs {what} beside it"));
            let quoted = |name: &String| format!("`{name}`");
            let absent: Vec<String> = missing(group).iter().map(quoted).collect();
            if absent.len() != 1 {
                return absent.iter().map(|name| needs(name)).collect();
            }
            let ways = fitting().map(missing).filter(|absent| absent.len() == 1).flatten();
            return vec![needs(&either(&ways.map(|name| quoted(&name)).collect::<Vec<_>>()))];
        }
        let mut strangers: Vec<&String> = Vec::new();
        for name in &chosen {
            let together = shape.groups.iter().any(|group| group.contains(one) && group.contains(name));
            if !together && !strangers.contains(name) {
                strangers.push(name);
            }
        }
        let strangers = if strangers.is_empty() { chosen.last().into_iter().copied().collect() } else { strangers };
        strangers.iter().map(|other| too_many(shape, one, other, owner_or(other))).collect()
    }
}

impl Shape {
    fn takes_only(&self, name: &str) -> bool {
        matches!(self.types.as_slice(), [only] if only == name)
    }

    fn fits_kind(&self, node: &Node) -> bool {
        if !self.any_of.is_empty() {
            return self.any_of.iter().any(|option| option.fits_kind(node));
        }
        if self.types.is_empty() {
            return true;
        }
        let interpolated = node.interpolated_scalar();
        let by_kind = |value: &Value| match value {
            Value::Null => false,
            Value::Bool(_) => self.takes("boolean"),
            Value::Integer(_) => self.takes("integer") || self.takes("number") || self.parses(),
            Value::Float(_) => self.takes("number") || self.parses(),
            Value::Text(_) => self.takes("string"),
            Value::List(_) => self.takes("array"),
            Value::Map(_) => self.takes("object"),
        };
        let scalar = !self.takes("array") && !self.takes("object");
        let deferred = node.origin == TextOrigin::Deferred && scalar;
        by_kind(&node.value) || interpolated.as_ref().is_some_and(by_kind) || deferred
    }

    fn parses(&self) -> bool {
        self.format.as_deref().is_some_and(format::has_parser)
    }
}

fn wanted(shape: &Shape) -> String {
    if !shape.any_of.is_empty() {
        return either(&shape.any_of.iter().map(wanted).collect::<Vec<_>>());
    }
    if !shape.words.is_empty() {
        return either(&shape.words);
    }
    let names = shape.types.iter().map(|name| match (name.as_str(), shape.format.as_deref()) {
        ("string", Some("duration")) => "a duration such as 5s".to_owned(),
        ("string", Some("size")) => "a size such as 32MiB".to_owned(),
        ("string", Some("rate")) => "a rate such as 20000/s".to_owned(),
        ("string", Some("share")) => "a share such as 0.5%".to_owned(),
        ("string", Some("column-type")) => "a type such as utf8".to_owned(),
        ("string", Some("expression")) => "an expression".to_owned(),
        ("string", _) => "text".to_owned(),
        ("object", _) => format!("a map{}", keys_of(shape)),
        ("array", _) => "a list".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        ("integer", _) => "a whole number".to_owned(),
        (other, _) => format!("a {other}"),
    });
    either(&names.collect::<Vec<_>>())
}

fn keys_of(shape: &Shape) -> String {
    match shape.keys().as_slice() {
        [] => String::new(),
        [a, b, c, _, ..] => format!(" of {a}, {b}, {c}, ..."),
        keys => format!(" of {}", keys.join(", ")),
    }
}

fn out_of_range(number: f64, shape: &Shape) -> Option<String> {
    let (minimum, maximum) = (shape.minimum.unwrap_or(f64::MIN), shape.maximum.unwrap_or(f64::MAX));
    if (minimum..=maximum).contains(&number) {
        return None;
    }
    Some(match (shape.minimum, shape.maximum) {
        (Some(minimum), Some(maximum)) => format!("out of range: {minimum} to {maximum}"),
        (Some(minimum), None) => format!("out of range: {minimum} or more"),
        _ => format!("out of range: at most {maximum}"),
    })
}

fn missing_key(shape: &Shape, name: &str, owner: Option<Span>) -> Fault {
    let message = format!("{} needs `{name}`", shape.name());
    match owner {
        Some(owner) => Fault::new(owner, "missing-key", message),
        None => Fault::of_file("missing-key", message),
    }
}

fn no_choice(shape: &Shape, owner: Option<Span>) -> Fault {
    Fault::new(owner.unwrap_or_default(), "missing-key", format!("{} needs {}", shape.name(), shape.choices()))
}

fn too_many(shape: &Shape, one: &str, other: &str, place: Span) -> Fault {
    let message = format!("`{other}` beside `{one}`; {} takes only one of {}", shape.name(), shape.choices());
    Fault::new(place, "too-many", message)
}
