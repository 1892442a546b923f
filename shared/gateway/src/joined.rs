//! How do the streams of many servers become one? Each is asked for by itself, again when it ends, and all are told as one
//! (MCP 2026-07-28 basic/patterns/subscriptions).

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    time::Duration,
};

use bridge::federation::{list::Ask, listen::Listen};
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    future::{Either, select},
    stream::{self, SelectAll},
};
use http::{HeaderValue, Response, header};
use mcp::{Call, Timestamp, jsonrpc, sse};
use telemetry::TraceContext;
use upstream::Repeatable;

use crate::{
    alone::{Alone, mirrored},
    answer::is_type,
    definitions::Place,
    federated::{Federated, whole},
    instances::Reached,
    meter::Next,
    platform::{Abort, Answer, Platform},
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// The stream a `subscriptions/listen` asks for.
    pub(crate) async fn listen_federated(
        &self,
        federated: &Federated,
        call: &Call<'_>,
        sending: &Alone<'_>,
    ) -> Result<Reached<P::Body>, Refusal> {
        let id = call.id.map_or("null", |id| id.get());
        let (mut listen, asks) = match Listen::new(&federated.view, call) {
            Ok(begun) => begun,
            Err(unroutable) => return Ok(whole(&unroutable.response(id))),
        };
        let now = self.platform.now();
        let mut sources = SelectAll::new();
        for Ask { server, body } in asks {
            let is_allowed = self.may_ask_for(federated, call, &server, sending.lens);
            match self.place_of(federated, call, &server).await {
                Ok(place) if is_allowed => sources.push(self.source(place, body, sending.trace.clone())),
                _ => drop(listen.ended(&server, now)),
            }
        }
        let said = listen.opened(now).iter().map(|message| event(message)).collect();
        let settle_by = now.plus_millis(SETTLE_MS);
        let joined = Joined { listen, sources, said, settle_by };
        let events = stream::unfold((self.clone(), joined), |(gateway, mut joined)| async move {
            Some((gateway.next_joined(&mut joined).await, (gateway, joined)))
        });
        let mut response = Response::new(self.platform.body(events));
        let content_type = HeaderValue::from_static(mcp::header::TEXT_EVENT_STREAM);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(Reached { answer: Answer { response, arrived: None, abort: Abort::new(|| {}) }, seat: None })
    }

    /// What one server says on its stream; it is asked again whenever that ends.
    fn source(&self, place: Place, text: String, trace: TraceContext) -> Source {
        let leg = Leg { place, text, trace, open: None, endings: 0 };
        Box::pin(stream::unfold((self.clone(), leg), |(gateway, mut leg)| async move {
            Some((gateway.next_said(&mut leg).await, (gateway, leg)))
        }))
    }

    /// What the caller hears next; a sign of life where that takes long.
    async fn next_joined(&self, joined: &mut Joined) -> Bytes {
        loop {
            if let Some(bytes) = joined.said.pop_front() {
                return bytes;
            }
            let pause_ms = joined.pause_ms(self.platform.now());
            let pause = self.platform.pause(Duration::from_millis(pause_ms));
            let heard = match joined.sources.is_empty() {
                true => {
                    pause.await;
                    None
                }
                false => match select(pin!(joined.sources.next()), pin!(pause)).await {
                    Either::Left((told, _)) => told,
                    Either::Right(_) => None,
                },
            };
            joined.hear(heard, self.platform.now());
            if joined.said.is_empty() && pause_ms == HEARTBEAT_MS {
                return Bytes::from_static(sse::HEARTBEAT.as_bytes());
            }
        }
    }

    /// What a server says next, or that its stream is over.
    async fn next_said(&self, leg: &mut Leg) -> Told {
        let server = leg.place.server().name.clone();
        if leg.open.is_none() {
            if leg.endings > 0 {
                let pause_ms = RETRY_MS.saturating_mul(1 << leg.endings.min(5));
                self.platform.pause(Duration::from_millis(pause_ms)).await;
            }
            leg.open = self.open_source(leg).await;
        }
        let message = match &mut leg.open {
            Some(open) => open.next().await,
            None => None,
        };
        match &message {
            Some(message) => {
                self.overhear(&leg.place.config, leg.place.server(), message);
                leg.endings = 0;
            }
            None => {
                leg.open = None;
                leg.endings = leg.endings.saturating_add(1);
            }
        }
        (server, message)
    }

    /// One server's stream, message by message; dropped, it is cut off.
    async fn open_source(&self, leg: &Leg) -> Option<Pin<Box<dyn Stream<Item = String>>>> {
        let body = jsonrpc::parse(leg.text.as_bytes()).ok()?;
        let sending = Alone {
            server: leg.place.server(),
            at: &leg.place.at,
            text: &leg.text,
            mirrored: mirrored(&body, &[]).ok()?,
            trace: &leg.trace,
            repeatable: Repeatable::Yes,
            lens: None,
            recall: None,
        };
        let reached = self.send_alone(&leg.place.config, sending).await.ok()?;
        let (head, body) = reached.answer.response.into_parts();
        if !head.status.is_success() || !is_type(&head.headers, mcp::header::TEXT_EVENT_STREAM) {
            return None;
        }
        let reading = Reading {
            parser: sse::Parser::new(EVENT_MAX_BYTES),
            said: VecDeque::new(),
            abort: Some(reached.answer.abort),
        };
        let read = stream::unfold((self.clone(), body, reading), |(gateway, mut body, mut reading)| async move {
            loop {
                if let Some(message) = reading.said.pop_front() {
                    return Some((message, (gateway, body, reading)));
                }
                let Next::Data(data) = gateway.next(&mut body, SILENCE).await else { return None };
                let events = reading.parser.push(&data).ok()?;
                reading.said.extend(events.into_iter().map(|event| event.data).filter(|data| !data.is_empty()));
            }
        });
        Some(Box::pin(read))
    }
}

