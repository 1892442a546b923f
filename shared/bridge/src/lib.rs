//! What does the other side understand? The revisions a request and an upstream speak, and what lies between them.
//!
//! Today every legacy revision is relayed as it is; a caller that claims a modern one is told so in a way that makes a
//! dual-era client fall back to `initialize` (MCP 2026-07-28 basic/versioning, Backward Compatibility).

pub mod claim;
pub mod down;
pub mod facade;
pub mod federation;
pub mod probe;
pub mod routing;
pub mod seal;
pub mod text;
pub mod up;

use mcp::meta::Params;

/// The caller speaks a stateless revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this endpoint speaks MCP 2024-11-05 to 2025-11-25; send `initialize` first")]
pub struct Modern;

/// Whether a call is one of a legacy revision: its body decides, not its headers.
///
/// # Errors
/// [`Modern`]
pub fn legacy(params: &Params<'_>) -> Result<(), Modern> {
    match &params.meta {
        Some(meta) if meta.has(CLAIM) => Err(Modern),
        _ => Ok(()),
    }
}

/// The `_meta` member by which a request claims a modern revision.
const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
