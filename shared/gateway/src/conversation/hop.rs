//! What does the server behind answer? Read message by message, and told to the façade.

use std::{cell::RefCell, collections::BTreeMap, pin::pin, rc::Rc, time::Duration};

use bridge::{
    facade::{End, Hop, Method, Request},
    old::endpoint,
};
use futures_channel::{mpsc::UnboundedSender, oneshot};
use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};
use mcp::{
    Body, header as mcp_header,
    jsonrpc::{self, Message},
    sse,
};
use telemetry::TraceContext;

use crate::{
    answer::{is_mcp, is_type},
    conversation::{
        Behind, MESSAGE_MAX_BYTES,
        behind::Found,
        driver::{Came, Heard},
    },
    meter::Next,
    platform::{Abort, Platform},
    serve::Gateway,
};

/// What all hops of a conversation share.
#[derive(Clone)]
pub(super) struct Beyond {
    pub(super) behind: Rc<Behind>,
    pub(super) inbox: UnboundedSender<Came>,
    /// The instance that has the session.
    pub(super) pinned: Rc<RefCell<Option<String>>>,
    /// The ids of what the server behind asked and was not answered yet, and on which hop: as long as there are any,
    /// it is not the server that keeps everybody waiting.
    pub(super) asked: Rc<RefCell<BTreeMap<String, Hop>>>,
    /// What the caller whose request came last authorized itself with; only ever for the gateway's own endpoint.
    pub(super) authorization: Option<String>,
}

/// An answer that is cut off when nobody reads it to its end.
struct Cut(Option<Abort>);

impl Beyond {
    pub(super) fn tell(&self, came: Came) {
        let _ = self.inbox.unbounded_send(came);
    }

    /// What was asked on `hop` cannot be answered any more.
    pub(super) fn forget(&self, hop: Hop) {
        self.asked.borrow_mut().retain(|_, asked| *asked != hop);
    }

    fn heard(&self, hop: Hop, heard: Heard) {
        self.tell(Came::Heard(hop, heard));
    }

    /// Takes note of what `body` from behind asks.
    fn note(&self, hop: Hop, body: &Body<'_>) {
        let mut asked = self.asked.borrow_mut();
        for message in body.messages() {
            if let Message::Request(call) = message
                && let Some(id) = call.id
                && asked.len() < ASKED_MAX
            {
                asked.insert(id.get().to_owned(), hop);
            }
        }
    }

    /// Takes note of what `body` to behind answers.
    fn note_answers(&self, body: &str) {
        if self.asked.borrow().is_empty() {
            return;
        }
        let Ok(body) = jsonrpc::parse(body.as_bytes()) else { return };
        for message in body.messages() {
            if let Message::Response(reply) = message
                && let Some(id) = reply.id
            {
                self.asked.borrow_mut().remove(id.get());
            }
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(abort) = self.0.take() {
            abort.abort();
        }
    }
}

impl<P: Platform> Gateway<P> {
    /// Sends `request` and tells what becomes of it, until that is over or cut off.
    pub(super) async fn hop(&self, request: Request, beyond: Beyond, trace: TraceContext, cut: oneshot::Receiver<()>) {
        let end = match select(pin!(self.ask_behind(&request, &beyond, &trace)), cut).await {
            Either::Left((end, _)) => end,
            Either::Right(_) => End::Aborted,
        };
        beyond.heard(request.hop, Heard::Ended(end));
    }

    async fn ask_behind(&self, request: &Request, beyond: &Beyond, trace: &TraceContext) -> End {
        beyond.note_answers(&request.body);
        let Found { reached, stream_idle } = match self.behind((request, trace), beyond).await {
            Ok(found) => found,
            Err(end) => return end,
        };
        let (head, body) = reached.answer.response.into_parts();
        let mut cut = Cut(Some(reached.answer.abort));
        let end = match session_id(&head.headers) {
            Ok(session_id) => {
                let status = head.status.as_u16();
                beyond.heard(request.hop, Heard::Answered { status, session_id });
                // The stream of a GET stays quiet for as long as there is nothing to say.
                let silence = if request.method == Method::Get { None } else { Some(stream_idle) };
                self.read_behind((head.status, &head.headers, body), silence, request.hop, beyond).await
            }
            Err(end) => end,
        };
        if end == End::Complete {
            cut.0 = None;
        }
        end
    }

