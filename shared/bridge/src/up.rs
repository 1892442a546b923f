//! How does a legacy caller use a modern server?
//!
//! `Up` is the other end of one legacy session: it answers `initialize`, gives out an id, has streams and asks its caller
//! back, while the server behind knows nothing of all that (MCP 2025-11-25 in front, 2026-07-28 behind).

mod asking;
mod call;
mod content;
mod events;
mod exchange;
mod failure;
mod listening;
mod opening;
mod request;
mod result;
mod schema;
mod session;
mod streams;
mod terms;
mod turn;

use std::borrow::Cow;

use mcp::{
    Timestamp,
    jsonrpc::{self, Body, Message, code},
};

use crate::{
    facade::{Action, Answer, Channel, End, Event, Facade, Hop, Life, Moment},
    text,
};

pub(crate) use self::failure::reason;
pub use self::{
    asking::{QUESTIONS_MAX, Question, Unaskable, Wanted, answer, responses, wanted},
    failure::{error, object},
    opening::{Opening, capabilities, forgetful, opening},
    request::{Envelope, Round, request},
    result::{Outcome, Schema, failed, result},
    terms::{Offers, SPELLED_MAX_BYTES, Serves, Terms, answered, bridged},
};
use self::{
    session::{Session, refuse},
    turn::{Hops, Turn},
};

/// A legacy server, with one session, in front of a modern one.
///
/// The session's terms are spelled in its id, so that an `Up` that was forgotten is rebuilt by the next event that brings
/// it. Forgotten then are the log level, subscriptions, undelivered events and calls under way: a caller that resumes the
/// stream of such a call is told that its answer is lost.
#[derive(Debug, Default)]
pub struct Up {
    life: Life,
    phase: Phase,
    hops: Hops,
    /// The time that was asked for.
    wakes_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
enum Phase {
    /// No session was agreed on, or it is not known here.
    #[default]
    New,
    /// The server behind is asked what it can do.
    Opening(Asked),
    /// A session, and its id.
    Open(Box<Session>, String),
    /// It was ended.
    Over,
}

/// An `initialize` that is not answered yet.
#[derive(Debug)]
struct Asked {
    channel: Channel,
    /// The caller's id: a JSON text.
    id: String,
    terms: Terms,
    hop: Hop,
    status: Option<u16>,
}

impl Facade for Up {
    fn handle(&mut self, event: Event<'_>, moment: &Moment) -> Vec<Action> {
        let mut turn = Turn::new(moment);
        match event {
            Event::Posted { channel, body, session_id } => self.posted(channel, body, session_id, &mut turn),
            Event::Listened { channel, last_event_id, session_id } => {
                if let Some(session) = self.session(channel, session_id, &mut turn) {
                    session.listened(channel, last_event_id, &mut turn);
                }
            }
            Event::Deleted { channel, session_id } => {
                if let Some(session) = self.session(channel, session_id, &mut turn) {
                    session.close(&mut turn);
                    turn.answer(channel, 200, None);
                    self.phase = Phase::Over;
                }
            }
            Event::Left { channel } => self.left(channel, &mut turn),
            Event::Answered { hop, status, .. } => match &mut self.phase {
                Phase::Opening(asked) if asked.hop == hop => asked.status = Some(status),
                Phase::Open(session, _) => session.answered(hop, status),
                _ => {}
            },
            Event::Said { hop, message, .. } => self.said(hop, message, &mut turn),
            // Of another transport.
            Event::Pointed { .. } => {}
            Event::Ended { hop, end } => self.ended(hop, &end, &mut turn),
            Event::Woken => self.woken(&mut turn),
        }
        self.arm(&mut turn);
        turn.actions
    }

    fn is_idle(&self) -> bool {
        match &self.phase {
            Phase::New | Phase::Over => true,
            Phase::Opening(_) => false,
            Phase::Open(session, _) => session.is_idle(),
        }
    }

    /// Ends all that is under way: the host cannot go on with it.
    fn farewell(&mut self) -> Vec<Action> {
        // Nothing is begun any more: neither the time nor anything random counts.
        let mut turn = Turn::new(&Moment { now: Timestamp::default(), random: [0; 32] });
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::New | Phase::Over => {}
            Phase::Opening(asked) => {
                turn.abort(asked.hop);
                let error = text::error(&asked.id, code::INTERNAL_ERROR, "the session has ended", None);
                turn.answer(asked.channel, 200, Some(error));
            }
            Phase::Open(mut session, _) => session.close(&mut turn),
        }
        turn.actions
    }
}

impl Up {
    /// One that has no session yet: it waits for `initialize`, or for an event of the session it had.
    #[must_use]
    pub fn new(life: Life) -> Self {
        Self { life, ..Self::default() }
    }

    fn posted(&mut self, channel: Channel, body: &str, session_id: Option<&str>, turn: &mut Turn) {
        if session_id.is_none()
            && let Ok(Body::Single(Message::Request(call))) = jsonrpc::parse(body.as_bytes())
            && call.method == "initialize"
        {
            return self.initialize(channel, &call, turn);
        }
        if let Some(session) = self.session(channel, session_id, turn) {
            session.posted(channel, body, turn);
        }
    }

