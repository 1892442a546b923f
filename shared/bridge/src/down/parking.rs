//! What does the server ask back? Its questions are put to the caller as `input_required`, and the exchange is parked until
//! the caller comes back with answers. The call itself is never sent a second time.

use mcp::{Timestamp, jsonrpc::code};

use super::{
    Down,
    call::{Caller, Exchange},
    capabilities::{Demand, Permission},
    request::{Asked, Retry},
    results::{self, Failure, Outcome},
    wire::Purpose,
};
use crate::{
    facade::Channel,
    text::{self, Members, quoted},
};

/// The questions of an exchange.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// Those that were not answered.
    pub(super) questions: Vec<Question>,
    asked: u32,
    /// How often the caller was asked.
    round: u32,
    /// What the caller was given the last time to come back with.
    state: Option<String>,
    /// When those that came together are put to the caller.
    gather_at: Option<Timestamp>,
    /// Since when nobody waits for the exchange.
    parked_at: Option<Timestamp>,
}

/// A request of the server.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// What the caller answers it by.
    pub(super) key: String,
    /// The JSON text of its id.
    id: String,
    pub(super) demand: Demand,
    /// The JSON text of its parameters.
    pub(super) params: String,
    source: Source,
    /// Whether the caller was asked.
    is_put: bool,
}

/// Where a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// On the stream of its call: it is moot once that is answered.
    Call,
    /// On the server's own: the server waits for the answer whatever becomes of the call it was put with.
    Stream,
}

impl Parking {
    /// Whether nothing was ever asked.
    pub(super) const fn is_untouched(&self) -> bool {
        self.asked == 0
    }

    fn bytes(&self) -> usize {
        self.questions.iter().map(|question| question.params.len()).sum()
    }

    /// When something is to be done for it.
    pub(super) fn deadline(&self, parked_ms: u64) -> Option<Timestamp> {
        self.gather_at.or(self.parked_at.map(|at| at.plus_millis(parked_ms)))
    }
}

impl Down {
    /// Takes note of a request of the server's, on the stream of the exchange `origin` or on its own.
    pub(super) fn question(&mut self, origin: Option<u64>, id: &str, method: &str, params: Members<'_>) {
        if method == "ping" {
            return self.wire.courtesy(&self.session.peer(), text::response(id, "{}"));
        }
        let Some(demand) = Demand::of(method) else {
            return self.decline(id, code::METHOD_NOT_FOUND, "the client has no such method");
        };
        match demand.permission(&self.terms.capabilities, &params) {
            Permission::Granted => {}
            Permission::Undeclared => {
                return self.decline(id, code::METHOD_NOT_FOUND, "the client did not declare this capability");
            }
            Permission::Unsupported => {
                return self.decline(id, code::INVALID_PARAMS, "the client did not declare this mode");
            }
        }
        let Some(number) = origin.or_else(|| self.only_one()) else {
            return self.decline(id, code::METHOD_NOT_FOUND, "it belongs to no request that is under way");
        };
        let source = if origin.is_some() { Source::Call } else { Source::Stream };
        let (id, params) = (id.to_owned(), spelled(demand, params));
        self.ask(number, Question { key: String::new(), id, demand, params, source, is_put: false });
    }

    /// Keeps a question of the exchange `number`, to be put to its caller.
    fn ask(&mut self, number: u64, question: Question) {
        let gather_at = self.wire.now.plus_millis(GATHER_MS);
        let kept: usize = self.exchanges.values().map(|exchange| exchange.parking.bytes()).sum();
        let exchange = self.exchanges.get_mut(&number).filter(|one| one.is_under_way() && one.asked.may_ask());
        let refusal = match exchange {
            None => "this request does not let the server ask back",
            Some(exchange) if exchange.parking.round >= ROUNDS_MAX => "the client was asked 10 times already",
            Some(Exchange { parking, .. })
                if parking.questions.len() >= QUESTIONS_MAX || kept + question.params.len() > QUESTIONS_MAX_BYTES =>
            {
                "the client is asked too much at once"
            }
            Some(Exchange { parking, caller, .. }) => {
                parking.asked += 1;
                parking.questions.push(Question { key: format!("q{}", parking.asked), ..question });
                if caller.is_some() && parking.gather_at.is_none() {
                    parking.gather_at = Some(gather_at);
                }
                return;
            }
        };
        self.decline(&question.id, code::INTERNAL_ERROR, refusal);
    }

    /// The exchange `number` is answered: nobody waits for answers to what came on its stream.
    pub(super) fn drop_questions(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.parking.questions.retain(|question| question.source == Source::Stream);
        let is_current = exchange.generation == self.session.generation;
        if exchange.caller.is_some() && is_current {
            self.decline_all(number, "the request it was put with is over");
        }
    }

