//! How does a modern caller use a legacy server?
//!
//! [`Down`] looks like a server of MCP 2026-07-28 to its callers and like a client of 2025-11-25 to the server behind. It holds
//! one session with the server, begun when it is first needed. A request of the server's to its client parks the call it
//! belongs to: the caller is answered `input_required`, and its retry goes on with the very same call. A call that may have
//! been carried out is never sent again.
//!
//! One `Down` serves one principal with one set of capabilities at one server: lists and rights differ by both.

mod call;
mod capabilities;
mod opening;
mod parking;
mod request;
mod results;
mod session;
mod stream;
mod subscriptions;
mod task;
mod wire;

use std::collections::{BTreeMap, VecDeque};

use mcp::{Body, Message, jsonrpc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{
    call::Exchange,
    request::Asked,
    results::Failure,
    session::Session,
    stream::Stream,
    subscriptions::Subscriptions,
    wire::{Purpose, Wire},
};
use crate::{
    facade::{Action, Channel, End, Event, Facade, Hop, Moment},
    text::{self, Envelope, Members},
};

pub use parking::{PARKED_MAX, ROUNDS_MAX};

/// On what terms a server is used: part of what one [`Down`] is found by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The server's name in the configuration.
    pub server: String,
    /// The `ClientCapabilities` the caller declares (MCP 2026-07-28).
    pub capabilities: Value,
    /// The caller's name and version, if it gives them (MCP `Implementation`).
    pub client_info: Option<Value>,
    /// A parked exchange that nobody comes back for ends after so long.
    pub parked_ms: u64,
}

/// A modern server in front of a legacy one.
#[derive(Debug)]
pub struct Down {
    terms: Terms,
    session: Session,
    exchanges: BTreeMap<u64, Exchange>,
    /// The exchanges that were not sent yet.
    queue: VecDeque<u64>,
    subscriptions: Subscriptions,
    stream: Stream,
    wire: Wire,
    /// Whether the server may ask its client anything.
    is_asking: bool,
}

impl Facade for Down {
    fn handle(&mut self, event: Event<'_>, moment: &Moment) -> Vec<Action> {
        (self.wire.now, self.wire.random) = (moment.now, moment.random);
        match event {
            Event::Posted { channel, body, .. } => self.posted(channel, body),
            // Neither streams nor sessions since 2026-07-28.
            Event::Listened { channel, .. } | Event::Deleted { channel, .. } => self.wire.answer(channel, 405, None),
            Event::Left { channel } => {
                self.left(channel);
                self.unlisten(channel);
            }
            Event::Answered { hop, status, session_id } => self.answered_with(hop, status, session_id),
            Event::Said { hop, message, event_id, retry_ms } => {
                self.followed(hop, event_id, retry_ms);
                if !message.is_empty() {
                    self.said(hop, message);
                }
            }
            // Of another transport.
            Event::Pointed { .. } => {}
            Event::Ended { hop, end } => self.ended(hop, &end),
            Event::Woken => self.wire.woken(),
        }
        self.park_due();
        self.resume_due();
        self.pump();
        let next = self.deadline();
        self.wire.drain(next)
    }

    fn is_idle(&self) -> bool {
        self.exchanges.is_empty() && self.subscriptions.listeners.is_empty() && self.wire.is_quiet()
    }

    /// Ends the session with the server, if there is one. Used again, it begins another one.
    fn farewell(&mut self) -> Vec<Action> {
        let peer = self.session.peer();
        if peer.session_id.is_some() {
            self.wire.delete(&peer);
        }
        self.session.close();
        self.close_stream();
        self.subscriptions.lose_session();
        self.wire.drain(None)
    }
}

