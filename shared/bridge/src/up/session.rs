//! What does a legacy session consist of? Its terms, its calls, its streams and what it listens to.

use std::collections::{BTreeMap, BTreeSet};

use mcp::{
    Timestamp,
    jsonrpc::{self, Body, Call as Said, Message, code},
};

use crate::{
    facade::{Action, Channel, End, Hop},
    level::Level,
    text::{self, Members},
};

use super::{
    call::Call,
    exchange::{Exchanges, Shape},
    listening::Listening,
    request::Envelope,
    streams::{self, Resumed},
    terms::{Offers, Terms},
    turn::{Hops, Turn},
};

/// One session that was agreed on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) terms: Terms,
    pub(super) offers: Offers,
    pub(super) level: Option<Level>,
    pub(super) hops: Hops,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) called: u64,
    /// Which call waits for the answer to which question.
    pub(super) asked: BTreeMap<String, u64>,
    pub(super) exchanges: Exchanges,
    /// Tools whose output schema was wrapped.
    pub(super) wrapped: BTreeSet<String>,
    /// Tells the questions of this life of the session from those of an earlier one.
    pub(super) epoch: String,
    pub(super) questions: u64,
    listening: Listening,
    /// Subscriptions that are answered once they are listened to: the exchange, and the id of the request.
    subscribing: Vec<(u64, String)>,
    /// When they are answered at last.
    subscribes_until: Option<Timestamp>,
    /// Since when nobody listens to the stream of GET, which was open before.
    deaf_since: Option<Timestamp>,
}

impl Session {
    pub(super) fn new(terms: Terms, hops: Hops, epoch: String) -> Self {
        Self {
            offers: terms.offers(),
            exchanges: Exchanges::new(epoch.clone(), terms.revision),
            listening: Listening::new(terms.serves),
            terms,
            level: None,
            hops,
            calls: BTreeMap::new(),
            called: 0,
            asked: BTreeMap::new(),
            wrapped: BTreeSet::new(),
            epoch,
            questions: 0,
            subscribing: Vec::new(),
            subscribes_until: None,
            deaf_since: None,
        }
    }

    /// A caller POSTed `body`.
    pub(super) fn posted(&mut self, channel: Channel, body: &str, turn: &mut Turn) {
        let body = match jsonrpc::parse(body.as_bytes()) {
            Ok(body) => body,
            Err(malformed) => return refuse(channel, malformed.code(), &malformed.to_string(), turn),
        };
        let is_batch = matches!(body, Body::Batch(_));
        if is_batch && !self.terms.revision.allows_batch() {
            return refuse(channel, code::INVALID_REQUEST, "only revision 2025-03-26 has batches", turn);
        }
        let requests: Vec<_> = body.messages().iter().filter_map(request).collect();
        if is_batch && requests.iter().any(|(_, call)| call.method == "initialize") {
            return refuse(channel, code::INVALID_REQUEST, "`initialize` cannot be part of a batch", turn);
        }
        if requests.is_empty() {
            turn.answer(channel, 202, None);
        }
        for message in body.messages() {
            match message {
                Message::Response(reply) => self.replied(reply, turn),
                Message::Notification(call) => self.noted(call, turn),
                Message::Request(_) => {}
            }
        }
        let Some((first, _)) = requests.first() else { return };
        let shape = if is_batch { Shape::Batch } else { Shape::Single((*first).to_owned()) };
        let exchange = self.exchanges.begin(channel, shape, requests.len(), turn.now);
        for (id, call) in requests {
            self.requested(exchange, id, call, turn);
        }
    }

    fn requested(&mut self, exchange: u64, id: &str, call: &Said<'_>, turn: &mut Turn) {
        let answer = match call.method.as_ref() {
            "ping" => text::response(id, "{}"),
            "logging/setLevel" => self.set_level(id, call),
            "resources/subscribe" | "resources/unsubscribe" => match self.subscribe(call) {
                Ok(()) => return self.subscribed(exchange, id, turn),
                Err((code, why)) => text::error(id, code, &why, None),
            },
            "initialize" => text::error(id, code::INVALID_REQUEST, "this session was initialized before", None),
            method if is_not_legacy(method) => text::error(id, code::METHOD_NOT_FOUND, UNKNOWN, None),
            _ => return self.call(exchange, id, call, turn),
        };
        self.exchanges.answer(exchange, Some(answer), turn);
    }

