//! What of a manifest makes rows, as text: to tell whether two manifests make the same ones.
//!
//! Invariant: two texts are equal when the source, step or sink says the same, key by key, whatever the file's layout. Which component
//! a plugin is and what it may use are left out: it is known by its digest. The value of a secret is never in it.

use std::collections::BTreeMap;

use crate::read::node::{Node, Value};
use crate::secret::VALUE_KEY;

/// Keys of a `plugin` that change no row.
const NOT_LOGIC: [&str; 3] = ["use", "limits", "http"];

/// By name of the source or step; a sink's name has `-> ` before it.
pub(crate) fn of(root: &Node) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (section, prefix) in [("sources", ""), ("steps", ""), ("sinks", "-> ")] {
        for (name, node) in root.get(section).and_then(Node::as_map).unwrap_or_default() {
            let mut text = String::new();
            write(node, false, &mut text);
            texts.insert(format!("{prefix}{}", name.as_text().unwrap_or_default()), text);
        }
    }
    texts
}

/// Depth: that of the manifest, which is bounded.
fn write(node: &Node, of_plugin: bool, text: &mut String) {
    match &node.value {
        Value::List(items) => {
            text.push('[');
            items.iter().for_each(|item| {
                write(item, false, text);
                text.push(',');
            });
            text.push(']');
        }
        Value::Map(pairs) => {
            let key = |(key, _): &&(Node, Node)| key.as_text().unwrap_or_default().to_owned();
            // In the order of the file: that of columns is one of the rows'.
            let pairs = pairs.iter().filter(|pair| !(of_plugin && NOT_LOGIC.contains(&&*key(pair))));
            let pairs = pairs.filter(|pair| key(pair) != VALUE_KEY);
            text.push('{');
            for pair in pairs {
                let name = key(&pair);
                *text += &format!("{name:?}:");
                write(&pair.1, name == "plugin", text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Text(value) => *text += &format!("{value:?}"),
        Value::Null => text.push('~'),
        Value::Bool(value) => *text += &value.to_string(),
        Value::Integer(value) => *text += &value.to_string(),
        Value::Float(value) => *text += &value.to_string(),
    }
}
