//! What does an upstream's answer tell about the session? Whether it is lost, and what was agreed on.

use mcp::{Body, Message, Revision, jsonrpc};
use serde::Deserialize;

/// What an answer to `initialize` settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// The session speaks this revision.
    Agreed(Revision),
    /// The server refused, or answered something else.
    Refused,
}

/// What the message `text`, an answer to `initialize`, settled. `None` when it is no answer: a notification may come
/// first.
#[must_use]
pub fn negotiated(text: &str) -> Option<Negotiated> {
    let Ok(Body::Single(Message::Response(reply))) = jsonrpc::parse(text.as_bytes()) else { return None };
    let result = reply.result.and_then(|result| serde_json::from_str::<Initialized>(result.get()).ok());
    let revision = result.and_then(|result| Revision::parse(&result.protocol_version)).filter(|one| one.is_legacy());
    Some(revision.map_or(Negotiated::Refused, Negotiated::Agreed))
}

/// Whether an upstream that answered a request of a known session with `status` and `body` has forgotten it. The
/// specification says 404; some servers say 400 with -32000 and a message about the session (measured: server-everything).
#[must_use]
pub fn lost_session(status: u16, body: &[u8]) -> bool {
    let complains = || {
        let error: Option<Complaint> = serde_json::from_slice(body).ok();
        error.is_some_and(|Complaint { error }| {
            error.code == jsonrpc::code::REFUSED && error.message.to_ascii_lowercase().contains("session")
        })
    };
    match status {
        404 => true,
        400 => complains(),
        _ => false,
    }
}

#[derive(Deserialize)]
struct Initialized {
    #[serde(rename = "protocolVersion")]
    protocol_version: String,
}

#[derive(Deserialize)]
struct Complaint {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    code: i64,
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agreed_revision_is_read_from_the_answer() {
        let answer = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}"#;
        assert_eq!(negotiated(answer), Some(Negotiated::Agreed(Revision::V2025_06_18)));
        assert_eq!(negotiated(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#), None);
        let refusal = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32602,"message":"no"}}"#;
        assert_eq!(negotiated(refusal), Some(Negotiated::Refused));
    }

    #[test]
    fn a_forgotten_session_is_told_apart_from_a_bad_request() {
        assert!(lost_session(404, b""));
        let measured = br#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":1}"#;
        assert!(lost_session(400, measured));
        assert!(!lost_session(400, br#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"session"},"id":1}"#));
        assert!(!lost_session(500, measured));
    }
}
