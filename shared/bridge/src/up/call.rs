//! Where does a call stand? Sent behind, asking its caller, or resting before it goes on.

use mcp::{
    Timestamp,
    json::clip,
    jsonrpc::{Call as Said, Reply, code},
};

use crate::{
    facade::{End, Hop},
    level::Level,
    text::{self, Members, items, key, quoted, unquoted},
};

use super::{
    asking::{self, Question, Wanted},
    failure,
    request::{Envelope, Round, request},
    result::{self, Outcome, Schema},
    schema,
    session::Session,
    turn::Turn,
};

/// A request of the caller that is not answered yet.
#[derive(Debug)]
pub(super) struct Call {
    exchange: u64,
    /// The caller's id: a JSON text.
    id: String,
    method: String,
    /// The parameters as the caller spelled them, where a round may need them again.
    params: Option<String>,
    /// The tool that is called.
    tool: Option<String>,
    progress: Option<Progress>,
    /// How often the server wanted input.
    rounds: u8,
    /// The HTTP status of its answer.
    pub(super) status: Option<u16>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A request behind is under way.
    Sent(Hop),
    /// The caller is asked.
    Asking(Asking),
    /// The server wants the same request once more, with this state.
    Resting { until: Timestamp, state: String },
}

#[derive(Debug)]
struct Asking {
    questions: Vec<Asked>,
    state: Option<String>,
    until: Timestamp,
}

#[derive(Debug)]
struct Asked {
    /// The id of the request to the caller.
    id: String,
    question: Question,
    answer: Option<String>,
}

/// How far a call is, as its caller was told.
#[derive(Debug)]
struct Progress {
    /// A JSON text.
    token: String,
    told: Option<f64>,
}

impl Call {
    fn new(exchange: u64, id: &str, said: &Said<'_>, hop: Hop) -> Self {
        let method = said.method.clone().into_owned();
        let text = said.params.map(|params| params.get());
        let params = text.and_then(|params| Members::parse(params).ok()).unwrap_or_default();
        let token = params.object("_meta").ok().and_then(|meta| meta.raw(key::PROGRESS_TOKEN).map(str::to_owned));
        Self {
            exchange,
            id: id.to_owned(),
            params: text.filter(|_| may_ask(&method)).map(str::to_owned),
            tool: (method == "tools/call").then(|| params.string("name").map(std::borrow::Cow::into_owned)).flatten(),
            progress: token.map(|token| Progress { token, told: None }),
            method,
            rounds: 0,
            status: None,
            state: State::Sent(hop),
        }
    }

    pub(super) fn is_sent_as(&self, hop: Hop) -> bool {
        matches!(self.state, State::Sent(sent) if sent == hop)
    }

    /// How many bytes are kept for it.
    fn held_bytes(&self) -> usize {
        let state = match &self.state {
            State::Sent(_) => 0,
            State::Resting { state, .. } => state.len(),
            State::Asking(asking) => {
                let answers = asking.questions.iter().filter_map(|asked| asked.answer.as_ref());
                answers.map(String::len).sum::<usize>() + asking.state.as_ref().map_or(0, String::len)
            }
        };
        self.params.as_ref().map_or(0, String::len) + state
    }

    /// When it has to be looked after.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        match &self.state {
            State::Sent(_) => None,
            State::Asking(asking) => Some(asking.until),
            State::Resting { until, .. } => Some(*until),
        }
    }
}

impl Session {
    /// Sends a request of the caller on.
    pub(super) fn call(&mut self, exchange: u64, id: &str, said: &Said<'_>, turn: &mut Turn) {
        let params_bytes = said.params.map_or(0, |params| params.get().len());
        if self.calls.len() >= CALLS_MAX || self.holds_too_much(params_bytes) {
            let error = text::error(id, code::INTERNAL_ERROR, "too many calls of this session are under way", None);
            return self.exchanges.answer(exchange, Some(error), turn);
        }
        let hop = self.hops.next();
        let envelope = Envelope::new(&self.terms, self.level);
        let params = said.params.map(|params| params.get());
        match request(&hop.0.to_string(), &said.method, params, &envelope, Round::default()) {
            Ok(body) => {
                turn.send(hop, body);
                self.called += 1;
                self.calls.insert(self.called, Call::new(exchange, id, said, hop));
            }
            Err(unreadable) => {
                let error = text::error(id, code::INVALID_PARAMS, &unreadable.to_string(), None);
                self.exchanges.answer(exchange, Some(error), turn);
            }
        }
    }

