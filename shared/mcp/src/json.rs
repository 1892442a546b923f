//! Does this JSON mean one thing only? Values read strictly: no key twice, no nesting without end.
//!
//! Two readers that treat a repeated key differently see two different calls; a gateway that decides on one of them
//! while the server runs the other has decided nothing (RFC 8259 §4 leaves it open).

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

/// A JSON value whose objects name each key once. Nesting is bounded at 128 levels by `serde_json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Strict(pub Value);

/// Reads `text` strictly.
///
/// # Errors
/// Not JSON, a key named twice, nested deeper than 128 levels, or a number beyond a double.
pub fn strict(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Strict>(text).map(|Strict(value)| value)
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value that names each key once")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(twice(&key));
            }
            let Strict(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// Whether no key of the object `text` is one of `names` to a reader that does not tell upper from lower case, as Go's
/// does: such a reader and this one would see two different calls.
///
/// # Errors
/// The key, and what it could be taken for; or that `text` is no object.
pub fn plain(text: &str, names: &[&str]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Plain(names).deserialize(&mut deserializer)
}

/// The members `names` of the object `text`, as they were spelled, each at its place in `names`; in one pass. What is inside
/// of them is not looked at.
///
/// # Errors
/// Not JSON or no object; one of them is named twice; or a key that some readers take for one of them (see [`plain`]).
pub fn pick<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut found = [None; N];
    pick_into(text, names, &mut found)?;
    Ok(found)
}

/// [`pick`] for as many names as there are: fills `found`, which has to be as long as `names`.
///
/// # Errors
/// As [`pick`].
pub fn pick_into<'a>(
    text: &'a str,
    names: &[&str],
    found: &mut [Option<&'a RawValue>],
) -> Result<(), serde_json::Error> {
    read(text, Pick { names, found, others: None })
}

/// [`pick`], where no other key may be named twice either; of others there may be 256.
///
/// # Errors
/// As [`pick`], and what is said above.
pub fn pick_of_few<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut found = [None; N];
    read(text, Pick { names, found: &mut found, others: Some(Vec::new()) })?;
    Ok(found)
}

fn read<'a>(text: &'a str, pick: Pick<'_, '_, 'a>) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    pick.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Whether `key` is not `name`, but is for readers that do not tell upper from lower case.
#[must_use]
pub fn is_disguised(key: &str, name: &str) -> bool {
    let folded = |text: &'_ str| text.chars().flat_map(char::to_uppercase).collect::<String>();
    match key.is_ascii() && name.is_ascii() {
        true => key != name && key.eq_ignore_ascii_case(name),
        false => key != name && key.len() <= 2 * name.len() && folded(key) == folded(name),
    }
}

struct Pick<'n, 'f, 'a> {
    names: &'n [&'n str],
    found: &'f mut [Option<&'a RawValue>],
    /// The other keys, where each may come once.
    others: Option<Vec<Cow<'a, str>>>,
}

impl<'de> DeserializeSeed<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let at = self.names.iter().position(|name| *name == key);
            match at.and_then(|at| self.found.get_mut(at)) {
                Some(Some(_)) => return Err(twice(&key)),
                Some(place) => *place = Some(map.next_value()?),
                None => {
                    if let Some(name) = self.names.iter().find(|name| is_disguised(&key, name)) {
                        return Err(disguised(&key, name));
                    }
                    match &mut self.others {
                        Some(others) if others.contains(&key) => return Err(twice(&key)),
                        Some(others) if others.len() == OTHERS_MAX => return Err(A::Error::custom(TOO_MANY)),
                        Some(others) => others.push(key),
                        None => {}
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn twice<E: de::Error>(key: &str) -> E {
    E::custom(format_args!("key `{}` is named twice", clip(key)))
}

fn disguised<E: de::Error>(key: &str, name: &str) -> E {
    E::custom(format_args!("some servers read `{}` as `{name}`: spell it so", clip(key)))
}

struct Plain<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            if let Some(name) = self.0.iter().find(|name| is_disguised(&key, name)) {
                return Err(disguised(&key, name));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The string that `raw` spells, if it is one.
#[must_use]
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    // What has no escapes is what it spells.
    match raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Some(Cow::Borrowed(text)),
        _ => serde_json::from_str::<Key<'_>>(raw.get()).ok().map(|Key(text)| text),
    }
}

/// `text` as a JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len() + 2);
    push_quoted(&mut spelled, text);
    spelled
}

/// Writes `text` behind `to` as a JSON string.
pub fn push_quoted(to: &mut String, text: &str) {
    match text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        true => to.extend(["\"", text, "\""]),
        false => to.push_str(&Value::from(text).to_string()),
    }
}

