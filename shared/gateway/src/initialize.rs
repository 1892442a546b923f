//! Where does a new session go? To the first instance that answers; what it agreed on becomes the session's row.

use std::rc::Rc;

use bridge::probe;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use mcp::{Body, Revision, header as mcp_header, sse};
use quota::answer::Measured;
use registry::{EraSetting, Server};
use session::{Route, Row, Ticket};
use upstream::{Departure, Negotiated, Outbound};

use crate::{
    answer::{Screened, is_type, response},
    config::Config,
    course::Made,
    draft::Draft,
    instances::{Missed, Reached, Way},
    meter::Next,
    pipeline::{Cleared, traced},
    platform::{Platform, Unanswered},
    refusal::Refusal,
    relay::CONVERSATION,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Opens a session at an instance of the server and hands its answer back under a session id of the gateway's own. In
    /// front of a server that has no sessions, a façade keeps it.
    pub(crate) async fn initialize(
        &self,
        cleared: &Cleared<'_>,
        body: &Body<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let text = Bytes::from(traced(body, &draft.trace)?);
        let trace = draft.trace.clone();
        let opening = Opening { trace: &trace, revision: cleared.passing.revision, body: text };
        if self.has_no_sessions(cleared.server()) {
            return self.open_facade(cleared, opening, draft).await;
        }
        let first = self.first_answer(cleared.passing.config(), cleared.server(), opening.clone());
        let (instance, reached) = self.decided(cleared, draft, first).await??;
        let reached = match self.screen_alone(reached).await {
            Ok(Screened::Native(reached)) => reached,
            Ok(Screened::Read(status, _, body)) if probe::refuses_initialize(status.as_u16(), text_of(&body)) => {
                self.learn_no_sessions(cleared.server());
                return self.open_facade(cleared, opening, draft).await;
            }
            Ok(Screened::Read(status, head, body)) => return Ok(self.finished(draft, status, &head, body)),
            Err(Refusal::Lost(detail)) => return Err(Refusal::Garbage(detail)),
            Err(refusal) => return Err(refusal),
        };
        let ticket = self.mint(cleared.passing.principal(), cleared.server()).await?;
        self.begun(cleared, (&ticket, &instance, Facade::Absent), reached, draft).await
    }

    /// Opens a session with the façade that speaks legacy in front of a modern server.
    async fn open_facade(
        &self,
        cleared: &Cleared<'_>,
        opening: Opening<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let server = cleared.server();
        let ticket = self.mint(cleared.passing.principal(), server).await?;
        let made = Made::up(&ticket, server, cleared.passing.arrival.aim.federated.as_deref());
        let request = opening.departure(CONVERSATION, None)?.into();
        let reached = match draft.is_decided() {
            true => self.converse(server, &made, request).await,
            false => self.decided(cleared, draft, self.converse(server, &made, request)).await?,
        }?;
        match self.screen_alone(reached).await? {
            Screened::Native(reached) => {
                let instance = server.instances.first().map_or("", String::as_str);
                self.begun(cleared, (&ticket, instance, Facade::Present), reached, draft).await
            }
            Screened::Read(status, head, body) => Ok(self.finished(draft, status, &head, body)),
        }
    }

    /// Hands the answer to `initialize` back; the session is open if it says so.
    async fn begun(
        &self,
        cleared: &Cleared<'_>,
        (ticket, instance, facade): (&Ticket, &str, Facade),
        reached: Reached<P::Body>,
        draft: &Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let (head, stream) = reached.answer.response.into_parts();
        let (bytes, negotiated) = self.read_answer(cleared.server(), &head.headers, stream).await?;
        let ticket = match negotiated {
            Negotiated::Agreed(revision) => {
                let client = cleared.passing.said.client.clone();
                let mut row = row(cleared.server(), instance, &head.headers, (revision, client))?;
                row.is_bridged = facade == Facade::Present;
                self.open(ticket, row).await?;
                Some(ticket)
            }
            Negotiated::Refused => None,
        };
        let ending = draft.ending().opened(ticket, instance);
        self.ended(ending, (head.status, "complete"), bytes.len() as u64, &Measured::default());
        Ok(opened(head.status, &head.headers, bytes, ticket))
    }

    /// Whether `server` is known to want no `initialize`.
    fn has_no_sessions(&self, server: &Server) -> bool {
        let now = self.platform.now();
        let known = self.memory.0.borrow().without_sessions.get(&server.name).copied();
        server.era == EraSetting::Modern || known.is_some_and(|until| until > now)
    }

    fn learn_no_sessions(&self, server: &Server) {
        let until = self.platform.now().plus_millis(NO_SESSIONS_MS);
        self.memory.0.borrow_mut().without_sessions.insert(server.name.clone(), until);
    }

    /// Opens a session of the gateway's own, which no caller shares.
    pub(crate) async fn own_session(&self, config: &Config, server: &Server) -> Result<Rc<Route>, Refusal> {
        let trace = telemetry::TraceContext::child_of(None, &self.platform.random());
        let opening = Opening { trace: &trace, revision: None, body: Bytes::from_static(OWN_INITIALIZE) };
        let (instance, reached) = self.first_answer(config, server, opening).await?;
        let Screened::Native(reached) = self.screen(reached).await? else {
            return Err(Refusal::Garbage("it refuses to begin a session".to_owned()));
        };
        let (head, stream) = reached.answer.response.into_parts();
        match self.read_answer(server, &head.headers, stream).await? {
            (_, Negotiated::Agreed(revision)) => {
                let row = row(server, &instance, &head.headers, (revision, None))?;
                let route = Route::of(session::Reply::Open(row));
                route.map(Rc::new).ok_or_else(|| Refusal::Internal("a session that is open has no route".to_owned()))
            }
            (_, Negotiated::Refused) => Err(Refusal::Garbage("it refuses to begin a session".to_owned())),
        }
    }

    /// The first instance that answers, sound ones first. An instance that cannot be reached has carried nothing out,
    /// and a session opened twice does no harm, so trying the next one is safe.
    async fn first_answer(
        &self,
        config: &Config,
        server: &Server,
        opening: Opening<'_>,
    ) -> Result<(String, Reached<P::Body>), Refusal> {
        let secret = self.credential(server.secret.as_deref()).await?;
        let (mut failure, mut missed) = (String::new(), None);
        for instance in self.order(&server.instances).iter().take(INSTANCES_TRIED) {
            let departure = opening.departure(instance, secret.as_deref())?;
            match self.reach(Way::once(config, server, instance), departure).await {
                Ok(reached) => return Ok((instance.clone(), reached)),
                Err(Missed::Unanswered(Unanswered::Broken(detail))) => {
                    failure = format!("{failure}{instance}: {detail}; ")
                }
                Err(late @ Missed::Unanswered(Unanswered::Deadline(_))) => return Err(late.into()),
                Err(other) => missed = Some(other),
            }
        }
        Err(match missed {
            Some(missed) if failure.is_empty() => missed.into(),
            _ => Refusal::Unreachable(failure),
        })
    }

    /// The instances, sound ones first.
    pub(crate) fn order(&self, instances: &[String]) -> Vec<String> {
        let order = self.memory.0.borrow_mut().circuits.order(instances, self.platform.now());
        order.into_iter().map(str::to_owned).collect()
    }

    /// The answer's bytes up to the message that settles the session, and what it settles.
    async fn read_answer(
        &self,
        server: &Server,
        headers: &HeaderMap,
        mut stream: P::Body,
    ) -> Result<(Bytes, Negotiated), Refusal> {
        let silence = server.timeout;
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
}

/// What a session is opened with.
#[derive(Clone)]
struct Opening<'a> {
    trace: &'a telemetry::TraceContext,
    revision: Option<Revision>,
    body: Bytes,
}

