//! The secret that a request to the admin API must bring.

use std::sync::Arc;

use subtle::ConstantTimeEq;

/// A shorter one could be guessed.
pub const MIN_TOKEN_BYTES: usize = 16;

/// Invariant: shows nowhere, and how long a comparison takes tells nothing but the length.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Why a text is no token. Does not hold the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the admin token has {0} bytes, fewer than {MIN_TOKEN_BYTES}")]
    Short(usize),
    #[error("the admin token holds a space or a character that no header can carry")]
    Characters,
}

impl Token {
    /// # Errors
    /// See [`TokenError`].
    pub fn new(text: &str) -> Result<Self, TokenError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        if text.len() < MIN_TOKEN_BYTES {
            return Err(TokenError::Short(text.len()));
        }
        Ok(Self(text.into()))
    }

    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone_and_shows_nowhere() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_token_that_is_short_or_cannot_stand_in_a_header_is_refused() {
        assert_eq!(Token::new("0123456789abcde").unwrap_err(), TokenError::Short(15));
        for text in ["0123456789 abcdef", "0123456789abcdef\n", "0123456789abcdefé"] {
            assert_eq!(Token::new(text).unwrap_err(), TokenError::Characters, "{text}");
        }
    }
}
