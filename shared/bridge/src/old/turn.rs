//! What is done about one event: the time it came, and the actions so far.

use mcp::{Timestamp, sse};

use crate::{
    facade::{Action, Answer, Channel, Hop, Moment, Request},
    text,
};

/// The numbers of the requests to the server behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hops(u64);

impl Hops {
    /// One that was never used before.
    pub(super) const fn next(&mut self) -> Hop {
        self.0 += 1;
        Hop(self.0)
    }
}

/// The handling of one event.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) now: Timestamp,
    pub(super) actions: Vec<Action>,
}

impl Turn {
    pub(super) const fn new(moment: &Moment) -> Self {
        Self::at(moment.now)
    }

    pub(super) const fn at(now: Timestamp) -> Self {
        Self { now, actions: Vec::new() }
    }

    /// Answers `channel` whole.
    pub(super) fn answer(&mut self, channel: Channel, status: u16, message: Option<String>) {
        self.actions.push(Action::Answer(Answer { channel, status, message, session_id: None }));
    }

    /// Answers `channel` with an error that belongs to no request.
    pub(super) fn refuse(&mut self, channel: Channel, status: u16, code: i64, message: &str) {
        self.answer(channel, status, Some(text::error("null", code, message, None)));
    }

    /// Answers `channel` whole, and begins a session by that.
    pub(super) fn answer_in(&mut self, channel: Channel, message: String, session_id: &str) {
        let (message, session_id) = (Some(message), Some(session_id.to_owned()));
        self.actions.push(Action::Answer(Answer { channel, status: 200, message, session_id }));
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

    /// Sends `request` to the server behind.
    pub(super) fn send(&mut self, request: Request) {
        self.actions.push(Action::Request(request));
    }

    /// Cuts `hop` off.
    pub(super) fn abort(&mut self, hop: Hop) {
        self.actions.push(Action::Abort(hop));
    }

    /// Asks to be woken.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.actions.push(Action::Wake(at));
    }
}
