//! How is JSON said in Cedar? Arguments as their schema declares them; what does not fit is refused, not guessed.

use cedar_policy::RestrictedExpression;
use cedar_policy_core::{ast, evaluator::RestrictedEvaluator, extensions::Extensions};
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
    Weight::default().add(arguments, 0)
}

/// What was counted of some arguments so far.
#[derive(Default)]
struct Weight {
    values: usize,
    bytes: usize,
}

impl Weight {
    /// Adds `value`, which is `depth` levels deep.
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Denied> {
        match value {
            Value::Null | Value::Bool(_) => Ok(()),
            Value::Number(number) => fits_64_bits(number),
            Value::String(text) => self.count(0, text.len()),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => {
                refused(format!("the arguments are nested deeper than {DEPTH_MAX} levels"))
            }
            Value::Array(items) => {
                self.count(items.len(), 0)?;
                items.iter().try_for_each(|item| self.add(item, depth + 1))
            }
            Value::Object(entries) => {
                self.count(entries.len(), entries.keys().map(String::len).sum())?;
                entries.values().try_for_each(|value| self.add(value, depth + 1))
            }
        }
    }

    fn count(&mut self, values: usize, bytes: usize) -> Result<(), Denied> {
        self.values += values;
        self.bytes += bytes;
        match (self.values > VALUES_MAX, self.bytes > BYTES_MAX) {
            (true, _) => refused(format!("the arguments hold more than {VALUES_MAX} values")),
            (_, true) => refused(format!("the arguments hold more than {BYTES_MAX} bytes of text")),
            _ => Ok(()),
        }
    }
}

/// The arguments in Cedar's words: as values, where its own interface takes expressions that are evaluated into the same
/// values, which takes longer than a decision.
///
/// # Errors
/// [`Denied::Arguments`], which names the argument that is not what `record` declares.
pub(crate) fn to_cedar(record: &Record, arguments: Option<&Value>) -> Result<ast::Value, Denied> {
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

fn say_record(record: &Record, entries: &Map<String, Value>) -> Result<ast::Value, Unsaid> {
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
            (Some(value), _) => said.push((name.as_str(), say(shape, value).map_err(|unsaid| unsaid.within(&step()))?)),
        }
    }
    Ok(ast::Value::record(said, None))
}

fn say(shape: &Shape, value: &Value) -> Result<ast::Value, Unsaid> {
    match (shape, value) {
        (Shape::Text, Value::String(text)) => Ok(text.as_str().into()),
        (Shape::Bool, Value::Bool(is)) => Ok((*is).into()),
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
            Ok(ast::Value::set(said, None))
        }
        (Shape::Record(record), Value::Object(entries)) => say_record(record, entries),
        _ => Err(Unsaid::new(format!("is not {}, as the tool's schema says", shape.as_str()))),
    }
}

/// An integer; `5.0` is one too (JSON Schema 2020-12 validation §6.1.1).
fn say_long(number: &Number) -> Result<ast::Value, Unsaid> {
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < I64_END)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range of an i64")]
        Some(float as i64)
    });
    whole.map(ast::Value::from).ok_or_else(|| Unsaid::new("is not an integer of 64 bits"))
}

/// A number, rounded to the four places a Cedar decimal has.
fn say_decimal(number: &Number) -> Result<ast::Value, Unsaid> {
    let text = match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if whole.unsigned_abs() < DECIMAL_END => format!("{whole}.0"),
        (None, Some(float)) if float.abs() < DECIMAL_END_FLOAT => format!("{float:.4}"),
        _ => return Err(Unsaid::new(format!("is not between -{DECIMAL_END} and {DECIMAL_END}"))),
    };
    let decimal = RestrictedExpression::new_decimal(text);
    let said = RestrictedEvaluator::new(Extensions::all_available()).interpret(decimal.as_ref().as_borrowed());
    said.map_err(|error| Unsaid::new(error.to_string()))
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
