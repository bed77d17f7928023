//! The manifest's JSON Schema (draft 2020-12), generated from the typed structs.
//!
//! Editors read it, and so does the structural check: what it says is the manifest's structure, stated once.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::model::Manifest;

/// Gives a type the schema of the struct that it is written as.
macro_rules! written_as {
    ($($type:ty => $keys:ty),+) => {
        $(impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                <$keys as schemars::JsonSchema>::inline_schema()
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$keys as schemars::JsonSchema>::schema_name()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                <$keys as schemars::JsonSchema>::schema_id()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$keys as schemars::JsonSchema>::json_schema(generator)
            }
        })+
    };
}
pub(crate) use written_as;

/// `oneOf` for maps of which exactly one group of keys is there; groups may share keys.
pub(crate) fn one_of(groups: &[&[&str]]) -> Value {
    let option = |group: &&[&str]| {
        let others = groups.iter().copied().flatten().filter(|key| !group.contains(key));
        let others: std::collections::BTreeSet<&str> = others.copied().collect();
        let absent: Vec<Value> = others.into_iter().map(|key| json!({ "required": [key] })).collect();
        json!({ "required": group, "not": { "anyOf": absent } })
    };
    groups.iter().map(option).collect()
}

/// The schema for editors.
pub fn schema_json() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Manifest>();
    let mut schema = schema.to_value();
    without_null(&mut schema);
    schema
}

/// An optional key may be absent; null is not a way to say so.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(options)) = object.get_mut("anyOf") {
                options.retain(|option| option.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
