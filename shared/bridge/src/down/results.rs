//! What does a legacy server's answer say, in the words of 2026-07-28?

use mcp::{Revision, jsonrpc::code};

use super::{
    capabilities::{self, Demand},
    request::Asked,
};
use crate::text::{self, CACHEABLE, Members, Unreadable, array, items, key, quoted};

/// How an exchange ended, whoever is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The JSON text of a result.
    Result(String),
    /// An error.
    Error {
        /// The HTTP status it goes with, if nothing was said yet.
        status: u16,
        /// The JSON text of the error object.
        error: String,
    },
}

/// Why there is no answer of the server's own. The text is for the caller; what exactly broke is the host's to record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the server cannot be reached at the moment; nothing was carried out")]
    Unreachable,
    #[error("the server does not let the gateway begin a session; nothing was carried out")]
    Refused,
    #[error("the server speaks no revision of MCP from 2024-11-05 to 2025-11-25; nothing was carried out")]
    Revision,
    #[error("the server does not accept the gateway's credential; nothing was carried out")]
    Denied,
    #[error("the server answered with an HTTP error; the request may have been carried out")]
    Unusable,
    #[error("the server broke off before it answered; the request may have been carried out")]
    Broken,
    #[error("the server did not answer `initialize` in time; nothing was carried out")]
    Late,
    #[error("the server did not answer in time; the request may still be carried out")]
    Silent,
    #[error("the server's answer is not one of MCP; the request may have been carried out")]
    Garbage,
    #[error("the server has forgotten the session; the request may have been carried out")]
    Lost,
    #[error("the exchange this belongs to is over or was lost: begin anew, without `requestState`")]
    Forgotten,
    #[error("the server's answer came while nobody waited for it, and is too large to be kept")]
    Unkept,
    #[error("what the server needs was not agreed to")]
    Declined,
    #[error("too much is under way for this caller; try again later")]
    Busy,
    #[error("there is no method `{0}` here")]
    NoMethod(String),
    #[error("{0}")]
    Wrong(String),
}

/// What an error object of a server asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// To be told.
    Told(Outcome),
    /// URLs to be visited first (-32042 of 2025-11-25), as JSON texts of parameters.
    Visit(Vec<String>),
}

impl Failure {
    /// As it is told.
    pub(super) fn outcome(&self) -> Outcome {
        let mut error = Members::new();
        error.set("code", self.code().to_string());
        error.set("message", quoted(&self.to_string()));
        Outcome::Error { status: self.status(), error: error.write() }
    }

    const fn code(&self) -> i64 {
        match self {
            Self::Forgotten | Self::Wrong(_) => code::INVALID_PARAMS,
            Self::NoMethod(_) => code::METHOD_NOT_FOUND,
            _ => code::INTERNAL_ERROR,
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Forgotten | Self::Declined | Self::Unkept | Self::Wrong(_) => 200,
            Self::NoMethod(_) => 404,
            Self::Refused
            | Self::Revision
            | Self::Denied
            | Self::Unusable
            | Self::Broken
            | Self::Garbage
            | Self::Lost => 502,
            Self::Unreachable | Self::Busy => 503,
            Self::Silent | Self::Late => 504,
        }
    }
}

impl Outcome {
    /// The HTTP status it goes with, if nothing was said yet.
    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::Result(_) => 200,
            Self::Error { status, .. } => *status,
        }
    }

    /// How large it is.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Result(text) | Self::Error { error: text, .. } => text.len(),
        }
    }

    /// The response to the request with the JSON text `id`.
    pub(super) fn write(&self, id: &str) -> String {
        match self {
            Self::Result(result) => text::response(id, result),
            Self::Error { error, .. } => text::raw_error(id, error),
        }
    }
}

/// The result `members` of `method`, as a modern server that is `server_info` would give it.
pub(super) fn complete(
    method: &str,
    mut members: Members<'_>,
    server_info: Option<&str>,
) -> Result<String, Unreadable> {
    members.set("resultType", "\"complete\"");
    if method == "tools/list" {
        without_execution(&mut members)?;
    }
    if CACHEABLE.contains(&method) {
        members.set("ttlMs", "0");
        members.set("cacheScope", "\"private\"");
    }
    sign(&mut members, server_info)?;
    Ok(members.write())
}

/// What `server/discover` says of a server whose `initialize` was answered so.
pub(super) fn discovered(
    declared: &str,
    instructions: Option<&str>,
    server_info: Option<&str>,
) -> Result<String, Unreadable> {
    let mut members = Members::new();
    members.set("supportedVersions", array([quoted(Revision::V2026_07_28.as_str())]));
    members.set("capabilities", capabilities::modern(declared)?);
    if let Some(instructions) = instructions {
        members.set("instructions", instructions.to_owned());
    }
    complete("server/discover", members, server_info)
}

