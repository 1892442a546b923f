//! Is the head of a request to an MCP endpoint good? Method, host, origin, types and revision.

use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use mcp::{
    Revision,
    header::{self as mcp_header, Mirrors},
};

use crate::{refused::Refused, site::Site};

/// A request whose head is good. Only [`admit`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admitted {
    /// What is to be done.
    pub verb: Verb,
    /// The revision named by the header, if there is one.
    pub revision: Option<Revision>,
    /// `Authorization`, unread.
    pub authorization: Option<String>,
    /// `Mcp-Session-Id`, unchecked.
    pub session_id: Option<String>,
    /// `Last-Event-ID`, for the upstream.
    pub last_event_id: Option<String>,
    /// `traceparent` and `tracestate` as they came.
    pub trace: Option<(String, Option<String>)>,
    /// The headers that repeat what a modern body says, unchecked: whether it is one, the body decides.
    pub mirrors: Mirrors,
}

/// What a request to an MCP endpoint wants (MCP 2025-11-25 basic/transports).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Send a message.
    Post,
    /// Open the stream of the server's own messages, or resume one.
    Get,
    /// End the session.
    Delete,
}

/// Admits a request to an MCP endpoint by its head. Only legacy revisions are understood.
///
/// # Errors
/// [`Refused`]
pub fn admit(site: &Site, head: &Parts) -> Result<Admitted, Refused> {
    let mut admitted = admit_any_era(site, head)?;
    admitted.revision = admitted.legacy_revision()?;
    Ok(admitted)
}

/// Admits a request to an MCP endpoint by its head, whatever revision it names: the body decides which era it is of. Once
/// it has turned out to be legacy, [`Admitted::legacy_revision`] has to be asked.
///
/// # Errors
/// [`Refused`]
pub fn admit_any_era(site: &Site, head: &Parts) -> Result<Admitted, Refused> {
    let verb = verb(&head.method)?;
    let field = |name: HeaderName| text(&head.headers, name);
    let host = field(header::HOST)?.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
    if !site.allows_host(host) {
        return Err(Refused::Host);
    }
    if field(header::ORIGIN)?.is_some_and(|origin| !site.allows_origin(origin)) {
        return Err(Refused::Origin);
    }
    types(verb, field(header::CONTENT_TYPE)?, &head.headers)?;
    let owned = |name: HeaderName| field(name).map(|text| text.map(str::to_owned));
    let traceparent = owned(mcp_header::TRACEPARENT)?;
    let tracestate = owned(mcp_header::TRACESTATE)?;
    let mirrors = Mirrors::of(&head.headers).map_err(|_| Refused::Header(MIRRORS))?;
    let named = mirrors.versions.first().filter(|_| mirrors.versions.len() == 1);
    Ok(Admitted {
        verb,
        revision: named.and_then(|text| Revision::parse(text)),
        authorization: owned(header::AUTHORIZATION)?,
        session_id: owned(mcp_header::MCP_SESSION_ID)?,
        last_event_id: owned(mcp_header::LAST_EVENT_ID)?,
        trace: traceparent.map(|parent| (parent, tracestate)),
        mirrors,
    })
}

impl Admitted {
    /// The revision this request speaks on its own word (MCP 2025-06-18: without the header, 2025-03-26).
    #[must_use]
    pub fn speaks(&self) -> Revision {
        self.revision.unwrap_or(Revision::ASSUMED)
    }

    /// The legacy revision the header names, if there is one.
    ///
    /// # Errors
    /// [`Refused`]: it names no legacy revision, comes more than once or is no visible ASCII.
    pub fn legacy_revision(&self) -> Result<Option<Revision>, Refused> {
        match self.mirrors.versions.as_slice() {
            [] => Ok(None),
            [version] if version.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) => revision(version).map(Some),
            _ => Err(Refused::Header(VERSION)),
        }
    }
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Post => Self::POST,
            Verb::Get => Self::GET,
            Verb::Delete => Self::DELETE,
        }
    }
}

fn verb(method: &Method) -> Result<Verb, Refused> {
    match *method {
        Method::POST => Ok(Verb::Post),
        Method::GET => Ok(Verb::Get),
        Method::DELETE => Ok(Verb::Delete),
        _ => Err(Refused::Method),
    }
}

/// A header that says one thing: absent, or once and in visible ASCII.
fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refused> {
    let spelled = SPELLED.iter().find(|spelled| **spelled == name).copied().unwrap_or("header");
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Refused::Header(spelled)),
        _ => Err(Refused::Header(spelled)),
    }
}

/// MCP 2025-11-25 is the newest revision whose requests are understood here.
fn revision(text: &str) -> Result<Revision, Refused> {
    let known = Revision::parse(text).filter(|revision| revision.is_legacy());
    known.ok_or_else(|| Refused::Revision(mcp::json::clip(text).to_owned()))
}

fn types(verb: Verb, content_type: Option<&str>, headers: &HeaderMap) -> Result<(), Refused> {
    let accepts = |media_type: &str| accepts(headers, media_type);
    match verb {
        Verb::Post => {
            let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
            if !essence.trim().eq_ignore_ascii_case(mcp_header::APPLICATION_JSON) {
                return Err(Refused::ContentType);
            }
            let both = accepts(mcp_header::APPLICATION_JSON) && accepts(mcp_header::TEXT_EVENT_STREAM);
            if both { Ok(()) } else { Err(Refused::Accept("both application/json and text/event-stream")) }
        }
        Verb::Get if !accepts(mcp_header::TEXT_EVENT_STREAM) => Err(Refused::Accept("text/event-stream")),
        Verb::Get | Verb::Delete => Ok(()),
    }
}

/// Whether `Accept` allows `media_type` (RFC 9110 §12.5.1: absent allows all; of the ranges that fit the most specific
/// decides, and a weight of 0 forbids).
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let (kind, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let fitting = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next()?;
        let specificity = match range.split_once('/')? {
            _ if range.eq_ignore_ascii_case(media_type) => 2,
            (of, "*") if of.eq_ignore_ascii_case(kind) => 1,
            ("*", "*") => 0,
            _ => return None,
        };
        Some((specificity, !parts.any(is_zero_weight)))
    });
    fitting.max().map_or(!headers.contains_key(header::ACCEPT), |(_, allowed)| allowed)
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, value)| value.trim().bytes().all(|byte| matches!(byte, b'0' | b'.')))
}

const VERSION: &str = "mcp-protocol-version";
const MIRRORS: &str = "mcp-method, mcp-name or mcp-param-*";
/// The headers that are read one by one, for messages.
const SPELLED: [&str; 8] =
    ["host", "origin", "content-type", "authorization", "mcp-session-id", "last-event-id", "traceparent", "tracestate"];

#[cfg(test)]
mod tests;
