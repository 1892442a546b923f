//! What does a body say? JSON-RPC 2.0 as MCP uses it, read without copying and without touching what is inside.

use std::{borrow::Cow, sync::OnceLock};

use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::{json, params::Picked};

/// A whole body: one message, or a batch (MCP 2025-03-26 only).
#[derive(Debug)]
pub enum Body<'a> {
    /// One message.
    Single(Message<'a>),
    /// An array of messages, never empty.
    Batch(Vec<Message<'a>>),
}

/// One JSON-RPC message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer with the same id.
    Request(Call<'a>),
    /// Wants none; its `id` is `None`.
    Notification(Call<'a>),
    /// Answers a request of the other side.
    Response(Reply<'a>),
}

/// A request or a notification.
#[derive(Debug)]
pub struct Call<'a> {
    /// The id as it was spelled (a string or an integer); `None` for a notification.
    pub id: Option<&'a RawValue>,
    /// The method, at most [`METHOD_MAX_BYTES`] long.
    pub method: Cow<'a, str>,
    /// The parameters as they were spelled: an object or absent.
    pub params: Option<&'a RawValue>,
    /// The whole message as it was spelled.
    pub raw: &'a str,
    picked: OnceLock<Result<Box<Picked<'a>>, String>>,
}

/// A response.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The id of the request it answers; `null` where that could not be read.
    pub id: Option<&'a RawValue>,
    /// The result, if it succeeded.
    pub result: Option<&'a RawValue>,
    /// The error, if it failed.
    pub error: Option<&'a RawValue>,
    /// The whole message as it was spelled.
    pub raw: &'a str,
}

/// Why a body is no JSON-RPC.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// -32700
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// -32600
    #[error("the body is not a JSON-RPC 2.0 message: {0}")]
    Shape(&'static str),
}

impl Malformed {
    /// The JSON-RPC error code (JSON-RPC 2.0 §5.1).
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Json(_) => code::PARSE_ERROR,
            Self::Shape(_) => code::INVALID_REQUEST,
        }
    }
}

/// Reads a body.
///
/// # Errors
/// [`Malformed`] when it is not JSON, or not one or more JSON-RPC 2.0 messages.
pub fn parse(body: &[u8]) -> Result<Body<'_>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::Json("it is not UTF-8".to_owned()))?;
    if !text.trim_start().starts_with('[') {
        return read(text).map(Body::Single);
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
    match items.len() {
        0 => Err(Malformed::Shape("a batch needs at least one message")),
        1..=BATCH_MAX => items.into_iter().map(|item| read(item.get())).collect::<Result<_, _>>().map(Body::Batch),
        _ => Err(Malformed::Shape("a batch holds at most 100 messages")),
    }
}

impl<'a> Call<'a> {
    /// The members of the parameters that say what is called; looked for once.
    ///
    /// # Errors
    /// A member that is named twice, one that some servers take for another, or metadata that are no object.
    pub fn picked(&self) -> Result<&Picked<'a>, serde_json::Error> {
        let picked =
            self.picked.get_or_init(|| Picked::of(self.params).map(Box::new).map_err(|error| error.to_string()));
        picked.as_ref().map(|picked| &**picked).map_err(serde_json::Error::custom)
    }
}

impl<'a> Body<'a> {
    /// The messages, in their order.
    #[must_use]
    pub fn messages(&self) -> &[Message<'a>] {
        match self {
            Self::Single(message) => std::slice::from_ref(message),
            Self::Batch(messages) => messages,
        }
    }
}

fn read(text: &str) -> Result<Message<'_>, Malformed> {
    let [jsonrpc, id, method, params, result, error] =
        json::pick(text, &MEMBERS).map_err(|error| classify(text, error))?;
    if jsonrpc.and_then(json::string).as_deref() != Some("2.0") {
        return Err(Malformed::Shape("`jsonrpc` must be \"2.0\""));
    }
    match method.filter(|method| method.get() != "null") {
        Some(method) => {
            let method = json::string(method).ok_or(Malformed::Shape("`method` must be a string"))?;
            call(Call { id, method, params, raw: text, picked: OnceLock::new() })
        }
        None => reply(Reply { id, result, error, raw: text }),
    }
}