/// What a server said on its stream, or that the stream is over.
type Told = (String, Option<String>);

/// What one server says.
type Source = Pin<Box<dyn Stream<Item = Told>>>;

/// One stream made of many. Dropped, all of them are.
struct Joined {
    listen: Listen,
    sources: SelectAll<Source>,
    said: VecDeque<Bytes>,
    /// Until when the servers are waited for that said nothing yet.
    settle_by: Timestamp,
}

impl Joined {
    /// How long may be waited before there is something to say.
    fn pause_ms(&self, now: Timestamp) -> u64 {
        let due = self.listen.wake().into_iter().chain((self.settle_by > now).then_some(self.settle_by)).min();
        due.map_or(HEARTBEAT_MS, |due| due.millis_since(now).clamp(1, HEARTBEAT_MS))
    }

    fn hear(&mut self, heard: Option<Told>, now: Timestamp) {
        let messages = match heard {
            Some((server, Some(message))) => self.listen.heard(&server, &message, now),
            Some((server, None)) => self.listen.ended(&server, now),
            None => {
                let mut messages = if now >= self.settle_by { self.listen.settle(now) } else { Vec::new() };
                messages.extend(self.listen.woken(now));
                messages
            }
        };
        self.said.extend(messages.iter().map(|message| event(message)));
    }
}

/// One server's part.
struct Leg {
    place: Place,
    text: String,
    trace: TraceContext,
    open: Option<Pin<Box<dyn Stream<Item = String>>>>,
    /// How often it ended without having said anything.
    endings: u32,
}

/// A stream that is being read; dropped, it is cut off.
struct Reading {
    parser: sse::Parser,
    said: VecDeque<String>,
    abort: Option<Abort>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(abort) = self.abort.take() {
            abort.abort();
        }
    }
}

fn event(message: &str) -> Bytes {
    sse::Event::message(message).encode().into()
}

/// A server that has not answered by then is acknowledged later, or not at all.
const SETTLE_MS: u64 = 3_000;
const HEARTBEAT_MS: u64 = 15_000;
const RETRY_MS: u64 = 500;
/// Servers give signs of life; one that gives none for so long is asked again.
const SILENCE: Duration = Duration::from_secs(300);
const EVENT_MAX_BYTES: usize = 1024 * 1024;