impl Opening<'_> {
    fn departure(&self, url: &str, secret: Option<&str>) -> Result<Departure, Refusal> {
        let outbound = Outbound {
            url,
            session_id: None,
            revision: self.revision.map(Revision::as_str),
            last_event_id: None,
            secret,
        };
        let head = outbound.head(Method::POST).map_err(|error| Refusal::Internal(error.to_string()))?;
        let (trace, body) = (Some(self.trace.spelled()), self.body.clone());
        Ok(Departure { head: Rc::new(head), trace, body, may_pass_on: false })
    }
}

/// Whether one stands between caller and server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Facade {
    Present,
    Absent,
}

fn text_of(body: &Bytes) -> &str {
    std::str::from_utf8(body).unwrap_or_default()
}

fn row(
    server: &Server,
    instance: &str,
    headers: &HeaderMap,
    (revision, client): (Revision, Option<String>),
) -> Result<Row, Refusal> {
    let upstream_id = headers.get(mcp_header::MCP_SESSION_ID).map(|id| id.to_str().map(str::to_owned)).transpose();
    let upstream_id = upstream_id.ok().filter(|id| id.as_ref().is_none_or(|id| id.len() <= SESSION_ID_MAX_BYTES));
    Ok(Row {
        instance: instance.to_owned(),
        upstream_id: upstream_id.ok_or_else(|| Refusal::Garbage("its session id is unusable".to_owned()))?,
        revision,
        is_bridged: false,
        client,
        secret: server.secret.clone(),
        idle_ms: u64::try_from(server.idle.as_millis()).unwrap_or(u64::MAX),
    })
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

const OWN_INITIALIZE: &[u8] = br#"{"jsonrpc":"2.0","id":"turnpike","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"turnpike","version":"0.1.0"}}}"#;
/// A server may learn to.
const NO_SESSIONS_MS: u64 = 24 * 60 * 60 * 1000;
/// Workers allow six connections at once; a caller should not wait for more.
pub(crate) const INSTANCES_TRIED: usize = 4;
const ANSWER_MAX_BYTES: usize = 1024 * 1024;
const SESSION_ID_MAX_BYTES: usize = 768;