    /// Whether the calls under way cannot keep so many bytes more.
    fn holds_too_much(&self, bytes: usize) -> bool {
        self.calls.values().map(Call::held_bytes).sum::<usize>().saturating_add(bytes) > HELD_MAX_BYTES
    }

    /// Which call waits for `hop`.
    pub(super) fn sent_as(&self, hop: Hop) -> Option<u64> {
        self.calls.iter().find(|(_, call)| call.is_sent_as(hop)).map(|(number, _)| *number)
    }

    /// The server said something before its result.
    pub(super) fn remark(&mut self, number: u64, said: &Said<'_>, turn: &mut Turn) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let params = said.params.and_then(|params| Members::parse(params.get()).ok()).unwrap_or_default();
        let wanted = match said.method.as_ref() {
            "notifications/progress" => call.progress.as_mut().is_some_and(|progress| progress.goes_on(&params)),
            "notifications/message" => {
                let level = params.string("level").and_then(|level| Level::parse(&level));
                self.level.is_some_and(|least| level.is_some_and(|level| level >= least))
            }
            method => !method.starts_with("notifications/"),
        };
        if wanted {
            let exchange = call.exchange;
            self.exchanges.say(exchange, said.raw, turn);
        }
    }

    /// The server answered the request `hop` of a call.
    pub(super) fn result(&mut self, number: u64, hop: Hop, reply: &Reply<'_>, turn: &mut Turn) {
        let Some(call) = self.calls.get(&number) else { return };
        let id = reply.id.map(|id| id.get()).unwrap_or("null");
        if id != hop.0.to_string() && (id != "null" || reply.error.is_none()) {
            return;
        }
        if let Some(error) = reply.error {
            let error = failure::error(&call.method, error.get(), self.terms.revision);
            return self.respond(number, |id| text::raw_error(id, &error), turn);
        }
        let text = reply.result.map_or("{}", |result| result.get());
        let is_wrapped = call.tool.as_ref().is_some_and(|tool| self.wrapped.contains(tool));
        let schema = if is_wrapped { Schema::Wrapped } else { Schema::Plain };
        match result::result(&call.method, text, self.terms.revision, schema) {
            Ok(Outcome::Complete(result)) => {
                self.learn(number, text);
                self.respond(number, |id| text::response(id, &result), turn);
            }
            Ok(Outcome::InputRequired) => self.ask(number, text, turn),
            Ok(Outcome::Other(kind)) => {
                let why = format!(
                    "the server answered with a `{}`, which a session of this revision cannot take",
                    clip(&kind)
                );
                self.fail(number, &why, turn);
            }
            Err(_) => self.fail(number, "the server's result cannot be read", turn),
        }
    }

    /// Remembers which tools of a list have their schemas, and so their results, wrapped.
    fn learn(&mut self, number: u64, listed: &str) {
        let is_list = self.calls.get(&number).is_some_and(|call| call.method == "tools/list");
        if !is_list || !listed.contains("outputSchema") {
            return;
        }
        let Ok(list) = Members::parse(listed) else { return };
        let tools = list.raw("tools").and_then(|tools| items(tools).ok()).unwrap_or_default();
        for tool in tools {
            match schema::wrapped_name(tool) {
                Some(name) if self.wrapped.len() < WRAPPED_MAX && name.len() <= NAME_MAX_BYTES => {
                    self.wrapped.insert(name);
                }
                _ => {}
            }
        }
    }

