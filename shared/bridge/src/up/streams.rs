//! Which event streams does a caller have, and where did each of them stop? (MCP 2025-11-25 basic/transports,
//! Resumability and Redelivery)
//!
//! An event id spells its stream, so that it is resumed by GET wherever it began. Stream [`OWN`] is the one of GET; any
//! other answers one POST, whose request the id names too: a stream that was forgotten can still say so to who waits.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp::{Revision, Timestamp, jsonrpc, sse};

use crate::facade::{Action, Channel};

use super::{events::Events, turn::Turn};

/// The streams of one session.
#[derive(Debug)]
pub(super) struct Streams {
    /// Tells the ids of this life of the session from those of an earlier one.
    epoch: String,
    /// The revision of the session.
    revision: Revision,
    streams: BTreeMap<u64, Stream>,
    events: Events,
    opened: u64,
}

#[derive(Debug)]
struct Stream {
    channel: Option<Channel>,
    /// The number of its newest event.
    number: u64,
    /// Nothing more will be said on it.
    is_over: bool,
    /// The id of the one request it answers, in base64url.
    request: Option<String>,
}

/// What became of a resumption.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// The stream goes on.
    On,
    /// What was missed has been said, and that was all.
    Over,
    /// Everything was said before.
    Nothing,
    /// It is not known any more; its request, a JSON text, will have no answer.
    Lost(String),
    /// The id was never one of this gateway's.
    Unknown,
}

/// What an event id says.
struct EventId<'a> {
    epoch: &'a str,
    stream: u64,
    number: u64,
    request: Option<&'a str>,
}

impl Streams {
    pub(super) fn new(epoch: String, revision: Revision) -> Self {
        Self { epoch, revision, streams: BTreeMap::new(), events: Events::default(), opened: OWN }
    }

    /// Opens a stream on `channel` that answers a POST with one request of this id, or more of them.
    pub(super) fn open(&mut self, channel: Channel, id: Option<&str>, turn: &mut Turn) -> u64 {
        if self.streams.len() >= KEPT_MAX {
            self.age(turn.now);
        }
        self.opened += 1;
        let request = id.filter(|id| id.len() <= NAMED_ID_MAX_BYTES).map(|id| URL_SAFE_NO_PAD.encode(id));
        self.begin(self.opened, channel, request, turn);
        self.opened
    }

    /// Opens the stream of GET on `channel`.
    pub(super) fn open_own(&mut self, channel: Channel, turn: &mut Turn) {
        match self.streams.get_mut(&OWN) {
            Some(own) => {
                own.channel = Some(channel);
                self.prime(OWN, channel, turn);
            }
            None => self.begin(OWN, channel, None, turn),
        }
    }

    fn begin(&mut self, number: u64, channel: Channel, request: Option<String>, turn: &mut Turn) {
        self.streams.insert(number, Stream { channel: Some(channel), number: 0, is_over: false, request });
        self.prime(number, channel, turn);
    }

    /// Opens `channel`; the first event brings an id to resume with (SEP-1699), where callers can read it.
    fn prime(&mut self, stream: u64, channel: Channel, turn: &mut Turn) {
        turn.act(Action::Open { channel, session_id: None });
        let Some(one) = self.streams.get_mut(&stream) else { return };
        if self.revision < Revision::V2025_11_25 {
            return;
        }
        one.number += 1;
        let number = one.number;
        let event = sse::Event { id: self.event_id(stream, number), retry_ms: Some(RETRY_MS), ..sse::Event::default() };
        turn.act(Action::Say { channel, event });
    }

    /// Says `message` on `stream`: now, or when it is resumed.
    pub(super) fn say(&mut self, stream: u64, message: &str, turn: &mut Turn) {
        let Some(one) = self.streams.get_mut(&stream) else { return };
        one.number += 1;
        let (number, channel) = (one.number, one.channel);
        if self.resumes() {
            self.events.keep(stream, number, message, turn.now);
        }
        if let Some(channel) = channel {
            let id = self.event_id(stream, number);
            turn.act(Action::Say { channel, event: sse::Event { id, ..sse::Event::message(message) } });
        }
    }

