//! Which answer on the stream belongs to which caller? Each call has a number of its own at the server: ids of different
//! callers may be the same, and in HTTP+SSE nothing else tells them apart.

use std::collections::BTreeMap;

use mcp::jsonrpc::Call as Said;

use super::Turn;
use crate::{facade::Channel, text::Members};

/// The calls that are not answered yet, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last: u64,
    exchanges: BTreeMap<u64, Exchange>,
    calls: BTreeMap<u64, Call>,
}

/// A POST that waits for answers.
#[derive(Debug)]
struct Exchange {
    channel: Channel,
    kind: Kind,
    stage: Stage,
    owed: usize,
}

/// What was POSTed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `initialize`; its answer brings this session id.
    Initialize(String),
    /// One request.
    Single,
    /// A batch with requests (MCP 2025-03-26).
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Open,
}

/// One request.
#[derive(Debug)]
struct Call {
    exchange: u64,
    /// The caller's id: a JSON text.
    id: String,
    /// `_meta.progressToken`: a JSON text.
    token: Option<String>,
}

/// How a call ends.
pub(super) enum Outcome<'a> {
    /// The server's response, in which the id is put back.
    Response(&'a str),
    /// There is none: the status where it is the whole answer, and the code and text of the error.
    Failure(u16, i64, &'a str),
}

impl Calls {
    /// Begins an exchange of `owed` requests.
    pub(super) fn begin(&mut self, channel: Channel, kind: Kind, owed: usize) -> u64 {
        self.last += 1;
        self.exchanges.insert(self.last, Exchange { channel, kind, stage: Stage::Waiting, owed });
        self.last
    }

    /// Adds a request to an exchange: its number, and the message with the number as id.
    pub(super) fn add(&mut self, exchange: u64, call: &Said<'_>) -> Option<(u64, String)> {
        self.last += 1;
        let message = with_id(call.raw, &self.last.to_string())?;
        let id = call.id.map_or("null", |id| id.get()).to_owned();
        self.calls.insert(self.last, Call { exchange, id, token: progress_token(call) });
        Some((self.last, message))
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exchanges.is_empty()
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.calls.keys().copied().collect()
    }

    /// The number of the call with the id `id`: the newest, where callers share an id.
    pub(super) fn number_of(&self, id: &str) -> Option<u64> {
        self.calls.iter().rev().find(|(_, call)| call.id == id).map(|(number, _)| *number)
    }

    /// Whether call `number` began the session.
    pub(super) fn is_initialize(&self, number: u64) -> bool {
        let exchange = self.calls.get(&number).and_then(|call| self.exchanges.get(&call.exchange));
        exchange.is_some_and(|exchange| matches!(exchange.kind, Kind::Initialize(_)))
    }

    /// The server took the call: its answer may be a while.
    pub(super) fn taken(&mut self, number: u64, turn: &mut Turn) {
        let Some(call) = self.calls.get(&number) else { return };
        let exchange = self.exchanges.get_mut(&call.exchange);
        if let Some(exchange) = exchange.filter(|exchange| !matches!(exchange.kind, Kind::Initialize(_))) {
            exchange.open(turn);
        }
    }

    /// Ends call `number`, and with the last of them its exchange.
    pub(super) fn settle(&mut self, number: u64, outcome: &Outcome<'_>, turn: &mut Turn) {
        let Some(call) = self.calls.remove(&number) else { return };
        let Some(exchange) = self.exchanges.get_mut(&call.exchange) else { return };
        let (status, message) = match outcome {
            Outcome::Response(raw) => (200, with_id(raw, &call.id)),
            Outcome::Failure(status, code, why) => (*status, Some(crate::text::error(&call.id, *code, why, None))),
        };
        let message = message.unwrap_or_default();
        exchange.owed = exchange.owed.saturating_sub(1);
        match (&exchange.kind, exchange.stage) {
            (Kind::Initialize(session_id), Stage::Waiting) if status == 200 && is_result(outcome) => {
                turn.answer_in(exchange.channel, message, session_id);
            }
            (Kind::Initialize(_) | Kind::Single, Stage::Waiting) => {
                turn.answer(exchange.channel, status, Some(message));
            }
            _ => {
                exchange.open(turn);
                turn.say(exchange.channel, &message);
            }
        }
        self.end_if_settled(call.exchange, turn);
    }

    /// Ends call `number` without an answer: its caller has cancelled it.
    pub(super) fn cancel(&mut self, number: u64, turn: &mut Turn) {
        let Some(call) = self.calls.remove(&number) else { return };
        let Some(exchange) = self.exchanges.get_mut(&call.exchange) else { return };
        exchange.owed = exchange.owed.saturating_sub(1);
        exchange.open(turn);
        self.end_if_settled(call.exchange, turn);
    }

    /// Where a message about the progress of `token` goes.
    pub(super) fn channel_of_token(&mut self, token: &str, turn: &mut Turn) -> Option<Channel> {
        let call = self.calls.values().rev().find(|call| call.token.as_deref() == Some(token))?;
        let exchange = self.exchanges.get_mut(&call.exchange)?;
        exchange.open(turn);
        Some(exchange.channel)
    }

    /// The one POST that is under way, if it is one.
    pub(super) fn only_channel(&mut self, turn: &mut Turn) -> Option<Channel> {
        let mut exchanges = self.exchanges.values_mut();
        match (exchanges.next(), exchanges.next()) {
            (Some(exchange), None) if !matches!(exchange.kind, Kind::Initialize(_)) => {
                exchange.open(turn);
                Some(exchange.channel)
            }
            _ => None,
        }
    }

    /// Nobody waits on `channel` any more. A caller that goes has not cancelled anything (MCP 2025-11-25
    /// basic/transports); what is answered after all is for nobody. Whether it was the one that began the session.
    pub(super) fn leave(&mut self, channel: Channel) -> bool {
        let left = self.exchanges.iter().find(|(_, exchange)| exchange.channel == channel).map(|(number, _)| *number);
        let Some(exchange) = left.and_then(|number| self.exchanges.remove(&number)) else { return false };
        self.calls.retain(|_, call| Some(call.exchange) != left);
        matches!(exchange.kind, Kind::Initialize(_))
    }

    fn end_if_settled(&mut self, number: u64, turn: &mut Turn) {
        if self.exchanges.get(&number).is_some_and(|exchange| exchange.owed == 0)
            && let Some(exchange) = self.exchanges.remove(&number)
            && exchange.stage == Stage::Open
        {
            turn.close(exchange.channel);
        }
    }
}

impl Exchange {
    fn open(&mut self, turn: &mut Turn) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Open;
            turn.open(self.channel);
        }
    }
}

fn with_id(message: &str, id: &str) -> Option<String> {
    let mut members = Members::parse(message).ok()?;
    members.set("id", id);
    Some(members.write())
}

fn is_result(outcome: &Outcome<'_>) -> bool {
    let Outcome::Response(raw) = outcome else { return false };
    Members::parse(raw).is_ok_and(|members| members.has("result"))
}

fn progress_token(call: &Said<'_>) -> Option<String> {
    let params = Members::parse(call.params?.get()).ok()?;
    let meta = params.object("_meta").ok()?;
    meta.raw("progressToken").filter(|token| token.len() <= mcp::jsonrpc::ID_MAX_BYTES).map(str::to_owned)
}
