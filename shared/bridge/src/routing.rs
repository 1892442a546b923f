//! Which headers mirror a modern body? `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*`, written and compared
//! (MCP 2026-07-28 basic/transports/streamable-http, Request Metadata).
//!
//! The gateway reads the body, so it compares what a caller's headers say with it, and writes the headers of what it
//! sends from the body it sends: never is a header carried on that was compared.
//!
//! `Mcp-Param-*` is known from a tool's schema only. A header no known schema declares has to be forwarded as it came
//! ([`unrecognized`]): the server, or something before it, may know a newer schema than the gateway. Hence a gateway that
//! has not seen a tool's schema recognizes no such header, forwards them all, and leaves it to the server to compare them:
//! a warm call needs no schema. This is sound as long as the arguments reach the server as the caller spelled them. Who
//! changes arguments, or translates from the legacy era, needs the schema and [`mirror`].

mod annotation;
mod value;

use std::borrow::Cow;

use http::HeaderName;
use mcp::{
    Call,
    header::{self, Mirrors},
    json::{self, clip},
    jsonrpc::code,
};
use serde_json::value::RawValue;

pub use annotation::{Invalid, ParamHeader, Type, may_annotate, params_of};
pub use value::{decode, encode, trimmed};

use value::Said;

/// Compares the headers every modern request needs with its body, which speaks `version`.
///
/// # Errors
/// [`Mismatch`]: one is missing, comes more than once, cannot be read or says something else.
pub(crate) fn check_standard(call: &Call<'_>, version: &str, mirrors: &Mirrors) -> Result<(), Mismatch> {
    agrees(header::MCP_PROTOCOL_VERSION, required(header::MCP_PROTOCOL_VERSION, &mirrors.versions)?, version)?;
    agrees(header::MCP_METHOD, required(header::MCP_METHOD, &mirrors.methods)?, &call.method)?;
    if name_member(&call.method).is_none() {
        return Ok(());
    }
    match (name(call), once(header::MCP_NAME, &mirrors.names)?) {
        (Some(_), None) => Err(Mismatch::Missing(header::MCP_NAME.to_string())),
        (None, Some(_)) => Err(Mismatch::Unfounded(header::MCP_NAME.to_string())),
        (None, None) => Ok(()),
        (Some(name), Some(said)) => {
            let decoded = decode(said).ok_or_else(|| Mismatch::Unreadable(header::MCP_NAME.to_string()))?;
            agrees(header::MCP_NAME, &decoded, &name)
        }
    }
}

/// Compares the headers a modern notification has with its body, which speaks `version`. None is required.
///
/// # Errors
/// [`Mismatch`]
pub(crate) fn check_notification(call: &Call<'_>, version: &str, mirrors: &Mirrors) -> Result<(), Mismatch> {
    for (name, values, expected) in [
        (header::MCP_PROTOCOL_VERSION, &mirrors.versions, version),
        (header::MCP_METHOD, &mirrors.methods, &call.method),
    ] {
        if let Some(said) = once(name.clone(), values)? {
            agrees(name, said, expected)?;
        }
    }
    Ok(())
}

/// Compares the `Mcp-Param-*` headers of a `tools/call` with its arguments, as far as `params` says which they mirror.
/// Those nobody declared only have to be readable, and come once.
///
/// # Errors
/// [`Mismatch`]: the header of an argument is missing, comes more than once, cannot be read or says something else; or it
/// is there and the argument is not.
pub fn check(call: &Call<'_>, params: &[ParamHeader], mirrors: &Mirrors) -> Result<(), Mismatch> {
    let spelled = |name: &str| [header::MCP_PARAM_PREFIX, clip(name)].concat();
    for (at, (name, value)) in mirrors.params.iter().enumerate() {
        if mirrors.params.iter().take(at).any(|(other, _)| other == name) {
            return Err(Mismatch::Repeated(spelled(name)));
        }
        if decode(trimmed(value)).is_none() {
            return Err(Mismatch::Unreadable(spelled(name)));
        }
    }
    if params.is_empty() {
        return Ok(());
    }
    let values = values(call, params).map_err(|error| Mismatch::Arguments(error.to_string()))?;
    for (param, value) in params.iter().zip(values) {
        let header = spelled(&param.lower());
        let said = mirrors.params.iter().find(|(name, _)| *name == param.lower()).map(|(_, value)| trimmed(value));
        let argument = Said::of(value).map_err(|error| Mismatch::Arguments(error.to_string()))?;
        compare(header, said.and_then(decode), argument)?;
    }
    Ok(())
}