/// A result that asks back what `questions` say, each a key, a kind and the JSON text of parameters
/// (MCP 2026-07-28 basic/patterns/mrtr).
pub(super) fn input_required<'q>(
    questions: impl Iterator<Item = (&'q str, Demand, &'q str)>,
    state: &str,
    server_info: Option<&str>,
) -> String {
    let mut requests = Members::new();
    for (name, demand, params) in questions {
        let mut request = Members::new();
        request.set("method", quoted(demand.method()));
        request.set("params", params);
        requests.set(name, request.write());
    }
    let mut members = Members::new();
    members.set("resultType", "\"input_required\"");
    members.set("inputRequests", requests.write());
    members.set("requestState", quoted(state));
    if let Some(server_info) = server_info {
        members.set("_meta", Members::from_iter([(key::SERVER_INFO, server_info)]).write());
    }
    members.write()
}

/// What the error object `members` of a server that was asked `asked` says.
pub(super) fn complaint(asked: &Asked, mut members: Members<'_>) -> Complaint {
    let told = |status, error| Complaint::Told(Outcome::Error { status, error });
    let Some(number) = members.raw("code").and_then(|code| code.parse::<i64>().ok()) else {
        return Complaint::Told(Failure::Garbage.outcome());
    };
    match number {
        code::METHOD_NOT_FOUND => told(404, members.write()),
        RESOURCE_NOT_FOUND => {
            members.set("code", code::INVALID_PARAMS.to_string());
            told(200, located(asked, members))
        }
        code::INVALID_PARAMS if !members.has("data") => told(200, located(asked, members)),
        URL_REQUIRED if asked.may_ask() => match urls(&members) {
            Some(urls) => Complaint::Visit(urls),
            None => Complaint::Told(Failure::Garbage.outcome()),
        },
        // The modern codes mean something to a modern caller that no legacy server can have meant.
        RESERVED_LEAST..=RESERVED_MOST => {
            members.set("code", code::INTERNAL_ERROR.to_string());
            told(200, members.write())
        }
        _ => told(200, members.write()),
    }
}

/// `error` with the URI that was asked for, if one was and it names none (MCP 2026-07-28 server/resources).
fn located(asked: &Asked, mut error: Members<'_>) -> String {
    let uri = asked.uri.as_deref().filter(|_| asked.method == "resources/read");
    if let Some(uri) = uri.filter(|_| !error.object("data").is_ok_and(|data| data.has("uri"))) {
        error.set("data", Members::from_iter([("uri", quoted(uri))]).write());
    }
    error.write()
}

/// That the caller would have to be able to visit URLs (-32021 of 2026-07-28).
pub(super) fn missing_url_mode() -> Outcome {
    let mut error = Members::new();
    error.set("code", MISSING_CAPABILITY.to_string());
    error.set(
        "message",
        quoted("the server needs the user to visit a URL, and the client declares no such elicitation"),
    );
    error.set("data", r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#);
    Outcome::Error { status: 400, error: error.write() }
}

/// The parameters of the elicitations in the `data` of an error: at least one.
fn urls(error: &Members<'_>) -> Option<Vec<String>> {
    let data = error.object("data").ok()?;
    let mut urls = Vec::new();
    for raw in items(data.raw("elicitations")?).ok()?.into_iter().take(super::parking::QUESTIONS_MAX) {
        let asked = Members::parse(raw).ok()?;
        let mut params = Members::new();
        params.set("mode", "\"url\"");
        params.set("message", quoted(&asked.string("message")?));
        params.set("url", quoted(&asked.string("url")?));
        urls.push(params.write());
    }
    (!urls.is_empty()).then_some(urls)
}

fn sign(members: &mut Members<'_>, server_info: Option<&str>) -> Result<(), Unreadable> {
    members.edit("_meta", |meta| {
        // Of a task nobody knows of.
        meta.remove("io.modelcontextprotocol/related-task");
        if let Some(server_info) = server_info {
            meta.set(key::SERVER_INFO, server_info.to_owned());
        }
    })
}

/// `tool.execution` is gone since 2026-07-28.
fn without_execution(members: &mut Members<'_>) -> Result<(), Unreadable> {
    // Looking for the name is a fraction of opening each tool.
    let Some(raw) = members.raw("tools").filter(|raw| raw.contains("execution")) else { return Ok(()) };
    let tools = items(raw)?.into_iter().map(|tool| {
        let mut tool = Members::parse(tool)?;
        tool.remove("execution");
        Ok(tool.write())
    });
    let tools = array(tools.collect::<Result<Vec<_>, Unreadable>>()?);
    members.set("tools", tools);
    Ok(())
}

/// Resource not found, until 2025-11-25.
const RESOURCE_NOT_FOUND: i64 = -32002;
/// URL elicitation required, in 2025-11-25.
const URL_REQUIRED: i64 = -32042;
/// A capability is missing, since 2026-07-28.
const MISSING_CAPABILITY: i64 = -32021;
/// The codes that only the specification gives a meaning to, since 2026-07-28.
const RESERVED_MOST: i64 = -32020;
const RESERVED_LEAST: i64 = -32099;
