//! How is JSON said in Cedar? Arguments as their schema declares them; what does not fit is refused, not guessed.

use cedar_policy::RestrictedExpression;
use mcp::json::{clip, is_disguised};
use serde_json::{Map, Number, Value};

use crate::{
    shape::{Field, Presence, Record, Shape},
    verdict::Denied,
};

/// Whether arguments are small and plain enough to be decided on, whichever policies there are. [`crate::Outlook::decide`]
/// asks this; who remembers a decision instead has to.
///
/// # Errors
/// [`Denied::Arguments`]: nested deeper than 64 levels, more than 20,000 values, more than 1 MiB of text, or a number
/// beyond 64 bits.
pub fn admit(arguments: &Value) -> Result<(), Denied> {
    let mut levels = vec![vec![arguments]];
    let (mut values, mut bytes) = (0_usize, 0_usize);
    while let Some(level) = levels.last_mut() {
        let Some(value) = level.pop() else {
            levels.pop();
            continue;
        };
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Number(number) => fits_64_bits(number)?,
            Value::Array(items) => {
                values += items.len();
                levels.push(items.iter().take(VALUES_MAX).collect());
            }
            Value::Object(entries) => {
                values += entries.len();
                bytes += entries.keys().map(String::len).sum::<usize>();
                levels.push(entries.values().take(VALUES_MAX).collect());
            }
            Value::Null | Value::Bool(_) => {}
        }
        if levels.len() > DEPTH_MAX + 1 {
            return refused(format!("the arguments are nested deeper than {DEPTH_MAX} levels"));
        }
        if values > VALUES_MAX {
            return refused(format!("the arguments hold more than {VALUES_MAX} values"));
        }
        if bytes > BYTES_MAX {
            return refused(format!("the arguments hold more than {BYTES_MAX} bytes of text"));
        }
    }
    Ok(())
}

/// The arguments in Cedar's words.
///
/// # Errors
/// [`Denied::Arguments`], which names the argument that is not what `record` declares.
pub(crate) fn to_cedar(record: &Record, arguments: Option<&Value>) -> Result<RestrictedExpression, Denied> {
    let none = Map::new();
    let said = match arguments {
        None | Some(Value::Null) => say_record(record, &none),
        Some(Value::Object(entries)) => say_record(record, entries),
        Some(_) => Err(Unsaid::new("is not an object")),
    };
    said.map_err(|Unsaid { path, why }| Denied::Arguments(format!("`arguments{}` {why}", clip(&path))))
}

/// What cannot be said, and where.
struct Unsaid {
    path: String,
    why: String,
}

impl Unsaid {
    fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into() }
    }

    fn within(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

fn say_record(record: &Record, entries: &Map<String, Value>) -> Result<RestrictedExpression, Unsaid> {
    for key in entries.keys().filter(|key| !record.contains_key(*key)) {
        // A server that does not tell upper from lower case would run what no policy saw.
        if let Some(name) = record.keys().find(|name| is_disguised(key, name)) {
            return Err(Unsaid::new(format!("is taken for `{}` by some servers", clip(name)))
                .within(&format!(".{}", clip(key))));
        }
    }
    let mut said = Vec::with_capacity(record.len());
    for (name, Field { shape, presence }) in record {
        let step = || format!(".{}", clip(name));
        match (entries.get(name), presence) {
            (None | Some(Value::Null), Presence::Optional) => {}
            (None | Some(Value::Null), Presence::Required) => {
                return Err(Unsaid::new("is required by the tool's schema").within(&step()));
            }
            (Some(value), _) => said.push((name.clone(), say(shape, value).map_err(|unsaid| unsaid.within(&step()))?)),
        }
    }
    RestrictedExpression::new_record(said).map_err(|error| Unsaid::new(error.to_string()))
}

fn say(shape: &Shape, value: &Value) -> Result<RestrictedExpression, Unsaid> {
    match (shape, value) {
        (Shape::Text, Value::String(text)) => Ok(RestrictedExpression::new_string(text.clone())),
        (Shape::Bool, Value::Bool(is)) => Ok(RestrictedExpression::new_bool(*is)),
        (Shape::Long, Value::Number(number)) => say_long(number),
        (Shape::Decimal, Value::Number(number)) => say_decimal(number),
        (Shape::Set(_), Value::Array(items)) if items.len() > ITEMS_MAX => {
            Err(Unsaid::new(format!("has more than {ITEMS_MAX} items")))
        }
        (Shape::Set(element), Value::Array(items)) => {
            let mut said = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                said.push(say(element, item).map_err(|unsaid| unsaid.within(&format!("[{index}]")))?);
            }
            Ok(RestrictedExpression::new_set(said))
        }
        (Shape::Record(record), Value::Object(entries)) => say_record(record, entries),
        _ => Err(Unsaid::new(format!("is not {}, as the tool's schema says", shape.as_str()))),
    }
}

/// An integer; `5.0` is one too (JSON Schema 2020-12 validation §6.1.1).
fn say_long(number: &Number) -> Result<RestrictedExpression, Unsaid> {
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < I64_END)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range of an i64")]
        Some(float as i64)
    });
    whole.map(RestrictedExpression::new_long).ok_or_else(|| Unsaid::new("is not an integer of 64 bits"))
}

/// A number, rounded to the four places a Cedar decimal has.
fn say_decimal(number: &Number) -> Result<RestrictedExpression, Unsaid> {
    let text = match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if whole.unsigned_abs() < DECIMAL_END => format!("{whole}.0"),
        (None, Some(float)) if float.abs() < DECIMAL_END_FLOAT => format!("{float:.4}"),
        _ => return Err(Unsaid::new(format!("is not between -{DECIMAL_END} and {DECIMAL_END}"))),
    };
    Ok(RestrictedExpression::new_decimal(text))
}

/// Beyond 64 bits a number reads differently to everyone: refused before anyone does.
fn fits_64_bits(number: &Number) -> Result<(), Denied> {
    let fits = number.is_i64() || number.as_f64().is_some_and(|float| number.is_f64() && float.abs() < I64_END);
    if fits { Ok(()) } else { refused(format!("the arguments hold `{number}`, which is beyond 64 bits")) }
}

fn refused(why: String) -> Result<(), Denied> {
    Err(Denied::Arguments(why))
}

const DEPTH_MAX: usize = 64;
const VALUES_MAX: usize = 20_000;
const BYTES_MAX: usize = 1 << 20;
/// Cedar keeps a set hashed, and hashes have no secret on WebAssembly: whoever makes them collide waits for all pairs.
const ITEMS_MAX: usize = 4096;
/// 2^63, where 64 bits end.
const I64_END: f64 = 9_223_372_036_854_775_808.0;
/// Where a decimal of four places ends: 2^63 / 10,000, without its fraction.
const DECIMAL_END: u64 = 922_337_203_685_477;
const DECIMAL_END_FLOAT: f64 = 922_337_203_685_477.0;

#[cfg(test)]
mod tests;
