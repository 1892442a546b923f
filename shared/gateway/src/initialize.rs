//! Where does a new session go? To the first instance that answers; what it agreed on becomes the session's row.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use mcp::{Body, Revision, header as mcp_header, sse};
use session::{Row, Ticket};
use upstream::{Negotiated, Outbound};

use crate::{
    answer::{Screened, is_type, response},
    draft::Draft,
    meter::Next,
    pipeline::{Cleared, traced},
    platform::{Answer, Platform, Unanswered},
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Opens a session at an instance of the server and hands its answer back under a session id of the gateway's own.
    pub(crate) async fn initialize(
        &self,
        cleared: &Cleared,
        body: &Body<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let text = traced(body, &draft.trace)?;
        let trace = draft.trace.clone();
        let first = self.first_answer(cleared, &trace, text.into());
        let (instance, answer) = self.decided(cleared, draft, first).await??;
        let answer = match self.screen(answer).await {
            Ok(Screened::Native(answer)) => answer,
            Ok(Screened::Read(status, head, body)) => return Ok(self.finished(draft, status, &head, body)),
            Err(Refusal::Lost(detail)) => return Err(Refusal::Garbage(detail)),
            Err(refusal) => return Err(refusal),
        };
        let (head, stream) = answer.response.into_parts();
        let (bytes, negotiated) = self.read_answer(cleared, &head.headers, stream).await?;
        let ticket = match negotiated {
            Negotiated::Agreed(revision) => {
                let upstream_id = head.headers.get(mcp_header::MCP_SESSION_ID);
                Some(self.open_at(cleared, &instance, upstream_id, revision).await?)
            }
            Negotiated::Refused => None,
        };
        let ending = draft.ending().opened(ticket.as_ref(), &instance);
        let entry = ending.clone().entry(self.platform.now(), head.status, "complete", bytes.len() as u64);
        self.gather(ending.chain, entry);
        Ok(opened(head.status, &head.headers, bytes, ticket.as_ref()))
    }

    /// The first instance that answers, healthy ones first. An instance that cannot be reached has carried nothing out,
    /// and a session opened twice does no harm, so trying the next one is safe.
    async fn first_answer(
        &self,
        cleared: &Cleared,
        trace: &telemetry::TraceContext,
        body: Bytes,
    ) -> Result<(String, Answer<P::Body>), Refusal> {
        let server = cleared.server();
        let secret = self.credential(server.secret.as_deref())?;
        let traceparent = trace.traceparent();
        let mut failure = String::new();
        let order = self.order(&server.instances);
        for instance in order.iter().take(INSTANCES_TRIED) {
            let outbound = Outbound {
                url: instance,
                session_id: None,
                revision: cleared.admitted.revision.map(Revision::as_str),
                last_event_id: None,
                secret: secret.as_deref(),
                trace: (&traceparent, trace.tracestate()),
            };
            let request = upstream::request(Method::POST, &outbound, body.clone());
            let request = request.map_err(|error| Refusal::Internal(error.to_string()))?;
            match self.platform.send(request, server.timeout).await {
                Ok(answer) => {
                    self.memory.0.borrow_mut().health.answered(instance);
                    return Ok((instance.clone(), answer));
                }
                Err(Unanswered::Deadline(deadline)) => {
                    self.memory.0.borrow_mut().health.failed(instance, self.platform.now());
                    return Err(Refusal::Deadline(deadline.as_millis()));
                }
                Err(Unanswered::Broken(detail)) => {
                    self.memory.0.borrow_mut().health.failed(instance, self.platform.now());
                    failure = format!("{failure}{instance}: {detail}; ");
                }
            }
        }
        Err(Refusal::Unreachable(failure))
    }

    fn order(&self, instances: &[String]) -> Vec<String> {
        let order = self.memory.0.borrow_mut().health.order(instances, self.platform.now());
        order.into_iter().map(str::to_owned).collect()
    }

    /// The answer's bytes up to the message that settles the session, and what it settles.
    async fn read_answer(
        &self,
        cleared: &Cleared,
        headers: &HeaderMap,
        mut stream: P::Body,
    ) -> Result<(Bytes, Negotiated), Refusal> {
        let silence = cleared.server().timeout;
        let is_stream = is_type(headers, mcp_header::TEXT_EVENT_STREAM);
        let mut events = sse::Parser::new(ANSWER_MAX_BYTES);
        let mut bytes = Vec::new();
        loop {
            match self.next(&mut stream, silence).await {
                Next::Data(data) if bytes.len() + data.len() <= ANSWER_MAX_BYTES => bytes.extend_from_slice(&data),
                Next::Data(_) => return Err(Refusal::Garbage("its answer to `initialize` is too large".to_owned())),
                Next::End if is_stream => return Err(Refusal::Garbage("it sent no answer to `initialize`".to_owned())),
                Next::End => break,
                Next::Broken(detail) => return Err(Refusal::Broken(detail)),
                Next::Silence => return Err(Refusal::Deadline(silence.as_millis())),
            }
            let tail = if is_stream { bytes.get(events.read_bytes()..).unwrap_or_default() } else { &[] };
            let fresh = events.push(tail).map_err(|error| Refusal::Garbage(error.to_string()))?;
            if let Some(negotiated) = fresh.iter().find_map(|event| upstream::negotiated(&event.data)) {
                return Ok((bytes.into(), negotiated));
            }
        }
        let text = std::str::from_utf8(&bytes).ok();
        let negotiated = text.and_then(upstream::negotiated);
        let negotiated = negotiated.ok_or_else(|| Refusal::Garbage("its answer to `initialize` is none".to_owned()))?;
        Ok((bytes.into(), negotiated))
    }

    async fn open_at(
        &self,
        cleared: &Cleared,
        instance: &str,
        upstream_id: Option<&HeaderValue>,
        revision: Revision,
    ) -> Result<Ticket, Refusal> {
        let server = cleared.server();
        let upstream_id = upstream_id.map(|id| id.to_str().map(str::to_owned)).transpose();
        let upstream_id = upstream_id.ok().filter(|id| id.as_ref().is_none_or(|id| id.len() <= SESSION_ID_MAX_BYTES));
        let row = Row {
            instance: instance.to_owned(),
            upstream_id: upstream_id.ok_or_else(|| Refusal::Garbage("its session id is unusable".to_owned()))?,
            revision,
            secret: server.secret.clone(),
            idle_ms: u64::try_from(server.idle.as_millis()).unwrap_or(u64::MAX),
        };
        self.open(&cleared.principal, server, row).await
    }
}

fn opened<B: From<Bytes>>(
    status: StatusCode,
    headers: &HeaderMap,
    bytes: Bytes,
    ticket: Option<&Ticket>,
) -> Response<B> {
    let length = HeaderValue::from(bytes.len());
    let mut response = response(status, headers, B::from(bytes));
    response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
    if let Some(id) = ticket.and_then(|ticket| HeaderValue::try_from(ticket.id()).ok()) {
        response.headers_mut().insert(mcp_header::MCP_SESSION_ID, id);
    }
    response
}

/// Workers allow six connections at once; a caller should not wait for more.
const INSTANCES_TRIED: usize = 4;
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
const SESSION_ID_MAX_BYTES: usize = 512;
