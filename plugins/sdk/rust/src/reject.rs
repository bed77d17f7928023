//! Refusing a row: it becomes a dead letter with this code and reason, and the pipeline goes on.

use std::borrow::Cow;
use std::fmt;

use crate::decimal::DecimalError;

/// Why one row was refused. Made by [`reject!`](crate::reject!).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Stable, kebab-case; metrics and dead letters count by it.
    pub code: Cow<'static, str>,
    /// For people; may be empty.
    pub reason: String,
}

impl Reject {
    /// For a code that is only known at run time; [`reject!`](crate::reject!) checks a literal one while compiling.
    pub fn new(code: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() { f.write_str(&self.code) } else { write!(f, "{}: {}", self.code, self.reason) }
    }
}

impl From<DecimalError> for Reject {
    fn from(error: DecimalError) -> Self {
        let code = match error {
            DecimalError::Syntax => "decimal-syntax",
            DecimalError::Overflow => "decimal-overflow",
        };
        Self::new(code, error.to_string())
    }
}

/// Whether a text is a code: lower-case words and digits joined by `-`.
pub const fn is_code(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let word = bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit();
        let joint = bytes[at] == b'-' && at > 0 && at + 1 < bytes.len() && bytes[at - 1] != b'-';
        if !(word || joint) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

/// Makes a [`Reject`]: `reject!("kind-missing")`, `reject!("amount-too-large", "{amount} > {max}")`.
#[macro_export]
macro_rules! reject {
    ($code:literal) => {
        $crate::reject!(@ $code, ::std::string::String::new())
    };
    ($code:literal, $($reason:tt)+) => {
        $crate::reject!(@ $code, ::std::format!($($reason)+))
    };
    (@ $code:literal, $reason:expr) => {{
        const { assert!($crate::reject::is_code($code), "a reject's code is kebab-case: lower-case words joined by `-`") };
        $crate::Reject { code: ::std::borrow::Cow::Borrowed($code), reason: $reason }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_kebab_case() {
        for code in ["a", "kind-missing", "v2", "too-2-big"] {
            assert!(is_code(code), "{code}");
        }
        for code in ["", "-", "-a", "a-", "a--b", "Kind", "kind_missing", "kind missing"] {
            assert!(!is_code(code), "{code}");
        }
    }

    #[test]
    fn a_reject_reads_as_code_and_reason() {
        let (has, max) = (5, 3);
        assert_eq!(reject!("too-many", "{has} > {}", max).to_string(), "too-many: 5 > 3");
        assert_eq!(reject!("kind-missing").to_string(), "kind-missing");
        assert_eq!(Reject::from("x".parse::<crate::Decimal>().unwrap_err()).code, "decimal-syntax");
    }
}