    fn initialize(&mut self, channel: Channel, call: &jsonrpc::Call<'_>, turn: &mut Turn) {
        let id = call.id.map_or("null", |id| id.get());
        if !matches!(self.phase, Phase::New) {
            let error = text::error(id, code::INVALID_REQUEST, "this session was initialized before", None);
            return turn.answer(channel, 400, Some(error));
        }
        let terms = match Terms::of_initialize(call.params.map_or("{}", |params| params.get())) {
            Ok(terms) if self.life == Life::Request => Terms { capabilities: "{}".to_owned(), ..terms },
            Ok(terms) => terms,
            Err(unreadable) => {
                let error = text::error(id, code::INVALID_PARAMS, &unreadable.to_string(), None);
                return turn.answer(channel, 200, Some(error));
            }
        };
        let hop = self.hops.next();
        let envelope = Envelope::new(&terms, None);
        if let Ok(body) = request(&hop.0.to_string(), "server/discover", None, &envelope, Round::default()) {
            turn.send(hop, body);
        }
        self.phase = Phase::Opening(Asked { channel, id: id.to_owned(), terms, hop, status: None });
    }

    /// The session that `session_id` names, rebuilt if it was forgotten; otherwise the caller is refused.
    fn session(&mut self, channel: Channel, session_id: Option<&str>, turn: &mut Turn) -> Option<&mut Session> {
        let Some(session_id) = session_id else {
            refuse(channel, code::REFUSED, "`Mcp-Session-Id` is missing: send `initialize` first", turn);
            return None;
        };
        if matches!(self.phase, Phase::New)
            && let Some(terms) = Terms::read(session_id)
        {
            let session = Session::new(terms, self.hops, turn.epoch());
            self.phase = Phase::Open(Box::new(session), session_id.to_owned());
        }
        match &mut self.phase {
            Phase::Open(session, id) if id == session_id => Some(session),
            _ => {
                let error = text::error("null", code::SESSION_NOT_FOUND, "there is no such session", None);
                turn.answer(channel, 404, Some(error));
                None
            }
        }
    }

    fn left(&mut self, channel: Channel, turn: &mut Turn) {
        match &mut self.phase {
            Phase::Open(session, _) => session.left(channel, turn),
            Phase::Opening(asked) if asked.channel == channel => {
                turn.abort(asked.hop);
                self.phase = Phase::New;
            }
            _ => {}
        }
    }

    fn said(&mut self, hop: Hop, message: &str, turn: &mut Turn) {
        match &mut self.phase {
            Phase::Open(session, _) => session.said(hop, message, turn),
            Phase::Opening(asked) if asked.hop == hop => {
                if let Ok(Body::Single(Message::Response(reply))) = jsonrpc::parse(message.as_bytes()) {
                    self.discovered(&reply, turn);
                }
            }
            _ => {}
        }
    }

    fn discovered(&mut self, reply: &jsonrpc::Reply<'_>, turn: &mut Turn) {
        let Phase::Opening(Asked { channel, id, mut terms, .. }) = std::mem::take(&mut self.phase) else { return };
        let opened = match (reply.result, reply.error) {
            (Some(result), _) => self
                .remembered(result.get())
                .and_then(|discovered| opening(&discovered, terms.revision))
                .map_err(|_| object(code::INTERNAL_ERROR, "the server's discovery cannot be read")),
            (None, Some(error)) => Err(self::error("server/discover", error.get(), terms.revision)),
            (None, None) => return,
        };
        match opened {
            Ok(opened) => {
                terms.serves = opened.serves;
                let session_id = terms.spell();
                let message = Some(text::response(&id, &opened.result));
                turn.act(Action::Answer(Answer {
                    channel,
                    status: 200,
                    message,
                    session_id: Some(session_id.clone()),
                }));
                self.phase = Phase::Open(Box::new(Session::new(terms, self.hops, turn.epoch())), session_id);
            }
            Err(error) => turn.answer(channel, 200, Some(text::raw_error(&id, &error))),
        }
    }

    /// What can be offered of `discovered`.
    fn remembered<'a>(&self, discovered: &'a str) -> Result<Cow<'a, str>, text::Unreadable> {
        match self.life {
            Life::Conversation => Ok(Cow::Borrowed(discovered)),
            Life::Request => forgetful(discovered).map(Cow::Owned),
        }
    }

    fn ended(&mut self, hop: Hop, end: &End, turn: &mut Turn) {
        match &mut self.phase {
            Phase::Open(session, _) => session.ended(hop, end, turn),
            Phase::Opening(asked) if asked.hop == hop => {
                let reason = failure::reason(end, asked.status);
                let error = text::error(&asked.id, code::INTERNAL_ERROR, &reason, None);
                turn.answer(asked.channel, 200, Some(error));
                self.phase = Phase::New;
            }
            _ => {}
        }
    }

    fn woken(&mut self, turn: &mut Turn) {
        self.wakes_at = None;
        if let Phase::Open(session, _) = &mut self.phase {
            session.woken(turn);
        }
    }

    /// Asks to be woken, unless that is sooner already: an early wake does no harm.
    fn arm(&mut self, turn: &mut Turn) {
        let Phase::Open(session, _) = &self.phase else { return };
        let Some(due) = session.due_at() else { return };
        if self.wakes_at.is_none_or(|at| due < at) {
            self.wakes_at = Some(due);
            turn.act(Action::Wake(due));
        }
    }
}