    async fn read_behind(
        &self,
        (status, headers, body): (StatusCode, &HeaderMap, P::Body),
        silence: Option<Duration>,
        hop: Hop,
        beyond: &Beyond,
    ) -> End {
        match status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => return End::Complete,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                if !matches!(*beyond.behind, Behind::Endpoint(_)) =>
            {
                return End::Garbage(format!("it refused the gateway's own credential with {status}"));
            }
            _ if status.is_redirection() => return End::Garbage(format!("it redirects with {status}")),
            _ => {}
        }
        if status.is_success() && is_type(headers, mcp_header::TEXT_EVENT_STREAM) {
            return self.read_said(body, silence, hop, beyond).await;
        }
        let max_bytes = if status.is_success() { MESSAGE_MAX_BYTES } else { FAILURE_MAX_BYTES };
        let bytes = match self.read_all(body, max_bytes, silence, beyond).await {
            Ok(bytes) => bytes,
            // What a failure says beside its status matters little.
            Err(End::Garbage(_)) if !status.is_success() => return End::Complete,
            Err(end) => return end,
        };
        match jsonrpc::parse(&bytes) {
            Ok(_) if status.is_success() && !is_mcp(headers) => {
                End::Garbage(format!("{status} without an MCP content type"))
            }
            Ok(body) => {
                beyond.note(hop, &body);
                let data = String::from_utf8_lossy(&bytes).into_owned();
                beyond.heard(hop, Heard::Said(sse::Event { data, ..sse::Event::default() }));
                End::Complete
            }
            Err(_) if bytes.is_empty() || !status.is_success() => End::Complete,
            Err(malformed) => End::Garbage(malformed.to_string()),
        }
    }

    async fn read_said(&self, mut body: P::Body, silence: Option<Duration>, hop: Hop, beyond: &Beyond) -> End {
        let mut parser = sse::Parser::new(MESSAGE_MAX_BYTES);
        loop {
            let piece = match self.next_owed(&mut body, silence, beyond).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return End::Complete,
                Err(end) => return end,
            };
            let events = match parser.push(&piece) {
                Ok(events) => events,
                Err(too_large) => return End::Garbage(too_large.to_string()),
            };
            for event in events {
                if let (endpoint::EVENT, Behind::Stream { instance, .. }) = (event.name.as_str(), &*beyond.behind) {
                    match endpoint::path_and_query(instance, &event.data) {
                        Ok(path_and_query) => beyond.heard(hop, Heard::Pointed(path_and_query)),
                        Err(refused) => {
                            self.platform.log(&format!("`{instance}`: {refused}"));
                            return End::Garbage(refused.to_string());
                        }
                    }
                }
                if !matches!(event.name.as_str(), "" | "message") {
                    continue;
                }
                if !event.data.is_empty() {
                    match jsonrpc::parse(event.data.as_bytes()) {
                        Ok(body) => beyond.note(hop, &body),
                        Err(malformed) => return End::Garbage(malformed.to_string()),
                    }
                }
                beyond.heard(hop, Heard::Said(event));
            }
        }
    }

    async fn read_all(
        &self,
        mut body: P::Body,
        max_bytes: usize,
        silence: Option<Duration>,
        beyond: &Beyond,
    ) -> Result<Vec<u8>, End> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next_owed(&mut body, silence, beyond).await? {
            if bytes.len() + piece.len() > max_bytes {
                return Err(End::Garbage(format!("its answer is larger than {max_bytes} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The next piece. Silence is only counted while the server behind owes something.
    async fn next_owed(
        &self,
        body: &mut P::Body,
        silence: Option<Duration>,
        beyond: &Beyond,
    ) -> Result<Option<bytes::Bytes>, End> {
        loop {
            match self.next(body, silence.unwrap_or(QUIET)).await {
                Next::Data(piece) => return Ok(Some(piece)),
                Next::End => return Ok(None),
                Next::Broken(detail) => return Err(End::Broken(detail)),
                Next::Silence if silence.is_none() || !beyond.asked.borrow().is_empty() => {}
                Next::Silence => {
                    let silence_ms = silence.unwrap_or_default().as_millis();
                    return Err(End::Silent(u64::try_from(silence_ms).unwrap_or(u64::MAX)));
                }
            }
        }
    }
}

/// The session id of the server behind.
fn session_id(headers: &HeaderMap) -> Result<Option<String>, End> {
    let Some(id) = headers.get(mcp_header::MCP_SESSION_ID) else { return Ok(None) };
    match id.to_str() {
        Ok(id) if id.len() <= SESSION_ID_MAX_BYTES => Ok(Some(id.to_owned())),
        _ => Err(End::Garbage("its session id is unusable".to_owned())),
    }
}

const FAILURE_MAX_BYTES: usize = 64 * 1024;
const SESSION_ID_MAX_BYTES: usize = 512;
const ASKED_MAX: usize = 1024;
/// How often a stream that may be quiet is looked at.
const QUIET: Duration = Duration::from_secs(3600);
