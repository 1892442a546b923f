//! Who holds what has to wait? A live object hosts one façade of [`bridge::facade`], for as long as anybody needs it.
//!
//! The façade decides and this module does: it keeps the callers' channels open, sends what the façade sends, brings
//! the answers message by message, and wakes it. One task drives it ([`driver`]); callers and answers reach that task
//! through its inbox, so that the façade is never borrowed across an await. Only the gateway's own binding leads here.
//!
//! ```text
//! request ──▶ host ──▶ inbox ──▶ driver ──▶ façade
//!    ◀── channel ◀────────────────┘  └──▶ hop ──▶ what is behind
//!                          ▲── answered, said, ended ──┘
//! ```

mod behind;
mod channel;
mod driver;
mod hop;
mod old;
mod terms;

use std::{cell::RefCell, pin::pin, rc::Rc, time::Duration};

use bridge::facade::{self, Channel};
use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_util::{
    Stream,
    future::{Either, select},
    stream,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mcp::{header as mcp_header, jsonrpc::code, sse};
use serde_json::json;

use crate::{
    answer,
    config::Config,
    conversation::{
        channel::{Exit, Inlet, Leaving},
        driver::{Asked, Came, Driver},
    },
    platform::{Platform, Unread},
    serve::{self, Gateway},
};

pub use terms::{Behind, Face, TERMS, Terms};

/// One live object's conversation: nobody's until it is asked for the first time, and again once it has rested.
#[derive(Clone, Default)]
pub struct Conversation(Rc<RefCell<Door>>);

/// How requests come in.
#[derive(Default)]
struct Door {
    inbox: Option<mpsc::UnboundedSender<Came>>,
    last_channel: u64,
    is_busy: bool,
}

/// Why a request is not heard. Only the gateway asks, so this is for its operator.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("the terms of the conversation cannot be read: {0}")]
    Terms(String),
    #[error("the configuration cannot be read: {0}")]
    Config(String),
    #[error("the method `{0}` is not one of the conversation")]
    Method(Method),
    #[error("the request cannot be read: {0}")]
    Body(#[from] Unread),
    #[error("the request is not text")]
    Text,
    #[error("the conversation ended before it answered")]
    Ended,
    #[error("the answer cannot be spelled: {0}")]
    Answer(#[from] header::InvalidHeaderValue),
}

impl Conversation {
    /// Whether a façade is there.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.borrow().inbox.is_some()
    }

    /// Whether somebody waits, or something is parked: its place must not be given up.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let door = self.0.borrow();
        door.inbox.is_some() && door.is_busy
    }

    fn busy(&self, is_busy: bool) {
        self.0.borrow_mut().is_busy = is_busy;
    }

    fn number(&self) -> Channel {
        let mut door = self.0.borrow_mut();
        door.last_channel += 1;
        Channel(door.last_channel)
    }
}

impl<P: Platform> Gateway<P> {
    /// Answers `request`, which [`Platform::converse`] brought, in its conversation.
    pub async fn host(&self, conversation: &Conversation, request: Request<P::Body>) -> Response<P::Body> {
        self.heard(conversation, request).await.unwrap_or_else(|unheard| {
            self.platform.log(&format!("conversation: {unheard}"));
            let error =
                json!({ "code": code::INTERNAL_ERROR, "message": "the gateway cannot carry this out at the moment" });
            let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
            serve::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        })
    }

