//! How is a request of MCP 2026-07-28 answered? By the server's modern side; where it has none, as by a server that has
//! never heard of that revision.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bridge::claim::Refused;
use mcp::header::Mirrors;
use mcp::jsonrpc::code;
use mcp::{Body, Message};

use super::refusal::Refusal;
use super::{reply, request_id};
use crate::modern::request::Request;
use crate::modern::{Modern, NotServed};

/// Serves a message whose claim holds together.
pub(super) async fn serve(modern: &Arc<Modern>, parsed: &Body<'_>, mirrors: &Mirrors) -> Result<Response, Refusal> {
    let Some(Message::Request(call)) = parsed.messages().first() else {
        modern.check().await?;
        // No client has anything to notify a server of (MCP 2026-07-28 basic/transports/streamable-http).
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let id = || call.id.map(|id| id.get().into());
    if call.method == "tools/call" {
        let checked = modern.check_headers(call, mirrors).await;
        checked.map_err(|problem| Refusal::from(problem).of_request(id()))?;
    }
    let request = Request::read(call).map_err(|unreadable| {
        Refusal::new(StatusCode::BAD_REQUEST, code::INVALID_PARAMS, unreadable.to_string()).of_request(id())
    })?;
    let exchange = modern.serve(request).await.map_err(|problem| Refusal::from(problem).of_request(id()))?;
    let cut_off = || Refusal::new(StatusCode::BAD_GATEWAY, code::INTERNAL_ERROR, "the server ended").of_request(id());
    reply::stateless(exchange).await.ok_or_else(cut_off)
}

/// How a message is refused whose claim does not hold together.
pub(super) async fn refuse(modern: &Arc<Modern>, parsed: &Body<'_>, refused: Refused) -> Refusal {
    let refusal = match modern.check().await {
        // To its caller every error that is 2026-07-28's own would say that the server speaks it.
        Err(legacy @ NotServed::Legacy(_)) => legacy.into(),
        _ => Refusal::from(refused),
    };
    match parsed {
        Body::Single(message) => refusal.of_request(request_id(message)),
        Body::Batch(_) => refusal,
    }
}
