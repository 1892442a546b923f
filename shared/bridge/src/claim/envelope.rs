//! How is a message put into the modern era, and how is it taken out of it?

use mcp::{
    Body, Message, Revision,
    jsonrpc::{self, Malformed},
    meta,
};

use crate::level::Level;

/// `body` as a request or notification of a modern revision: the members of `params._meta` that say so are set to
/// `terms`, whatever they were. Everything else stays as it was spelled.
///
/// # Errors
/// [`Unfit`]
pub fn envelope(body: &str, terms: &Terms<'_>) -> Result<String, Unfit> {
    let revision = format!("\"{}\"", terms.revision);
    let level = terms.log_level.map(|level| format!("\"{}\"", level.as_str()));
    let mut set = vec![(VERSION, revision.as_str()), (CAPABILITIES, terms.capabilities)];
    set.extend(terms.client_info.map(|info| (CLIENT_INFO, info)));
    set.extend(level.as_deref().map(|level| (LOG_LEVEL, level)));
    edit(body, |key| ![VERSION, CAPABILITIES, CLIENT_INFO, LOG_LEVEL].contains(&key), &set)
}

/// `body` without the members of `params._meta` that the protocol reserved in 2026-07-28 (`io.modelcontextprotocol/*`).
/// The progress token, the trace and everybody else's members stay as they were spelled (MCP reference 1.4.2, row 3).
///
/// # Errors
/// [`Unfit`]
pub fn without_envelope(body: &str) -> Result<String, Unfit> {
    edit(body, |key| !key.starts_with(RESERVED), &[])
}

/// What a request to a modern server says of its client.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The revision it speaks.
    pub revision: Revision,
    /// `clientCapabilities`: a JSON object.
    pub capabilities: &'a str,
    /// `clientInfo`: a JSON object.
    pub client_info: Option<&'a str>,
    /// From which level on it wants `notifications/message`; none without.
    pub log_level: Option<Level>,
}

/// Why a message has no envelope.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is no JSON-RPC.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its parameters cannot be read.
    #[error("the parameters cannot be read: {0}")]
    Params(#[from] serde_json::Error),
    /// Responses and batches do not exist between modern peers.
    #[error("only a single request or notification has an envelope")]
    Kind,
}

fn edit(body: &str, keep: impl Fn(&str) -> bool, set: &[(&str, &str)]) -> Result<String, Unfit> {
    match jsonrpc::parse(body.as_bytes())? {
        Body::Single(Message::Request(call) | Message::Notification(call)) => Ok(meta::edit(&call, keep, set)?),
        _ => Err(Unfit::Kind),
    }
}

/// `params._meta`: the revision of a request. Its presence is the claim to be modern.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// `params._meta`: what the client of a request can do.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `params._meta`: which program the client of a request is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `params._meta`: from which level on the client of a request wants log messages.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

const RESERVED: &str = "io.modelcontextprotocol/";
