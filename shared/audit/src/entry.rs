//! What is recorded of a request? One decision, and one outcome once it ended. Never arguments, tokens or session ids.
//! And of a server whose tools are not what was approved: a finding.

use std::rc::Rc;

use mcp::{Timestamp, json::clip};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// What was decided, before the answer was released.
    Decision(Box<Decision>),
    /// How it ended.
    Outcome(Outcome),
    /// What a server offers that was not approved.
    Finding(Finding),
}

impl Entry {
    /// The JSON that is chained.
    #[must_use]
    pub fn json(&self) -> Option<Box<RawValue>> {
        serde_json::value::to_raw_value(self).ok()
    }
}

/// What was decided about one HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Names the request: its outcome bears the same. 16 hexadecimal digits, the gateway's span.
    pub request: String,
    /// When it came.
    pub at: Timestamp,
    /// Who called, if that was found out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub who: Option<Rc<Who>>,
    /// What it named as server.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server: Option<String>,
    /// The instance it went to, or was to go to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// The HTTP method.
    pub http_method: String,
    /// The messages it carried that ask for something: several in a batch.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub calls: Vec<Called>,
    /// The session's name in storage; not its id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<String>,
    /// Allowed, denied or failed.
    pub verdict: Verdict,
    /// Why, for an operator.
    pub reason: String,
    /// The policies that decided, by their ids.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub policies: Vec<Rc<str>>,
    /// What the candidate policies would have decided, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shadow: Option<Shadow>,
    /// The HTTP status a caller was refused with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// The trace, 32 hexadecimal digits.
    pub trace: String,
    /// The configuration that decided, by its SHA-256.
    pub bundle: String,
}

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The organisation.
    pub tenant: String,
    /// The program.
    pub agent: String,
    /// The person.
    pub user: String,
    /// Who vouches for them.
    pub issuer: String,
    /// What the issuer calls the user.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub roles: Vec<String>,
    /// What the token was granted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub scopes: Vec<String>,
}

/// What candidate policies would have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Allowed or denied.
    pub verdict: Verdict,
    /// The candidate policies that would have decided, by their ids.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub policies: Vec<Rc<str>>,
}

/// A tool that is not as it was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// When it was seen.
    pub at: Timestamp,
    /// The server.
    pub server: String,
    /// The instance that offers it.
    pub instance: String,
    /// The tool, clipped.
    pub tool: String,
    /// In what it differs.
    pub found: Found,
    /// The canonical digest of its definition, hexadecimal.
    pub digest: String,
    /// The digest that was approved, if one was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pinned: Option<String>,
    /// What became of it.
    pub treatment: Treatment,
    /// The configuration that approves, by its SHA-256.
    pub bundle: String,
}

/// In what a tool differs from what was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Nobody approved a tool of this name.
    New,
    /// Its definition is another one.
    Changed,
}

/// What becomes of a tool that was not approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// Callers see and call it all the same.
    Admitted,
    /// For callers it does not exist.
    Quarantined,
}

/// A message that asks for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The MCP method, clipped.
    pub method: String,
    /// The tool, prompt or resource, clipped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// SHA-256 of the arguments' canonical form, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arguments: Option<String>,
}

impl Called {
    /// A call of `method` on `target` with arguments of this digest.
    #[must_use]
    pub fn new(method: &str, target: Option<&str>, arguments: Option<[u8; 32]>) -> Self {
        Self {
            method: clip(method).to_owned(),
            target: target.map(|target| clip(target).to_owned()),
            arguments: arguments.map(|digest| mcp::digest::hex(&digest)),
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was sent on.
    Allowed,
    /// It was turned away: the caller's doing.
    Denied,
    /// It could not be sent on: the gateway's or the upstream's doing.
    Failed,
}

/// How a request that was allowed ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The decision's `request`.
    pub request: String,
    /// When it ended.
    pub at: Timestamp,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The session that `initialize` opened, by its name in storage.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<String>,
    /// The instance that answered `initialize`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// `complete`, or what cut it short.
    pub end: String,
    /// From the decision to the end.
    pub duration_ms: u64,
    /// Size of the request's body.
    pub bytes_in: u64,
    /// Size of the answer's body, as far as it came.
    pub bytes_out: u64,
    /// Tokens of the arguments.
    #[serde(skip_serializing_if = "is_default", default)]
    pub tokens_in: u64,
    /// Tokens of the answer's content.
    #[serde(skip_serializing_if = "is_default", default)]
    pub tokens_out: u64,
    /// What it cost, in millionths of the currency.
    #[serde(skip_serializing_if = "is_default", default)]
    pub money_micros: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