    /// The server wants input: its questions go to the caller on the stream of the call.
    fn ask(&mut self, number: u64, result: &str, turn: &mut Turn) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.rounds += 1;
        if !may_ask(&call.method) || call.rounds > ROUNDS_MAX {
            let why = if call.rounds > ROUNDS_MAX { TOO_OFTEN } else { "the server wants input where it may not" };
            return self.fail(number, why, turn);
        }
        let exchange = call.exchange;
        match asking::wanted(result, self.terms.revision, self.offers, || turn.unguessable()) {
            Err(unaskable) => self.fail(number, &unaskable.to_string(), turn),
            Ok(Wanted { requests, state: Some(state) }) if requests.is_empty() => {
                call.state = State::Resting { until: turn.now.plus_millis(REST_MS), state };
            }
            // Its caller left, and nobody could ever answer.
            Ok(_) if !self.exchanges.is_heard(exchange) => self.forget(number, turn),
            Ok(wanted) => self.put(number, wanted, turn),
        }
    }

    fn put(&mut self, number: u64, wanted: Wanted, turn: &mut Turn) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let mut questions = Vec::with_capacity(wanted.requests.len());
        for mut question in wanted.requests {
            self.questions += 1;
            let id = format!("{}-{}", self.epoch, self.questions);
            let message = text::request(&quoted(&id), &question.method, question.params.as_deref());
            self.exchanges.say(call.exchange, &message, turn);
            self.asked.insert(id.clone(), number);
            question.params = None;
            questions.push(Asked { id, question, answer: None });
        }
        let until = turn.now.plus_millis(LEG_MS);
        call.state = State::Asking(Asking { questions, state: wanted.state, until });
    }

    /// The caller answered a question.
    pub(super) fn replied(&mut self, reply: &Reply<'_>, turn: &mut Turn) {
        let Some(id) = reply.id.and_then(|id| unquoted(id.get())) else { return };
        let Some(number) = self.asked.remove(id.as_ref()) else { return };
        if self.holds_too_much(reply.raw.len()) {
            return self.fail(number, "the client's answers are too large", turn);
        }
        let Some(Call { state: State::Asking(asking), .. }) = self.calls.get_mut(&number) else { return };
        let Some(asked) = asking.questions.iter_mut().find(|asked| asked.id == id) else { return };
        let method = asked.question.method.clone();
        let answer = reply.result.and_then(|result| asking::answer(&method, result.get()).ok());
        match answer {
            Some(answer) => asked.answer = Some(answer),
            None => {
                let why = format!("the client did not answer `{method}`: {}", complaint(reply));
                return self.fail(number, &why, turn);
            }
        }
        if asking.questions.iter().all(|asked| asked.answer.is_some()) {
            self.go_on(number, turn);
        }
    }

    /// The request once more, with the answers and the server's own state.
    fn go_on(&mut self, number: u64, turn: &mut Turn) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let (responses, state) = match &call.state {
            State::Sent(_) => return,
            State::Resting { state, .. } => (None, Some(state.clone())),
            State::Asking(asking) => {
                let answers = asking.questions.iter();
                let answers = answers.filter_map(|one| Some((one.question.key.as_str(), one.answer.as_deref()?)));
                (Some(asking::responses(answers)), asking.state.clone())
            }
        };
        let hop = self.hops.next();
        let envelope = Envelope::new(&self.terms, self.level);
        let round = Round { responses: responses.as_deref(), state: state.as_deref() };
        let body = request(&hop.0.to_string(), &call.method, call.params.as_deref(), &envelope, round);
        call.state = State::Sent(hop);
        call.status = None;
        match body {
            Ok(body) => turn.send(hop, body),
            Err(unreadable) => self.fail(number, &unreadable.to_string(), turn),
        }
    }

    /// Sees to the calls whose time has come.
    pub(super) fn wake_calls(&mut self, turn: &mut Turn) {
        let is_due = |call: &Call| call.due_at().is_some_and(|due| due <= turn.now);
        let due: Vec<_> = self.calls.iter().filter(|(_, call)| is_due(call)).map(|(number, _)| *number).collect();
        for number in due {
            match self.calls.get(&number).map(|call| &call.state) {
                Some(State::Asking(_)) => self.fail(number, "the client did not answer within 10 minutes", turn),
                _ => self.go_on(number, turn),
            }
        }
    }

    /// The caller does not want the call of this id any more; it is not answered.
    pub(super) fn cancel(&mut self, id: &str, turn: &mut Turn) {
        let cancelled: Vec<_> =
            self.calls.iter().filter(|(_, call)| call.id == id).map(|(number, _)| *number).collect();
        for number in cancelled {
            self.forget(number, turn);
        }
    }

    /// The answer to a call's request ended without a response.
    pub(super) fn unanswered(&mut self, number: u64, end: &End, turn: &mut Turn) {
        let Some(call) = self.calls.get(&number) else { return };
        let reason = failure::reason(end, call.status);
        self.respond(number, |id| text::error(id, code::INTERNAL_ERROR, &reason, None), turn);
    }

    /// Ends a call that is under way, and tells its caller.
    pub(super) fn drop_call(&mut self, number: u64, why: &str, turn: &mut Turn) {
        if let Some(Call { state: State::Sent(hop), .. }) = self.calls.get(&number) {
            turn.abort(*hop);
        }
        self.respond(number, |id| text::error(id, code::INTERNAL_ERROR, why, None), turn);
    }

    /// Ends a call without an answer.
    fn forget(&mut self, number: u64, turn: &mut Turn) {
        let Some(call) = self.calls.remove(&number) else { return };
        if let State::Sent(hop) = call.state {
            turn.abort(hop);
        }
        self.withdraw(&call, turn);
        self.exchanges.answer(call.exchange, None, turn);
    }

    /// A call cannot go on: a tool says so in its result, anything else in an error.
    fn fail(&mut self, number: u64, why: &str, turn: &mut Turn) {
        let is_tool = self.calls.get(&number).is_some_and(|call| call.method == "tools/call");
        let answer = |id: &str| match is_tool {
            true => text::response(id, &result::failed(why)),
            false => text::error(id, code::INTERNAL_ERROR, why, None),
        };
        self.respond(number, answer, turn);
    }

    fn respond(&mut self, number: u64, answer: impl FnOnce(&str) -> String, turn: &mut Turn) {
        let Some(call) = self.calls.remove(&number) else { return };
        self.withdraw(&call, turn);
        self.exchanges.answer(call.exchange, Some(answer(&call.id)), turn);
    }

    /// The caller need not answer the questions of this call any more.
    fn withdraw(&mut self, call: &Call, turn: &mut Turn) {
        let State::Asking(asking) = &call.state else { return };
        for asked in &asking.questions {
            if self.asked.remove(&asked.id).is_none() {
                continue;
            }
            let params = ["{\"requestId\":", &quoted(&asked.id), "}"].concat();
            let message = text::notification("notifications/cancelled", Some(&params));
            self.exchanges.say(call.exchange, &message, turn);
        }
    }
}

