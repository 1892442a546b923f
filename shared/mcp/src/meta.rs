//! What rides along with a call? `params._meta`, read and rewritten without touching the bytes around it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    json,
    jsonrpc::{Body, Call, Message},
};

/// What a gateway looks at in the parameters of a call; the rest stays as it was spelled.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// The tool or prompt.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    /// The resource.
    #[serde(borrow)]
    pub uri: Option<Cow<'a, str>>,
    /// The tool's or prompt's arguments.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    /// The revision an `initialize` asks for.
    #[serde(borrow, rename = "protocolVersion")]
    pub protocol_version: Option<Cow<'a, str>>,
    /// The prompt or resource a `completion/complete` is about.
    #[serde(borrow, rename = "ref")]
    pub reference: Option<Reference<'a>>,
    /// Which program an `initialize` says it is.
    #[serde(borrow, rename = "clientInfo")]
    pub client_info: Option<ClientInfo<'a>>,
    /// The metadata, as it was spelled.
    #[serde(borrow, rename = "_meta")]
    pub meta: Option<Meta<'a>>,
}

/// What a `completion/complete` is about (MCP 2025-11-25 server/utilities/completion).
#[derive(Debug, Deserialize)]
pub struct Reference<'a> {
    /// The prompt's name.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    /// The resource's URI, or the template of URIs.
    #[serde(borrow)]
    pub uri: Option<Cow<'a, str>>,
}

/// Which program a client says it is.
#[derive(Debug, Deserialize)]
pub struct ClientInfo<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
}

impl<'a> Params<'a> {
    /// Reads the parameters of `call`.
    ///
    /// # Errors
    /// A member of the wrong type, one that is named twice, or one that some servers take for another.
    pub fn of(call: &Call<'a>) -> Result<Self, serde_json::Error> {
        let Some(params) = call.params else { return Ok(Self::default()) };
        json::plain(params.get(), &READ)?;
        serde_json::from_str(params.get())
    }
}

/// The members of a `_meta` object in their order.
#[derive(Debug, Default)]
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

    /// The object with the members `keep` wants, and `set`, whatever they were before, to values that are JSON.
    fn with(&self, keep: impl Fn(&str) -> bool, set: &[(&str, &str)]) -> String {
        let kept = self.0.iter().filter(|(name, _)| keep(name) && set.iter().all(|(key, _)| name != key));
        let kept = kept.map(|(name, value)| [&quoted(name), ":", value.get()].concat());
        let set = set.iter().map(|(key, value)| [&quoted(key), ":", *value].concat());
        ["{", &kept.chain(set).collect::<Vec<_>>().join(","), "}"].concat()
    }
}

/// The text of `body` with `entries` set in `params._meta` of each request and notification.
///
/// Every byte outside of `_meta` stays as it was.
///
/// # Errors
/// `params` cannot be read (see [`Params::of`]).
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
    let values: Vec<String> = entries.iter().map(|(_, value)| quoted(value)).collect();
    let set: Vec<_> = entries.iter().zip(&values).map(|((key, _), value)| (*key, value.as_str())).collect();
    edit(call, |_| true, &set)
}

/// The text of `call` with the members of its `params._meta` that `keep` wants, and with `set` in it, whose values are
/// JSON.
///
/// Every byte outside of `_meta` stays as it was; where there is no `_meta` and nothing to set, none is added.
///
/// # Errors
/// `params` or `_meta` cannot be read (see [`Params::of`]).
pub fn edit(call: &Call<'_>, keep: impl Fn(&str) -> bool, set: &[(&str, &str)]) -> Result<String, serde_json::Error> {
    let empty = Meta::default();
    let Some(params) = call.params.map(RawValue::get) else {
        if set.is_empty() {
            return Ok(call.raw.to_owned());
        }
        let end = call.raw.trim_end().strip_suffix('}').unwrap_or(call.raw);
        return Ok(format!("{end},\"params\":{{\"_meta\":{}}}}}", empty.with(keep, set)));
    };
    let spans: Spans<'_> = serde_json::from_str(params)?;
    let (from, to, text) = match spans.meta {
        Some(raw) => {
            let meta: Meta<'_> = serde_json::from_str(raw.get())?;
            let from = offset(call.raw, raw.get());
            (from, from + raw.get().len(), meta.with(keep, set))
        }
        None if set.is_empty() => return Ok(call.raw.to_owned()),
        None => {
            let from = offset(call.raw, params) + 1;
            let comma = if spans.is_empty() { "" } else { "," };
            (from, from, ["\"_meta\":", &empty.with(keep, set), comma].concat())
        }
    };
    let (head, tail) = (call.raw.get(..from).unwrap_or_default(), call.raw.get(to..).unwrap_or_default());
    Ok([head, &text, tail].concat())
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `_meta` within `params`, and whether anything else is there.
struct Spans<'a> {
    meta: Option<&'a RawValue>,
    others: usize,
}

impl Spans<'_> {
    const fn is_empty(&self) -> bool {
        self.meta.is_none() && self.others == 0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Spans<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Meta(members) = Meta::deserialize(deserializer)?;
        let meta = members.iter().find(|(name, _)| name == "_meta").map(|(_, value)| *value);
        Ok(Self { meta, others: members.len() })
    }
}

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

/// The members that say what is called.
const READ: [&str; 7] = ["name", "uri", "arguments", "protocolVersion", "ref", "clientInfo", "_meta"];

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
