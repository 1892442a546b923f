//! Where is a request of a caller now? Each is an exchange: sent on with an id of its own, answered once.

use mcp::Timestamp;

use super::{
    Down,
    parking::Parking,
    request::{Asked, Wishes},
    results::{self, Complaint, Failure, Outcome},
    task::Task,
    wire::{Flight, Purpose},
};
use crate::{
    facade::{Channel, End, Hop},
    text::{self, Envelope, Members},
};

/// A request of a caller, from its coming to its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) asked: Asked,
    /// Who waits for it; nobody while it is parked.
    pub(super) caller: Option<Caller>,
    pub(super) stage: Stage,
    pub(super) task: Task,
    /// The id the server knows it by.
    pub(super) upstream_id: u64,
    /// Which session it was sent in.
    pub(super) generation: u64,
    /// Whether it was sent a second time, in a new session.
    pub(super) was_repeated: bool,
    /// Whether anything of its answer was handed on, or anybody asked something for it.
    pub(super) has_begun: bool,
    pub(super) trail: Trail,
    pub(super) parking: Parking,
    /// How it ended, while nobody waits for it.
    pub(super) outcome: Option<Outcome>,
}

/// Who waits for an exchange.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) channel: Channel,
    /// The JSON text of the request's id.
    pub(super) id: String,
    pub(super) wishes: Wishes,
    /// Whether its answer was begun as a stream.
    pub(super) is_open: bool,
}

/// What an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The session.
    Queued,
    /// What comes on this hop.
    Running(Hop),
    /// The time to resume its stream.
    Resting(Timestamp),
}

/// How a stream that breaks off is found again (MCP 2025-11-25 basic/transports, Resumability).
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) last_event_id: Option<String>,
    pub(super) retry_ms: Option<u64>,
    /// How often it was resumed since anything new came.
    pub(super) resumes: u32,
}

impl Exchange {
    pub(super) fn new(caller: Caller, asked: Asked) -> Self {
        Self {
            asked,
            caller: Some(caller),
            stage: Stage::Queued,
            task: Task::None,
            upstream_id: 0,
            generation: 0,
            was_repeated: false,
            has_begun: false,
            trail: Trail::default(),
            parking: Parking::default(),
            outcome: None,
        }
    }

    /// Whether the server works on it.
    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Queued) && self.outcome.is_none()
    }
}

impl Stage {
    /// When something is to be done.
    pub(super) const fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Resting(at) => Some(at),
            Self::Queued | Self::Running(_) => None,
        }
    }
}

impl Trail {
    /// Takes note of an event.
    pub(super) fn follow(&mut self, event_id: Option<&str>, retry_ms: Option<u64>) {
        if let Some(id) = event_id.filter(|id| is_event_id(id)) {
            self.last_event_id = Some(id.to_owned());
            self.resumes = 0;
        }
        self.retry_ms = retry_ms.or(self.retry_ms);
    }

    /// When to resume, if the stream can be.
    fn resume_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.last_event_id.as_ref()?;
        self.resumes += 1;
        (self.resumes <= RESUMES_MAX).then(|| now.plus_millis(pause_ms(self.retry_ms)))
    }
}

impl Down {
    /// Takes on the request `asked` of the caller on `channel` as the exchange `number`.
    pub(super) fn begin(&mut self, number: u64, channel: Channel, id: &str, asked: Asked) {
        if self.exchanges.len() >= EXCHANGES_MAX {
            return self.refuse(channel, id, &Failure::Busy);
        }
        let caller = Caller { channel, id: id.to_owned(), wishes: asked.wishes.clone(), is_open: false };
        self.exchanges.insert(number, Exchange::new(caller, asked));
        self.queue.push_back(number);
    }