impl Progress {
    /// Whether `params` tell of this call, and of more than was told before (MCP 2025-11-25 basic/utilities/progress). A
    /// server that starts anew after a round starts its count anew.
    fn goes_on(&mut self, params: &Members<'_>) -> bool {
        let Some(progress) = params.raw("progress").and_then(|progress| progress.parse::<f64>().ok()) else {
            return false;
        };
        let is_ours = params.raw(key::PROGRESS_TOKEN) == Some(self.token.as_str());
        let is_more = self.told.is_none_or(|told| progress > told);
        if is_ours && is_more {
            self.told = Some(progress);
        }
        is_ours && is_more
    }
}

/// Whether `input_required` may answer `method` (MCP 2026-07-28 basic/patterns/mrtr).
fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

fn complaint(reply: &Reply<'_>) -> String {
    let error = reply.error.and_then(|error| Members::parse(error.get()).ok()).unwrap_or_default();
    error.string("message").map_or_else(|| "it cannot be read".to_owned(), |message| clip(&message).to_owned())
}

/// No more calls of a session are under way at once.
const CALLS_MAX: usize = 256;
/// No call asks its caller more often.
const ROUNDS_MAX: u8 = 8;
/// No more bytes are kept for the calls of a session that are under way.
const HELD_MAX_BYTES: usize = 16 << 20;
/// How long a caller may take to answer.
const LEG_MS: u64 = 10 * 60_000;
/// The pause before a request is repeated that only has a state.
const REST_MS: u64 = 250;
/// No more tools are remembered by name.
const WRAPPED_MAX: usize = 1_024;
/// A tool of a longer name is not remembered.
const NAME_MAX_BYTES: usize = 256;
const TOO_OFTEN: &str = "the server wanted input more than 8 times";
