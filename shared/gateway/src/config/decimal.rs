//! How are money and shares kept, so that they mean the same wherever they are read? As whole millionths.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number with up to six decimal places. In TOML and JSON it is an integer or a float, rounded to the nearest
/// millionth; of more than `±10^9` only that it is too large is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    micros: i64,
}

impl Decimal {
    /// So many millionths.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// It in millionths, or 0 if it is negative.
    #[must_use]
    pub const fn micros(self) -> u64 {
        if self.micros < 0 { 0 } else { self.micros.unsigned_abs() }
    }

    /// Whether it is at most `whole`, and neither zero nor negative.
    #[must_use]
    pub const fn is_within(self, whole: u32) -> bool {
        0 < self.micros && self.micros <= whole as i64 * MICROS
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.micros < 0
    }

    fn of(number: f64) -> Option<Self> {
        // Beyond 2^53 a float has no millionths; the clamp stays below.
        number.is_finite().then(|| Self { micros: (number.clamp(-BOUND, BOUND) * MICROS as f64).round() as i64 })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        let micros = self.micros.unsigned_abs();
        let (whole, rest) = (micros / MICROS as u64, micros % MICROS as u64);
        let digits = format!("{rest:06}");
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{digits}") }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.micros % MICROS == 0 {
            serializer.serialize_i64(self.micros / MICROS)
        } else {
            serializer.serialize_f64(self.micros as f64 / MICROS as f64)
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl de::Visitor<'_> for Number {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Decimal, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Decimal, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Decimal, E> {
        Decimal::of(number).ok_or_else(|| E::custom("must be a finite number"))
    }
}

const MICROS: i64 = 1_000_000;
/// Just above the largest number anything here may be, so that it is still found to be too large.
const BOUND: f64 = 1_000_000_001.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_and_writes_as_itself() {
        for (json, micros, written) in [
            ("5", 5_000_000, "5"),
            ("5.0", 5_000_000, "5"),
            ("0.01", 10_000, "0.01"),
            ("0.1", 100_000, "0.1"),
            ("1000000000", 1_000_000_000_000_000, "1000000000"),
            ("999999999.999999", 999_999_999_999_999, "999999999.999999"),
            ("0.0000004", 0, "0"),
            ("0.0000006", 1, "0.000001"),
            ("-2.5", -2_500_000, "-2.5"),
            ("1e300", 1_000_000_001_000_000, "1000000001"),
        ] {
            let decimal: Decimal = serde_json::from_str(json).unwrap();
            assert_eq!(decimal, Decimal::from_micros(micros), "{json}");
            assert_eq!(decimal.to_string(), written);
            let stored = serde_json::to_string(&decimal).unwrap();
            assert_eq!(serde_json::from_str::<Decimal>(&stored).unwrap(), decimal, "{stored}");
        }
        for text in ["nan", "inf", "-inf", "\"5\"", "true"] {
            #[derive(Debug, Deserialize)]
            struct Holder {
                #[expect(dead_code, reason = "only whether it can be read counts")]
                a: Decimal,
            }
            assert!(toml::from_str::<Holder>(&format!("a = {text}")).is_err(), "{text}");
        }
    }
}
