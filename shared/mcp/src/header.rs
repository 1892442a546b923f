//! How are the headers of the protocol spelled?

use http::HeaderName;

/// The session a request belongs to (MCP 2025-11-25 basic/transports, Session Management).
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision a request speaks (MCP 2025-06-18 basic/transports, Protocol Version Header).
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The last event a resuming stream has seen (HTML Standard, server-sent events).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// W3C Trace Context §3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context §3.3.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A single JSON-RPC message, or a batch of them.
pub const APPLICATION_JSON: &str = "application/json";
/// A stream of events that each carry one JSON-RPC message.
pub const TEXT_EVENT_STREAM: &str = "text/event-stream";