/// The headers every modern request needs, from its body.
///
/// # Errors
/// The parameters cannot be read, or claim no revision.
pub fn standard(call: &Call<'_>) -> Result<Vec<(HeaderName, String)>, serde_json::Error> {
    let missing = || serde::de::Error::custom("the request claims no revision: put it into an envelope first");
    let version = call.picked()?.meta.as_ref().and_then(|meta| meta.text(crate::claim::VERSION)).ok_or_else(missing)?;
    let mut headers = vec![
        (header::MCP_PROTOCOL_VERSION, encode(&version).into_owned()),
        (header::MCP_METHOD, encode(&call.method).into_owned()),
    ];
    headers.extend(name(call).map(|name| (header::MCP_NAME, encode(&name).into_owned())));
    Ok(headers)
}

/// The `Mcp-Param-*` headers of a `tools/call`, from its arguments. An argument that is absent or `null` has none, nor has
/// one that is an array or an object: that is for the server to refuse.
///
/// # Errors
/// [`Unmirrored`]
pub fn mirror(call: &Call<'_>, params: &[ParamHeader]) -> Result<Vec<(HeaderName, String)>, Unmirrored> {
    if params.is_empty() {
        return Ok(Vec::new());
    }
    let unread = |error: serde_json::Error| Unmirrored::Arguments(error.to_string());
    let mut headers = Vec::new();
    for (param, value) in params.iter().zip(values(call, params).map_err(unread)?) {
        let value = match Said::of(value).map_err(unread)? {
            Said::Nothing | Said::Compound => continue,
            Said::Unsafe => return Err(Unmirrored::Unsafe(param.path.join("."))),
            Said::Text(text) => encode(&text).into_owned(),
            Said::Integer(integer) => integer.to_string(),
            Said::Other(text) => text,
        };
        let name = [header::MCP_PARAM_PREFIX, &param.lower()].concat();
        let name = HeaderName::try_from(name).map_err(|_| Unmirrored::Name(param.name.clone()))?;
        if value.len() > VALUE_MAX_BYTES {
            return Err(Unmirrored::TooLong(param.path.join(".")));
        }
        headers.push((name, value));
    }
    Ok(headers)
}

/// The caller's `Mcp-Param-*` headers that `params` does not declare, to be forwarded as they came. Call it after [`check`].
#[must_use]
pub fn unrecognized(mirrors: &Mirrors, params: &[ParamHeader]) -> Vec<(HeaderName, String)> {
    let unknown = mirrors.params.iter().filter(|(name, _)| params.iter().all(|param| param.lower() != *name));
    let spelled = unknown.filter_map(|(name, value)| {
        let name = HeaderName::try_from([header::MCP_PARAM_PREFIX, name].concat()).ok()?;
        value::is_plain(value).then(|| (name, trimmed(value).to_owned()))
    });
    spelled.collect()
}

/// What `call` is about, for `Mcp-Name`: a tool, prompt, resource or task. `None` for a method without, and where the
/// parameters do not say.
#[must_use]
pub fn name<'a>(call: &Call<'a>) -> Option<Cow<'a, str>> {
    let member = name_member(&call.method)?;
    let picked = call.picked().ok()?;
    json::string(match member {
        Member::Name => picked.name,
        Member::Uri => picked.uri,
        Member::TaskId => picked.task_id,
    }?)
}

/// Why a request's headers are no mirror of its body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It has to be there.
    #[error("the header `{0}` is missing; it repeats what the body says")]
    Missing(String),
    /// Two readers may take two different ones.
    #[error("the header `{0}` comes more than once")]
    Repeated(String),
    /// It is no header value.
    #[error("the header `{0}` holds characters no header may hold, or a base64 wrapper that cannot be read")]
    Unreadable(String),
    /// They disagree.
    #[error("the header `{header}` says `{says}`, the body `{body}`")]
    Differs {
        /// The header.
        header: String,
        /// Its value, clipped.
        says: String,
        /// The value of the body, clipped.
        body: String,
    },
    /// It repeats what is not there.
    #[error("the header `{0}` repeats something the body does not say")]
    Unfounded(String),
    /// Two readers may round it differently.
    #[error("the header `{0}` belongs to an integer beyond ±(2^53 - 1)")]
    Unsafe(String),
    /// The arguments cannot be read: -32602.
    #[error("the arguments cannot be compared with headers: {0}")]
    Arguments(String),
}

