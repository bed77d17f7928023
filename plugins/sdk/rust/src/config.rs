//! A plugin's configuration: read from JSON into the plugin's own struct, all faults at once, and its JSON Schema.

use std::collections::BTreeMap;

use crate::decimal::Decimal;
use crate::json::Json;
use crate::wit::Fault;

/// A struct that holds a plugin's configuration. Derived. `()` for plugins without one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a configuration",
    label = "put #[derive(Config)] on this struct"
)]
pub trait Config: ConfigValue {}

impl Config for () {}

/// One value of a configuration: a field's type, or a nested struct with `#[derive(Config)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a value of a configuration",
    note = "values are bool, integers, f32, f64, String, Decimal, Option, Vec, BTreeMap<String, _>, and structs with #[derive(Config)]"
)]
pub trait ConfigValue: Sized {
    /// `None` after at least one fault was reported.
    fn read(json: &Json, faults: &mut Faults) -> Option<Self>;

    /// The value of a key that is not there; `None` where that is a fault.
    fn absent() -> Option<Self> {
        None
    }

    /// JSON Schema.
    fn schema() -> String;

    /// JSON, for the schema's `default`.
    fn json(&self) -> String;
}

/// The faults found so far and the place that is being read.
#[derive(Default)]
pub struct Faults {
    path: String,
    found: Vec<Fault>,
}

impl Faults {
    pub fn report<T>(&mut self, message: String) -> Option<T> {
        self.found.push(Fault { config_path: Some(self.path.clone()), column: None, message });
        None
    }

    fn wanted<T>(&mut self, wanted: &str, json: &Json) -> Option<T> {
        self.report(format!("is {}, the plugin wants {wanted}", json.kind()))
    }

    /// Reads something one step deeper; `step` is a key or an index.
    pub fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// The entries of an object that may have only the `known` keys.
    pub fn object<'a>(&mut self, json: &'a Json, known: &[&str]) -> Option<&'a [(String, Json)]> {
        let Json::Object(entries) = json else { return self.wanted("an object", json) };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            let takes = if known.is_empty() { "no keys".into() } else { known.join(", ") };
            self.at(key, |faults| faults.report::<()>(format!("unknown key; the configuration takes {takes}")));
        }
        Some(entries)
    }

    /// One key of an object.
    pub fn key<T: ConfigValue>(
        &mut self,
        entries: &[(String, Json)],
        key: &str,
        default: Option<fn() -> T>,
    ) -> Option<T> {
        self.at(key, |faults| match entries.iter().find(|(found, _)| found == key) {
            Some((_, json)) => T::read(json, faults),
            None => default.map(|default| default()).or_else(T::absent).or_else(|| faults.report("missing".into())),
        })
    }
}

/// # Errors
/// Every fault, with JSON pointers.
pub fn read<C: Config>(text: &str) -> Result<C, Vec<Fault>> {
    let mut faults = Faults::default();
    // No configuration in the manifest is an empty one: defaults may be all that a plugin needs.
    let text = if matches!(text.trim(), "" | "null") { "{}" } else { text };
    let config = match Json::parse(text) {
        Ok(json) => C::read(&json, &mut faults),
        Err(fault) => faults.report(fault),
    };
    match config {
        Some(config) if faults.found.is_empty() => Ok(config),
        _ => Err(faults.found),
    }
}

/// JSON Schema; empty for `()`.
pub fn schema<C: Config>() -> String {
    C::schema()
}

/// One property of an object's schema. The derive calls it.
pub struct Property {
    pub key: &'static str,
    pub description: &'static str,
    pub schema: String,
    pub required: bool,
    /// JSON.
    pub default: Option<String>,
}

