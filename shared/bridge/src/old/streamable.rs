//! How does a caller of Streamable HTTP use a server of HTTP+SSE?
//!
//! [`Streamable`] is one session: it opens the server's stream for `initialize`, POSTs each message to the endpoint the
//! stream names, and hands what comes on it to whom it belongs: a response to its call, progress to the call with its
//! token, everything else to who listens (GET), or to the one call that is under way. When the stream ends the session
//! has: what was not answered fails, and callers begin anew.

mod calls;
mod unheard;

use std::collections::BTreeMap;

use mcp::{
    Revision, Timestamp,
    jsonrpc::{self, Body, Call, Message, Reply, code},
};
use serde::{Deserialize, Serialize};

use self::{
    calls::{Calls, Kind, Outcome},
    unheard::Unheard,
};
use super::turn::{Hops, Turn};
use crate::{
    facade::{Action, Channel, End, Event, Facade, Hop, Method, Moment, Request},
    text::{self, Members},
    up,
};

/// On what terms the session is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What the session is called: HTTP+SSE has no name for it that a client sends.
    pub session_id: String,
}

/// A Streamable HTTP server, with one session, in front of an HTTP+SSE server.
#[derive(Debug)]
pub struct Streamable {
    session_id: String,
    phase: Phase,
    hops: Hops,
    flights: BTreeMap<Hop, Flight>,
    calls: Calls,
    notices: BTreeMap<Channel, Notice>,
    listener: Option<Channel>,
    unheard: Unheard,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nobody has begun a session.
    #[default]
    New,
    /// The stream has not said yet where to POST; `initialize` waits for it.
    Opening { stream: Hop, first: (u64, String), until: Timestamp },
    /// The session goes on for as long as the stream does.
    Open { stream: Hop, endpoint: String, revision: Option<Revision> },
    /// The stream has ended, or the session.
    Over,
}

/// A request to the server whose answer is not over.
#[derive(Debug)]
struct Flight {
    purpose: Purpose,
    status: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The stream.
    Stream,
    /// A call, by its number.
    Call(u64),
    /// A message that has no answer, and who waits for it to be taken.
    Notice(Channel),
    /// Nobody waits for it.
    Courtesy,
}

/// A POST without requests.
#[derive(Debug)]
struct Notice {
    /// How many messages are not taken yet.
    owed: usize,
    /// The status of one that was not.
    refused: Option<u16>,
}

impl Facade for Streamable {
    fn handle(&mut self, event: Event<'_>, moment: &Moment) -> Vec<Action> {
        let mut turn = Turn::new(moment);
        match event {
            Event::Posted { channel, body, session_id: None } => self.begin(channel, body, &mut turn),
            Event::Posted { channel, body, session_id } => {
                if self.is_session(channel, session_id, &mut turn) {
                    self.posted(channel, body, &mut turn);
                }
            }
            Event::Listened { channel, session_id, .. } => {
                if self.is_session(channel, session_id, &mut turn) {
                    self.listened(channel, &mut turn);
                }
            }
            Event::Deleted { channel, session_id } => {
                if self.is_session(channel, session_id, &mut turn) {
                    self.end("the session was ended", &mut turn);
                    turn.answer(channel, 200, None);
                }
            }
            Event::Left { channel } => self.left(channel, &mut turn),
            Event::Answered { hop, status, .. } => self.answered(hop, status, &mut turn),
            Event::Pointed { hop, path_and_query } => self.pointed(hop, path_and_query, &mut turn),
            Event::Said { hop, message, .. } => self.said(hop, message, &mut turn),
            Event::Ended { hop, end } => self.ended(hop, &end, &mut turn),
            Event::Woken => self.woken(&mut turn),
        }
        turn.actions
    }

    fn is_idle(&self) -> bool {
        let is_opening = matches!(self.phase, Phase::Opening { .. });
        !is_opening && self.calls.is_empty() && self.notices.is_empty() && self.listener.is_none()
    }

    /// Ends the stream, and with it the session.
    fn farewell(&mut self) -> Vec<Action> {
        let mut turn = Turn::at(Timestamp::default());
        self.end("the session has ended", &mut turn);
        turn.actions
    }
}

