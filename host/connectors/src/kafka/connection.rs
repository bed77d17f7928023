//! What every client of one cluster is configured with, and which properties are Weir's own.
//!
//! Invariant: a property that exactly-once rests on cannot be changed from a manifest. Values are never printed:
//! some are passwords.

use std::collections::BTreeMap;
use std::fmt;

/// A cluster and how to reach it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KafkaConnection {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// librdkafka properties passed through: TLS, SASL, time-outs, tuning.
    pub properties: BTreeMap<String, String>,
}

impl KafkaConnection {
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), properties: BTreeMap::new() }
    }

    /// The first property in `owned` that the manifest tries to set.
    pub(super) fn conflicting_property(&self, owned: &[(&'static str, String)]) -> Option<&'static str> {
        owned.iter().map(|(name, _)| *name).find(|name| self.properties.contains_key(*name))
    }

    /// Defaults, overridden by the manifest's properties, overridden by what Weir owns.
    pub(super) fn properties(
        &self,
        defaults: &[(&'static str, String)],
        owned: &[(&'static str, String)],
    ) -> BTreeMap<String, String> {
        let pairs = |pairs: &[(&'static str, String)]| {
            pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect::<Vec<_>>()
        };
        let mut properties: BTreeMap<_, _> = [("client.id".to_string(), "weir".to_string())].into();
        properties.extend(pairs(defaults));
        properties.extend(self.properties.clone());
        properties.extend(pairs(owned));
        properties.insert(BROKERS.into(), self.brokers.clone());
        properties
    }
}

/// Names only: a value may be a password.
impl fmt::Debug for KafkaConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.keys().collect();
        f.debug_struct("KafkaConnection").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

const BROKERS: &str = "bootstrap.servers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let mut connection = KafkaConnection::new("localhost:9092");
        connection.properties.insert("sasl.password".into(), "hunter2".into());
        assert_eq!(
            format!("{connection:?}"),
            r#"KafkaConnection { brokers: "localhost:9092", properties: ["sasl.password"] }"#
        );
    }

    #[test]
    fn the_manifest_overrides_defaults_but_not_what_weir_owns() {
        let mut connection = KafkaConnection::new("b:1");
        connection.properties.insert("fetch.wait.max.ms".into(), "7".into());
        connection.properties.insert("isolation.level".into(), "read_uncommitted".into());
        let owned = [("isolation.level", "read_committed".to_string())];
        let properties = connection.properties(&[("fetch.wait.max.ms", "100".into())], &owned);
        assert_eq!(properties["fetch.wait.max.ms"], "7");
        assert_eq!(properties["isolation.level"], "read_committed");
        assert_eq!(properties["bootstrap.servers"], "b:1");
        assert_eq!(connection.conflicting_property(&owned), Some("isolation.level"));
    }
}
