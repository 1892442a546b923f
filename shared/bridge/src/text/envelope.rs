//! What does one JSON-RPC message say, and what is in it? Message and contents are opened in one pass.
//!
//! [`mcp::jsonrpc`] is the judge of what a message is and keeps it whole; this is for messages that are going to be
//! changed.

use std::{borrow::Cow, fmt};

use mcp::jsonrpc::{ID_MAX_BYTES, METHOD_MAX_BYTES};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Members, Object, Text, Unreadable, read};

/// One message. Ids are JSON texts, as they were spelled; of what else is in a message nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// Wants an answer with the same id.
    Request {
        /// A string or an integer.
        id: &'a str,
        /// The method.
        method: Cow<'a, str>,
        /// The parameters; empty where there are none.
        params: Members<'a>,
    },
    /// Wants none.
    Notification {
        /// The method.
        method: Cow<'a, str>,
        /// The parameters; empty where there are none.
        params: Members<'a>,
    },
    /// Answers a request.
    Response {
        /// A string or an integer; `null` where an error names no request.
        id: &'a str,
        /// The result, or the error object.
        outcome: Result<Members<'a>, Members<'a>>,
    },
}

impl<'a> Envelope<'a> {
    /// Opens the message `text`, and the object of its parameters, result or error.
    ///
    /// # Errors
    /// [`Unreadable`]: not one JSON-RPC 2.0 message as MCP has them, or one that two readers could read differently.
    pub fn read(text: &'a str) -> Result<Self, Unreadable> {
        let wire: Wire<'a> = read(text)?;
        let shape = |what: &str| Unreadable::shape(text, what);
        let is_id = |id: &&'a RawValue| {
            let text = id.get();
            text.len() <= ID_MAX_BYTES && (text.starts_with('"') || text.parse::<i64>().is_ok())
        };
        if wire.is_disguised {
            return Err(shape("some readers take one of its members for another: mind upper and lower case"));
        }
        if wire.version.as_deref() != Some("2.0") {
            return Err(shape("`jsonrpc` must be \"2.0\""));
        }
        match (wire.method, wire.id, wire.result, wire.error) {
            (Some(method), ..) if method.is_empty() || method.len() > METHOD_MAX_BYTES => {
                Err(shape("`method` must have 1 to 128 bytes"))
            }
            (Some(method), None, None, None) => {
                Ok(Self::Notification { method, params: wire.params.unwrap_or_default() })
            }
            (Some(method), Some(id), None, None) if is_id(&id) => {
                Ok(Self::Request { id: id.get(), method, params: wire.params.unwrap_or_default() })
            }
            (None, Some(id), Some(result), None) if is_id(&id) => {
                Ok(Self::Response { id: id.get(), outcome: Ok(result) })
            }
            (None, Some(id), None, Some(error)) if is_id(&id) || id.get() == "null" => {
                Ok(Self::Response { id: id.get(), outcome: Err(error) })
            }
            _ => Err(shape("it is no request, notification or response")),
        }
    }
}

/// What a message may have; `None` for what is not there.
#[derive(Default)]
struct Wire<'a> {
    version: Option<Cow<'a, str>>,
    id: Option<&'a RawValue>,
    method: Option<Cow<'a, str>>,
    params: Option<Members<'a>>,
    result: Option<Members<'a>>,
    error: Option<Members<'a>>,
    is_disguised: bool,
}

impl<'a> Wire<'a> {
    fn member<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let text = |Text(text): Text<'a>| text;
        let object = |Object(entries): Object<'a>| Members { entries, source: None };
        let is_repeated = match name {
            "jsonrpc" => self.version.replace(map.next_value().map(text)?).is_some(),
            "id" => self.id.replace(map.next_value()?).is_some(),
            "method" => self.method.replace(map.next_value().map(text)?).is_some(),
            "params" => self.params.replace(map.next_value().map(object)?).is_some(),
            "result" => self.result.replace(map.next_value().map(object)?).is_some(),
            "error" => self.error.replace(map.next_value().map(object)?).is_some(),
            other => {
                self.is_disguised |= NAMES.iter().any(|name| mcp::json::is_disguised(other, name));
                map.next_value::<IgnoredAny>()?;
                false
            }
        };
        match is_repeated {
            true => Err(A::Error::custom(format_args!("`{name}` is named twice"))),
            false => Ok(()),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Wire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Message;
        impl<'de> Visitor<'de> for Message {
            type Value = Wire<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut wire = Wire::default();
                while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
                    wire.member(&name, &mut map)?;
                }
                Ok(wire)
            }
        }
        deserializer.deserialize_map(Message)
    }
}

/// Whether the JSON text `id` of a response names the request that was sent with the number `sent`; an error may name
/// none, where the server could not read which.
#[must_use]
pub fn names(id: &str, sent: u64) -> bool {
    id.parse() == Ok(sent) || id == "null"
}

const NAMES: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

#[cfg(test)]
mod tests {
    use mcp::{Body, Message as Judged, jsonrpc};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_opened() {
        let text = r#" {"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{"name":"a","arguments":{"n": 1.10}},"x":[1]} "#;
        let Ok(Envelope::Request { id, method, params }) = Envelope::read(text) else { panic!("{text}") };
        assert_eq!((id, &*method, params.raw("arguments")), (r#""\u0061""#, "tools/call", Some(r#"{"n": 1.10}"#)));
        let text = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(matches!(Envelope::read(text), Ok(Envelope::Notification { params, .. }) if params.is_empty()));
        let text = r#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#;
        assert!(matches!(Envelope::read(text), Ok(Envelope::Response { id: "7", outcome: Ok(_) })));
        let text = r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#;
        assert!(matches!(Envelope::read(text), Ok(Envelope::Response { id: "null", outcome: Err(_) })));
    }

    #[test]
    fn only_the_number_that_was_sent_is_named() {
        assert!(names("7", 7) && names("null", 7));
        assert!(!names("\"7\"", 7) && !names("8", 7) && !names("7.0", 7));
    }

    proptest! {
        /// Whatever this reads, the judge reads too, and the same of it.
        #[test]
        fn it_is_never_laxer_than_the_judge(
            members in prop::collection::vec(
                (
                    "jsonrpc|id|method|params|result|error|\\\\u0069d|ID|[a-z]{0,3}",
                    r#""2\.0"|null|true|-?[0-9]{1,22}|"[ -~&&[^"\\\\]]{0,8}"|\{\}|\[\]|\{"a":[0-9],"a":1\}|\{"a":1\}|[0-9]\.5|\{|"#,
                ),
                0..6,
            ),
        ) {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!("{{\"jsonrpc\":\"2.0\",{}}}", members.join(","));
            let Ok(envelope) = Envelope::read(&text) else { return Ok(()) };
            let judged = jsonrpc::parse(text.as_bytes());
            let Ok(Body::Single(judged)) = judged else { return Err(TestCaseError::fail(format!("{text}: {judged:?}"))) };
            match (envelope, judged) {
                (Envelope::Request { id, method, .. }, Judged::Request(call)) => {
                    prop_assert_eq!((Some(id), method), (call.id.map(RawValue::get), call.method));
                }
                (Envelope::Notification { method, .. }, Judged::Notification(call)) => prop_assert_eq!(method, call.method),
                (Envelope::Response { id, .. }, Judged::Response(reply)) => prop_assert_eq!(Some(id), reply.id.map(RawValue::get)),
                (envelope, judged) => return Err(TestCaseError::fail(format!("{envelope:?} {judged:?}"))),
            }
        }
    }
}
