//! How is a JSON value spelled, if it has one spelling only? Sorted keys, no white space, one form for each number.
//!
//! Numbers count as the doubles `serde_json` reads, integers up to 64 bits as themselves. One of more than 15 digits with a
//! fraction or an exponent may be read a last digit apart from another spelling of it: then the two count as different.
//!
//! It does not rest on the order a map of `serde_json` keeps: that depends on a feature any crate of a build may turn on.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// The one spelling of `value`. Recursion is as deep as the value, and [`json::strict`](crate::json::strict) reads at most
/// 128 levels.
#[must_use]
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// The one spelling of the object of `members`, each key once.
#[must_use]
pub fn object<'a>(members: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let mut text = String::new();
    write_object(members.collect(), &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            write_object(members.iter().map(|(key, value)| (key.as_str(), value)).collect(), text)
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write(item, text);
            }
            text.push(']');
        }
        Value::Number(number) => write_number(number, text),
        Value::String(_) | Value::Bool(_) | Value::Null => {
            let _ = write!(text, "{value}");
        }
    }
}

fn write_object(mut members: Vec<(&str, &Value)>, text: &mut String) {
    members.sort_unstable_by_key(|(key, _)| *key);
    text.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        let _ = write!(text, "{}:", Value::from(key));
        write(value, text);
    }
    text.push('}');
}

/// Integers as integers, also where they were written as `1.0` or `1e2`; any other number with the fewest digits that
/// name its double.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "guarded by the range")]
fn write_number(number: &Number, text: &mut String) {
    let _ = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), ..) => write!(text, "{integer}"),
        (_, Some(integer), _) => write!(text, "{integer}"),
        (.., Some(double)) if double.fract() == 0.0 && (-I64_EDGE..0.0).contains(&double) => {
            write!(text, "{}", double as i64)
        }
        (.., Some(double)) if double.fract() == 0.0 && (0.0..U64_EDGE).contains(&double) => {
            write!(text, "{}", double as u64)
        }
        (.., Some(double)) => write!(text, "{}", Value::from(double)),
        _ => write!(text, "{number}"),
    };
}

/// 2^63 and 2^64.
const I64_EDGE: f64 = 9_223_372_036_854_775_808.0;
const U64_EDGE: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn each_number_has_one_spelling() {
        let spelled = |spelling: &str| text(&json::strict(spelling).unwrap());
        for (spellings, expected) in [
            (["0", "-0.0", "0e5"], "0"),
            (["100", "1e2", "100.00"], "100"),
            (["-7", "-7.0", "-70e-1"], "-7"),
            (["0.1", "1e-1", "0.10"], "0.1"),
            (["0.00000125", "125e-8", "1.25E-6"], "1.25e-6"),
            (["100000000000000000000", "1e20", "1E+20"], "1e+20"),
            (["18446744073709551615", "18446744073709551615", "18446744073709551615"], "18446744073709551615"),
            (["9007199254740993", "9007199254740993", "9007199254740993"], "9007199254740993"),
        ] {
            for spelling in spellings {
                assert_eq!(spelled(spelling), expected, "{spelling}");
            }
        }
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json::strict(r#"{"b":[{"z":"\u00e9","y":null}],"a":true}"#).unwrap();
        assert_eq!(text(&value), r#"{"a":true,"b":[{"y":null,"z":"é"}]}"#);
    }

    #[test]
    fn the_order_a_map_keeps_does_not_count() {
        let (one, two) = (Value::from(1), Value::from(2));
        assert_eq!(object([("b", &two), ("a", &one)].into_iter()), r#"{"a":1,"b":2}"#);
    }
}
