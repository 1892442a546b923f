//! Which era does a request claim, and does it hold together?
//!
//! The body decides, headers are only checked against it: a proxy that drops a header must not change what a request is.
//! The checks come in the order of the official SDKs, so that a request with two faults is answered alike everywhere:
//! shape, envelope, headers, revision, method. Capabilities and parameters are for later stages.
//!
//! An error answers the id of the request it is about. It answers none (`null`) for a notification and for
//! [`Refused::Batch`], which has many.

mod envelope;

use mcp::{
    Body, Call, Message, Revision,
    header::{self, Mirrors},
    json::clip,
    jsonrpc::code,
    params::Picked,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    level::Level,
    routing::{self, Mismatch},
};

pub use envelope::{CAPABILITIES, CLIENT_INFO, LOG_LEVEL, Terms, Unfit, VERSION, envelope, without_envelope};

/// The era of the body of a POST, with the headers that repeat it.
///
/// Legacy are requests without a claim, all posted responses, and batches; whether their `MCP-Protocol-Version` is one of
/// a legacy revision is for who serves them.
///
/// # Errors
/// [`Refused`]
pub fn classify<'a>(body: &Body<'a>, mirrors: &Mirrors) -> Result<Claim<'a>, Refused> {
    match body {
        Body::Single(Message::Request(call)) => request(call, mirrors),
        Body::Single(Message::Notification(call)) => notification(call, mirrors),
        Body::Single(Message::Response(_)) => Ok(Claim::Legacy),
        Body::Batch(messages) => batch(messages, mirrors),
    }
}

/// The era of a body.
#[derive(Debug)]
pub enum Claim<'a> {
    /// 2025-11-25 or older.
    Legacy,
    /// 2026-07-28.
    Modern(Envelope<'a>),
}

/// What a modern request says of itself in `params._meta` (MCP 2026-07-28 basic/index, per-request fields), checked with
/// its headers. Only [`classify`] makes one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Envelope<'a> {
    /// The revision it speaks.
    pub revision: Revision,
    /// Whether an answer is waited for.
    pub kind: Kind,
    /// `clientCapabilities` as it was spelled: an object; `{}` for a notification without.
    pub capabilities: &'a str,
    /// `clientInfo` as it was spelled: an object with name and version.
    pub client_info: Option<&'a RawValue>,
    /// From which level on the client wants `notifications/message` of this request; none without.
    pub log_level: Option<Level>,
    /// `progressToken` as it was spelled: a string or an integer.
    pub progress_token: Option<&'a RawValue>,
    /// `params.inputResponses` as it was spelled: an object. The request is a retry (basic/patterns/mrtr).
    pub input_responses: Option<&'a RawValue>,
    /// `params.requestState`, unopened. The request is a retry.
    pub request_state: Option<String>,
}

/// Whether an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is.
    Request,
    /// It is not: 202.
    Notification,
}

/// Why a request that claims a modern revision is not served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// -32600, 400. The error's id is `null`.
    #[error("a request of revision 2026-07-28 or newer must be sent alone, not in a batch")]
    Batch,
    /// -32602, 400
    #[error("the parameters cannot be read: {0}")]
    Params(String),
    /// -32602, 400
    #[error("the request is missing `{0}`, which this revision requires")]
    Missing(&'static str),
    /// -32602, 400
    #[error("`{key}` must be {expected}")]
    Malformed {
        /// The member of `params._meta`.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// -32020, 400
    #[error(transparent)]
    Header(#[from] Mismatch),
    /// -32022, 400, with `supported` and `requested`
    #[error("the protocol version `{}` is not spoken here", clip(.requested))]
    Version {
        /// What the request claims.
        requested: String,
    },
    /// -32601, 404
    #[error("the method `{0}` is unknown in this revision")]
    Method(String),
    /// -32602, 200: it is a fault of the parameters alone.
    #[error("`{0}` must be {1}")]
    Answers(&'static str, &'static str),
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Method(_) => 404,
            Self::Answers(..) => 200,
            _ => 400,
        }
    }

    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Batch => code::INVALID_REQUEST,
            Self::Params(_) | Self::Missing(_) | Self::Malformed { .. } | Self::Answers(..) => code::INVALID_PARAMS,
            Self::Header(mismatch) => mismatch.code(),
            Self::Version { .. } => code::UNSUPPORTED_VERSION,
            Self::Method(_) => code::METHOD_NOT_FOUND,
        }
    }

    /// The `data` of the JSON-RPC error.
    #[must_use]
    pub fn data(&self) -> Option<Value> {
        match self {
            Self::Version { requested } => {
                let supported = SUPPORTED.map(Revision::as_str);
                Some(json!({ "supported": supported, "requested": clip(requested) }))
            }
            _ => None,
        }
    }
}

