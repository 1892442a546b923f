//! How do a server's messages become the body of an answer: one JSON value, or a stream of events?

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use mcp::Message;
use mcp::header::{APPLICATION_JSON, MCP_SESSION_ID, TEXT_EVENT_STREAM};
use mcp::jsonrpc::code;
use mcp::sse::{Event, HEARTBEAT};
use serde::Deserialize;
use tokio::time::timeout;

use crate::fleet::Started;
use crate::modern;
use crate::router::Part;
use crate::session::{Exchange, Listening};

/// What the body of the POST was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One message: one message answers it.
    Single,
    /// A batch: an array answers it.
    Batch,
}

/// The server's response to `initialize`, with the session it began.
pub(super) fn initialized(started: &Started) -> Response {
    let headers = [(CONTENT_TYPE, APPLICATION_JSON), (MCP_SESSION_ID, started.id.as_str())];
    (headers, started.response.clone()).into_response()
}

/// The answer to a POST: JSON if the responses are the first thing the server says, else a stream. Responses of a
/// batch are gathered up to `max_bytes`.
pub(super) async fn exchange(mut exchange: Exchange, shape: Shape, max_bytes: usize) -> Response {
    let mut gathered = VecDeque::new();
    let mut bytes = 0;
    loop {
        let Some(outbound) = exchange.next().await else { break };
        bytes += outbound.message.len();
        gathered.push_back(outbound.message);
        match outbound.part {
            Part::Last => return json(&gathered, shape),
            Part::Response if bytes <= max_bytes => {}
            Part::Response | Part::Related => break,
        }
    }
    events(unfold((gathered, exchange), async |(mut gathered, mut exchange)| {
        let piece = match gathered.pop_front() {
            Some(message) => event(&message),
            None => match timeout(HEARTBEAT_EVERY, exchange.next()).await {
                Ok(outbound) => event(&outbound?.message),
                Err(_) => Bytes::from_static(HEARTBEAT.as_bytes()),
            },
        };
        Some((Ok(piece), (gathered, exchange)))
    }))
}

/// The answer to a modern request: its first message decides the status. `None` where there is none.
pub(super) async fn stateless(mut exchange: modern::Exchange) -> Option<Response> {
    let first = exchange.next().await?;
    if first.part == Part::Last {
        let headers = [(CONTENT_TYPE, APPLICATION_JSON)];
        return Some((status_of(&first.message), headers, first.message).into_response());
    }
    Some(events(unfold((Some(first), exchange), async |(first, mut exchange)| {
        let piece = match first {
            Some(first) => event(&first.message),
            None => match timeout(HEARTBEAT_EVERY, exchange.next()).await {
                Ok(outbound) => event(&outbound?.message),
                Err(_) => Bytes::from_static(HEARTBEAT.as_bytes()),
            },
        };
        Some((Ok(piece), (None, exchange)))
    })))
}

/// The HTTP status of a modern response (MCP 2026-07-28 basic/transports/streamable-http, Error Handling).
fn status_of(response: &Bytes) -> StatusCode {
    #[derive(Deserialize)]
    struct Error {
        code: i64,
    }
    let Ok(mcp::Body::Single(Message::Response(reply))) = mcp::jsonrpc::parse(response) else { return StatusCode::OK };
    let error = reply.error.and_then(|error| serde_json::from_str::<Error>(error.get()).ok());
    match error.map(|error| error.code) {
        Some(code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// The GET stream.
pub(super) fn listening(listening: Listening) -> Response {
    events(unfold(listening, async |mut listening| {
        let piece = match timeout(HEARTBEAT_EVERY, listening.next()).await {
            Ok(message) => event(&message?),
            Err(_) => Bytes::from_static(HEARTBEAT.as_bytes()),
        };
        Some((Ok(piece), listening))
    }))
}

fn json(messages: &VecDeque<Bytes>, shape: Shape) -> Response {
    let body = match (shape, messages.front()) {
        (Shape::Single, Some(message)) => message.clone(),
        _ => {
            let messages: Vec<&[u8]> = messages.iter().map(AsRef::as_ref).collect();
            [b"[".as_slice(), &messages.join(b",".as_slice()), b"]"].concat().into()
        }
    };
    ([(CONTENT_TYPE, APPLICATION_JSON)], body).into_response()
}

fn events(pieces: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let headers = [
        (CONTENT_TYPE, TEXT_EVENT_STREAM),
        (CACHE_CONTROL, "no-cache"),
        (axum::http::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// A message has been parsed, so it is UTF-8.
fn event(message: &Bytes) -> Bytes {
    Event::message(&String::from_utf8_lossy(message)).encode().into()
}

/// How long a stream may be quiet.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
