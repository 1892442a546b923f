//! How do the two transports of legacy revisions meet? HTTP+SSE (MCP 2024-11-05 basic/transports) on one side, Streamable
//! HTTP (MCP 2025-03-26 and later) on the other.
//!
//! In HTTP+SSE a session is one stream: its first event, `endpoint`, says where the client POSTs its messages, each is
//! answered 202, everything the server says comes on the stream, and with the stream the session ends.
//!
//! | façade | looks like | in front of |
//! |---|---|---|
//! | [`Streamable`] | a Streamable HTTP server | an HTTP+SSE server |
//! | [`Sse`] | an HTTP+SSE server | a Streamable HTTP server |

pub mod endpoint;
mod sse;
mod streamable;
mod turn;

pub use self::{
    sse::{Sse, Terms as SseTerms},
    streamable::{Streamable, Terms as StreamableTerms},
};