    /// The server takes a question back.
    pub(super) fn withdrawn(&mut self, params: &Members<'_>) {
        let Some(id) = params.raw("requestId") else { return };
        for exchange in self.exchanges.values_mut() {
            let parking = &mut exchange.parking;
            parking.questions.retain(|question| question.id != id);
            if parking.questions.is_empty() {
                parking.gather_at = None;
            }
        }
    }

    /// Puts questions that were gathered, and ends exchanges nobody came back for.
    pub(super) fn park_due(&mut self) {
        let (now, parked_ms) = (self.wire.now, self.terms.parked_ms);
        let due = |exchange: &Exchange| exchange.parking.deadline(parked_ms).is_some_and(|at| at <= now);
        let due: Vec<u64> = self.exchanges.iter().filter(|(_, one)| due(one)).map(|(number, _)| *number).collect();
        for number in due {
            match self.exchanges.get(&number).is_some_and(|exchange| exchange.caller.is_some()) {
                true => self.put(number),
                false => self.abandon(number),
            }
        }
    }

    /// Puts the questions of the exchange `number` to its caller, and parks it.
    fn put(&mut self, number: u64) {
        if !self.has_room() {
            return self.decline_all(number, "too many requests of the client wait for answers");
        }
        let (now, server_info) = (self.wire.now, self.session.server_info().map(str::to_owned));
        // A façade that was forgotten and begun anew counts from one again: an old state must not fit by chance.
        let nonce = self.wire.random.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        let parking = &mut exchange.parking;
        if parking.round >= ROUNDS_MAX {
            return self.decline_all(number, "the client was asked 10 times already");
        }
        parking.gather_at = None;
        let Some(caller) = exchange.caller.take() else { return };
        parking.round += 1;
        parking.parked_at = Some(now);
        parking.questions.iter_mut().for_each(|question| question.is_put = true);
        let state = format!("{number}.{}.{nonce:016x}", parking.round);
        parking.state = Some(state.clone());
        let asked = parking.questions.iter().map(|one| (one.key.as_str(), one.demand, one.params.as_str()));
        let result = results::input_required(asked, &state, server_info.as_deref());
        self.tell(&caller, &Outcome::Result(result));
    }

    /// Makes room for one more parked exchange, if the oldest was left alone for a while.
    fn has_room(&mut self) -> bool {
        let now = self.wire.now;
        let parked = self.exchanges.iter().filter_map(|(number, one)| Some((one.parking.parked_at?, *number)));
        if parked.clone().count() < PARKED_MAX {
            return true;
        }
        match parked.min().filter(|(since, _)| now.millis_since(*since) >= FRESH_MS) {
            Some((_, oldest)) => {
                self.abandon(oldest);
                true
            }
            None => false,
        }
    }

    fn abandon(&mut self, number: u64) {
        self.cancel(number);
        self.exchanges.remove(&number);
    }

    /// Goes on with the exchange that `retry` names, or says that it is lost. `number` is for one that begins anew.
    pub(super) fn come_back(&mut self, number: u64, caller: (Channel, &str), asked: Asked, retry: &Retry) {
        let (channel, id) = caller;
        if let Some(round) = retry.state.strip_prefix(AGAIN).and_then(|round| round.parse::<u32>().ok()) {
            let agrees = |raw: &String| {
                Members::parse(raw).is_ok_and(|answer| answer.string("action").as_deref() == Some("accept"))
            };
            return match round <= ROUNDS_MAX && retry.responses.values().all(agrees) {
                true => self.begin(number, channel, id, Asked { again: round, ..asked }),
                false => self.refuse(channel, id, &Failure::Declined),
            };
        }
        match self.parked(&asked, retry) {
            Ok(number) => {
                let caller = Caller { channel, id: id.to_owned(), wishes: asked.wishes, is_open: false };
                self.go_on(number, caller, retry);
            }
            Err(failure) => self.refuse(channel, id, &failure),
        }
    }

    /// The exchange that waits for just this retry.
    fn parked(&self, asked: &Asked, retry: &Retry) -> Result<u64, Failure> {
        let number = retry.state.split('.').next().and_then(|number| number.parse::<u64>().ok());
        let same = |exchange: &&Exchange| {
            let was = &exchange.asked;
            exchange.caller.is_none()
                && exchange.parking.state.as_deref() == Some(&retry.state)
                && (&was.method, &was.name, &was.uri) == (&asked.method, &asked.name, &asked.uri)
        };
        let found = number.and_then(|number| Some((number, self.exchanges.get(&number).filter(same)?)));
        let (number, exchange) = found.ok_or(Failure::Forgotten)?;
        let put = exchange.parking.questions.iter().filter(|question| question.is_put);
        for question in put {
            let answer = retry.responses.get(&question.key);
            if answer.is_some_and(|answer| Members::parse(answer).is_err()) {
                return Err(Failure::Wrong(format!("`inputResponses.{}` must be an object", question.key)));
            }
        }
        Ok(number)
    }

