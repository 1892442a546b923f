//! May something be sent now? The session is begun when something waits for it, and what waits is sent in its turn.

use super::{
    Down,
    results::Failure,
    session::{self, Agreement, Stage},
    wire::{Flight, Purpose},
};
use crate::{
    facade::{End, Hop},
    text::{self, Members, quoted},
};

impl Down {
    /// Sends what can be sent.
    pub(super) fn pump(&mut self) {
        if let Stage::Closed = self.session.stage
            && (!self.queue.is_empty() || !self.subscriptions.listeners.is_empty())
        {
            self.open_session();
        }
        while self.session.barrier.is_none()
            && self.session.agreement().is_some()
            && let Some(&number) = self.queue.front()
        {
            if !self.prepare(number) {
                break;
            }
            self.queue.pop_front();
            self.dispatch(number);
        }
        if self.session.agreement().is_some() {
            self.attend();
        }
    }

    /// Whether the exchange `number` can be sent as things are; if not, what it needs was sent first.
    fn prepare(&mut self, number: u64) -> bool {
        let (Some(agreement), Some(exchange)) = (self.session.agreement(), self.exchanges.get(&number)) else {
            return true;
        };
        let wanted = exchange.asked.wishes.log_level.filter(|_| agreement.declares("logging"));
        if let Some(level) = wanted.filter(|wanted| agreement.level.is_none_or(|level| *wanted < level)) {
            let id = self.wire.number().to_string();
            let params = Members::from_iter([("level", quoted(level.as_str()))]).write();
            let body = text::request(&id, "logging/setLevel", Some(&params));
            self.session.barrier = Some(self.wire.post(&self.session.peer(), Purpose::Level, body));
            // Whatever the answer: it is not asked for again.
            if let Some(agreement) = self.session.agreement_mut() {
                agreement.level = Some(level);
            }
            return false;
        }
        if exchange.asked.method == "tools/call"
            && let Some(cursor) = agreement.tasks.missing().map(|cursor| cursor.map(str::to_owned))
        {
            self.learn(cursor.as_deref());
            return false;
        }
        !(exchange.asked.may_ask() && self.awaits_stream())
    }

    fn open_session(&mut self) {
        self.session.stage = Stage::Opening;
        let id = self.wire.number();
        let body = text::request(&id.to_string(), "initialize", Some(&session::initialize(&self.terms)));
        self.wire.post(&self.session.peer(), Purpose::Initialize(id), body);
    }

    /// The head of the answer to `initialize` came, with the session's id if the server has sessions.
    pub(super) fn named(&mut self, generation: u64, session_id: Option<&str>) {
        let is_good = |id: &&str| {
            (1..=SESSION_ID_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if generation == self.session.generation && matches!(self.session.stage, Stage::Opening) {
            self.session.id = session_id.filter(is_good).map(str::to_owned);
        }
    }

    /// `initialize` was answered.
    pub(super) fn initialized(&mut self, hop: Hop, generation: u64, outcome: &Result<Members<'_>, Members<'_>>) {
        if generation != self.session.generation || !matches!(self.session.stage, Stage::Opening) {
            return;
        }
        self.wire.release(hop);
        match outcome.as_ref().map_err(|_| Failure::Refused).and_then(Agreement::read) {
            Ok(agreement) => {
                self.session.stage = Stage::Announcing(agreement);
                let body = text::notification("notifications/initialized", None);
                self.wire.post(&self.session.peer(), Purpose::Initialized, body);
            }
            Err(failure) => self.fail_session(&failure),
        }
    }

    /// The answer to `initialize` is over without having been one.
    pub(super) fn not_initialized(&mut self, flight: &Flight, end: &End) {
        if flight.generation != self.session.generation || !matches!(self.session.stage, Stage::Opening) {
            return;
        }
        let failure = match (flight.status, end) {
            (Some(401 | 403), _) => Failure::Denied,
            (_, End::Unreachable(_)) => Failure::Unreachable,
            (_, End::Silent(_)) => Failure::Late,
            _ => Failure::Refused,
        };
        self.fail_session(&failure);
    }

    /// The server knows that the session has begun, or cannot be told.
    pub(super) fn announced(&mut self, generation: u64, end: &End) {
        if generation != self.session.generation {
            return;
        }
        match (std::mem::take(&mut self.session.stage), end) {
            (Stage::Announcing(_), End::Unreachable(_)) => self.fail_session(&Failure::Unreachable),
            (Stage::Announcing(agreement), _) => self.session.stage = Stage::Open(agreement),
            (stage, _) => self.session.stage = stage,
        }
    }

    /// Everybody who waits for a session is told that there is none.
    fn fail_session(&mut self, failure: &Failure) {
        self.session.close();
        self.close_stream();
        for number in std::mem::take(&mut self.queue) {
            self.settle(number, failure.outcome());
        }
        self.fail_listeners(failure);
    }

    /// The session `generation` is lost: what comes next begins another one.
    pub(super) fn lose_session(&mut self, generation: u64) {
        if generation == self.session.generation && self.session.agreement().is_some() {
            self.session.close();
            self.close_stream();
            self.subscriptions.lose_session();
        }
    }
}

/// A longer session id is not used.
const SESSION_ID_MAX_BYTES: usize = 1024;
