//! Does the server say anything of its own accord? One stream for all who listen, and for servers that put their questions
//! there instead of on the stream of the call they belong to (measured: `server.elicitInput` of the npm SDKs).

use mcp::Timestamp;

use super::{
    Down,
    call::{RETRY_MS, pause_ms},
    wire::{Flight, Purpose},
};
use crate::facade::{End, Hop};

/// The stream of the server's own messages.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) stage: Stage,
    last_event_id: Option<String>,
    retry_ms: Option<u64>,
    /// How often it ended since anything came on it.
    failures: u32,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Closed,
    /// Its head has not come yet; calls wait for it until this time.
    Opening(Hop, Timestamp),
    Open(Hop),
    /// It ended, and is opened again at this time.
    Resting(Timestamp),
    /// The server has none (405), or does not keep it open.
    Missing,
}

impl Stage {
    /// When something is to be done.
    pub(super) const fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Resting(at) | Self::Opening(_, at) => Some(at),
            Self::Closed | Self::Open(_) | Self::Missing => None,
        }
    }
}

impl Stream {
    const fn hop(&self) -> Option<Hop> {
        match self.stage {
            Stage::Opening(hop, _) | Stage::Open(hop) => Some(hop),
            _ => None,
        }
    }
}

impl Down {
    /// Opens the stream if it is needed, and ends it if it is not; the session is open.
    pub(super) fn tune(&mut self) {
        let now = self.wire.now;
        let is_heard =
            self.subscriptions.is_wanted() || self.exchanges.values().any(|exchange| exchange.asked.may_ask());
        match self.stream.stage {
            Stage::Closed if self.subscriptions.is_wanted() => self.open_stream(),
            Stage::Resting(at) if at <= now && is_heard => self.open_stream(),
            Stage::Resting(at) if at <= now => self.stream.stage = Stage::Closed,
            Stage::Opening(hop, _) | Stage::Open(hop) if !self.subscriptions.is_wanted() && !self.may_be_asked() => {
                self.wire.abort(hop);
                self.stream = Stream::default();
            }
            _ => {}
        }
    }

    /// Whether a call that may be asked something has to wait for the stream; it is opened for the first of them.
    pub(super) fn awaits_stream(&mut self) -> bool {
        if !self.may_be_asked() {
            return false;
        }
        if self.stream.stage == Stage::Closed {
            self.open_stream();
        }
        matches!(self.stream.stage, Stage::Opening(_, until) if self.wire.now < until)
    }

    /// Whether the server could ask something on it: a server without sessions could not find it.
    fn may_be_asked(&self) -> bool {
        self.is_asking && self.session.id.is_some()
    }

    fn open_stream(&mut self) {
        let last_event_id = self.stream.last_event_id.clone();
        let hop = self.wire.open_stream(&self.session.peer(), Purpose::Stream, last_event_id);
        self.stream.stage = Stage::Opening(hop, self.wire.now.plus_millis(OPENING_MS));
    }

    /// The head of its answer came.
    pub(super) fn stream_answered(&mut self, hop: Hop, status: u16) {
        if self.stream.hop() == Some(hop) && (200..300).contains(&status) {
            self.stream.stage = Stage::Open(hop);
        }
    }

    /// An event came on it.
    pub(super) fn stream_followed(&mut self, event_id: Option<&str>, retry_ms: Option<u64>) {
        self.stream.failures = 0;
        if let Some(id) = event_id.filter(|id| super::call::is_event_id(id)) {
            self.stream.last_event_id = Some(id.to_owned());
        }
        self.stream.retry_ms = retry_ms.or(self.stream.retry_ms);
    }

    /// It is over.
    pub(super) fn stream_ended(&mut self, hop: Hop, flight: &Flight, end: &End) {
        if self.stream.hop() != Some(hop) {
            return;
        }
        self.stream.failures += 1;
        let is_over = self.stream.failures > FAILURES_MAX;
        if flight.is_lost() {
            self.lose_session(flight.generation);
        }
        let refused = |status: u16| (400..500).contains(&status) && ![404, 409, 429].contains(&status);
        if is_over || flight.status.is_some_and(refused) && !flight.is_lost() || matches!(end, End::Garbage(_)) {
            self.stream.stage = Stage::Missing;
            return self.dismiss();
        }
        let doublings = self.stream.failures.min(6).saturating_sub(1);
        let pause_ms = pause_ms(Some(self.stream.retry_ms.unwrap_or(RETRY_MS) << doublings));
        self.stream.stage = Stage::Resting(self.wire.now.plus_millis(pause_ms));
    }

    /// Ends it with the session. How often it failed is remembered: sessions could be begun and lost without end.
    pub(super) fn close_stream(&mut self) {
        if let Some(hop) = self.stream.hop() {
            self.wire.abort(hop);
        }
        self.stream = Stream { failures: self.stream.failures, ..Stream::default() };
    }
}

/// Calls wait no longer for its head: some servers send it with the first event.
const OPENING_MS: u64 = 1_000;
/// A stream that ends so often without anything new is given up.
const FAILURES_MAX: u32 = 8;
