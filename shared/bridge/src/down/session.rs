//! Is there a session with the server, and what was agreed on in it? One at a time, begun when it is needed.

use mcp::{Revision, jsonrpc::code};
use serde_json::{Value, json};

use super::{
    Terms, capabilities,
    results::Failure,
    task::{Listing, Tasks},
    wire::Peer,
};
use crate::{
    facade::Hop,
    level::Level,
    text::{Members, quoted, unquoted},
};

/// The session with the server.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) stage: Stage,
    /// Counts the sessions: what was sent in an older one cannot lose this one.
    pub(super) generation: u64,
    /// The session id that came with the answer to `initialize`.
    pub(super) id: Option<String>,
    /// What has to be answered before anything else is sent.
    pub(super) barrier: Option<Hop>,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) enum Stage {
    /// Not begun, or lost.
    #[default]
    Closed,
    /// `initialize` is under way.
    Opening,
    /// `notifications/initialized` is under way.
    Announcing(Agreement),
    /// In use.
    Open(Agreement),
}

/// What `initialize` settled.
#[derive(Debug)]
pub(super) struct Agreement {
    pub(super) revision: Revision,
    /// The JSON text of the server's capabilities.
    pub(super) capabilities: String,
    /// The JSON text of the server's name and version.
    pub(super) server_info: Option<String>,
    /// The JSON text of its instructions.
    pub(super) instructions: Option<String>,
    /// The least grave level that was asked for.
    pub(super) level: Option<Level>,
    pub(super) tasks: Tasks,
}

impl Session {
    /// Whom requests are sent to.
    pub(super) fn peer(&self) -> Peer {
        let revision = match &self.stage {
            Stage::Closed | Stage::Opening => None,
            Stage::Announcing(agreement) | Stage::Open(agreement) => Some(agreement.revision),
        };
        Peer { revision, session_id: self.id.clone(), generation: self.generation }
    }

    /// What was agreed on, in a session that is in use.
    pub(super) const fn agreement(&self) -> Option<&Agreement> {
        match &self.stage {
            Stage::Open(agreement) => Some(agreement),
            _ => None,
        }
    }

    /// What was agreed on, in a session that is in use.
    pub(super) const fn agreement_mut(&mut self) -> Option<&mut Agreement> {
        match &mut self.stage {
            Stage::Open(agreement) => Some(agreement),
            _ => None,
        }
    }

    /// The JSON text of the server's name and version.
    pub(super) fn server_info(&self) -> Option<&str> {
        self.agreement().and_then(|agreement| agreement.server_info.as_deref())
    }

    /// Forgets the session. What was sent in it does not belong to any other.
    pub(super) fn close(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }
}

impl Agreement {
    /// What the result `members` of `initialize` settled.
    pub(super) fn read(members: &Members<'_>) -> Result<Self, Failure> {
        let revision = members.string("protocolVersion").and_then(|revision| Revision::parse(&revision));
        let revision = revision.filter(|revision| revision.is_legacy()).ok_or(Failure::Revision)?;
        let capabilities = members.raw("capabilities").unwrap_or("{}");
        let declared: Value = mcp::json::strict(capabilities).map_err(|_| Failure::Garbage)?;
        if !declared.is_object() || capabilities.len() > KEPT_MAX_BYTES {
            return Err(Failure::Garbage);
        }
        let has_tasks = declared.pointer("/tasks/requests/tools/call").is_some();
        let instructions = members.raw("instructions").filter(|raw| unquoted(raw).is_some());
        Ok(Self {
            revision,
            capabilities: capabilities.to_owned(),
            server_info: members.raw("serverInfo").and_then(server_info),
            instructions: instructions.filter(|raw| raw.len() <= KEPT_MAX_BYTES).map(str::to_owned),
            level: None,
            tasks: if has_tasks { Tasks::Unlisted(Listing::default()) } else { Tasks::None },
        })
    }

