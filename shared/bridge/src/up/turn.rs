//! What is done about one event: the time it came, and the actions so far.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp::{Revision, Timestamp};

use crate::facade::{Action, Answer, Channel, Hop, Method, Moment, Request};

/// The numbers of the requests to the server behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hops(u64);

impl Hops {
    /// One that was never used before.
    pub(super) fn next(&mut self) -> Hop {
        self.0 += 1;
        Hop(self.0)
    }
}

/// The handling of one event.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) now: Timestamp,
    pub(super) actions: Vec<Action>,
    random: [u8; 32],
    drawn: u64,
}

impl Turn {
    pub(super) fn new(moment: &Moment) -> Self {
        Self { now: moment.now, actions: Vec::new(), random: moment.random, drawn: 0 }
    }

    #[cfg(test)]
    pub(super) fn at(now: Timestamp) -> Self {
        Self::new(&Moment { now, random: [7; 32] })
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Answers `channel` whole.
    pub(super) fn answer(&mut self, channel: Channel, status: u16, message: Option<String>) {
        self.act(Action::Answer(Answer { channel, status, message, session_id: None }));
    }

    /// POSTs `body` to the modern server behind.
    pub(super) fn send(&mut self, hop: Hop, body: String) {
        let revision = Some(Revision::V2026_07_28);
        let (path_and_query, session_id, last_event_id) = (None, None, None);
        let request = Request { hop, method: Method::Post, path_and_query, revision, session_id, last_event_id, body };
        self.act(Action::Request(request));
    }

    pub(super) fn abort(&mut self, hop: Hop) {
        self.act(Action::Abort(hop));
    }

    /// `millis`, and up to a quarter more: not all sessions of a server that fell come back at once.
    pub(super) fn jittered(&self, millis: u64) -> u64 {
        let (_, bytes) = self.random.split_at(16);
        let random = bytes.first().copied().map_or(0, u64::from);
        millis.saturating_add(millis.saturating_mul(random) / 1024)
    }

    /// Something nobody can predict, of the characters of base64url, different each time.
    pub(super) fn unguessable(&mut self) -> String {
        self.drawn += 1;
        let (bytes, _) = self.random.split_at(16);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        if self.drawn == 1 { text } else { format!("{text}-{}", self.drawn) }
    }

    /// 64 bits that tell one life of a session from another.
    pub(super) fn epoch(&self) -> String {
        let (_, bytes) = self.random.split_at(24);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}