impl Mismatch {
    /// The HTTP status is 400; this is the JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Arguments(_) => code::INVALID_PARAMS,
            _ => code::HEADER_MISMATCH,
        }
    }
}

/// Why the headers of a call cannot be written. A fault of its arguments: -32602.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmirrored {
    /// They are no JSON that means one thing.
    #[error("the arguments cannot be read: {0}")]
    Arguments(String),
    /// It may not be sent in a header.
    #[error("the argument `{0}` must be an integer within ±(2^53 - 1)")]
    Unsafe(String),
    /// No server would take it.
    #[error("the argument `{0}` is longer than the 8192 bytes a header has for it")]
    TooLong(String),
    /// No annotation that [`params_of`] read.
    #[error("`{0}` is no name of a header")]
    Name(String),
}

fn compare(header: String, said: Option<Cow<'_, str>>, argument: Said<'_>) -> Result<(), Mismatch> {
    let differs = |header, says: &str, body: &str| {
        Err(Mismatch::Differs { header, says: clip(says).to_owned(), body: clip(body).to_owned() })
    };
    match (argument, said) {
        (Said::Nothing | Said::Compound, None) => Ok(()),
        (Said::Nothing | Said::Compound, Some(_)) => Err(Mismatch::Unfounded(header)),
        (_, None) => Err(Mismatch::Missing(header)),
        (Said::Unsafe, Some(_)) => Err(Mismatch::Unsafe(header)),
        (Said::Text(text), Some(said)) if said == text => Ok(()),
        (Said::Text(text), Some(said)) => differs(header, &said, &text),
        (Said::Integer(integer), Some(said)) if value::is_integer(&said, integer) => Ok(()),
        (Said::Integer(integer), Some(said)) => differs(header, &said, &integer.to_string()),
        (Said::Other(text), Some(said)) if said == text || value::is_same_number(&said, &text) => Ok(()),
        (Said::Other(text), Some(said)) => differs(header, &said, &text),
    }
}

fn required(name: HeaderName, values: &[String]) -> Result<&str, Mismatch> {
    once(name.clone(), values)?.ok_or_else(|| Mismatch::Missing(name.to_string()))
}

fn once(name: HeaderName, values: &[String]) -> Result<Option<&str>, Mismatch> {
    match values {
        [] => Ok(None),
        [value] => Ok(Some(trimmed(value))),
        _ => Err(Mismatch::Repeated(name.to_string())),
    }
}

fn agrees(name: HeaderName, says: &str, body: &str) -> Result<(), Mismatch> {
    if says == body {
        return Ok(());
    }
    Err(Mismatch::Differs { header: name.to_string(), says: clip(says).to_owned(), body: clip(body).to_owned() })
}

/// The values of `params` among the arguments of `call`, read strictly on the way to them.
fn values<'a>(call: &Call<'a>, params: &[ParamHeader]) -> Result<Vec<Option<&'a RawValue>>, serde_json::Error> {
    let arguments = call.picked()?.arguments;
    let mut firsts: Vec<&str> = params.iter().filter_map(|param| param.path.first().map(String::as_str)).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let mut found = vec![None; firsts.len()];
    if let Some(arguments) = arguments.filter(|raw| is_object(raw)) {
        json::pick_into(arguments.get(), &firsts, &mut found)?;
    }
    let mut values = Vec::with_capacity(params.len());
    for param in params {
        let (first, rest) = param.path.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        let at = firsts.binary_search(&first).ok();
        values.push(match at.and_then(|at| found.get(at).copied().flatten()) {
            Some(raw) => descend(raw, rest)?,
            None => None,
        });
    }
    Ok(values)
}

fn descend<'a>(raw: &'a RawValue, path: &[String]) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let mut raw = raw;
    for key in path {
        let [next] = if is_object(raw) { json::pick(raw.get(), &[key.as_str()])? } else { [None] };
        let Some(next) = next else { return Ok(None) };
        raw = next;
    }
    Ok(Some(raw))
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

const fn name_member(method: &str) -> Option<Member> {
    match method.as_bytes() {
        b"tools/call" | b"prompts/get" => Some(Member::Name),
        b"resources/read" => Some(Member::Uri),
        b"tasks/get" | b"tasks/update" | b"tasks/cancel" => Some(Member::TaskId),
        _ => None,
    }
}

enum Member {
    Name,
    Uri,
    TaskId,
}

/// What servers take at least, of all headers together.
const VALUE_MAX_BYTES: usize = 8192;

#[cfg(test)]
mod tests;