/// Whether `version` spells a modern revision, known here or not: they are dates, and sort as text.
#[must_use]
pub fn is_modern(version: &str) -> bool {
    let shape = version.len() == 10
        && version.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shape && version >= Revision::V2026_07_28.as_str()
}

fn request<'a>(call: &Call<'a>, mirrors: &Mirrors) -> Result<Claim<'a>, Refused> {
    let spoken = Spoken::of(call)?;
    let Some(claim) = spoken.claim() else {
        return match names_modern(mirrors) {
            Some(version) if call.method == "initialize" => Err(Refused::Header(Mismatch::Differs {
                header: header::MCP_PROTOCOL_VERSION.to_string(),
                says: clip(version).to_owned(),
                body: "the handshake of an older revision".to_owned(),
            })),
            Some(_) if spoken.0.meta.is_none() => Err(Refused::Missing("params._meta")),
            Some(_) => Err(Refused::Missing(VERSION)),
            None => Ok(Claim::Legacy),
        };
    };
    let version = version(claim)?;
    let mut envelope = spoken.envelope(Kind::Request)?;
    routing::check_standard(call, &version, mirrors)?;
    envelope.revision = supported(version)?;
    if !METHODS.contains(&call.method.as_ref()) {
        return Err(Refused::Method(clip(&call.method).to_owned()));
    }
    spoken.answers(&mut envelope)?;
    Ok(Claim::Modern(envelope))
}

/// No revision says which headers a notification needs: those that are there have to agree. Without a claim the header
/// decides, for a client has nothing else to say it with.
fn notification<'a>(call: &Call<'a>, mirrors: &Mirrors) -> Result<Claim<'a>, Refused> {
    let spoken = Spoken::of(call)?;
    let version = match (spoken.claim(), names_modern(mirrors)) {
        (Some(claim), _) => version(claim)?,
        (None, Some(version)) => version.to_owned(),
        (None, None) => return Ok(Claim::Legacy),
    };
    let mut envelope = spoken.envelope(Kind::Notification)?;
    routing::check_notification(call, &version, mirrors)?;
    envelope.revision = supported(version)?;
    Ok(Claim::Modern(envelope))
}

fn batch<'a>(messages: &[Message<'_>], mirrors: &Mirrors) -> Result<Claim<'a>, Refused> {
    if names_modern(mirrors).is_some() {
        return Err(Refused::Batch);
    }
    for message in messages {
        if let Message::Request(call) | Message::Notification(call) = message
            && Spoken::of(call)?.claim().is_some()
        {
            return Err(Refused::Batch);
        }
    }
    Ok(Claim::Legacy)
}

/// The modern revision a header names, if there is one.
fn names_modern(mirrors: &Mirrors) -> Option<&str> {
    mirrors.versions.iter().map(|version| routing::trimmed(version)).find(|version| is_modern(version))
}

fn version(claim: &RawValue) -> Result<String, Refused> {
    serde_json::from_str(claim.get()).map_err(|_| Refused::Malformed { key: VERSION, expected: "a string" })
}

