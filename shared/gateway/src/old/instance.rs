//! Which transport does an instance speak? Found out as clients do: it refuses to be POSTed `initialize`, and the stream a
//! GET opens begins with `endpoint` (MCP 2025-03-26 basic/transports, Backwards Compatibility). Nothing is configured.
//!
//! Whatever leads to such an instance, a session of a caller's, the gateway's own or a façade's, meets a façade in its
//! place, which has the session: so nobody else has to know.

use std::time::Duration;

use bridge::{
    facade::Life,
    old::{StreamableTerms, endpoint},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use mcp::{Body, Message, Revision, digest, header as mcp_header, jsonrpc, sse};
use serde_json::json;

use crate::{
    answer::is_type,
    apart::apart,
    conversation::{Behind, Face, Terms},
    course::Made,
    instances::{Missed, Way},
    meter::Next,
    platform::{Answer, Departure, Platform, Unanswered},
    relay::CONVERSATION,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Sends `departure` to the instance of `way`, or to the façade in front of it.
    pub(crate) async fn send_in_its_transport(
        &self,
        way: Way<'_>,
        departure: Departure,
    ) -> Result<Answer<P::Body>, Unanswered> {
        if let Some(session) = session(departure.head.headers()) {
            return apart(self.send_to_facade(way, session, departure.into())).await;
        }
        let is_opening = P::LIFE == Life::Conversation && is_initialize(&departure);
        let opening = is_opening.then(|| Request::from(departure.clone()));
        let known = self.known_transport(way.instance);
        if let (Some(opening), Some(Transport::Sse)) = (&opening, known) {
            return apart(self.begin_in_facade(way, opening.clone())).await;
        }
        let answer = self.platform.send(departure, way.server.timeout).await?;
        let status = answer.response.status();
        let is_refused =
            matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        let Some(opening) = opening.filter(|_| is_refused && known.is_none()) else { return Ok(answer) };
        let transport = apart(self.look(way, &opening)).await;
        let known_ms = if transport == Transport::Sse { KNOWN_MS } else { DOUBTED_MS };
        let until = self.platform.now().plus_millis(known_ms);
        self.memory.0.borrow_mut().transports.insert(way.instance.to_owned(), (transport, until));
        match transport {
            Transport::Sse => apart(self.begin_in_facade(way, opening)).await,
            Transport::Streamable => Ok(answer),
        }
    }

    fn known_transport(&self, instance: &str) -> Option<Transport> {
        let known = self.memory.0.borrow().transports.get(instance).copied();
        known.filter(|(_, until)| *until > self.platform.now()).map(|(transport, _)| transport)
    }

    /// Begins a session. What fails may have another reason next time: the instance is looked at anew.
    async fn begin_in_facade(&self, way: Way<'_>, request: Request<Bytes>) -> Result<Answer<P::Body>, Unanswered> {
        let session = format!("{SESSION}{}", digest::hex(&self.platform.random()));
        let answer = self.send_to_facade(way, session, request).await;
        if !answer.as_ref().is_ok_and(|answer| answer.response.status().is_success()) {
            self.memory.0.borrow_mut().transports.remove(way.instance);
        }
        answer
    }

    async fn send_to_facade(
        &self,
        way: Way<'_>,
        session: String,
        mut request: Request<Bytes>,
    ) -> Result<Answer<P::Body>, Unanswered> {
        // The façade is given the gateway's credential by its host.
        request.headers_mut().remove(header::AUTHORIZATION);
        *request.uri_mut() = Uri::from_static(CONVERSATION);
        let made = made(way, session);
        match self.converse(way.server, &made, request).await {
            Ok(reached) => Ok(reached.answer),
            Err(Missed::Unanswered(unanswered)) => Err(unanswered),
            Err(Missed::Shut { .. } | Missed::Full { .. }) => {
                Err(Unanswered::Broken("the conversation is busy".to_owned()))
            }
        }
    }

    /// How the stream begins that a GET opens.
    async fn look(&self, way: Way<'_>, opening: &Request<Bytes>) -> Transport {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = opening.uri().clone();
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(mcp_header::TEXT_EVENT_STREAM));
        if let Some(authorization) = opening.headers().get(header::AUTHORIZATION) {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let Ok(answer) = self.platform.send(request.into(), way.server.timeout.min(LOOK_MAX)).await else {
            return Transport::Streamable;
        };
        let (head, mut body) = answer.response.into_parts();
        let is_stream = head.status == StatusCode::OK && is_type(&head.headers, mcp_header::TEXT_EVENT_STREAM);
        let points = is_stream && self.begins_with_endpoint(&mut body).await;
        answer.abort.abort();
        if points { Transport::Sse } else { Transport::Streamable }
    }

    async fn begins_with_endpoint(&self, body: &mut P::Body) -> bool {
        let mut parser = sse::Parser::new(EVENT_MAX_BYTES);
        while parser.read_bytes() <= EVENT_MAX_BYTES {
            let Next::Data(data) = self.next(body, LOOK_MAX).await else { return false };
            let Ok(events) = parser.push(&data) else { return false };
            if let Some(first) = events.iter().find(|event| !event.data.is_empty()) {
                return first.name == endpoint::EVENT;
            }
        }
        false
    }
}

/// How an instance carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP+SSE.
    Sse,
    /// Streamable HTTP, as far as one can tell.
    Streamable,
}

/// The façade of one session. Its name is of this server and this instance: no other can lead there.
fn made(way: Way<'_>, session: String) -> Made {
    let parts = json!([way.server.name, way.instance, session]);
    let name = digest::hex(&digest::sha256(parts.to_string().as_bytes()));
    let behind = Behind::Stream { server: way.server.name.clone(), instance: way.instance.to_owned() };
    let terms = Terms { face: Face::Streamable(StreamableTerms { session_id: session }), behind };
    Made { name: format!("old-{name}"), terms }
}

/// The session of a façade that a request with these headers belongs to.
fn session(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(mcp_header::MCP_SESSION_ID)?.to_str().ok()?;
    id.starts_with(SESSION).then(|| id.to_owned())
}

fn is_initialize(Departure { head, body, .. }: &Departure) -> bool {
    let headers = head.headers();
    let revision =
        headers.get(mcp_header::MCP_PROTOCOL_VERSION).and_then(|value| Revision::parse(value.to_str().ok()?));
    let may_be = head.method() == Method::POST
        && !headers.contains_key(mcp_header::MCP_SESSION_ID)
        && revision.is_none_or(Revision::is_legacy);
    may_be && matches!(jsonrpc::parse(body), Ok(Body::Single(Message::Request(call))) if call.method == "initialize")
}

/// How the ids of such sessions begin; a server's own that begins so harms nobody but itself.
const SESSION: &str = "turnpike-sse-";
/// A server may learn another.
const KNOWN_MS: u64 = 24 * 60 * 60 * 1000;
/// What refuses one `initialize` may only have disliked that one.
const DOUBTED_MS: u64 = 60_000;
/// `endpoint` comes at once.
const LOOK_MAX: Duration = Duration::from_secs(3);
const EVENT_MAX_BYTES: usize = 64 * 1024;
