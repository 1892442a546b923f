//! How does a legacy request become a modern one? Its `_meta` says who asks; an id of its own goes upstream.

use crate::level::Level;
use crate::text::{self, Members, Unreadable, key, quoted};

use super::terms::Terms;

/// What every request of a session says of its caller (MCP 2026-07-28 basic, per-request fields).
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The caller's capabilities as a modern server is told of them: a JSON object.
    pub capabilities: &'a str,
    /// Which program the caller is: a JSON object.
    pub client_info: Option<&'a str>,
    /// From which level on log messages are wanted; none at all if it is not set.
    pub level: Option<Level>,
}

/// The answers to what a server asked back (MCP 2026-07-28 basic/patterns/mrtr).
#[derive(Clone, Copy, Debug, Default)]
pub struct Round<'a> {
    /// `inputResponses`: a JSON object.
    pub responses: Option<&'a str>,
    /// `requestState` as the server spelled it: a JSON string.
    pub state: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// What the requests of a session with these terms say.
    #[must_use]
    pub fn new(terms: &'a Terms, level: Option<Level>) -> Self {
        Self { capabilities: &terms.capabilities, client_info: terms.client_info.as_deref(), level }
    }

    fn write(&self, meta: &mut Members<'_>) {
        meta.retain(|name, _| !name.starts_with(RESERVED));
        meta.set(key::PROTOCOL_VERSION, "\"2026-07-28\"");
        meta.set(key::CLIENT_CAPABILITIES, self.capabilities.to_owned());
        if let Some(info) = self.client_info {
            meta.set(key::CLIENT_INFO, info.to_owned());
        }
        if let Some(level) = self.level {
            meta.set(key::LOG_LEVEL, quoted(level.as_str()));
        }
    }
}

/// A modern request with the legacy `params`. `id` and `params` are JSON texts.
///
/// What a caller may not say itself is taken out: reserved names of `_meta`, `inputResponses`, `requestState`, and `task`,
/// which is not offered.
///
/// # Errors
/// [`Unreadable`] when `params` or its `_meta` is no object, or a member is spelled so that servers may read another.
pub fn request(
    id: &str,
    method: &str,
    params: Option<&str>,
    envelope: &Envelope<'_>,
    round: Round<'_>,
) -> Result<String, Unreadable> {
    let mut members = params.map_or_else(|| Ok(Members::new()), Members::parse)?;
    members.plain(&["_meta", "inputResponses", "requestState", "task"])?;
    members.retain(|name, _| !matches!(name, "inputResponses" | "requestState" | "task"));
    if let Some(responses) = round.responses {
        members.set("inputResponses", responses.to_owned());
    }
    if let Some(state) = round.state {
        members.set("requestState", state.to_owned());
    }
    members.edit("_meta", |meta| envelope.write(meta))?;
    Ok(text::request(id, method, Some(&members.write())))
}

/// `_meta` of the protocol itself.
const RESERVED: &str = "io.modelcontextprotocol/";

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: Envelope<'static> =
        Envelope { capabilities: r#"{"roots":{}}"#, client_info: None, level: Some(Level::Warning) };

    #[test]
    fn what_is_not_the_gateways_keeps_its_bytes() {
        let params = r#"{"name":"t", "arguments":{ "n":1.10 },"_meta":{"progressToken":7,"x/y":[ 1 ]}}"#;
        assert_eq!(
            request("5", "tools/call", Some(params), &ENVELOPE, Round::default()).unwrap(),
            concat!(
                r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","arguments":{ "n":1.10 },"#,
                r#""_meta":{"progressToken":7,"x/y":[ 1 ],"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
                r#""io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/logLevel":"warning"}}}"#
            )
        );
    }

    #[test]
    fn a_caller_cannot_speak_for_the_gateway() {
        let params = r#"{"name":"t","inputResponses":{"a":1},"requestState":"s","task":{"ttl":1},
            "_meta":{"io.modelcontextprotocol/clientInfo":{"name":"other","version":"1"}}}"#;
        let text = request("5", "tools/call", Some(params), &ENVELOPE, Round::default()).unwrap();
        for absent in ["inputResponses", "requestState", "task\"", "clientInfo", "other"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        for params in [r#"{"_meta":3}"#, r#"{"RequestState":"s"}"#, r#"{"_META":{}}"#] {
            assert!(request("5", "tools/call", Some(params), &ENVELOPE, Round::default()).is_err(), "{params}");
        }
    }

    #[test]
    fn a_round_brings_the_answers_and_the_very_same_state() {
        let round = Round { responses: Some(r#"{"k":{"action":"decline"}}"#), state: Some(r#""a\u0062\/""#) };
        let text = request("6", "prompts/get", Some(r#"{"name":"p"}"#), &ENVELOPE, round).unwrap();
        assert!(text.contains(r#""inputResponses":{"k":{"action":"decline"}},"requestState":"a\u0062\/","#), "{text}");
    }
}
