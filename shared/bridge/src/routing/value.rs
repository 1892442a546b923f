//! How is a value spelled in a header, and when are two the same?

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Number, value::RawValue};

/// `value` as a header spells it: as it is where that is visible ASCII, else wrapped in base64 (MCP 2026-07-28
/// basic/transports/streamable-http, Value Encoding).
#[must_use]
pub fn encode(value: &str) -> Cow<'_, str> {
    let bare = !value.is_empty() && is_plain(value) && trimmed(value) == value && !looks_wrapped(value);
    if bare { Cow::Borrowed(value) } else { Cow::Owned([PREFIX, &STANDARD.encode(value), SUFFIX].concat()) }
}

/// What the header value `value`, without the white space around it, says. `None` where it holds characters no header may
/// hold, or a wrapper whose inside is no canonical base64 of UTF-8.
#[must_use]
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    if !is_plain(value) {
        return None;
    }
    if !looks_wrapped(value) {
        return Some(Cow::Borrowed(value));
    }
    let inside = value.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    String::from_utf8(STANDARD.decode(inside).ok()?).ok().map(Cow::Owned)
}

/// `value` without the white space around it, which is no part of a header (RFC 9110 §5.5).
#[must_use]
pub fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// What an argument says, for a header.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said<'v> {
    /// It is absent or `null`.
    Nothing,
    /// A string.
    Text(Cow<'v, str>),
    /// An integer every reader reads alike, also where it is written as `42.0`.
    Integer(i64),
    /// An integer beyond ±(2^53 - 1).
    Unsafe,
    /// A boolean, or a number with a fraction.
    Other(String),
    /// An array or object, which no header can mirror.
    Compound,
}

impl<'v> Said<'v> {
    pub(super) fn of(argument: Option<&'v RawValue>) -> Result<Self, serde_json::Error> {
        let text = argument.map_or("null", RawValue::get);
        Ok(match text.bytes().next() {
            Some(b'n') => Self::Nothing,
            Some(b'{' | b'[') => Self::Compound,
            Some(b't' | b'f') => Self::Other(text.to_owned()),
            Some(b'"') => Self::Text(serde_json::from_str::<Text<'v>>(text)?.0),
            _ => Self::number(&serde_json::from_str(text)?),
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "guarded by the range")]
    fn number(number: &Number) -> Self {
        match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) if integer.unsigned_abs() <= SAFE_MAX => Self::Integer(integer),
            (None, Some(double)) if double.fract() != 0.0 => Self::Other(number.to_string()),
            (None, Some(double)) if double.abs() <= SAFE_MAX_DOUBLE => Self::Integer(double as i64),
            _ => Self::Unsafe,
        }
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether `said` is a decimal number equal to `integer`; compared digit by digit.
pub(super) fn is_integer(said: &str, integer: i64) -> bool {
    let (whole, fraction) = said.split_once('.').unwrap_or((said, "0"));
    is_decimal(said) && fraction.bytes().all(|digit| digit == b'0') && whole.parse() == Ok(integer)
}

/// Whether both are decimal numbers, and the same double.
pub(super) fn is_same_number(said: &str, argument: &str) -> bool {
    let double = |text: &str| text.parse::<f64>().ok();
    is_decimal(said) && double(said).is_some() && double(said) == double(argument)
}

/// `-?[0-9]+(.[0-9]+)?`: what looser readers also take for a number (`0x1a`, `1e3`, ` 42`) is none.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole) && digits(fraction)
}

/// Visible ASCII, space and tab.
pub(super) fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// Also where both markers share a byte: then there is nothing inside, and no two readers agree on what it says.
fn looks_wrapped(value: &str) -> bool {
    value.starts_with(PREFIX) && value.ends_with(SUFFIX)
}

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";
const SAFE_MAX: u64 = (1 << 53) - 1;
const SAFE_MAX_DOUBLE: f64 = 9_007_199_254_740_991.0;