    /// Sends the exchange `number` to the server; the session is open.
    pub(super) fn dispatch(&mut self, number: u64) {
        let (Some(agreement), Some(exchange)) = (self.session.agreement(), self.exchanges.get_mut(&number)) else {
            return;
        };
        if exchange.asked.method == "server/discover" {
            let instructions = agreement.instructions.as_deref();
            let result = results::discovered(&agreement.capabilities, instructions, agreement.server_info.as_deref());
            let outcome = result.map_or_else(|_| Failure::Garbage.outcome(), Outcome::Result);
            return self.settle(number, outcome);
        }
        let as_task = agreement.tasks.demands(&exchange.asked);
        exchange.task = if as_task { Task::Asked } else { Task::None };
        let (method, mut params) = (exchange.asked.method.clone(), exchange.asked.params.clone());
        if as_task {
            params = Task::call(&params).unwrap_or(params);
        }
        self.request(number, &method, &params);
    }

    /// Sends a request of the exchange `number`, from which on it is known by a fresh id.
    pub(super) fn request(&mut self, number: u64, method: &str, params: &str) {
        let id = self.wire.number();
        let body = text::request(&id.to_string(), method, Some(params));
        let hop = self.wire.post(&self.session.peer(), Purpose::Exchange(number), body);
        if let Some(exchange) = self.exchanges.get_mut(&number) {
            exchange.upstream_id = id;
            exchange.generation = self.session.generation;
            exchange.stage = Stage::Running(hop);
        }
    }

    /// The server has taken the request of the exchange `number`: from now on it is not sent again.
    pub(super) fn taken(&mut self, number: u64) {
        if let Some(exchange) = self.exchanges.get_mut(&number) {
            exchange.asked.params = String::new();
        }
    }

    /// Takes note of what the server said on a stream: of the exchange `origin`, or its own.
    pub(super) fn hear(&mut self, origin: Option<u64>, hop: Hop, message: Envelope<'_>) {
        match message {
            Envelope::Response { id, outcome } => self.replied(origin, hop, id, outcome),
            Envelope::Notification { method, params } => self.notified(origin, &method, params),
            Envelope::Request { id, method, params } => {
                // The answer belongs into the session the question came in.
                if self.wire.flight(hop).is_some_and(|flight| flight.generation == self.session.generation) {
                    self.question(origin, id, &method, params);
                }
            }
        }
    }

    /// Takes note of the answer to an exchange.
    fn replied(&mut self, origin: Option<u64>, hop: Hop, id: &str, outcome: Result<Members<'_>, Members<'_>>) {
        let exchange = origin.and_then(|number| Some((number, self.exchanges.get(&number)?)));
        let Some((number, exchange)) = exchange.filter(|(_, exchange)| exchange.is_under_way()) else { return };
        if !text::names(id, exchange.upstream_id) {
            return;
        }
        self.wire.release(hop);
        match outcome {
            Ok(result) => self.succeeded(number, result),
            Err(error) => self.failed(number, error),
        }
    }

