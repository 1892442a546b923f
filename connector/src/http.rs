//! What does a request ask for, and how is it answered? Streamable HTTP (MCP 2025-11-25
//! basic/transports, 2026-07-28 basic/transports/streamable-http).

mod gate;
mod refusal;
mod reply;
mod stateless;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body as HttpBody, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bridge::claim::{self, Claim};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use mcp::header::Mirrors;
use mcp::jsonrpc::code;
use mcp::{Body, Message};
use tokio::time::timeout;

use self::gate::Gate;
use self::refusal::Refusal;
use crate::config::{Era, Limits};
use crate::ending::Ending;
use crate::fleet::{Fleet, NotStarted};
use crate::modern::Modern;
use crate::router::Takes;
use crate::secret::Secret;
use crate::session::Session;

/// The connector's endpoints over `fleet`, behind `secret`.
pub fn app(fleet: Arc<Fleet>, limits: Limits, secret: Secret, reach: Reach) -> Router {
    let gate = Arc::new(Gate { secret, reach });
    Router::new()
        .route("/{server}/mcp", post(take_message).get(listen).delete(end_session))
        .fallback(async || {
            Refusal::new(StatusCode::NOT_FOUND, code::REFUSED, "there is nothing here; use /{server}/mcp")
        })
        .layer(axum::middleware::from_fn_with_state(gate, gate::pass))
        .route("/healthz", get(async || "ok"))
        .with_state(Served { fleet, limits })
}

/// Who can reach the address the connector listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This machine only: a request for another host was tricked into coming here.
    Loopback,
    /// Other machines as well.
    Beyond,
}

#[derive(Clone)]
struct Served {
    fleet: Arc<Fleet>,
    limits: Limits,
}

async fn take_message(
    State(served): State<Served>,
    Path(server): Path<String>,
    headers: HeaderMap,
    body: HttpBody,
) -> Result<Response, Refusal> {
    let modern = served.modern(&server)?;
    gate::check_post(&headers)?;
    let body = read_body(body, served.limits.max_message_bytes).await?;
    let parsed = mcp::jsonrpc::parse(&body)?;
    let mirrors = Mirrors::of(&headers).map_err(|excess| Refusal::invalid(&excess.to_string()))?;
    match claim::classify(&parsed, &mirrors) {
        Ok(Claim::Modern(_)) => stateless::serve(modern, &parsed, &mirrors).await,
        Ok(Claim::Legacy) => legacy_message(&served, &server, &headers, &body, parsed).await,
        Err(refused) => Err(stateless::refuse(modern, &parsed, refused).await),
    }
}

async fn legacy_message(
    served: &Served,
    server: &str,
    headers: &HeaderMap,
    body: &Bytes,
    parsed: Body<'_>,
) -> Result<Response, Refusal> {
    gate::check_version(headers)?;
    if let Some(session) = served.session(server, headers)? {
        return session_message(&session, body, parsed, served.limits).await;
    }
    match parsed {
        Body::Single(message) if is_initialize(&message) => {
            let id = request_id(&message);
            let started = served.fleet.initialize(server, body, message).await;
            let started = started.map_err(|problem| Refusal::from(problem).of_request(id))?;
            Ok(reply::initialized(&started))
        }
        _ => Err(Refusal::no_session_id()),
    }
}

async fn session_message(
    session: &Arc<Session>,
    body: &Bytes,
    parsed: Body<'_>,
    limits: Limits,
) -> Result<Response, Refusal> {
    let (messages, shape) = match parsed {
        Body::Single(message) => (vec![message], reply::Shape::Single),
        Body::Batch(messages) if session.revision().is_some_and(mcp::Revision::allows_batch) => {
            (messages, reply::Shape::Batch)
        }
        Body::Batch(_) => return Err(Refusal::invalid("this session's revision has no batches; send one message")),
    };
    let id = messages.first().and_then(request_id);
    if messages.iter().any(is_initialize) {
        return Err(Refusal::invalid("this session is initialized already").of_request(id));
    }
    let posted = session.post(body, &messages, Takes::Related).await;
    match posted.map_err(|problem| Refusal::from(problem).of_request(id))? {
        Some(exchange) => Ok(reply::exchange(exchange, shape, limits.max_message_bytes).await),
        None => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

async fn listen(
    State(served): State<Served>,
    Path(server): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    served.check_sessions(&server)?;
    gate::check_get(&headers)?;
    let session = served.session(&server, &headers)?.ok_or_else(Refusal::no_session_id)?;
    Ok(reply::listening(session.listen()?))
}

async fn end_session(
    State(served): State<Served>,
    Path(server): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    served.check_sessions(&server)?;
    gate::check_version(&headers)?;
    let session = served.session(&server, &headers)?.ok_or_else(Refusal::no_session_id)?;
    session.end(Ending::Deleted);
    Ok(StatusCode::OK)
}

impl Served {
    fn modern(&self, server: &str) -> Result<&Arc<Modern>, Refusal> {
        let unknown = || NotStarted::UnknownServer(mcp::json::clip(server).to_owned()).into();
        self.fleet.modern(server).ok_or_else(unknown)
    }

    /// Whether `server` may have sessions.
    fn check_sessions(&self, server: &str) -> Result<(), Refusal> {
        match self.modern(server).map(|_| self.fleet.era(server))? {
            Some(Era::Modern) => Err(Refusal::no_sessions()),
            _ => Ok(()),
        }
    }

    /// The session a request names; `None` if it names none.
    fn session(&self, server: &str, headers: &HeaderMap) -> Result<Option<Arc<Session>>, Refusal> {
        let Some(id) = headers.get(mcp::header::MCP_SESSION_ID) else { return Ok(None) };
        let session = id.to_str().ok().and_then(|id| self.fleet.session(server, id));
        session.map(Some).ok_or_else(Refusal::unknown_session)
    }
}

async fn read_body(body: HttpBody, max_bytes: usize) -> Result<Bytes, Refusal> {
    let read = timeout(BODY_TIMEOUT, to_bytes(body, max_bytes)).await;
    let read = read.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, code::REFUSED, "the body took too long"))?;
    read.map_err(|error| {
        let is_too_large = std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>());
        if is_too_large { Refusal::too_large(max_bytes) } else { Refusal::invalid("the body could not be read") }
    })
}

fn is_initialize(message: &Message<'_>) -> bool {
    matches!(message, Message::Request(call) if call.method == "initialize")
}

fn request_id(message: &Message<'_>) -> Option<Box<str>> {
    match message {
        Message::Request(call) => call.id.map(|id| id.get().into()),
        _ => None,
    }
}

const BODY_TIMEOUT: Duration = Duration::from_secs(30);
