//! Which bytes were these? SHA-256, and the digest of a JSON value whatever its spelling.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest (FIPS 180-4).
pub type Sha256Digest = [u8; 32];

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256::digest(bytes).into()
}

/// SHA-256 over `value` with its keys sorted and without white space, so that two spellings of one value agree.
#[must_use]
pub fn canonical(value: &Value) -> Sha256Digest {
    sha256(crate::canonical::text(value).as_bytes())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

/// Writes `bytes` behind `text` in lower-case hexadecimal.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    for part in bytes.chunks(32) {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(part) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        let digits = digits.get(..part.len() * 2).and_then(|digits| std::str::from_utf8(digits).ok());
        text.push_str(digits.unwrap_or_default());
    }
}

/// The digest that `text` spells in hexadecimal, if it is one.
#[must_use]
pub fn of_hex(text: &str) -> Option<Sha256Digest> {
    let mut digest = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_change_the_digest_of_a_value() {
        let [one, other] = [r#"{ "b": 1, "a": "é" }"#, r#"{"a":"\u00e9","b":1}"#]
            .map(|text| canonical(&crate::json::strict(text).unwrap()));
        assert_eq!(one, other);
    }

    #[test]
    fn hex_matches_the_published_vector() {
        // FIPS 180-4, "abc"
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), expected);
        assert_eq!(hex(&[0x9f; 70]), "9f".repeat(70));
    }
}
