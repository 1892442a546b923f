//! Does the caller know the secret? Kept as a digest and compared in constant time.

use std::fmt;

use mcp::digest::{Sha256Digest, sha256};
use subtle::ConstantTimeEq as _;

/// The shared secret; what it was cannot be read back.
pub struct Secret(Sha256Digest);

/// Why a text is no secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Short enough to be guessed.
    #[error("the secret has {0} characters, it needs at least {MIN_CHARS}")]
    Short(usize),
    /// It could not be sent in a header.
    #[error("the secret may hold visible ASCII characters only")]
    Unprintable,
}

impl Secret {
    /// A secret of at least 32 visible ASCII characters.
    ///
    /// # Errors
    /// [`Weak`].
    pub fn new(text: &str) -> Result<Self, Weak> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Weak::Unprintable);
        }
        match text.len() {
            MIN_CHARS.. => Ok(Self(sha256(text.as_bytes()))),
            short => Err(Weak::Short(short)),
        }
    }

    /// Whether the value of an `Authorization` header is `Bearer` and this secret.
    #[must_use]
    pub fn opens(&self, authorization: &[u8]) -> bool {
        let Some((scheme, token)) = authorization.split_at_checked(SCHEME.len()) else { return false };
        scheme.eq_ignore_ascii_case(SCHEME) && bool::from(sha256(token).ct_eq(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

const MIN_CHARS: usize = 32;
const SCHEME: &[u8] = b"Bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_opens() {
        let text = "0123456789abcdef0123456789abcdef";
        let secret = Secret::new(text).unwrap();
        assert!(secret.opens(format!("Bearer {text}").as_bytes()));
        assert!(secret.opens(format!("bearer {text}").as_bytes()));
        for wrong in ["", "Bearer", "Bearer ", "Basic 0123456789abcdef0123456789abcdef", "Bearer 0123456789abcdef"] {
            assert!(!secret.opens(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!secret.opens(format!("Bearer {text} ").as_bytes()));
        assert!(!format!("{secret:?}").contains(text));
    }

    #[test]
    fn a_short_or_unprintable_secret_is_refused() {
        assert_eq!(Secret::new("short").unwrap_err(), Weak::Short(5));
        assert_eq!(Secret::new(&"é".repeat(40)).unwrap_err(), Weak::Unprintable);
    }
}