    fn succeeded(&mut self, number: u64, result: Members<'_>) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if let Some(task_id) = exchange.task.created(&result) {
            return self.follow(number, &task_id);
        }
        let result = results::complete(&exchange.asked.method, result, self.session.server_info());
        self.settle(number, result.map_or_else(|_| Failure::Garbage.outcome(), Outcome::Result));
    }

    /// Takes note of the error object `error`, the answer to the exchange `number`.
    fn failed(&mut self, number: u64, error: Members<'_>) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        match results::complaint(&exchange.asked, error) {
            Complaint::Told(outcome) => self.settle(number, outcome),
            Complaint::Visit(urls) => self.visit(number, urls),
        }
    }

    /// Ends the exchange `number`. If nobody waits for it, whoever comes back for it is told.
    pub(super) fn settle(&mut self, number: u64, outcome: Outcome) {
        self.drop_questions(number);
        let kept: usize = self.exchanges.values().filter_map(|one| one.outcome.as_ref()).map(Outcome::bytes).sum();
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if exchange.caller.is_none() {
            let fits = kept + outcome.bytes() <= OUTCOMES_MAX_BYTES;
            exchange.outcome = Some(if fits { outcome } else { Failure::Unkept.outcome() });
            return;
        }
        let caller = self.exchanges.remove(&number).and_then(|exchange| exchange.caller);
        if let Some(caller) = caller {
            self.tell(&caller, &outcome);
        }
    }

    /// Answers `caller`.
    pub(super) fn tell(&mut self, caller: &Caller, outcome: &Outcome) {
        let message = outcome.write(&caller.id);
        if caller.is_open {
            self.wire.say(caller.channel, &message);
            self.wire.close(caller.channel);
        } else {
            self.wire.answer(caller.channel, outcome.status(), Some(message));
        }
    }

    /// Answers a caller that has no exchange.
    pub(super) fn refuse(&mut self, channel: Channel, id: &str, failure: &Failure) {
        let outcome = failure.outcome();
        self.wire.answer(channel, outcome.status(), Some(outcome.write(id)));
    }

    /// Hands the notification `method` with `params` on to whoever waits for the exchange `number`.
    pub(super) fn hand_on(&mut self, number: u64, method: &str, params: &str) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        let Some(caller) = exchange.caller.as_mut() else { return };
        if !caller.is_open {
            caller.is_open = true;
            self.wire.open(caller.channel);
        }
        exchange.has_begun = true;
        self.wire.say(caller.channel, &text::notification(method, Some(params)));
    }

    /// The stream of the exchange `number` is over.
    pub(super) fn ran_out(&mut self, number: u64, hop: Hop, flight: &Flight, end: &End) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        if exchange.stage != Stage::Running(hop) || exchange.outcome.is_some() {
            return;
        }
        let status = flight.status.unwrap_or_default();
        if flight.is_lost() {
            return self.repeat(number, flight.generation);
        }
        if let Some(Ok(Envelope::Response { id, outcome: Err(error) })) = flight.refusal.as_deref().map(Envelope::read)
            && text::names(id, exchange.upstream_id)
        {
            return self.failed(number, error);
        }
        let failure = match (end, status) {
            (_, 401 | 403) => Failure::Denied,
            (End::Unreachable(_), 0) if exchange.trail.last_event_id.is_none() => Failure::Unreachable,
            (_, status) if status != 0 && !flight.is_taken() => Failure::Unusable,
            (End::Silent(_), _) => Failure::Silent,
            (End::Garbage(_), _) => Failure::Garbage,
            _ => match exchange.trail.resume_at(self.wire.now) {
                Some(at) => {
                    exchange.stage = Stage::Resting(at);
                    return;
                }
                None => Failure::Broken,
            },
        };
        if matches!(failure, Failure::Silent | Failure::Garbage) {
            self.cancel(number);
        }
        self.settle(number, failure.outcome());
    }

    /// The session the exchange `number` was sent in is lost. It is sent again in a new one, once, if it cannot have had
    /// any effect.
    fn repeat(&mut self, number: u64, generation: u64) {
        self.lose_session(generation);
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        let is_fresh = exchange.trail.last_event_id.is_none() && exchange.parking.is_untouched() && !exchange.has_begun;
        if exchange.was_repeated || !is_fresh || exchange.task.is_followed() {
            return self.settle(number, Failure::Lost.outcome());
        }
        exchange.was_repeated = true;
        exchange.stage = Stage::Queued;
        self.queue.push_back(number);
    }

    /// Resumes the streams whose time has come.
    pub(super) fn resume_due(&mut self) {
        let now = self.wire.now;
        let due = |exchange: &Exchange| matches!(exchange.stage, Stage::Resting(at) if at <= now);
        let due: Vec<u64> = self.exchanges.iter().filter(|(_, one)| due(one)).map(|(number, _)| *number).collect();
        for number in due {
            let Some(exchange) = self.exchanges.get_mut(&number) else { continue };
            if exchange.generation != self.session.generation {
                self.settle(number, Failure::Lost.outcome());
                continue;
            }
            let last_event_id = exchange.trail.last_event_id.clone();
            let hop = self.wire.open_stream(&self.session.peer(), Purpose::Exchange(number), last_event_id);
            exchange.stage = Stage::Running(hop);
        }
    }

    /// Tells the server that nobody waits for the exchange `number` any more.
    pub(super) fn cancel(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        if !exchange.is_under_way() {
            return;
        }
        if exchange.generation == self.session.generation {
            let mut params = Members::new();
            params.set("requestId", exchange.upstream_id.to_string());
            params.set("reason", "\"the caller does not wait any more\"");
            let body = text::notification("notifications/cancelled", Some(&params.write()));
            let peer = self.session.peer();
            self.wire.courtesy(&peer, body);
            if let Some(params) = exchange.task.reference() {
                let id = self.wire.number().to_string();
                self.wire.courtesy(&peer, text::request(&id, "tasks/cancel", Some(&params)));
            }
        }
        if let Stage::Running(hop) = exchange.stage {
            self.wire.abort(hop);
        }
    }

    /// The caller on `channel` went away: that cancels (MCP 2026-07-28 basic/patterns/cancellation).
    pub(super) fn left(&mut self, channel: Channel) {
        let waits = |exchange: &Exchange| exchange.caller.as_ref().is_some_and(|caller| caller.channel == channel);
        let found = self.exchanges.iter().find(|(_, exchange)| waits(exchange)).map(|(number, _)| *number);
        if let Some(number) = found {
            self.cancel(number);
            self.exchanges.remove(&number);
        }
    }

    /// Hands on what belongs to an exchange, or to those who listen.
    fn notified(&mut self, origin: Option<u64>, method: &str, params: Members<'_>) {
        match method {
            "notifications/progress" => self.progressed(params),
            "notifications/message" => self.logged(origin, &params),
            "notifications/cancelled" => self.withdrawn(&params),
            method => self.publish(method, &params),
        }
    }

    fn progressed(&mut self, mut params: Members<'_>) {
        let Some(number) = params.raw("progressToken").and_then(|token| token.parse::<u64>().ok()) else { return };
        let caller = self.exchanges.get(&number).and_then(|exchange| exchange.caller.as_ref());
        let Some(token) = caller.and_then(|caller| caller.wishes.progress_token.clone()) else { return };
        params.set("progressToken", token);
        self.hand_on(number, "notifications/progress", &params.write());
    }

    fn logged(&mut self, origin: Option<u64>, params: &Members<'_>) {
        let exchange = origin.and_then(|number| Some((number, self.exchanges.get(&number)?)));
        let Some((number, exchange)) = exchange else { return };
        let wanted = exchange.caller.as_ref().and_then(|caller| caller.wishes.log_level);
        let level = params.string("level").and_then(|level| crate::level::Level::parse(&level));
        if wanted.zip(level).is_some_and(|(wanted, level)| level >= wanted) {
            self.hand_on(number, "notifications/message", &params.write());
        }
    }
}

/// The pause before a stream is resumed, if the server wants one of `retry_ms`.
pub(super) fn pause_ms(retry_ms: Option<u64>) -> u64 {
    retry_ms.unwrap_or(RETRY_MS).min(RETRY_MAX_MS)
}

/// Whether `id` is one a stream can be resumed by.
pub(super) const fn is_event_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= EVENT_ID_MAX_BYTES
}

/// More requests of one façade's callers are refused.
pub(super) const EXCHANGES_MAX: usize = 256;
/// No more of all answers is kept for callers that have not come back yet.
const OUTCOMES_MAX_BYTES: usize = 16 << 20;
/// A longer event id is not followed.
const EVENT_ID_MAX_BYTES: usize = 1024;
/// A stream that breaks off so often without anything new is given up.
const RESUMES_MAX: u32 = 5;
/// The pause before a stream is resumed, where the server names none.
pub(super) const RETRY_MS: u64 = 1_000;
/// The longest pause a server may ask for.
const RETRY_MAX_MS: u64 = 60_000;
