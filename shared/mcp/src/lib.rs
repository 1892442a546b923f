//! The wire of the Model Context Protocol: what a message is, which revision it belongs to, how headers and events
//! are spelled.
//!
//! Nothing here decides anything. Every other crate under `shared/` speaks in these words.

pub mod canonical;
pub mod definition;
pub mod digest;
pub mod header;
pub mod json;
pub mod jsonrpc;
pub mod meta;
pub mod page;
pub mod params;
pub mod revision;
pub mod sse;
pub mod time;

pub use jsonrpc::{Body, Call, Message, Reply};
pub use revision::Revision;
pub use time::Timestamp;