    /// Ends `stream`: nothing more will be said on it.
    pub(super) fn end(&mut self, stream: u64, turn: &mut Turn) {
        if let Some(one) = self.streams.get_mut(&stream) {
            one.is_over = true;
            if let Some(channel) = one.channel.take() {
                turn.act(Action::Close(channel));
            }
        }
        if !self.resumes() {
            self.streams.remove(&stream);
        }
    }

    /// Takes note that nobody is at `channel` any more; tells which stream that was.
    pub(super) fn left(&mut self, channel: Channel) -> Option<u64> {
        let (number, stream) = self.streams.iter_mut().find(|(_, stream)| stream.channel == Some(channel))?;
        stream.channel = None;
        Some(*number)
    }

    /// Whether the streams can be resumed (MCP 2025-03-26 basic/transports).
    pub(super) fn resumes(&self) -> bool {
        self.revision >= Revision::V2025_03_26
    }

    /// Goes on after `last_event_id` on `channel`: with that event's stream and no other.
    pub(super) fn resume(&mut self, channel: Channel, last_event_id: &str, turn: &mut Turn) -> Resumed {
        let Some(id) = EventId::read(last_event_id) else { return Resumed::Unknown };
        if id.stream == OWN {
            let after = if id.epoch == self.epoch { id.number } else { 0 };
            return self.resume_own(channel, after, turn);
        }
        let ours = id.epoch == self.epoch;
        match self.streams.get(&id.stream).filter(|_| ours) {
            Some(stream) if stream.is_over && stream.number <= id.number => Resumed::Nothing,
            Some(stream) if stream.is_over && self.is_cut(&id, stream.number) => id.lost(),
            Some(_) => self.go_on(channel, &id, turn),
            None => id.lost(),
        }
    }

    fn go_on(&mut self, channel: Channel, id: &EventId<'_>, turn: &mut Turn) -> Resumed {
        turn.act(Action::Open { channel, session_id: None });
        self.replay(id.stream, id.number, channel, turn);
        let Some(stream) = self.streams.get_mut(&id.stream) else { return Resumed::Nothing };
        let earlier = if stream.is_over { stream.channel.take() } else { stream.channel.replace(channel) };
        turn.actions.extend(earlier.map(Action::Close));
        if stream.is_over {
            turn.act(Action::Close(channel));
            return Resumed::Over;
        }
        Resumed::On
    }

    fn resume_own(&mut self, channel: Channel, after: u64, turn: &mut Turn) -> Resumed {
        let Some(own) = self.streams.get_mut(&OWN) else {
            self.open_own(channel, turn);
            return Resumed::On;
        };
        let earlier = own.channel.replace(channel);
        turn.actions.extend(earlier.map(Action::Close));
        turn.act(Action::Open { channel, session_id: None });
        self.replay(OWN, after, channel, turn);
        Resumed::On
    }

    /// Whether the last event of a stream that is over, its answer, was forgotten.
    fn is_cut(&self, id: &EventId<'_>, last: u64) -> bool {
        !self.events.after(id.stream, id.number).any(|(number, _)| number == last)
    }

    fn replay(&self, stream: u64, after: u64, channel: Channel, turn: &mut Turn) {
        for (number, message) in self.events.after(stream, after) {
            let id = self.event_id(stream, number);
            turn.act(Action::Say { channel, event: sse::Event { id, ..sse::Event::message(message) } });
        }
    }

    /// Where the stream of GET is listened to.
    pub(super) fn own_channel(&self) -> Option<Channel> {
        self.streams.get(&OWN).and_then(|own| own.channel)
    }

    /// Whether anybody listens to any stream.
    pub(super) fn is_heard(&self) -> bool {
        self.streams.values().any(|stream| stream.channel.is_some())
    }

    /// Forgets what nobody will ask for any more.
    pub(super) fn age(&mut self, now: Timestamp) {
        self.events.age(now);
        let events = &self.events;
        self.streams.retain(|number, stream| !stream.is_over || *number == OWN || events.has(*number));
    }

    /// Closes every stream.
    pub(super) fn close(&mut self, turn: &mut Turn) {
        let channels = self.streams.values_mut().filter_map(|stream| stream.channel.take());
        turn.actions.extend(channels.map(Action::Close));
        self.streams.clear();
    }