    async fn heard(
        &self,
        conversation: &Conversation,
        request: Request<P::Body>,
    ) -> Result<Response<P::Body>, Unheard> {
        let (head, body) = request.into_parts();
        let terms = Terms::read(&head.headers).map_err(Unheard::Terms)?;
        let bytes = match head.method {
            Method::POST => self.platform.whole(body, MESSAGE_MAX_BYTES).await?,
            Method::GET | Method::DELETE => Bytes::new(),
            method => return Err(Unheard::Method(method)),
        };
        let asked = Asked::of(&head, String::from_utf8(bytes.into()).map_err(|_| Unheard::Text)?);
        let config = self.config().await.map_err(|failure| Unheard::Config(failure.to_string()))?;
        let inbox = self.enter(conversation, &config, terms);
        let channel = conversation.number();
        let (exit, head) = oneshot::channel();
        let leaving = Leaving::new(channel, inbox.clone());
        inbox.unbounded_send(Came::Asked(channel, asked, Exit::Waiting(exit))).map_err(|_| Unheard::Ended)?;
        match head.await.map_err(|_| Unheard::Ended)? {
            channel::Head::Whole(answer) => whole(answer),
            channel::Head::Open(inlet, session_id) => self.opened((inlet, leaving), session_id.as_deref()),
        }
    }

    /// The way to the façade, which is made if it is not there.
    fn enter(&self, conversation: &Conversation, config: &Config, terms: Terms) -> mpsc::UnboundedSender<Came> {
        if let Some(inbox) = &conversation.0.borrow().inbox {
            return inbox.clone();
        }
        let idle = terms.idle(config, P::LIFE);
        let (inbox, arrivals) = mpsc::unbounded();
        conversation.0.borrow_mut().inbox = Some(inbox.clone());
        let driver = Driver::new(terms.facade(P::LIFE), terms.behind, idle, (inbox.clone(), arrivals));
        let (gateway, conversation) = (self.clone(), conversation.clone());
        self.platform.defer(async move { gateway.drive(driver, conversation).await });
        inbox
    }

    fn opened(
        &self,
        (inlet, leaving): (Inlet, Leaving),
        session_id: Option<&str>,
    ) -> Result<Response<P::Body>, Unheard> {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mcp_header::TEXT_EVENT_STREAM));
        let body = self.platform.body(self.pieces(inlet, leaving));
        let mut response = answer::response(StatusCode::OK, &headers, body);
        say_session(&mut response, session_id)?;
        Ok(response)
    }

    /// What is said, and a comment now and then while nothing is; tells `leaving` when it is dropped.
    fn pieces(&self, inlet: Inlet, leaving: Leaving) -> impl Stream<Item = Bytes> + use<P> {
        let reading = (inlet, leaving, self.platform.clone(), FIRST_QUIET);
        stream::unfold(reading, |(mut inlet, leaving, platform, quiet)| async move {
            let next = match select(pin!(inlet.next()), pin!(platform.pause(quiet))).await {
                Either::Left((piece, _)) => Some(piece?),
                Either::Right(_) => None,
            };
            let (piece, quiet) = match next {
                Some(piece) => (piece, FIRST_QUIET),
                None => (Bytes::from_static(sse::HEARTBEAT.as_bytes()), (quiet * 2).min(QUIET_MAX)),
            };
            Some((piece, (inlet, leaving, platform, quiet)))
        })
    }
}

/// An answer that is there whole.
fn whole<B: From<Bytes>>(answer: facade::Answer) -> Result<Response<B>, Unheard> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match answer.message {
        Some(message) => serve::known(status, mcp_header::APPLICATION_JSON, message.into()),
        None => {
            let mut response = Response::new(B::from(Bytes::new()));
            *response.status_mut() = status;
            response
        }
    };
    say_session(&mut response, answer.session_id.as_deref())?;
    Ok(response)
}

fn say_session<B>(response: &mut Response<B>, session_id: Option<&str>) -> Result<(), Unheard> {
    if let Some(session_id) = session_id {
        response.headers_mut().insert(mcp_header::MCP_SESSION_ID, HeaderValue::from_str(session_id)?);
    }
    Ok(())
}

/// How long a stream is quiet before a comment shows whether anybody reads it; twice as long each time after that. So it
/// shows soon where little time has passed, and where much has it takes little more.
const FIRST_QUIET: Duration = Duration::from_secs(1);
const QUIET_MAX: Duration = Duration::from_secs(15);
/// The largest message that is read, from either side.
const MESSAGE_MAX_BYTES: usize = 4 * 1024 * 1024;
