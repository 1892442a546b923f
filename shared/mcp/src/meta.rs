//! What rides along with a call? `params._meta`, read and rewritten without touching the bytes around it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    json,
    jsonrpc::{Body, Call, Message},
};

/// The members of a `_meta` object in their order.
#[derive(Clone, Debug, Default)]
pub struct Meta<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Meta<'a> {
    /// The member `key`, if it is a string.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        let (_, value) = self.0.iter().find(|(name, _)| name == key)?;
        serde_json::from_str::<Text<'a>>(value.get()).ok().map(|Text(text)| text)
    }

    /// Whether a member `key` is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// The member `key` as it was spelled.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Writes the object with the members `keep` wants, and with `set`, whatever they were before, to values that are JSON.
    fn write(&self, to: &mut String, keep: impl Fn(&str) -> bool, set: &[(&str, &str)]) {
        let kept = self.0.iter().filter(|(name, _)| keep(name) && set.iter().all(|(key, _)| name != key));
        let kept = kept.map(|(name, value)| (name.as_ref(), value.get()));
        let mut opening = "{";
        for (name, value) in kept.chain(set.iter().copied()) {
            to.push_str(opening);
            json::push_quoted(to, name);
            to.extend([":", value]);
            opening = ",";
        }
        to.push_str(if opening == "{" { "{}" } else { "}" });
    }
}

/// The text of `body` with `entries` set in `params._meta` of each request and notification.
///
/// Every byte outside of `_meta` stays as it was.
///
/// # Errors
/// `params` cannot be read (see [`crate::params::Params::of`]).
pub fn inject(body: &Body<'_>, entries: &[(&str, &str)]) -> Result<String, serde_json::Error> {
    match body {
        Body::Single(message) => inject_one(message, entries),
        Body::Batch(messages) => {
            let messages: Result<Vec<_>, _> = messages.iter().map(|message| inject_one(message, entries)).collect();
            Ok(format!("[{}]", messages?.join(",")))
        }
    }
}

fn inject_one(message: &Message<'_>, entries: &[(&str, &str)]) -> Result<String, serde_json::Error> {
    let call = match message {
        Message::Response(reply) => return Ok(reply.raw.to_owned()),
        Message::Request(call) | Message::Notification(call) => call,
    };
    let values: Vec<String> = entries.iter().map(|(_, value)| json::quoted(value)).collect();
    let set: Vec<_> = entries.iter().zip(&values).map(|((key, _), value)| (*key, value.as_str())).collect();
    edit(call, |_| true, &set)
}