    fn event_id(&self, stream: u64, number: u64) -> Option<String> {
        let one = self.streams.get(&stream).filter(|_| self.resumes())?;
        let request = one.request.as_ref().map(|id| format!(".{id}")).unwrap_or_default();
        Some(format!("{}.{stream}.{number}{request}", self.epoch))
    }
}

impl<'a> EventId<'a> {
    fn read(text: &'a str) -> Option<Self> {
        if text.len() > EVENT_ID_MAX_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let (epoch, stream, number) = (parts.next()?, parts.next()?, parts.next()?);
        let request = parts.next();
        let whole = parts.next().is_none() && epoch.len() == EPOCH_CHARS;
        let id = Self { epoch, stream: stream.parse().ok()?, number: number.parse().ok()?, request };
        whole.then_some(id)
    }

    fn lost(&self) -> Resumed {
        let id = self.request.and_then(|id| URL_SAFE_NO_PAD.decode(id).ok());
        let id = id.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|id| id.len() <= NAMED_ID_MAX_BYTES);
        match id {
            Some(id) if is_id(&id) => Resumed::Lost(id),
            _ => Resumed::Nothing,
        }
    }
}

/// Whether `text` spells an id of JSON-RPC, as a request that has it is read.
fn is_id(text: &str) -> bool {
    let request = crate::text::request(text, "ping", None);
    matches!(jsonrpc::parse(request.as_bytes()), Ok(jsonrpc::Body::Single(jsonrpc::Message::Request(call)))
        if call.id.is_some_and(|id| id.get() == text))
}