impl Streamable {
    /// One that waits for `initialize`.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            session_id: terms.session_id,
            phase: Phase::New,
            hops: Hops::default(),
            flights: BTreeMap::new(),
            calls: Calls::default(),
            notices: BTreeMap::new(),
            listener: None,
            unheard: Unheard::default(),
        }
    }

    /// A message without a session: `initialize`, or it is refused.
    fn begin(&mut self, channel: Channel, body: &str, turn: &mut Turn) {
        let call = match jsonrpc::parse(body.as_bytes()) {
            Ok(Body::Single(Message::Request(call))) if call.method == "initialize" => call,
            Ok(_) => return turn.refuse(channel, 400, code::REFUSED, "send `initialize` first: there is no session"),
            Err(malformed) => return turn.refuse(channel, 400, malformed.code(), &malformed.to_string()),
        };
        if !matches!(self.phase, Phase::New) {
            return turn.refuse(channel, 400, code::INVALID_REQUEST, "this session was initialized before");
        }
        let exchange = self.calls.begin(channel, Kind::Initialize(self.session_id.clone()), 1);
        let Some(first) = self.calls.add(exchange, &call) else { return };
        let stream = self.send(Purpose::Stream, (Method::Get, String::new()), turn);
        let until = turn.now.plus_millis(OPENING_MAX_MS);
        self.phase = Phase::Opening { stream, first, until };
        turn.wake(until);
    }

    /// Whether `session_id` is the session's, and goes on; otherwise `channel` is answered.
    fn is_session(&self, channel: Channel, session_id: Option<&str>, turn: &mut Turn) -> bool {
        let is_known = session_id == Some(self.session_id.as_str()) && matches!(self.phase, Phase::Open { .. });
        match session_id {
            None => turn.refuse(channel, 400, code::REFUSED, "`Mcp-Session-Id` is missing: send `initialize` first"),
            Some(_) if !is_known => turn.refuse(channel, 404, code::SESSION_NOT_FOUND, "there is no such session"),
            Some(_) => {}
        }
        is_known
    }

    fn posted(&mut self, channel: Channel, body: &str, turn: &mut Turn) {
        let body = match jsonrpc::parse(body.as_bytes()) {
            Ok(body) => body,
            Err(malformed) => return turn.refuse(channel, 400, malformed.code(), &malformed.to_string()),
        };
        let messages = body.messages();
        let owed = messages.iter().filter(|message| matches!(message, Message::Request(_))).count();
        if self.calls.len() + owed > CALLS_MAX || self.flights.len() + messages.len() > FLIGHTS_MAX {
            return turn.refuse(channel, 503, code::REFUSED, "the session has too many calls under way");
        }
        let kind = if matches!(body, Body::Batch(_)) { Kind::Batch } else { Kind::Single };
        let exchange = match owed {
            0 => {
                self.notices.insert(channel, Notice { owed: messages.len(), refused: None });
                None
            }
            _ => Some(self.calls.begin(channel, kind, owed)),
        };
        let unanswered = if owed == 0 { Purpose::Notice(channel) } else { Purpose::Courtesy };
        for message in messages {
            match (message, exchange) {
                (Message::Request(call), Some(exchange)) => self.call(exchange, call, turn),
                (Message::Request(_), None) => {}
                (Message::Notification(call), _) => self.notify(unanswered, call, turn),
                (Message::Response(Reply { raw, .. }), _) => {
                    self.send(unanswered, (Method::Post, (*raw).to_owned()), turn);
                }
            }
        }
    }

    fn call(&mut self, exchange: u64, call: &Call<'_>, turn: &mut Turn) {
        if let Some((number, message)) = self.calls.add(exchange, call) {
            self.send(Purpose::Call(number), (Method::Post, message), turn);
        }
    }

    fn notify(&mut self, purpose: Purpose, call: &Call<'_>, turn: &mut Turn) {
        let message = match call.method.as_ref() {
            "notifications/cancelled" => self.cancelled(call, turn),
            _ => None,
        };
        self.send(purpose, (Method::Post, message.unwrap_or_else(|| call.raw.to_owned())), turn);
    }

    /// The cancellation with the number the server knows the call by.
    fn cancelled(&mut self, call: &Call<'_>, turn: &mut Turn) -> Option<String> {
        let mut params = Members::parse(call.params?.get()).ok()?;
        let number = self.calls.number_of(params.raw("requestId")?)?;
        self.calls.cancel(number, turn);
        params.set("requestId", number.to_string());
        Some(text::notification(&call.method, Some(&params.write())))
    }

    /// Somebody listens; who did before does not any more.
    fn listened(&mut self, channel: Channel, turn: &mut Turn) {
        if let Some(before) = self.listener.replace(channel) {
            turn.close(before);
        }
        turn.open(channel);
        for message in self.unheard.drain() {
            turn.say(channel, &message);
        }
    }

    fn left(&mut self, channel: Channel, turn: &mut Turn) {
        if self.listener == Some(channel) {
            self.listener = None;
        }
        self.notices.remove(&channel);
        if self.calls.leave(channel) && self.revision().is_none() {
            self.end("nobody waits for the session", turn);
        }
    }

    fn answered(&mut self, hop: Hop, status: u16, turn: &mut Turn) {
        let Some(flight) = self.flights.get_mut(&hop) else { return };
        flight.status = Some(status);
        if let (Purpose::Call(number), true) = (flight.purpose, is_taken(Some(status))) {
            self.calls.taken(number, turn);
        }
    }

    fn pointed(&mut self, hop: Hop, path_and_query: &str, turn: &mut Turn) {
        match std::mem::take(&mut self.phase) {
            Phase::Opening { stream, first: (number, message), .. } if stream == hop => {
                self.phase = Phase::Open { stream, endpoint: path_and_query.to_owned(), revision: None };
                self.send(Purpose::Call(number), (Method::Post, message), turn);
            }
            other => self.phase = other,
        }
    }

    fn said(&mut self, hop: Hop, message: &str, turn: &mut Turn) {
        // Some servers answer in the POST itself.
        let is_heard = self.flights.get(&hop).is_some_and(|flight| is_taken(flight.status));
        let Ok(body) = jsonrpc::parse(message.as_bytes()) else { return };
        if !is_heard || !matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        for message in body.messages() {
            match message {
                Message::Response(reply) => self.replied(reply, turn),
                Message::Notification(call) => self.noted(call, turn),
                Message::Request(call) => {
                    let channel = self.calls.only_channel(turn).or(self.listener);
                    self.tell(channel, call.raw, turn);
                }
            }
        }
    }

    fn replied(&mut self, reply: &Reply<'_>, turn: &mut Turn) {
        let Some(number) = reply.id.and_then(|id| id.get().parse().ok()) else { return };
        let is_initialize = self.calls.is_initialize(number);
        self.calls.settle(number, &Outcome::Response(reply.raw), turn);
        if !is_initialize {
            return;
        }
        let agreed = reply.result.and_then(|result| text::revision_of(result.get()));
        match (&mut self.phase, agreed) {
            (Phase::Open { revision, .. }, Some(agreed)) => *revision = Some(agreed),
            _ => self.end("no session was agreed on", turn),
        }
    }

    fn noted(&mut self, call: &Call<'_>, turn: &mut Turn) {
        let token = || Members::parse(call.params?.get()).ok()?.raw("progressToken").map(str::to_owned);
        let of_call = match call.method.as_ref() {
            "notifications/progress" => token().and_then(|token| self.calls.channel_of_token(&token, turn)),
            _ => None,
        };
        let channel = of_call.or(self.listener);
        let channel = channel.or_else(|| self.calls.only_channel(turn));
        self.tell(channel, call.raw, turn);
    }

    fn tell(&mut self, channel: Option<Channel>, message: &str, turn: &mut Turn) {
        if let Some(channel) = channel {
            return turn.say(channel, message);
        }
        for id in self.unheard.push(message) {
            if self.flights.len() < FLIGHTS_MAX {
                let error = text::error(&id, code::INTERNAL_ERROR, "nobody listens", None);
                self.send(Purpose::Courtesy, (Method::Post, error), turn);
            }
        }
    }

    fn ended(&mut self, hop: Hop, end: &End, turn: &mut Turn) {
        let Some(flight) = self.flights.remove(&hop) else { return };
        match flight.purpose {
            Purpose::Stream => {
                let why = format!("the session has ended: {}", up::reason(end, flight.status));
                self.end(&why, turn);
            }
            _ if flight.status == Some(404) => self.end("the server does not know the session any more", turn),
            Purpose::Call(number) if !is_taken(flight.status) => {
                let why = up::reason(end, flight.status);
                let status = flight.status.filter(|status| (400..500).contains(status)).unwrap_or(502);
                self.calls.settle(number, &Outcome::Failure(status, code::INTERNAL_ERROR, &why), turn);
                if self.revision().is_none() && self.calls.is_empty() {
                    self.end(&why, turn);
                }
            }
            Purpose::Notice(channel) => self.taken(channel, &flight, turn),
            Purpose::Call(_) | Purpose::Courtesy => {}
        }
    }

    /// A message without an answer was taken, or was not.
    fn taken(&mut self, channel: Channel, flight: &Flight, turn: &mut Turn) {
        let Some(notice) = self.notices.get_mut(&channel) else { return };
        notice.owed = notice.owed.saturating_sub(1);
        if !is_taken(flight.status) {
            notice.refused = flight.status.filter(|status| (400..500).contains(status)).or(Some(502));
        }
        if notice.owed > 0 {
            return;
        }
        match notice.refused {
            None => turn.answer(channel, 202, None),
            Some(status) => turn.refuse(channel, status, code::INTERNAL_ERROR, "the server did not take the message"),
        }
        self.notices.remove(&channel);
    }

    fn woken(&mut self, turn: &mut Turn) {
        if let Phase::Opening { until, .. } = self.phase {
            match until <= turn.now {
                true => self.end("the server does not say where to send messages", turn),
                false => turn.wake(until),
            }
        }
    }

    /// Ends the session: the stream, and whoever waits for something on it.
    fn end(&mut self, why: &str, turn: &mut Turn) {
        let status = if self.revision().is_some() { 200 } else { 502 };
        if let Phase::Opening { stream, .. } | Phase::Open { stream, .. } =
            std::mem::replace(&mut self.phase, Phase::Over)
            && self.flights.contains_key(&stream)
        {
            turn.abort(stream);
        }
        for number in self.calls.numbers() {
            self.calls.settle(number, &Outcome::Failure(status, code::INTERNAL_ERROR, why), turn);
        }
        for channel in std::mem::take(&mut self.notices).into_keys() {
            turn.refuse(channel, 404, code::SESSION_NOT_FOUND, why);
        }
        if let Some(listener) = self.listener.take() {
            turn.close(listener);
        }
        self.unheard.drain();
        self.flights.clear();
    }

    /// What was agreed on, once it was.
    const fn revision(&self) -> Option<Revision> {
        match self.phase {
            Phase::Open { revision, .. } => revision,
            _ => None,
        }
    }

    fn send(&mut self, purpose: Purpose, (method, body): (Method, String), turn: &mut Turn) -> Hop {
        let hop = self.hops.next();
        self.flights.insert(hop, Flight { purpose, status: None });
        let path_and_query = match &self.phase {
            Phase::Open { endpoint, .. } => Some(endpoint.clone()),
            _ => None,
        };
        let revision = self.revision();
        turn.send(Request { hop, method, path_and_query, revision, session_id: None, last_event_id: None, body });
        hop
    }
}

fn is_taken(status: Option<u16>) -> bool {
    status.is_some_and(|status| (200..300).contains(&status))
}

/// A stream that has not said where to POST by then is given up.
const OPENING_MAX_MS: u64 = 30_000;
/// More calls are refused.
const CALLS_MAX: usize = 64;
/// More requests to the server are not under way at once.
const FLIGHTS_MAX: usize = 112;
