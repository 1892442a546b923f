//! What of the oldest transport is the gateway's to do? HTTP+SSE (MCP 2024-11-05) of instances is found out, that of
//! callers led through the same path as everything else; [`bridge::old`] does the rest.

mod caller;
mod instance;

pub(crate) use instance::Transport;