    /// Whether the server declared the capability `name`.
    pub(super) fn declares(&self, name: &str) -> bool {
        Members::parse(&self.capabilities).is_ok_and(|declared| declared.object(name).is_ok() && declared.has(name))
    }

    /// Whether the server declared `flag` of the capability `name`.
    pub(super) fn declares_flag(&self, name: &str, flag: &str) -> bool {
        let Ok(declared) = Members::parse(&self.capabilities) else { return false };
        declared.object(name).is_ok_and(|members| members.raw(flag) == Some("true"))
    }
}

/// The parameters of `initialize`.
pub(super) fn initialize(terms: &Terms) -> String {
    let is_named = |info: &&Value| ["name", "version"].iter().all(|key| info.get(key).is_some_and(Value::is_string));
    let own = || json!({ "name": "turnpike", "version": "0.1.0" });
    let info = terms.client_info.as_ref().filter(is_named).cloned().unwrap_or_else(own);
    let mut params = Members::new();
    params.set("protocolVersion", quoted(Revision::V2025_11_25.as_str()));
    params.set("capabilities", capabilities::legacy(&terms.capabilities).to_string());
    params.set("clientInfo", info.to_string());
    params.write()
}

/// The name a server gives itself, without pictures and the like where it is long: it is repeated on each result.
fn server_info(raw: &str) -> Option<String> {
    let mut members = Members::parse(raw).ok()?;
    if raw.len() > SERVER_INFO_MAX_BYTES {
        members.retain(|name, value| ["name", "version", "title"].contains(&name) && value.len() <= 256);
    }
    Some(members.write())
}

/// Whether the refusal `body` with `status` says that the session is not known (any more). The specification says 404;
/// servers on older SDKs say 400 with -32000 and words about the session or about initializing (measured:
/// server-everything, npm SDK 1).
pub(super) fn is_lost(status: u16, body: Option<&str>) -> bool {
    let error = || {
        let error = Members::parse(body?).ok()?.remove("error")?.into_owned();
        let error = Members::parse(&error).ok()?;
        Some((error.raw("code")?.parse::<i64>().ok()?, error.string("message")?.to_ascii_lowercase()))
    };
    match status {
        404 => error().is_none_or(|(number, _)| number != code::METHOD_NOT_FOUND),
        400 => error().is_some_and(|(number, message)| {
            number == code::REFUSED && (message.contains("session") || message.contains("not initialized"))
        }),
        _ => false,
    }
}

/// Longer capabilities and instructions are not kept.
const KEPT_MAX_BYTES: usize = 64 * 1024;
/// A longer name is cut to what identifies the server.
const SERVER_INFO_MAX_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_session_is_told_apart_from_a_bad_request() {
        let error = |code: i64, message: &str| crate::text::error("1", code, message, None);
        assert!(is_lost(404, None));
        assert!(is_lost(404, Some(&error(-32001, "Session not found"))));
        assert!(!is_lost(404, Some(&error(-32601, "Method not found"))));
        assert!(is_lost(400, Some(&error(-32000, "Bad Request: No valid session ID provided"))));
        assert!(is_lost(400, Some(&error(-32000, "Bad Request: Server not initialized"))));
        assert!(!is_lost(400, Some(&error(-32600, "session"))));
        assert!(!is_lost(400, Some("session")));
        assert!(!is_lost(500, Some(&error(-32000, "No valid session"))));
    }

    #[test]
    fn the_callers_name_is_given_if_it_is_one() {
        let params = |info: Value| {
            let terms =
                Terms { server: "s".into(), capabilities: json!({}), client_info: Some(info), parked_ms: 600_000 };
            serde_json::from_str::<Value>(&initialize(&terms)).unwrap()["clientInfo"]["name"].clone()
        };
        assert_eq!(params(json!({"name": "agent", "version": "1"})), "agent");
        assert_eq!(params(json!({"name": "agent"})), "turnpike");
    }
}