fn supported(version: String) -> Result<Revision, Refused> {
    let known = SUPPORTED.into_iter().find(|revision| revision.as_str() == version);
    known.ok_or(Refused::Version { requested: version })
}

/// The parameters by which a request says what it is.
struct Spoken<'c, 'a>(&'c Picked<'a>);

impl<'c, 'a> Spoken<'c, 'a> {
    fn of(call: &'c Call<'a>) -> Result<Self, Refused> {
        call.picked().map(Self).map_err(|error| Refused::Params(error.to_string()))
    }

    fn claim(&self) -> Option<&'a RawValue> {
        self.0.meta.as_ref()?.raw(VERSION)
    }

    /// The envelope, but for the revision and what a retry carries.
    fn envelope(&self, kind: Kind) -> Result<Envelope<'a>, Refused> {
        let raw = |key| self.0.meta.as_ref().and_then(|meta| meta.raw(key));
        let malformed = |key, expected| Refused::Malformed { key, expected };
        let capabilities = match (raw(CAPABILITIES), kind) {
            (Some(raw), _) if raw.get().starts_with('{') => raw.get(),
            (Some(_), _) => return Err(malformed(CAPABILITIES, "an object")),
            (None, Kind::Notification) => "{}",
            (None, Kind::Request) => return Err(Refused::Missing(CAPABILITIES)),
        };
        let client_info = raw(CLIENT_INFO);
        if client_info.is_some_and(|raw| serde_json::from_str::<Program<'_>>(raw.get()).is_err()) {
            return Err(malformed(CLIENT_INFO, "an object with the strings `name` and `version`"));
        }
        let level = raw(LOG_LEVEL).map(|raw| serde_json::from_str(raw.get())).transpose();
        let log_level = level.map_err(|_| malformed(LOG_LEVEL, "one of the eight levels of RFC 5424 in lower case"))?;
        let progress_token = raw("progressToken");
        if progress_token.is_some_and(|raw| !is_token(raw.get())) {
            return Err(malformed("progressToken", "a string or an integer of at most 1024 bytes"));
        }
        let (revision, input_responses, request_state) = (Revision::V2026_07_28, None, None);
        Ok(Envelope {
            revision,
            kind,
            capabilities,
            client_info,
            log_level,
            progress_token,
            input_responses,
            request_state,
        })
    }

    fn answers(&self, envelope: &mut Envelope<'a>) -> Result<(), Refused> {
        if self.0.input_responses.is_some_and(|raw| !raw.get().starts_with('{')) {
            return Err(Refused::Answers("inputResponses", "an object"));
        }
        let state = self.0.request_state.map(|raw| serde_json::from_str(raw.get())).transpose();
        envelope.request_state = state.map_err(|_| Refused::Answers("requestState", "a string"))?;
        envelope.input_responses = self.0.input_responses;
        Ok(())
    }
}

/// What a program says it is, as far as the revision requires it.
#[derive(Deserialize)]
struct Program<'a> {
    #[serde(borrow, rename = "name")]
    _name: std::borrow::Cow<'a, str>,
    #[serde(borrow, rename = "version")]
    _version: std::borrow::Cow<'a, str>,
}

fn is_token(text: &str) -> bool {
    text.len() <= TOKEN_MAX_BYTES && (text.starts_with('"') || text.parse::<i64>().is_ok())
}

/// The modern revisions that are spoken here.
pub const SUPPORTED: [Revision; 1] = [Revision::V2026_07_28];

/// The requests of 2026-07-28, and of its extension for tasks (`io.modelcontextprotocol/tasks`). What it took out of the
/// protocol (`initialize`, `ping`, `logging/setLevel`, `resources/subscribe`, …) is unknown like anything else.
pub const METHODS: [&str; 13] = [
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

const TOKEN_MAX_BYTES: usize = 1024;

#[cfg(test)]
mod tests;