    fn set_level(&mut self, id: &str, call: &Said<'_>) -> String {
        if !self.terms.serves.logging {
            return text::error(id, code::METHOD_NOT_FOUND, UNKNOWN, None);
        }
        let params = call.params.and_then(|params| Members::parse(params.get()).ok()).unwrap_or_default();
        let Some(level) = params.string("level").and_then(|level| Level::parse(&level)) else {
            return text::error(id, code::INVALID_PARAMS, "`level` has to be `debug` to `emergency` (RFC 5424)", None);
        };
        self.level = Some(level);
        text::response(id, "{}")
    }

    fn subscribe(&mut self, call: &Said<'_>) -> Result<(), (i64, String)> {
        if !self.terms.serves.subscriptions {
            return Err((code::METHOD_NOT_FOUND, UNKNOWN.to_owned()));
        }
        let params = call.params.and_then(|params| Members::parse(params.get()).ok()).unwrap_or_default();
        let uri = params.string("uri").ok_or_else(|| (code::INVALID_PARAMS, "`uri` has to be a string".to_owned()))?;
        if call.method == "resources/unsubscribe" {
            self.listening.unsubscribe(&uri);
            return Ok(());
        }
        self.listening.subscribe(&uri).map_err(|too_many| (code::INVALID_PARAMS, too_many.to_string()))
    }

    /// A subscription is answered when it is listened to, so that no change after the answer is missed.
    fn subscribed(&mut self, exchange: u64, id: &str, turn: &mut Turn) {
        self.subscribing.push((exchange, id.to_owned()));
        self.subscribes_until.get_or_insert(turn.now.plus_millis(SUBSCRIBE_MAX_MS));
        self.settle(turn);
    }

    fn answer_subscriptions(&mut self, turn: &mut Turn) {
        let is_late = self.subscribes_until.is_some_and(|until| until <= turn.now);
        if self.listening.is_opening() && !is_late && self.subscribing.len() < SUBSCRIBING_MAX {
            return;
        }
        self.subscribes_until = None;
        for (exchange, id) in std::mem::take(&mut self.subscribing) {
            self.exchanges.answer(exchange, Some(text::response(&id, "{}")), turn);
        }
    }

    /// A notification of the caller. `initialized` and `roots/list_changed` have no place on the modern wire.
    fn noted(&mut self, call: &Said<'_>, turn: &mut Turn) {
        if call.method == "notifications/cancelled" {
            let params = call.params.and_then(|params| Members::parse(params.get()).ok()).unwrap_or_default();
            if let Some(id) = params.raw("requestId") {
                self.cancel(id, turn);
            }
        }
    }

    /// A caller opened a stream by GET.
    pub(super) fn listened(&mut self, channel: Channel, last_event_id: Option<&str>, turn: &mut Turn) {
        let streams = &mut self.exchanges.streams;
        match last_event_id.map(|id| streams.resume(channel, id, turn)) {
            None if streams.own_channel().is_some() => {
                let error = text::error("null", code::REFUSED, "the session has its one stream already", None);
                turn.answer(channel, 409, Some(error));
            }
            None => streams.open_own(channel, turn),
            Some(Resumed::On | Resumed::Over) => {}
            // A caller that hears 204 does not come back (HTML Standard §9.2).
            Some(Resumed::Nothing) => turn.answer(channel, 204, None),
            Some(Resumed::Unknown) => refuse(channel, code::REFUSED, "`Last-Event-ID` is none of this server's", turn),
            Some(Resumed::Lost(id)) => {
                let error = text::error(
                    &id,
                    code::INTERNAL_ERROR,
                    "the answer was lost: the call may have been carried out",
                    None,
                );
                turn.act(Action::Open { channel, session_id: None });
                turn.act(Action::Say { channel, event: mcp::sse::Event::message(&error) });
                turn.act(Action::Close(channel));
            }
        }
        self.settle(turn);
    }

    /// A caller went away.
    pub(super) fn left(&mut self, channel: Channel, turn: &mut Turn) {
        if self.exchanges.streams.own_channel() == Some(channel) {
            self.deaf_since = Some(turn.now);
        }
        self.exchanges.left(channel);
        self.settle(turn);
    }

    /// The head of an answer came.
    pub(super) fn answered(&mut self, hop: Hop, status: u16) {
        self.listening.headed(hop, status);
        if let Some(call) = self.calls.values_mut().find(|call| call.is_sent_as(hop)) {
            call.status = Some(status);
        }
    }