/// The schema of a struct. The derive calls it.
pub fn object_schema(properties: Vec<Property>) -> String {
    let required: Vec<String> = properties.iter().filter(|p| p.required).map(|p| quoted(p.key)).collect();
    let properties = properties.iter().map(|Property { key, description, schema, default, .. }| {
        let description =
            if description.is_empty() { String::new() } else { format!(r#""description":{},"#, quoted(description)) };
        let default = default.as_ref().map_or(String::new(), |default| format!(r#""default":{default},"#));
        format!("{}:{{{description}{default}{}", quoted(key), &schema[1..])
    });
    let properties: Vec<String> = properties.collect();
    format!(
        r#"{{"type":"object","properties":{{{}}},"required":[{}],"additionalProperties":false}}"#,
        properties.join(","),
        required.join(",")
    )
}

/// A struct as JSON. The derive calls it.
pub fn object_json(entries: &[(&str, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, json)| format!("{}:{json}", quoted(key))).collect();
    format!("{{{}}}", entries.join(","))
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json.push_str("\\n"),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => json.push(plain),
        }
    }
    json.push('"');
    json
}

impl ConfigValue for () {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        faults.object(json, &[]).map(|_| ())
    }

    fn schema() -> String {
        String::new()
    }

    fn json(&self) -> String {
        "{}".into()
    }
}

impl ConfigValue for bool {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        if let Json::Bool(value) = json { Some(*value) } else { faults.wanted("a boolean", json) }
    }

    fn schema() -> String {
        r#"{"type":"boolean"}"#.into()
    }

    fn json(&self) -> String {
        self.to_string()
    }
}

macro_rules! config_integer {
    ($($integer:ty),*) => {$(
        impl ConfigValue for $integer {
            fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
                let Json::Number(text) = json else { return faults.wanted("an integer", json) };
                let range = || format!("is {text}, the plugin wants an integer from {} to {}", Self::MIN, Self::MAX);
                text.parse().ok().or_else(|| faults.report(range()))
            }

            fn schema() -> String {
                format!(r#"{{"type":"integer","minimum":{},"maximum":{}}}"#, Self::MIN, Self::MAX)
            }

            fn json(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
config_integer!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! config_float {
    ($($float:ty),*) => {$(
        impl ConfigValue for $float {
            fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
                let Json::Number(text) = json else { return faults.wanted("a number", json) };
                let parsed = text.parse().ok().filter(|value: &Self| value.is_finite());
                parsed.or_else(|| faults.report(format!("is {text}, too large for a {}", stringify!($float))))
            }

            fn schema() -> String {
                r#"{"type":"number"}"#.into()
            }

            fn json(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
config_float!(f32, f64);

impl ConfigValue for String {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        if let Json::Text(text) = json { Some(text.clone()) } else { faults.wanted("a string", json) }
    }

    fn schema() -> String {
        r#"{"type":"string"}"#.into()
    }

    fn json(&self) -> String {
        quoted(self)
    }
}

/// From a number or a string.
impl ConfigValue for Decimal {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        let (Json::Number(text) | Json::Text(text)) = json else { return faults.wanted("a decimal", json) };
        match Self::parse(text) {
            Ok(number) => Some(number),
            Err(error) => faults.report(format!("{text:?}: {error}")),
        }
    }

    fn schema() -> String {
        r#"{"type":["number","string"]}"#.into()
    }

    fn json(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Null or no key at all: `None`.
impl<T: ConfigValue> ConfigValue for Option<T> {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        if *json == Json::Null { Some(None) } else { T::read(json, faults).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn schema() -> String {
        format!(r#"{{"anyOf":[{},{{"type":"null"}}]}}"#, T::schema())
    }

    fn json(&self) -> String {
        self.as_ref().map_or("null".into(), T::json)
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        let Json::List(items) = json else { return faults.wanted("a list", json) };
        let items = items.iter().enumerate();
        // All items before the first fault ends it, so that every fault is told.
        let read: Vec<_> = items.map(|(at, item)| faults.at(&at.to_string(), |faults| T::read(item, faults))).collect();
        read.into_iter().collect()
    }

    fn schema() -> String {
        format!(r#"{{"type":"array","items":{}}}"#, T::schema())
    }

    fn json(&self) -> String {
        format!("[{}]", self.iter().map(T::json).collect::<Vec<_>>().join(","))
    }
}

impl<T: ConfigValue> ConfigValue for BTreeMap<String, T> {
    fn read(json: &Json, faults: &mut Faults) -> Option<Self> {
        let Json::Object(entries) = json else { return faults.wanted("an object", json) };
        let entry = |(key, value): &(String, Json)| {
            faults.at(key, |faults| T::read(value, faults)).map(|value| (key.clone(), value))
        };
        let read: Vec<_> = entries.iter().map(entry).collect();
        read.into_iter().collect()
    }

    fn schema() -> String {
        format!(r#"{{"type":"object","additionalProperties":{}}}"#, T::schema())
    }

    fn json(&self) -> String {
        let entries = self.iter().map(|(key, value)| format!("{}:{}", quoted(key), value.json()));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
    }
}