/// The text of `call` with the members of its `params._meta` that `keep` wants, and with `set` in it, whose values are
/// JSON.
///
/// Every byte outside of `_meta` stays as it was; where there is no `_meta` and nothing to set, none is added.
///
/// # Errors
/// `params` or `_meta` cannot be read (see [`crate::params::Params::of`]).
pub fn edit(call: &Call<'_>, keep: impl Fn(&str) -> bool, set: &[(&str, &str)]) -> Result<String, serde_json::Error> {
    let spelled: usize = set.iter().map(|(key, value)| key.len() + value.len() + SIGNS).sum();
    let mut text = String::with_capacity(call.raw.len() + spelled + ADDED.len());
    let empty = Meta::default();
    let Some(params) = call.params.map(RawValue::get) else {
        if set.is_empty() {
            return Ok(call.raw.to_owned());
        }
        text.extend([call.raw.trim_end().strip_suffix('}').unwrap_or(call.raw), ",", ADDED]);
        empty.write(&mut text, keep, set);
        text.push_str("}}");
        return Ok(text);
    };
    let picked = call.picked()?;
    let place = match (picked.spelled_meta, &picked.meta) {
        (Some(raw), Some(meta)) => Some((raw.get(), meta)),
        (Some(_), None) => return Err(serde_json::Error::custom("`_meta` must be an object")),
        (None, _) if set.is_empty() => return Ok(call.raw.to_owned()),
        (None, _) => None,
    };
    let (from, to) = match place {
        Some((raw, _)) => (offset(call.raw, raw), offset(call.raw, raw) + raw.len()),
        None => (offset(call.raw, params) + 1, offset(call.raw, params) + 1),
    };
    text.push_str(call.raw.get(..from).unwrap_or_default());
    match place {
        Some((_, meta)) => meta.write(&mut text, keep, set),
        None => {
            text.push_str("\"_meta\":");
            empty.write(&mut text, keep, set);
            let is_alone = params.get(1..).is_some_and(|rest| rest.trim_start().starts_with('}'));
            text.push_str(if is_alone { "" } else { "," });
        }
    }
    text.push_str(call.raw.get(to..).unwrap_or_default());
    Ok(text)
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Meta<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Meta<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(serde::de::Error::custom("an object has more than 256 members"));
                    }
                    if members.iter().any(|(name, _)| *name == key) {
                        return Err(serde::de::Error::custom("a member is named twice"));
                    }
                    members.push((key, value));
                }
                Ok(Meta(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// More members are refused: looking for a repeated name compares each with each.
const MEMBERS_MAX: usize = 256;

/// What stands before metadata where there are no parameters.
const ADDED: &str = "\"params\":{\"_meta\":";
/// The quotes, the colon and the comma of a member.
const SIGNS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::jsonrpc::parse;

    fn injected(message: &str) -> String {
        inject(&parse(message.as_bytes()).unwrap(), &[("traceparent", "00-a-b-01")]).unwrap()
    }

    #[test]
    fn metadata_is_added_wherever_it_is_missing() {
        for message in [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}} "#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{ "a":12345678901234567890 }}"#,
            r#"{"params":{"_meta":{},"a":1.0},"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"params":{"a":1,"_meta":{"progressToken":7,"traceparent":"old"}},"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        ] {
            let text = injected(message);
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["params"]["_meta"]["traceparent"], "00-a-b-01", "{text}");
        }
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        let message = r#"{"jsonrpc":"2.0", "id":1,"method":"ping","params":{"n":12345678901234567890.10,"_meta":{"progressToken":7,"x":"é"}}}"#;
        let text = injected(message);
        assert!(text.starts_with(r#"{"jsonrpc":"2.0", "id":1,"method":"ping","params":{"n":12345678901234567890.10,"#));
        let meta = serde_json::from_str::<Value>(&text).unwrap()["params"]["_meta"].clone();
        assert_eq!(meta, json!({"progressToken": 7, "x": "é", "traceparent": "00-a-b-01"}));
    }

    #[test]
    fn each_message_of_a_batch_is_given_it() {
        let text = injected(r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"result":{}}]"#);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["params"]["_meta"]["traceparent"], "00-a-b-01");
        assert_eq!(value[1], json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    }

    #[test]
    fn metadata_is_taken_out_and_set_as_json() {
        let edited = |text: &str, set: &[(&str, &str)]| match parse(text.as_bytes()).unwrap() {
            Body::Single(Message::Request(call)) => edit(&call, |key| key != "a", set).unwrap(),
            other => panic!("{other:?}"),
        };
        let message =
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x": 1.0,"_meta":{ "a":1, "b" : [2] },"y":2}} "#;
        assert_eq!(
            edited(message, &[]),
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x": 1.0,"_meta":{"b":[2]},"y":2}} "#
        );
        assert_eq!(
            edited(message, &[("b", "{}")]),
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x": 1.0,"_meta":{"b":{}},"y":2}} "#
        );
        for bare in
            [r#"{"jsonrpc":"2.0","id":1,"method":"m"} "#, r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{ }}"#]
        {
            assert_eq!(edited(bare, &[]), bare, "nothing to take out, nothing to set");
        }
    }

    #[test]
    fn metadata_of_the_wrong_shape_is_an_error() {
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":3}}"#;
        assert!(inject(&parse(message.as_bytes()).unwrap(), &[]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_parameters_never_panic_and_lose_nothing(
            members in prop::collection::vec(
                (
                    "_meta|_m\\\\u0065ta|name|uri|arguments|[a-c]",
                    r#"null|-?[1-9][0-9]{0,21}|"[é\}\{, ]{0,4}"|\{\}|\[1, 2\]|\{ "traceparent" : "x" \}|\{"a":\{"_meta":\{\}\}\}"#,
                ),
                0..5,
            ),
            space in "[ \n\t]{0,2}",
            batched in any::<bool>(),
        ) {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{space}\"{name}\"{space}:{space}{value}")).collect();
            let params = format!("{{{}{space}}}", members.join(","));
            let message = format!(r#"{{"params":{space}{params}{space},"jsonrpc":"2.0","method":"m"}}{space}"#);
            let text = if batched { format!("[{message}]") } else { message };
            let body = parse(text.as_bytes()).unwrap();
            let Ok(written) = inject(&body, &[("traceparent", "new")]) else { return Ok(()) };

            let without = |value: &mut Value| value["params"].as_object_mut().unwrap().remove("_meta");
            let one = |text: &str| {
                let value: Value = serde_json::from_str(text).unwrap();
                if batched { value[0].clone() } else { value }
            };
            let (mut before, mut after) = (one(&text), one(&written));
            let (was, is) = (without(&mut before), without(&mut after).unwrap());
            prop_assert_eq!(before, after, "what is outside of `_meta`");
            let mut expected = was.unwrap_or_else(|| json!({}));
            expected["traceparent"] = json!("new");
            prop_assert_eq!(is, expected);
        }
    }
}
