//! The manifest's structure as the structural check walks it: compiled from the JSON Schema, once.
//!
//! Understands what schemars writes for this crate's structs, and two agreements: `oneOf` with
//! `required` lists groups of keys of which exactly one is there (they may share keys, and what `not` says follows), and `x-format` names a judge of text (not
//! `format`, whose words mean other things to other readers).

use std::sync::LazyLock;

use serde_json::Value;

/// What may stand in one place.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// How messages call it: `a sink`.
    pub title: Option<String>,
    /// Alternatives, told apart by the kind of node.
    pub any_of: Vec<Shape>,
    /// JSON Schema's names of types; empty: anything.
    pub types: Vec<String>,
    /// A judge of [`super::format`].
    pub format: Option<String>,
    /// The words that a text may be; empty: any.
    pub words: Vec<String>,
    pub only_true: bool,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub properties: Vec<(String, Shape)>,
    pub required: Vec<String>,
    pub groups: Vec<Vec<String>>,
    /// The values of a map with names of the user's own.
    pub entries: Option<Box<Shape>>,
    pub names_format: Option<String>,
    pub items: Option<Box<Shape>>,
    /// Fewest items or entries.
    pub fewest: u64,
    /// Most entries.
    pub most: Option<u64>,
}

/// The shape of a manifest.
pub(crate) fn manifest() -> &'static Shape {
    static MANIFEST: LazyLock<Shape> = LazyLock::new(|| {
        let schema = crate::schema::schema_json();
        Shape::compile(&schema, &schema)
    });
    &MANIFEST
}

impl Shape {
    fn compile(root: &Value, schema: &Value) -> Self {
        let mut shape = match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = root.pointer(reference.trim_start_matches('#'));
                Self::compile(root, target.expect("schemars defines what it refers to"))
            }
            None => Self::default(),
        };
        shape.read_scalar(schema);
        shape.read_containers(root, schema);
        shape
    }

    fn read_scalar(&mut self, schema: &Value) {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
        self.title = text("title").or(self.title.take());
        self.format = text("x-format").or(self.format.take());
        match schema.get("type") {
            Some(Value::String(name)) => self.types = vec![name.clone()],
            Some(names @ Value::Array(_)) => self.types = words(names),
            _ => {}
        }
        self.minimum = schema.get("minimum").and_then(Value::as_f64).or(self.minimum);
        self.maximum = schema.get("maximum").and_then(Value::as_f64).or(self.maximum);
        self.only_true |= schema.get("const") == Some(&Value::Bool(true));
        if let Some(names) = schema.get("enum") {
            self.words = words(names);
        }
        if let Some(Value::Array(options)) = schema.get("oneOf") {
            let constants = options.iter().filter_map(|option| option.get("const")?.as_str());
            self.words.extend(constants.map(str::to_owned));
            if !self.words.is_empty() {
                self.types = vec!["string".to_owned()];
            }
            self.groups = options.iter().filter_map(|option| option.get("required")).map(words).collect();
        }
    }

    fn read_containers(&mut self, root: &Value, schema: &Value) {
        let compiled = |key: &str| schema.get(key).filter(|s| s.is_object()).map(|s| Box::new(Self::compile(root, s)));
        self.entries = compiled("additionalProperties").or(self.entries.take());
        self.items = compiled("items").or(self.items.take());
        if let Some(Value::Array(options)) = schema.get("anyOf") {
            self.any_of = options.iter().map(|option| Self::compile(root, option)).collect();
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            let named = properties.iter().map(|(name, shape)| (name.clone(), Self::compile(root, shape)));
            self.properties = named.collect();
        }
        self.required.extend(schema.get("required").map(words).unwrap_or_default());
        let names = schema.get("propertyNames").and_then(|names| names.get("x-format")?.as_str());
        self.names_format = names.map(str::to_owned).or(self.names_format.take());
        let fewest = ["minItems", "minProperties"].iter().find_map(|key| schema.get(*key)?.as_u64());
        self.fewest = fewest.unwrap_or(self.fewest);
        self.most = schema.get("maxProperties").and_then(Value::as_u64).or(self.most);
    }

    pub fn property(&self, name: &str) -> Option<&Self> {
        self.properties.iter().find(|(property, _)| property == name).map(|(_, shape)| shape)
    }

    /// The keys that are taken, the required ones and the choices first, each part by name.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        let chosen = |key: &str| self.groups.iter().flatten().any(|name| name == key);
        let required = |key: &str| self.required.iter().any(|name| name == key);
        keys.sort_by_key(|key| (!required(key), !chosen(key), *key));
        keys
    }

    /// The groups as messages name them: `plugin, where or key + window`.
    pub fn choices(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(|group| group.join(" + ")).collect();
        either(&groups)
    }

    /// How messages call it.
    pub fn name(&self) -> &str {
        self.title.as_deref().unwrap_or("this map")
    }

    pub fn takes(&self, name: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|kind| kind == name)
    }
}

fn words(names: &Value) -> Vec<String> {
    let names = names.as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
