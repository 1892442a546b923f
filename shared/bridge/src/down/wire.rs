//! What is under way to the server, and what is to be done next? The one counter, the hops, and the actions in order.

use std::collections::BTreeMap;

use mcp::{Revision, Timestamp, sse};

use super::session;
use crate::facade::{Action, Answer, Channel, Hop, Method, Request};

/// Numbers, hops under way and the actions of the event at hand.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) now: Timestamp,
    /// Bytes nobody can predict, fresh for each event.
    pub(super) random: [u8; 32],
    counter: u64,
    flights: BTreeMap<Hop, Flight>,
    actions: Vec<Action>,
    asked_wake: Option<Timestamp>,
}

/// A request to the server whose answer is not over.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) purpose: Purpose,
    /// The HTTP status, once it came.
    pub(super) status: Option<u16>,
    /// Which session it was sent in; see [`Peer::generation`].
    pub(super) generation: u64,
    /// Whether it named a session.
    pub(super) in_session: bool,
    /// The body of an answer that is none of 2xx.
    pub(super) refusal: Option<String>,
}

/// What a hop is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `initialize`, with its id.
    Initialize(u64),
    /// `notifications/initialized`.
    Initialized,
    /// `logging/setLevel`.
    Level,
    /// A page of `tools/list`, with its id, to learn which tools are tasks.
    Learn(u64),
    /// The exchange of this number: its request, or the stream it goes on with.
    Exchange(u64),
    /// The answer to a question in the exchange of this number.
    Reply(u64),
    /// The stream of the server's own messages.
    Stream,
    /// `resources/subscribe` of this URI, with its id.
    Subscribe(u64, String),
    /// Nobody waits for its answer.
    Courtesy,
    /// What it was for is over; the stream has not ended yet.
    Over,
}

/// Whom requests are sent to: a session, or the server before there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) revision: Option<Revision>,
    pub(super) session_id: Option<String>,
    /// Counts the sessions.
    pub(super) generation: u64,
}

impl Flight {
    /// Whether it was refused because the server has forgotten the session.
    pub(super) fn is_lost(&self) -> bool {
        self.in_session && session::is_lost(self.status.unwrap_or_default(), self.refusal.as_deref())
    }

    /// Whether the server answered that it took it.
    pub(super) fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

impl Wire {
    /// A number nothing else has: for hops, ids and exchanges alike.
    pub(super) const fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// POSTs `body` to `peer`.
    pub(super) fn post(&mut self, peer: &Peer, purpose: Purpose, body: String) -> Hop {
        self.send(peer, purpose, (Method::Post, None), body)
    }

    /// POSTs what nobody waits for, if not too much of it is under way already.
    pub(super) fn courtesy(&mut self, peer: &Peer, body: String) {
        let under_way = self.flights.values().filter(|flight| flight.purpose == Purpose::Courtesy).count();
        if under_way < COURTESIES_MAX {
            self.post(peer, Purpose::Courtesy, body);
        }
    }

    /// Opens a stream, or resumes it behind `last_event_id`.
    pub(super) fn open_stream(&mut self, peer: &Peer, purpose: Purpose, last_event_id: Option<String>) -> Hop {
        self.send(peer, purpose, (Method::Get, last_event_id), String::new())
    }

    /// Ends the session of `peer`.
    pub(super) fn delete(&mut self, peer: &Peer) {
        self.send(peer, Purpose::Courtesy, (Method::Delete, None), String::new());
    }

    fn send(&mut self, peer: &Peer, purpose: Purpose, how: (Method, Option<String>), body: String) -> Hop {
        let hop = Hop(self.number());
        let flight = Flight {
            purpose,
            status: None,
            generation: peer.generation,
            in_session: peer.session_id.is_some(),
            refusal: None,
        };
        self.flights.insert(hop, flight);
        let Peer { revision, session_id, .. } = peer.clone();
        let (method, last_event_id) = how;
        let request = Request { hop, method, path_and_query: None, revision, session_id, last_event_id, body };
        self.actions.push(Action::Request(request));
        hop
    }

    /// The hop `hop`, if it is under way.
    pub(super) fn flight(&mut self, hop: Hop) -> Option<&mut Flight> {
        self.flights.get_mut(&hop)
    }

    /// Forgets a hop whose answer is over.
    pub(super) fn land(&mut self, hop: Hop) -> Option<Flight> {
        self.flights.remove(&hop)
    }

    /// What `hop` was for is over: its stream may end when it likes, unless too many linger.
    pub(super) fn release(&mut self, hop: Hop) {
        if let Some(flight) = self.flights.get_mut(&hop) {
            flight.purpose = Purpose::Over;
        }
        let lingering: Vec<Hop> =
            self.flights.iter().filter(|(_, flight)| flight.purpose == Purpose::Over).map(|(hop, _)| *hop).collect();
        if lingering.len() > LINGERING_MAX {
            self.actions.extend(lingering.first().map(|oldest| Action::Abort(*oldest)));
            lingering.first().map(|oldest| self.flights.remove(oldest));
        }
    }

    /// Whether nothing is under way that still matters; the server's own stream does only to those who listen.
    pub(super) fn is_quiet(&self) -> bool {
        self.flights.values().all(|flight| matches!(flight.purpose, Purpose::Over | Purpose::Stream))
    }

    /// Cuts `hop` off.
    pub(super) fn abort(&mut self, hop: Hop) {
        if let Some(flight) = self.flights.get_mut(&hop) {
            flight.purpose = Purpose::Over;
            self.actions.push(Action::Abort(hop));
        }
    }

    /// Answers `channel` whole.
    pub(super) fn answer(&mut self, channel: Channel, status: u16, message: Option<String>) {
        self.actions.push(Action::Answer(Answer { channel, status, message, session_id: None }));
    }

    /// Begins the answer of `channel` as a stream.
    pub(super) fn open(&mut self, channel: Channel) {
        self.actions.push(Action::Open { channel, session_id: None });
    }

    /// Says `message` on `channel`.
    pub(super) fn say(&mut self, channel: Channel, message: &str) {
        self.actions.push(Action::Say { channel, event: sse::Event::message(message) });
    }

    /// Ends the stream of `channel`.
    pub(super) fn close(&mut self, channel: Channel) {
        self.actions.push(Action::Close(channel));
    }

    /// Asks to be woken at `next`, unless that is what was asked last, and gives the actions.
    pub(super) fn drain(&mut self, next: Option<Timestamp>) -> Vec<Action> {
        if next.is_some() && next != self.asked_wake {
            self.actions.extend(next.map(Action::Wake));
            self.asked_wake = next;
        }
        std::mem::take(&mut self.actions)
    }

    /// Notes that the time asked for has come.
    pub(super) const fn woken(&mut self) {
        self.asked_wake = None;
    }
}

/// More answers nobody waits for are not sent: a server could ask for them without end.
const COURTESIES_MAX: usize = 64;
/// More streams whose answer came are cut off.
const LINGERING_MAX: usize = 16;