/// At most the first 64 characters of `text`, for an error message.
#[must_use]
pub fn clip(text: &str) -> &str {
    text.char_indices().nth(64).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Each name is compared with each other.
const OTHERS_MAX: usize = 256;
const TOO_MANY: &str = "an object has more than 256 members that nobody knows";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_refused_at_any_depth() {
        let error = strict(r#"{"a":[{"path":"/tmp","path":"/etc"}]}"#).unwrap_err();
        assert!(error.to_string().contains("key `path` is named twice"), "{error}");
    }

    #[test]
    fn a_key_some_readers_take_for_another_is_refused() {
        for text in
            [r#"{"name":"a","Name":"b"}"#, r#"{"NAME":"b"}"#, r#"{"nam\u0065":"a","\u004eame":1}"#, r#"{"u\u017f":1}"#]
        {
            assert!(plain(text, &["name", "us"]).is_err(), "{text}");
        }
        for text in [r#"{"name":"a","names":"b","_meta":{"Name":1}}"#, "{}"] {
            assert!(plain(text, &["name", "us"]).is_ok(), "{text}");
        }
    }

    #[test]
    fn members_are_picked_as_they_were_spelled() {
        let text = r#" {"b":[ 1 ],"c":{"a":2},"\u0061": null} "#;
        let [a, b, x] = pick(text, &["a", "b", "x"]).unwrap();
        assert_eq!((a.unwrap().get(), b.unwrap().get(), x.map(RawValue::get)), ("null", "[ 1 ]", None));
        for text in
            [r#"{"a":1,"\u0061":2}"#, r#"{"A":1}"#, r#"{"a":1,"A":2}"#, "[]", "7", "{", r#"{"a":1}}"#, r#"{"a":}"#]
        {
            assert!(pick(text, &["a", "b"]).is_err(), "{text}");
        }
        assert!(pick(r#"{"x":1,"x":2,"a":1}"#, &["a"]).is_ok(), "nothing is decided by the others");
        assert!(pick(r#"{"a":1,"A":2}"#, &["a", "A"]).is_ok(), "both are asked for");

        assert!(pick_of_few(r#"{"x":1,"y":2,"a":1}"#, &["a"]).is_ok());
        assert!(pick_of_few(r#"{"x":1,"\u0078":2,"a":1}"#, &["a"]).is_err(), "the others are one of a kind too");
        let wide =
            |members: usize| format!("{{{}\"a\":1}}", (0..members).map(|n| format!("\"{n}\":0,")).collect::<String>());
        assert!(pick_of_few(&wide(OTHERS_MAX), &["a"]).is_ok());
        assert!(pick_of_few(&wide(OTHERS_MAX + 1), &["a"]).is_err());
    }

    #[test]
    fn strings_are_read_and_spelled_as_serde_json_does() {
        for text in ["", "a", "\"", "a\\\"b", "\u{1}", "é\n", "\\"] {
            let spelled = serde_json::to_string(text).unwrap();
            assert_eq!(quoted(text), spelled);
            let raw: &RawValue = serde_json::from_str(&spelled).unwrap();
            assert_eq!(string(raw).as_deref(), Some(text));
        }
        let no_string = |text| string(serde_json::from_str(text).unwrap());
        assert!(["1", "null", "[\"a\"]", "{}"].into_iter().all(|text| no_string(text).is_none()));
    }

    #[test]
    fn deep_nesting_is_refused_without_recursing_to_its_end() {
        let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(strict(&text).is_err());
    }

    #[test]
    fn plain_values_read_as_serde_json_reads_them() {
        let text = r#"{"b":[1,-2,3.5,null,true,"x"],"a":{}}"#;
        assert_eq!(strict(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }
}