fn call(call: Call<'_>) -> Result<Message<'_>, Malformed> {
    if call.method.is_empty() || call.method.len() > METHOD_MAX_BYTES {
        return Err(Malformed::Shape("`method` must have 1 to 128 bytes"));
    }
    if call.params.is_some_and(|params| !params.get().starts_with('{')) {
        return Err(Malformed::Shape("`params` must be an object"));
    }
    match call.id {
        None => Ok(Message::Notification(call)),
        Some(raw) if is_id(raw) => Ok(Message::Request(call)),
        Some(_) => Err(Malformed::Shape("`id` must be a string or an integer")),
    }
}

fn reply(reply: Reply<'_>) -> Result<Message<'_>, Malformed> {
    if reply.result.is_some() == reply.error.is_some() {
        return Err(Malformed::Shape("it needs a `method`, or else exactly one of `result` and `error`"));
    }
    match reply.id {
        Some(raw) if is_id(raw) || (raw.get() == "null" && reply.error.is_some()) => Ok(Message::Response(reply)),
        _ => Err(Malformed::Shape("a response needs the `id` of its request")),
    }
}

/// A string or an integer, of bounded length (MCP basic: an id is never null).
fn is_id(raw: &RawValue) -> bool {
    let text = raw.get();
    text.len() <= ID_MAX_BYTES && (text.starts_with('"') || text.parse::<i64>().is_ok())
}

/// A wrong shape is noticed before the rest of the text is read, which may be no JSON at all.
fn classify(text: &str, error: serde_json::Error) -> Malformed {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) if error.is_data() => Malformed::Shape(
            "it is no object, one of its members is named twice, or some servers read one as another: mind upper and lower case",
        ),
        Ok(_) => not_json(error),
        Err(error) => not_json(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn not_json(error: serde_json::Error) -> Malformed {
    Malformed::Json(error.to_string())
}

/// JSON-RPC error codes.
pub mod code {
    /// Not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// Not a message, or not one for here.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method is unknown.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters are wrong.
    pub const INVALID_PARAMS: i64 = -32602;
    /// It failed on our side, or behind it.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The session is unknown or has ended (as the official SDKs answer, with HTTP 404).
    pub const SESSION_NOT_FOUND: i64 = -32001;
    /// An implementation's own refusal (legacy range, JSON-RPC 2.0 §5.1).
    pub const REFUSED: i64 = -32000;
    /// A header is missing, unreadable or says something else than the body (MCP 2026-07-28, HTTP 400).
    pub const HEADER_MISMATCH: i64 = -32020;
    /// The request needs a capability its client did not declare (MCP 2026-07-28, HTTP 400).
    pub const MISSING_CAPABILITY: i64 = -32021;
    /// The revision a request claims is not spoken here (MCP 2026-07-28, HTTP 400).
    pub const UNSUPPORTED_VERSION: i64 = -32022;
}

const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// Longer methods are refused.
pub const METHOD_MAX_BYTES: usize = 128;
/// Longer ids are refused.
pub const ID_MAX_BYTES: usize = 256;
/// Longer batches are refused.
pub const BATCH_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> i64 {
        parse(text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn kinds_are_told_apart_by_method_and_id() {
        let kind = |text: &'static str| match parse(text.as_bytes()).unwrap() {
            Body::Single(Message::Request(_)) => "request",
            Body::Single(Message::Notification(_)) => "notification",
            Body::Single(Message::Response(_)) => "response",
            Body::Batch(_) => "batch",
        };
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), "request");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), "notification");
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":"a","result":null}"#), "response");
        assert_eq!(kind(r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), "batch");
    }

    #[test]
    fn what_is_no_message_is_told_apart_from_what_is_no_json() {
        assert_eq!(shape("{"), -32700);
        assert_eq!(shape(""), -32700);
        assert_eq!(shape("{}}"), -32700);
        for text in [
            "1",
            "[]",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
            r#"[1]"#,
        ] {
            assert_eq!(shape(text), -32600, "{text}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let method = |bytes| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "m".repeat(bytes));
        assert!(parse(method(METHOD_MAX_BYTES).as_bytes()).is_ok());
        assert_eq!((shape(&method(METHOD_MAX_BYTES + 1)), shape(&method(0))), (-32600, -32600));

        let id = |bytes: usize| format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "i".repeat(bytes - 2));
        assert!(parse(id(ID_MAX_BYTES).as_bytes()).is_ok(), "with its quotes");
        assert_eq!(shape(&id(ID_MAX_BYTES + 1)), -32600);

        let batch = |messages| format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"m"}"#; messages].join(","));
        assert_eq!(parse(batch(BATCH_MAX).as_bytes()).unwrap().messages().len(), BATCH_MAX);
        assert_eq!(shape(&batch(BATCH_MAX + 1)), -32600);
    }

    #[test]
    fn ids_are_strings_or_integers() {
        let with = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        for id in ["0", "-1", "9223372036854775807", r#""""#, r#""a\u0022b""#, " 1 "] {
            assert!(parse(with(id).as_bytes()).is_ok(), "{id}");
        }
        for id in ["1.0", "1e3", "true", "{}", "[1]", "null", "9223372036854775808"] {
            assert_eq!(shape(&with(id)), -32600, "{id}");
        }
        for id in ["01", "+1", "'a'", "NaN", ""] {
            assert_eq!(shape(&with(id)), -32700, "{id}");
        }
    }

    #[test]
    fn nesting_without_end_is_read_past_without_recursing() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(100_000), "1".to_owned() + &"}".repeat(100_000));
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{deep}}}"#);
        assert!(parse(message.as_bytes()).is_ok(), "what is inside is not looked at");
        assert_eq!(shape(&"[".repeat(1_000_000)), -32700);
    }

    #[test]
    fn invalid_utf8_is_not_json() {
        assert_eq!(parse(b"\"\xff\"").unwrap_err().code(), -32700);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&body);
        }

        #[test]
        fn arbitrary_members_never_panic_and_what_is_read_is_what_was_sent(
            members in prop::collection::vec(
                (
                    "jsonrpc|id|method|params|result|error|\\\\u0069d|[a-z]{0,3}",
                    r#""2\.0"|null|true|-?[0-9]{1,22}|"[ -~&&[^"\\\\]]{0,8}"|\{\}|\[\]|\{"a":[0-9]\}|[0-9]\.5|\{|"#,
                ),
                0..6,
            ),
            batched in any::<bool>(),
        ) {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let message = format!("{{{}}}", members.join(","));
            let text = if batched { format!("[{message},{message}]") } else { message.clone() };
            if let Ok(body) = parse(text.as_bytes()) {
                for one in body.messages() {
                    let (Message::Request(Call { raw, .. })
                    | Message::Notification(Call { raw, .. })
                    | Message::Response(Reply { raw, .. })) = one;
                    prop_assert_eq!(*raw, &message);
                }
            }
        }

        #[test]
        fn a_good_message_is_read_whatever_its_parameters(
            id in -9_007_199_254_740_991_i64..=9_007_199_254_740_991,
            method in "[a-z/]{1,40}",
            text in any::<String>(),
        ) {
            let message = serde_json::json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "a": text } });
            let message = message.to_string();
            let body = parse(message.as_bytes()).unwrap();
            let [Message::Request(call)] = body.messages() else { panic!("{body:?}") };
            prop_assert_eq!(call.id.unwrap().get(), id.to_string());
            prop_assert_eq!(call.method.as_ref(), &method);
            prop_assert!(crate::params::Params::of(call).is_ok());
        }
    }
}
