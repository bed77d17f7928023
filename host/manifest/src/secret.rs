//! Secrets by reference: `{ secret: NAME }` is the environment variable NAME.
//!
//! Invariant: the value shows nowhere. [`Secret`] has no `Display` and no `Serialize`, its `Debug` names the
//! reference only, and no message of this crate holds the value.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::span::Spanned;

/// The key under which a secret's value reaches [`Secret`].
pub(crate) const VALUE_KEY: &str = "$value";

/// The value of a secret and the name that it goes by.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a secret")]
pub struct Secret {
    /// The environment variable that holds the value.
    #[serde(rename = "secret")]
    #[schemars(extend("x-format" = "variable", "pattern" = "^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: Spanned<String>,
    /// Put there by the profile's resolution, behind the structural check: no manifest can write this key.
    #[serde(rename = "$value", default)]
    #[schemars(skip)]
    value: String,
}

impl Secret {
    /// The value: for connecting, never for showing.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.name)
    }
}