/// The stream that a GET opens.
pub(super) const OWN: u64 = 0;
/// From so many streams on, those that are over are looked through for each new one.
const KEPT_MAX: usize = 256;
/// How long a caller pauses before it resumes a stream.
const RETRY_MS: u64 = 1_000;
/// The length of what tells one life of a session from another.
pub(super) const EPOCH_CHARS: usize = 11;
/// A longer request id is not named in event ids.
const NAMED_ID_MAX_BYTES: usize = 64;
/// Longer event ids are not read.
const EVENT_ID_MAX_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streams() -> (Streams, Turn) {
        of(Revision::V2025_11_25)
    }

    fn of(revision: Revision) -> (Streams, Turn) {
        (Streams::new("e".repeat(EPOCH_CHARS), revision), Turn::at(Timestamp::from_secs(1)))
    }

    fn said(turn: &mut Turn) -> Vec<sse::Event> {
        let say = |action| match action {
            Action::Say { event, .. } => Some(event),
            _ => None,
        };
        std::mem::take(&mut turn.actions).into_iter().filter_map(say).collect()
    }

    #[test]
    fn a_stream_is_resumed_where_it_was_cut_and_no_other() {
        let (mut streams, mut turn) = streams();
        let one = streams.open(Channel(1), Some("7"), &mut turn);
        let two = streams.open(Channel(2), Some("8"), &mut turn);
        streams.say(one, "a", &mut turn);
        streams.say(two, "x", &mut turn);
        let first = said(&mut turn).remove(2);
        assert_eq!(streams.left(Channel(1)), Some(one));
        streams.say(one, "b", &mut turn);
        assert!(turn.actions.is_empty());
        assert_eq!(streams.resume(Channel(3), &first.id.unwrap(), &mut turn), Resumed::On);
        let events = said(&mut turn);
        assert_eq!(events.iter().map(|event| event.data.as_str()).collect::<Vec<_>>(), ["b"]);
        streams.say(one, "c", &mut turn);
        streams.end(one, &mut turn);
        assert_eq!(turn.actions.last(), Some(&Action::Close(Channel(3))));
        turn.actions.clear();
        let id = events[0].id.clone().unwrap();
        assert_eq!(streams.resume(Channel(4), &id, &mut turn), Resumed::Over);
        let last = said(&mut turn).remove(0);
        assert_eq!(last.data, "c");
        let resumed = streams.resume(Channel(5), &last.id.unwrap(), &mut turn);
        assert_eq!((resumed, turn.actions.len()), (Resumed::Nothing, 0));
    }

    #[test]
    fn a_stream_that_was_forgotten_tells_whose_it_was() {
        let (mut streams, mut turn) = streams();
        let resume = |streams: &mut Streams, id: &str, turn: &mut Turn| streams.resume(Channel(1), id, turn);
        let id = |request: &str| format!("{}.3.1.{}", "f".repeat(EPOCH_CHARS), URL_SAFE_NO_PAD.encode(request));
        assert_eq!(resume(&mut streams, &id("\"a\""), &mut turn), Resumed::Lost("\"a\"".into()));
        for unknown in ["", "x", "1.2.3", &"9".repeat(200)] {
            assert_eq!(resume(&mut streams, unknown, &mut turn), Resumed::Unknown, "{unknown}");
        }
        for forged in ["{}", "null", "1,\"method\":\"x\"", ""] {
            assert_eq!(resume(&mut streams, &id(forged), &mut turn), Resumed::Nothing, "{forged}");
        }
        let own = format!("{}.0.9", "f".repeat(EPOCH_CHARS));
        assert_eq!(resume(&mut streams, &own, &mut turn), Resumed::On, "the stream of GET just begins anew");
    }

    #[test]
    fn a_stream_whose_answer_was_not_kept_is_lost() {
        let (mut streams, mut turn) = streams();
        let one = streams.open(Channel(1), Some("7"), &mut turn);
        let first = said(&mut turn).remove(0).id.unwrap();
        streams.say(one, &"x".repeat(super::super::events::BYTES_MAX + 1), &mut turn);
        assert_eq!(streams.left(Channel(1)), Some(one));
        assert_eq!(streams.resume(Channel(2), &first, &mut turn), Resumed::On, "it may go on");
        streams.end(one, &mut turn);
        assert_eq!(streams.resume(Channel(3), &first, &mut turn), Resumed::Lost("7".into()));
    }

    #[test]
    fn the_stream_of_get_is_told_all_to_who_comes_from_an_earlier_life() {
        let (mut streams, mut turn) = streams();
        streams.open_own(Channel(1), &mut turn);
        streams.say(OWN, "a", &mut turn);
        turn.actions.clear();
        let other = format!("{}.0.9", "f".repeat(EPOCH_CHARS));
        assert_eq!(streams.resume(Channel(2), &other, &mut turn), Resumed::On);
        assert_eq!(said(&mut turn).into_iter().map(|event| event.data).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn before_resumption_existed_nothing_has_an_id() {
        let (mut streams, mut turn) = of(Revision::V2024_11_05);
        let one = streams.open(Channel(1), Some("7"), &mut turn);
        streams.say(one, "a", &mut turn);
        assert_eq!(said(&mut turn), [sse::Event::message("a")]);
        assert_eq!(streams.left(Channel(1)), Some(one));
    }

    proptest! {
        #[test]
        fn whatever_is_cut_wherever_each_event_arrives_once_and_in_order(
            steps in prop::collection::vec((0_u8..3, 0_usize..4), 1..60),
        ) {
            let (mut streams, mut turn) = streams();
            let stream = streams.open(Channel(0), Some("1"), &mut turn);
            let mut last = said(&mut turn).remove(0).id;
            let (mut said_count, mut heard, mut channel) = (0_usize, Vec::new(), 0);
            for (step, keep) in steps {
                match step {
                    0 => {
                        said_count += 1;
                        streams.say(stream, &said_count.to_string(), &mut turn);
                    }
                    1 => drop(streams.left(Channel(channel))),
                    _ => {
                        channel += 1;
                        streams.resume(Channel(channel), last.as_deref().unwrap(), &mut turn);
                    }
                }
                // The caller hears only the first of the events, as if the connection broke then.
                let events = said(&mut turn);
                let cut = events.len() > keep;
                for event in events.into_iter().take(keep) {
                    last = event.id;
                    heard.push(event.data);
                }
                if cut {
                    streams.left(Channel(channel));
                }
            }
            channel += 1;
            streams.resume(Channel(channel), last.as_deref().unwrap(), &mut turn);
            heard.extend(said(&mut turn).into_iter().map(|event| event.data));
            prop_assert_eq!(heard, (1..=said_count).map(|n| n.to_string()).collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_event_ids_never_panic(text in "[0-9a-zA-Z._-]{0,40}", rest in "\\PC{0,9}") {
            let (mut streams, mut turn) = streams();
            streams.resume(Channel(1), &(text + &rest), &mut turn);
        }
    }
}