impl Down {
    /// A façade on `terms`; nothing is sent before it is used.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let is_asking = capabilities::legacy(&terms.capabilities).as_object().is_some_and(|asked| !asked.is_empty());
        Self {
            terms,
            is_asking,
            session: Session::default(),
            exchanges: BTreeMap::new(),
            queue: VecDeque::new(),
            subscriptions: Subscriptions::default(),
            stream: Stream::default(),
            wire: Wire::default(),
        }
    }

    fn posted(&mut self, channel: Channel, body: &str) {
        match Envelope::read(body) {
            Ok(Envelope::Request { id, method, params }) => self.requested(channel, id, &method, params),
            // None is defined over HTTP; closing the stream is what cancels.
            Ok(Envelope::Notification { .. }) => self.wire.answer(channel, 202, None),
            Ok(Envelope::Response { .. }) => self.malformed(channel, "null", INVALID),
            Err(unreadable) => match jsonrpc::parse(body.as_bytes()) {
                Ok(Body::Single(Message::Request(call))) => {
                    let id = call.id.map_or("null", |id| id.get());
                    self.refuse(channel, id, &Failure::Wrong(unreadable.to_string()));
                }
                Ok(_) => self.malformed(channel, "null", INVALID),
                Err(error) => self.malformed(channel, "null", (error.code(), &error.to_string())),
            },
        }
    }

    fn malformed(&mut self, channel: Channel, id: &str, (code, message): (i64, &str)) {
        self.wire.answer(channel, 400, Some(text::error(id, code, message, None)));
    }

    fn requested(&mut self, channel: Channel, id: &str, method: &str, params: Members<'_>) {
        if GONE.contains(&method) || method.starts_with("tasks/") {
            return self.refuse(channel, id, &Failure::NoMethod(method.to_owned()));
        }
        if method == "subscriptions/listen" {
            return self.listen(channel, id, &params);
        }
        let number = self.wire.number();
        match Asked::read(method, params, number) {
            Ok((asked, None)) => self.begin(number, channel, id, asked),
            Ok((asked, Some(retry))) if asked.may_ask() => self.come_back(number, (channel, id), asked, &retry),
            Ok((_, Some(_))) => self.refuse(channel, id, &Failure::Forgotten),
            Err(wrong) => self.refuse(channel, id, &Failure::Wrong(wrong.to_string())),
        }
    }

    fn answered_with(&mut self, hop: Hop, status: u16, session_id: Option<&str>) {
        let Some(flight) = self.wire.flight(hop) else { return };
        flight.status = Some(status);
        let (generation, is_taken) = (flight.generation, flight.is_taken());
        match flight.purpose {
            Purpose::Initialize(_) if is_taken => self.named(generation, session_id),
            // Nothing else is to come; a server that keeps its answer open does not keep callers waiting.
            Purpose::Initialized => {
                self.announced(generation, &End::Complete);
                self.wire.release(hop);
            }
            Purpose::Stream => self.stream_answered(hop, status),
            Purpose::Exchange(number) if is_taken => self.taken(number),
            _ => {}
        }
    }

    fn followed(&mut self, hop: Hop, event_id: Option<&str>, retry_ms: Option<u64>) {
        match self.wire.flight(hop).map(|flight| flight.purpose.clone()) {
            Some(Purpose::Exchange(number)) => {
                if let Some(exchange) = self.exchanges.get_mut(&number) {
                    exchange.trail.follow(event_id, retry_ms);
                }
            }
            Some(Purpose::Stream) => self.stream_followed(event_id, retry_ms),
            _ => {}
        }
    }

    fn said(&mut self, hop: Hop, message: &str) {
        let Some(flight) = self.wire.flight(hop) else { return };
        if !flight.is_taken() {
            flight.refusal = Some(message.to_owned());
            return;
        }
        let (purpose, generation) = (flight.purpose.clone(), flight.generation);
        // A server of 2025-03-26 may put several messages into one event.
        let batch = if message.trim_start().starts_with('[') { text::items(message).ok() } else { None };
        for message in batch.unwrap_or_else(|| vec![message]) {
            if let Ok(message) = Envelope::read(message) {
                self.understood(hop, &purpose, generation, message);
            }
        }
    }

    fn understood(&mut self, hop: Hop, purpose: &Purpose, generation: u64, message: Envelope<'_>) {
        match (purpose, message) {
            (Purpose::Exchange(number), message) => self.hear(Some(*number), hop, message),
            (Purpose::Stream, message) => self.hear(None, hop, message),
            (Purpose::Initialize(sent), Envelope::Response { id, outcome }) if text::names(id, *sent) => {
                self.initialized(hop, generation, &outcome);
            }
            (Purpose::Learn(sent), Envelope::Response { id, outcome }) if text::names(id, *sent) => {
                self.learned(hop, outcome.as_ref().ok());
            }
            (Purpose::Subscribe(sent, uri), Envelope::Response { id, outcome }) if text::names(id, *sent) => {
                self.watching(generation, uri, outcome.is_ok());
            }
            (Purpose::Level, Envelope::Response { .. }) => {
                self.session.barrier = self.session.barrier.filter(|barrier| *barrier != hop);
                self.wire.release(hop);
            }
            _ => {}
        }
    }

    fn ended(&mut self, hop: Hop, end: &End) {
        let Some(flight) = self.wire.land(hop) else { return };
        match &flight.purpose {
            Purpose::Initialize(_) => self.not_initialized(&flight, end),
            Purpose::Initialized => self.announced(flight.generation, end),
            Purpose::Level if self.session.barrier == Some(hop) => self.session.barrier = None,
            Purpose::Learn(_) => self.learned(hop, None),
            Purpose::Exchange(number) => self.ran_out(*number, hop, &flight, end),
            Purpose::Reply(number) => self.delivered(*number, flight.generation, undelivered(&flight, end)),
            Purpose::Stream => self.stream_ended(hop, &flight, end),
            Purpose::Subscribe(_, uri) => self.watching(flight.generation, uri, false),
            Purpose::Level | Purpose::Courtesy | Purpose::Over => {}
        }
    }

    /// When it has to be told of the time next. What is overdue waits for something else.
    fn deadline(&self) -> Option<mcp::Timestamp> {
        let now = self.wire.now;
        let of_one = |exchange: &Exchange| [exchange.parking.deadline(self.terms.parked_ms), exchange.stage.deadline()];
        let of_all = self.exchanges.values().flat_map(of_one).flatten();
        let of_streams = [self.subscriptions.deadline(), self.stream.stage.deadline()].into_iter().flatten();
        of_all.chain(of_streams).filter(|at| *at > now).min()
    }
}

/// Why the answer to a question did not arrive, if it did not.
fn undelivered(flight: &wire::Flight, end: &End) -> Option<Failure> {
    match end {
        _ if flight.is_lost() => Some(Failure::Lost),
        _ if flight.is_taken() => None,
        End::Silent(_) => Some(Failure::Silent),
        _ if flight.status.is_some() => Some(Failure::Unusable),
        _ => Some(Failure::Broken),
    }
}

/// What was a method until 2025-11-25.
const GONE: [&str; 5] = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];
/// What a body has to be.
const INVALID: (i64, &str) = (jsonrpc::code::INVALID_REQUEST, "a body is one request or notification");