    /// A message of an answer came.
    pub(super) fn said(&mut self, hop: Hop, message: &str, turn: &mut Turn) {
        let Ok(Body::Single(message)) = jsonrpc::parse(message.as_bytes()) else { return };
        if self.listening.owns(hop) {
            return self.overheard(hop, &message, turn);
        }
        let Some(number) = self.sent_as(hop) else { return };
        match message {
            Message::Notification(call) => self.remark(number, &call, turn),
            Message::Response(reply) => self.result(number, hop, &reply, turn),
            // A modern server asks nothing of its own accord.
            Message::Request(_) => {}
        }
    }

    fn overheard(&mut self, hop: Hop, message: &Message<'_>, turn: &mut Turn) {
        match message {
            Message::Notification(call) => {
                for message in self.listening.said(hop, call, turn) {
                    self.exchanges.streams.say(streams::OWN, &message, turn);
                }
                self.answer_subscriptions(turn);
            }
            Message::Response(reply) => self.listening.answered(hop, reply),
            Message::Request(_) => {}
        }
    }

    /// An answer is over.
    pub(super) fn ended(&mut self, hop: Hop, end: &End, turn: &mut Turn) {
        if self.listening.owns(hop) {
            self.listening.ended(hop, turn);
            return self.settle(turn);
        }
        if let Some(number) = self.sent_as(hop) {
            self.unanswered(number, end, turn);
        }
    }

    /// The time that was asked for has come.
    pub(super) fn woken(&mut self, turn: &mut Turn) {
        self.exchanges.open_late(turn);
        self.wake_calls(turn);
        self.settle(turn);
    }

    /// When there is something to do that no event tells of.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        let calls = self.calls.values().filter_map(Call::due_at).min();
        let deaf = self.deaf_since.map(|since| since.plus_millis(DEAF_MAX_MS));
        let due = [calls, self.exchanges.due_at(), self.listening.due_at(), self.subscribes_until, deaf];
        due.into_iter().flatten().min()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.exchanges.is_empty()
            && self.listening.is_resting()
            && !self.exchanges.streams.is_heard()
    }

    /// Ends everything: calls are answered with an error, streams closed.
    pub(super) fn close(&mut self, turn: &mut Turn) {
        let open: Vec<_> = self.calls.keys().copied().collect();
        for number in open {
            self.drop_call(number, "the session has ended", turn);
        }
        self.listening.rest(turn);
        self.answer_subscriptions(turn);
        self.exchanges.streams.close(turn);
        self.deaf_since = None;
    }

    /// Listens behind for as long as somebody listens here, and a little longer: a stream that broke is resumed soon.
    fn settle(&mut self, turn: &mut Turn) {
        self.exchanges.streams.age(turn.now);
        let is_there = self.exchanges.streams.own_channel().is_some();
        let is_soon = self.deaf_since.is_some_and(|since| turn.now.millis_since(since) < DEAF_MAX_MS);
        if !is_soon {
            self.deaf_since = None;
        }
        if is_there || is_soon {
            let envelope = Envelope::new(&self.terms, self.level);
            self.listening.settle(&envelope, &mut self.hops, turn);
        } else {
            self.listening.rest(turn);
        }
        self.answer_subscriptions(turn);
    }
}

fn request<'m, 'a>(message: &'m Message<'a>) -> Option<(&'m str, &'m Said<'a>)> {
    match message {
        Message::Request(call) => Some((call.id?.get(), call)),
        _ => None,
    }
}

/// Refuses what a caller sent as a whole.
pub(super) fn refuse(channel: Channel, code: i64, message: &str, turn: &mut Turn) {
    turn.answer(channel, 400, Some(text::error("null", code, message, None)));
}

/// Methods of the modern era, of tasks, which are not offered, and those that servers send.
fn is_not_legacy(method: &str) -> bool {
    method.starts_with("tasks/")
        || matches!(
            method,
            "server/discover" | "subscriptions/listen" | "elicitation/create" | "sampling/createMessage" | "roots/list"
        )
}

const UNKNOWN: &str = "the server has no such method";
/// How long the answer to a subscription waits for the server.
const SUBSCRIBE_MAX_MS: u64 = 2_000;
/// No more subscriptions wait for their answer.
const SUBSCRIBING_MAX: usize = 256;
/// How long a server is listened to after the stream of GET broke.
const DEAF_MAX_MS: u64 = 60_000;
