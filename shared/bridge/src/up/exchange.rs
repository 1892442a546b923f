//! How is a POST answered? Whole, as long as only responses have to be said; as a stream from the first other word on.

use std::collections::BTreeMap;

use mcp::{Revision, Timestamp};

use crate::{
    facade::{Action, Channel},
    text::array,
};

use super::{streams::Streams, turn::Turn};

/// The POSTs of a session that wait for answers, and the streams of it.
#[derive(Debug)]
pub(super) struct Exchanges {
    pub(super) streams: Streams,
    waiting: BTreeMap<u64, Exchange>,
    opened: u64,
}

#[derive(Debug)]
struct Exchange {
    outlet: Outlet,
    shape: Shape,
    /// How many of its requests have no answer yet.
    open: usize,
    answers: Vec<String>,
    began_at: Timestamp,
}

/// Whether a body held one message or an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One request with this id, a JSON text.
    Single(String),
    /// An array, and so is its answer.
    Batch,
}

/// Where the answers of an exchange go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlet {
    /// Nothing was said yet.
    Waiting(Channel),
    /// An event stream.
    Stream(u64),
    /// Nowhere: its caller left before it knew of a stream it could resume.
    Gone,
}

impl Exchanges {
    pub(super) fn new(epoch: String, revision: Revision) -> Self {
        Self { streams: Streams::new(epoch, revision), waiting: BTreeMap::new(), opened: 0 }
    }

    /// A POST of `open` requests came.
    pub(super) fn begin(&mut self, channel: Channel, shape: Shape, open: usize, now: Timestamp) -> u64 {
        self.opened += 1;
        let outlet = Outlet::Waiting(channel);
        let exchange = Exchange { outlet, shape, open, answers: Vec::new(), began_at: now };
        self.waiting.insert(self.opened, exchange);
        self.opened
    }

    /// Says the response to one of the requests of exchange `number`; `None` for one that gets none.
    pub(super) fn answer(&mut self, number: u64, response: Option<String>, turn: &mut Turn) {
        let Some(exchange) = self.waiting.get_mut(&number) else { return };
        exchange.open = exchange.open.saturating_sub(1);
        let is_over = exchange.open == 0;
        match (exchange.outlet, response) {
            (Outlet::Stream(stream), Some(response)) => self.streams.say(stream, &response, turn),
            (Outlet::Waiting(_), Some(response)) => exchange.answers.push(response),
            _ => {}
        }
        if exchange.answers.iter().map(String::len).sum::<usize>() > GATHERED_MAX_BYTES && !is_over {
            self.stream(number, turn);
        }
        if is_over && let Some(exchange) = self.waiting.remove(&number) {
            self.end(exchange, turn);
        }
    }

    fn end(&mut self, mut exchange: Exchange, turn: &mut Turn) {
        match exchange.outlet {
            Outlet::Gone => {}
            Outlet::Stream(stream) => self.streams.end(stream, turn),
            // Every request was cancelled: an answer without a message, as a stream can be.
            Outlet::Waiting(channel) if exchange.answers.is_empty() => {
                turn.act(Action::Open { channel, session_id: None });
                turn.act(Action::Close(channel));
            }
            Outlet::Waiting(channel) => {
                let answer = match exchange.shape {
                    Shape::Batch => Some(array(exchange.answers)),
                    Shape::Single(_) => exchange.answers.pop(),
                };
                turn.answer(channel, 200, answer);
            }
        }
    }

    /// Says something else than a response to the caller of exchange `number`.
    pub(super) fn say(&mut self, number: u64, message: &str, turn: &mut Turn) {
        if let Some(stream) = self.stream(number, turn) {
            self.streams.say(stream, message, turn);
        }
    }

    /// The stream of exchange `number`, opened if it was not; none if nobody could ever read it.
    fn stream(&mut self, number: u64, turn: &mut Turn) -> Option<u64> {
        let exchange = self.waiting.get_mut(&number)?;
        let channel = match exchange.outlet {
            Outlet::Stream(stream) => return Some(stream),
            Outlet::Gone => return None,
            Outlet::Waiting(channel) => channel,
        };
        let id = match &exchange.shape {
            Shape::Single(id) => Some(id.as_str()),
            Shape::Batch => None,
        };
        let stream = self.streams.open(channel, id, turn);
        exchange.outlet = Outlet::Stream(stream);
        for response in std::mem::take(&mut exchange.answers) {
            self.streams.say(stream, &response, turn);
        }
        Some(stream)
    }

    /// Whether the caller of exchange `number` can still be told anything.
    pub(super) fn is_heard(&self, number: u64) -> bool {
        self.waiting.get(&number).is_some_and(|exchange| exchange.outlet != Outlet::Gone)
    }

    /// Takes note that nobody is at `channel` any more. What was asked goes on (MCP 2025-11-25 basic/transports: a
    /// disconnection is no cancellation).
    pub(super) fn left(&mut self, channel: Channel) {
        let stream = self.streams.left(channel);
        let resumes = self.streams.resumes();
        for exchange in self.waiting.values_mut() {
            match (exchange.outlet, stream) {
                (Outlet::Waiting(waiting), _) if waiting == channel => exchange.outlet = Outlet::Gone,
                (Outlet::Stream(one), Some(left)) if one == left && !resumes => exchange.outlet = Outlet::Gone,
                _ => {}
            }
        }
    }

    /// Opens the streams of those that waited long: so that proxies see life, and the caller can resume.
    pub(super) fn open_late(&mut self, turn: &mut Turn) {
        if !self.streams.resumes() {
            return;
        }
        let is_late = |exchange: &Exchange| exchange.due_at().is_some_and(|due| due <= turn.now);
        let late: Vec<_> = self.waiting.iter().filter(|(_, one)| is_late(one)).map(|(number, _)| *number).collect();
        for number in late {
            self.stream(number, turn);
        }
    }

    /// When [`Exchanges::open_late`] has something to do.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        self.waiting.values().filter(|_| self.streams.resumes()).filter_map(Exchange::due_at).min()
    }

    /// Whether any POST waits for an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Exchange {
    fn due_at(&self) -> Option<Timestamp> {
        matches!(self.outlet, Outlet::Waiting(_)).then(|| self.began_at.plus_millis(STREAM_AFTER_MS))
    }
}

/// The answers to a batch are not gathered beyond this: it becomes a stream.
const GATHERED_MAX_BYTES: usize = 1 << 20;
/// An answer that is not there by then becomes a stream.
const STREAM_AFTER_MS: u64 = 5_000;
