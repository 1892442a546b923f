//! Which eras does a server speak? What its answer to `server/discover` proves (MCP 2026-07-28
//! basic/transports/streamable-http, Backward Compatibility).

use mcp::{Revision, Timestamp, json, jsonrpc::code};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use crate::claim::{self, CAPABILITIES, CLIENT_INFO, VERSION};

/// The request that finds out: `server/discover` of 2026-07-28 with the id `id`, from the program `client_info`.
#[must_use]
pub fn discover_request(id: u64, client_info: &Value) -> String {
    let [revision] = claim::SUPPORTED;
    let meta = json!({ VERSION: revision, CAPABILITIES: {}, CLIENT_INFO: client_info });
    json!({ "jsonrpc": "2.0", "id": id, "method": "server/discover", "params": { "_meta": meta } }).to_string()
}

/// What the answer to [`discover_request`] proves. `body` is the JSON-RPC message, also where it came as an event; `None`
/// where there is no body, or none that is text.
///
/// Nothing is proved by a timeout or a broken connection: do not ask then.
#[must_use]
pub fn verdict(status: u16, body: Option<&str>) -> Verdict {
    let legacy_rejection = matches!(status, 400..=499) && !NO_EVIDENCE.contains(&status);
    if !legacy_rejection && !matches!(status, 200..=299) {
        return Verdict::Unknown;
    }
    match body.map(outcome) {
        Some([Some(result), None]) => discovered(result),
        Some([None, Some(error)]) => failed(status, error),
        _ if legacy_rejection || status == ACCEPTED => Verdict::Legacy,
        _ => Verdict::Unknown,
    }
}

/// Whether the answer to `initialize` proves that the server speaks modern revisions only. Ask it again what it speaks then.
#[must_use]
pub fn refuses_initialize(status: u16, body: &str) -> bool {
    if NO_EVIDENCE.contains(&status) || status >= 500 {
        return false;
    }
    let [None, Some(error)] = outcome(body) else { return false };
    let is_unknown = Fault::of(error).is_some_and(|fault| fault.code == code::METHOD_NOT_FOUND);
    is_unknown || matches!(failed(status, error), Verdict::Modern { .. })
}

/// What an answer proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server speaks modern revisions; whether it speaks legacy ones as well is not said: the official SDKs leave them
    /// out of the list.
    Modern {
        /// The modern revisions it names, as it spells them, at most 16; empty where it names none.
        supported: Vec<String>,
    },
    /// It does not: send `initialize`.
    Legacy,
    /// No evidence: a missing credential, a failure, something in between that answered. Nothing may be remembered.
    Unknown,
}

/// Which era a server was found to speak, for as long as that is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What it speaks.
    pub era: Era,
    /// Until when: a server that learns a new era would never be asked again otherwise.
    pub until: Timestamp,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// This revision, statelessly.
    Modern(Revision),
    /// `initialize`, and what follows from it.
    Legacy,
}

impl Verdict {
    /// The newest modern revision both sides speak. A server that names none is taken to speak ours.
    #[must_use]
    pub fn common(&self) -> Option<Revision> {
        let Self::Modern { supported } = self else { return None };
        let spoken =
            |revision: &Revision| supported.is_empty() || supported.iter().any(|text| text == revision.as_str());
        claim::SUPPORTED.into_iter().rev().find(spoken)
    }

    /// What to remember of it, from `now` on. `None` where nothing is proved, or where the server speaks newer revisions
    /// only: it may speak legacy ones as well, but that has to be tried.
    #[must_use]
    pub fn known(&self, now: Timestamp) -> Option<Known> {
        let era = match self {
            Self::Modern { .. } => Era::Modern(self.common()?),
            Self::Legacy => Era::Legacy,
            Self::Unknown => return None,
        };
        Some(Known { era, until: now.plus_millis(BELIEVED_MS) })
    }
}

impl Known {
    /// What the server speaks, if that is still believed at `now`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<Era> {
        (now < self.until).then_some(self.era)
    }
}

/// `result` and `error` of a response. Its id is not looked at: some servers leave it out of an error.
fn outcome(body: &str) -> [Option<&RawValue>; 2] {
    json::pick(body, &["result", "error"]).unwrap_or_default()
}

fn discovered(result: &RawValue) -> Verdict {
    match serde_json::from_str::<Discovered>(result.get()) {
        Ok(Discovered { versions }) => modern(&versions),
        Err(_) => Verdict::Legacy,
    }
}

fn failed(status: u16, error: &RawValue) -> Verdict {
    let Some(fault) = Fault::of(error) else { return Verdict::Legacy };
    match fault.code {
        code::UNSUPPORTED_VERSION => match fault.supported() {
            Some(supported) => modern(&supported),
            None => Verdict::Modern { supported: Vec::new() },
        },
        code::HEADER_MISMATCH | code::MISSING_CAPABILITY => Verdict::Modern { supported: Vec::new() },
        code::METHOD_NOT_FOUND if status == 404 => Verdict::Modern { supported: Vec::new() },
        code::INVALID_PARAMS if status == 400 && fault.names_envelope() => Verdict::Modern { supported: Vec::new() },
        _ => Verdict::Legacy,
    }
}

/// A server that names legacy revisions only is one, however modern its answer.
fn modern(versions: &[String]) -> Verdict {
    let supported: Vec<String> =
        versions.iter().filter(|text| claim::is_modern(text)).take(NAMED_MAX).cloned().collect();
    if supported.is_empty() { Verdict::Legacy } else { Verdict::Modern { supported } }
}

#[derive(Deserialize)]
struct Discovered {
    #[serde(rename = "supportedVersions")]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Fault {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl Fault {
    fn of(error: &RawValue) -> Option<Self> {
        serde_json::from_str(error.get()).ok()
    }

    fn supported(&self) -> Option<Vec<String>> {
        let versions = self.data.get("supported")?.as_array()?;
        versions.iter().map(|version| version.as_str().map(str::to_owned)).collect()
    }

    /// Whether it is about the envelope, which no legacy server knows of.
    fn names_envelope(&self) -> bool {
        self.data.get("envelope").is_some()
            || ["_meta", "io.modelcontextprotocol/"].iter().any(|it| self.message.contains(it))
    }
}

/// Who answers like this did not look at the method: a missing credential, a proxy, a limit, a timeout.
const NO_EVIDENCE: [u16; 8] = [401, 402, 403, 407, 408, 425, 429, 451];
/// A server of HTTP+SSE, which answers on its stream.
const ACCEPTED: u16 = 202;
const NAMED_MAX: usize = 16;
/// 24 h
const BELIEVED_MS: u64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests;
