//! What of a caller's request has to be spelled anew for a process that has other callers? Its id and its progress token.

use bridge::claim;
use bridge::text::{self, Members, Unreadable};
use mcp::Call;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A request of MCP 2026-07-28, ready to be asked under any number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id as it was spelled.
    pub id: Box<str>,
    /// Its progress token as it was spelled.
    pub token: Option<Box<str>>,
    /// Whether it wants log messages.
    pub logs: Logs,
    /// How long its answer is.
    pub kind: Kind,
    method: Box<str>,
    /// Its parameters up to the progress token, or all of them.
    head: Box<str>,
    tail: Box<str>,
}

/// How long an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Until the request is carried out.
    Request,
    /// Until the caller leaves (`subscriptions/listen`).
    Subscription,
}

/// Whether a request wants log messages (MCP 2026-07-28 server/utilities/logging).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// It names a level.
    Wanted,
    /// It does not.
    Unwanted,
}

impl Request {
    /// Reads the request `call`.
    ///
    /// # Errors
    /// [`Unreadable`] parameters.
    pub fn read(call: &Call<'_>) -> Result<Self, Unreadable> {
        let whole = call.params.map_or("{}", RawValue::get);
        let params = Members::parse(whole)?;
        params.plain(&["_meta"])?;
        let meta = params.object("_meta")?;
        meta.plain(&[PROGRESS_TOKEN])?;
        let token = meta.raw(PROGRESS_TOKEN);
        // Where the token begins in the text it is a slice of.
        let cut = token.and_then(|token| {
            let at = (token.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
            Some((whole.get(..at)?, whole.get(at + token.len()..)?))
        });
        let (head, tail) = cut.unwrap_or((whole, ""));
        Ok(Self {
            id: call.id.map_or("null", RawValue::get).into(),
            token: token.map(Into::into),
            logs: if meta.has(claim::LOG_LEVEL) { Logs::Wanted } else { Logs::Unwanted },
            kind: if call.method == LISTEN { Kind::Subscription } else { Kind::Request },
            method: call.method.as_ref().into(),
            head: on_one_line(head),
            tail: on_one_line(tail),
        })
    }

    /// A request of MCP 2026-07-28 of the connector's own. `params` is an object.
    #[must_use]
    pub fn own_modern(method: &str, mut params: Value) -> Self {
        let [revision] = claim::SUPPORTED;
        let meta = json!({ claim::VERSION: revision, claim::CAPABILITIES: {}, claim::CLIENT_INFO: client_info() });
        if let Value::Object(members) = &mut params {
            members.insert("_meta".to_owned(), meta);
        }
        Self::own(method, &params)
    }

    /// A request of the connector's own, which wants no progress.
    #[must_use]
    pub fn own(method: &str, params: &Value) -> Self {
        Self {
            id: "0".into(),
            token: None,
            logs: Logs::Unwanted,
            kind: Kind::Request,
            method: method.into(),
            head: params.to_string().into(),
            tail: "".into(),
        }
    }

    /// The request under `number`, which is its id and, where it has one, its progress token; on one line.
    #[must_use]
    pub fn numbered(&self, number: u64) -> String {
        let number = number.to_string();
        let token = if self.token.is_some() { number.as_str() } else { "" };
        text::request(&number, &self.method, Some(&[&self.head, token, &self.tail].concat()))
    }
}

/// Who the connector says it is.
pub(super) fn client_info() -> Value {
    json!({ "name": "turnpike-connector", "version": env!("CARGO_PKG_VERSION") })
}

/// Line ends can only stand between the tokens of JSON, never inside a string, so a space does as well.
fn on_one_line(text: &str) -> Box<str> {
    text.replace(['\n', '\r'], " ").into()
}

const LISTEN: &str = "subscriptions/listen";
const PROGRESS_TOKEN: &str = "progressToken";

#[cfg(test)]
mod tests {
    use mcp::{Body, Message};

    use super::*;

    fn request(text: &str) -> Request {
        match mcp::jsonrpc::parse(text.as_bytes()).unwrap() {
            Body::Single(Message::Request(call)) => Request::read(&call).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_id_and_the_token_are_spelled_anew_and_nothing_else() {
        let meta = r#""_meta":{"a":1e400,"progressToken":"p\u0031","b":[ 2]}"#;
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{"name":"t",{meta},"n":12345678901234567890}}}}"#
        );
        let request = request(&text);
        assert_eq!((&*request.id, request.token.as_deref()), ("\"x\"", Some(r#""p\u0031""#)));
        assert_eq!(request.numbered(7), text.replace(r#""x""#, "7").replace(r#""p\u0031""#, "7"));
    }

    #[test]
    fn a_request_without_a_token_gets_none_and_stands_on_one_line() {
        let request =
            request("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscriptions/listen\",\"params\":{\n\"a\":\r\n1}}");
        assert_eq!(
            request.numbered(2),
            r#"{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{ "a":  1}}"#
        );
        assert_eq!((request.kind, request.logs), (Kind::Subscription, Logs::Unwanted));
    }
}