    fn go_on(&mut self, number: u64, caller: Caller, retry: &Retry) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.caller = Some(caller);
        exchange.parking.parked_at = None;
        let outcome = exchange.outcome.take();
        let (answered, open): (Vec<_>, Vec<_>) = std::mem::take(&mut exchange.parking.questions)
            .into_iter()
            .partition(|question| question.is_put && retry.responses.contains_key(&question.key));
        let has_more = !open.is_empty();
        exchange.parking.questions = open;
        let lost = (exchange.generation != self.session.generation).then(|| Failure::Forgotten.outcome());
        if lost.is_none() {
            let peer = self.session.peer();
            for question in answered {
                let answer = retry.responses.get(&question.key).map_or("{}", String::as_str);
                self.wire.post(&peer, Purpose::Reply(number), text::response(&question.id, answer));
            }
        }
        match outcome.or(lost) {
            Some(outcome) => self.settle(number, outcome),
            None if has_more => self.put(number),
            None => {}
        }
    }

    /// Whether the answer to a question arrived: if not, the exchange cannot go on.
    pub(super) fn delivered(&mut self, number: u64, generation: u64, failure: Option<Failure>) {
        if failure == Some(Failure::Lost) {
            self.lose_session(generation);
        }
        let is_under_way = self.exchanges.get(&number).is_some_and(Exchange::is_under_way);
        if let Some(failure) = failure.filter(|_| is_under_way) {
            self.cancel(number);
            self.settle(number, failure.outcome());
        }
    }

    /// The server says that URLs have to be visited before it carries the exchange `number` out: it has carried out
    /// nothing, and will be asked again (-32042 of MCP 2025-11-25).
    pub(super) fn visit(&mut self, number: u64, urls: Vec<String>) {
        let Some(exchange) = self.exchanges.get(&number) else { return };
        let url = Members::from_iter([("mode", "\"url\"")]);
        if Demand::Elicitation.permission(&self.terms.capabilities, &url) != Permission::Granted {
            return self.settle(number, results::missing_url_mode());
        }
        let round = exchange.asked.again + 1;
        if round > ROUNDS_MAX {
            return self.settle(number, Failure::Declined.outcome());
        }
        let keys: Vec<String> = (1..=urls.len()).map(|index| format!("q{index}")).collect();
        let asked = keys.iter().zip(&urls).map(|(key, params)| (key.as_str(), Demand::Elicitation, params.as_str()));
        let result = results::input_required(asked, &format!("{AGAIN}{round}"), self.session.server_info());
        self.settle(number, Outcome::Result(result));
    }

    /// The exchange a request on the server's own stream belongs to: the only one somebody waits for, or else the only one
    /// there is.
    fn only_one(&self) -> Option<u64> {
        let under_way = self.exchanges.iter().filter(|(_, one)| one.is_under_way() && one.asked.may_ask());
        let only = |mut numbers: Vec<u64>| if numbers.len() == 1 { numbers.pop() } else { None };
        let awaited = under_way.clone().filter(|(_, one)| one.caller.is_some()).map(|(number, _)| *number).collect();
        only(awaited).or_else(|| only(under_way.map(|(number, _)| *number).collect()))
    }

    fn decline_all(&mut self, number: u64, message: &str) {
        let Some(exchange) = self.exchanges.get_mut(&number) else { return };
        exchange.parking.gather_at = None;
        for question in std::mem::take(&mut exchange.parking.questions) {
            self.decline(&question.id, code::INTERNAL_ERROR, message);
        }
    }

    /// Answers a request of the server's with an error.
    fn decline(&mut self, id: &str, code: i64, message: &str) {
        self.wire.courtesy(&self.session.peer(), text::error(id, code, message, None));
    }
}

/// The parameters of a question as 2026-07-28 spells them.
fn spelled(demand: Demand, mut params: Members<'_>) -> String {
    params.remove("_meta");
    params.remove("task");
    if demand == Demand::Elicitation {
        params.remove("elicitationId");
        if !params.has("mode") {
            params.set("mode", quoted("form"));
        }
    }
    params.write()
}

/// No more exchanges are parked.
pub const PARKED_MAX: usize = 32;
/// A parked exchange is not given up for another one before it is so old.
const FRESH_MS: u64 = 60_000;
/// No exchange asks more often (as the official clients have it).
pub const ROUNDS_MAX: u32 = 10;
/// No more questions are open at once in an exchange.
pub(super) const QUESTIONS_MAX: usize = 16;
/// No more of all questions is kept at once.
const QUESTIONS_MAX_BYTES: usize = 4 << 20;
/// Questions that come within so long are put together.
const GATHER_MS: u64 = 20;
/// What the state of a call begins with that is sent again once URLs were visited; how often it was follows.
const AGAIN: &str = "again.";
