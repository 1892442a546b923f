//! What does one server say, where many are asked? Its result, nothing, or why it is missing.

use std::collections::BTreeMap;

use mcp::{
    Body, Message,
    jsonrpc::{self, code},
};

use super::cache::Scope;
use crate::text::{self, Members, ResultType};

/// One server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Whose.
    pub server: &'a str,
    /// The JSON-RPC response, or why there is none.
    pub said: Result<&'a str, Reason>,
}

/// Why a server's entries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It could not be reached, or its circuit is open.
    Unreachable,
    /// It took too long.
    Timeout,
    /// It does not take the gateway's credential.
    Unauthorized,
    /// It answered with an error.
    Error,
    /// Its answer cannot be read.
    Unreadable,
    /// Its answer, or its cursor, is too large to be carried.
    TooLarge,
}

impl Reason {
    /// As the note spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Error => "error",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
        }
    }
}

/// What of a part counts.
pub(super) enum Heard<'a> {
    /// Its result.
    Result(Members<'a>),
    /// It has none of what was asked for.
    Nothing,
    /// Its entries are missing.
    Missing(Reason),
}

impl<'a> Part<'a> {
    pub(super) fn hear(&self) -> Heard<'a> {
        let text = match self.said {
            Ok(text) => text,
            Err(reason) => return Heard::Missing(reason),
        };
        let Ok(Body::Single(Message::Response(reply))) = jsonrpc::parse(text.as_bytes()) else {
            return Heard::Missing(Reason::Unreadable);
        };
        if let Some(error) = reply.error {
            let is_unknown = Members::parse(error.get())
                .is_ok_and(|error| error.raw("code") == Some(&code::METHOD_NOT_FOUND.to_string()));
            return if is_unknown { Heard::Nothing } else { Heard::Missing(Reason::Error) };
        }
        match reply.result.map(|result| Members::parse(result.get())) {
            Some(Ok(result)) if text::result_type(&result) == ResultType::Complete => Heard::Result(result),
            _ => Heard::Missing(Reason::Unreadable),
        }
    }
}

/// How long an answer made of parts holds, for whom, and whose entries it lacks.
pub(super) struct Merged {
    ttl_ms: Option<u64>,
    scope: Scope,
    missing: BTreeMap<String, Reason>,
}

impl Merged {
    pub(super) const fn new(scope: Scope) -> Self {
        Self { ttl_ms: None, scope, missing: BTreeMap::new() }
    }

    /// Takes a part's result in.
    pub(super) fn take(&mut self, result: &Members<'_>) {
        let ttl_ms = ttl_ms(result);
        self.ttl_ms = Some(self.ttl_ms.map_or(ttl_ms, |least| least.min(ttl_ms)));
        self.scope = self.scope.max(Scope::of(result));
    }

    pub(super) fn miss(&mut self, server: &str, reason: Reason) {
        self.missing.insert(server.to_owned(), reason);
    }

    /// The servers whose entries are missing, by name.
    pub(super) fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.keys().map(String::as_str)
    }

    /// Writes it into the answer. One that lacks something holds for no time.
    pub(super) fn seal(&self, result: &mut Members<'_>, server_info: &str) {
        let ttl_ms = if self.missing.is_empty() { self.ttl_ms.unwrap_or_default() } else { 0 };
        result.set("ttlMs", ttl_ms.to_string());
        result.set("cacheScope", text::quoted(self.scope.as_str()));
        let mut meta = Members::new();
        meta.set(text::key::SERVER_INFO, server_info.to_owned());
        if !self.missing.is_empty() {
            let notes = self.missing.iter().map(|(server, reason)| {
                let (server, reason) = (text::quoted(server), text::quoted(reason.as_str()));
                ["{\"server\":", &server, ",\"reason\":", &reason, "}"].concat()
            });
            meta.set(UNAVAILABLE, text::array(notes));
        }
        result.set("_meta", meta.write());
    }
}

/// How long a result holds: nothing said, or nonsense, is no time (MCP 2026-07-28 server/utilities/caching).
pub(super) fn ttl_ms(result: &Members<'_>) -> u64 {
    result.raw("ttlMs").and_then(|raw| raw.parse().ok()).unwrap_or_default()
}

/// Where in a result's `_meta` the note stands: an array of `{"server": …, "reason": …}`.
pub const UNAVAILABLE: &str = "turnpike/unavailable";
