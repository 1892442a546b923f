//! How do the streams of many servers become one? Each is asked for by itself, again when it ends, and all are told as one
//! (MCP 2026-07-28 basic/patterns/subscriptions).

use std::{collections::VecDeque, pin::Pin, pin::pin, rc::Rc, time::Duration};

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
        let joined = Joined { gateway: self.clone(), listen, sources, said, settle_by };
        let events = stream::unfold(joined, |mut joined| async move { Some((joined.next().await, joined)) });
        let mut response = Response::new(self.platform.body(events));
        let content_type = HeaderValue::from_static(mcp::header::TEXT_EVENT_STREAM);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(Reached { answer: Answer { response, arrived: None, abort: Abort::new(|| {}) }, seat: None })
    }

    /// What one server says on its stream; it is asked again whenever that ends.
    fn source(&self, place: Place, text: String, trace: TraceContext) -> Pin<Box<dyn Stream<Item = Told>>> {
        let source = Source {
            gateway: self.clone(),
            place: Rc::new(place),
            text,
            trace,
            open: None,
            said: VecDeque::new(),
            endings: 0,
        };
        Box::pin(stream::unfold(source, |mut source| async move { Some((source.next().await, source)) }))
    }
}

/// What a server said on its stream, or that the stream is over.
type Told = (String, Option<String>);

/// One stream made of many. Dropped, all of them are.
struct Joined<P: Platform> {
    gateway: Gateway<P>,
    listen: Listen,
    sources: SelectAll<Pin<Box<dyn Stream<Item = Told>>>>,
    said: VecDeque<Bytes>,
    /// Until when the servers are waited for that said nothing yet.
    settle_by: Timestamp,
}

impl<P: Platform> Joined<P> {
    /// What the caller hears next; a sign of life where that takes long.
    async fn next(&mut self) -> Bytes {
        loop {
            if let Some(bytes) = self.said.pop_front() {
                return bytes;
            }
            let now = self.gateway.platform.now();
            let due = self.listen.wake().into_iter().chain((self.settle_by > now).then_some(self.settle_by)).min();
            let pause_ms = due.map_or(HEARTBEAT_MS, |due| due.millis_since(now).clamp(1, HEARTBEAT_MS));
            let pause = self.gateway.platform.pause(Duration::from_millis(pause_ms));
            let heard = match self.sources.is_empty() {
                true => {
                    pause.await;
                    None
                }
                false => match select(pin!(self.sources.next()), pin!(pause)).await {
                    Either::Left((told, _)) => told,
                    Either::Right(_) => None,
                },
            };
            let now = self.gateway.platform.now();
            let messages = match heard {
                Some((server, Some(message))) => self.listen.heard(&server, &message, now),
                Some((server, None)) => self.listen.ended(&server, now),
                None if now >= self.settle_by => {
                    let mut messages = self.listen.settle(now);
                    messages.extend(self.listen.woken(now));
                    messages
                }
                None => self.listen.woken(now),
            };
            self.said.extend(messages.iter().map(|message| event(message)));
            if self.said.is_empty() && pause_ms == HEARTBEAT_MS {
                return Bytes::from_static(sse::HEARTBEAT.as_bytes());
            }
        }
    }
}

/// One server's stream.
struct Source<P: Platform> {
    gateway: Gateway<P>,
    place: Rc<Place>,
    text: String,
    trace: TraceContext,
    open: Option<Open<P>>,
    said: VecDeque<String>,
    /// How often it ended without having said anything.
    endings: u32,
}

/// A stream that is open; dropped, it is cut off.
struct Open<P: Platform> {
    body: P::Body,
    parser: sse::Parser,
    abort: Option<Abort>,
}

impl<P: Platform> Drop for Open<P> {
    fn drop(&mut self) {
        if let Some(abort) = self.abort.take() {
            abort.abort();
        }
    }
}

impl<P: Platform> Source<P> {
    async fn next(&mut self) -> Told {
        let server = self.place.server().name.clone();
        loop {
            if let Some(message) = self.said.pop_front() {
                self.endings = 0;
                return (server, Some(message));
            }
            let heard = match &mut self.open {
                Some(open) => self.gateway.next(&mut open.body, SILENCE).await,
                None => match self.ask().await {
                    Some(open) => {
                        self.open = Some(open);
                        continue;
                    }
                    None => Next::End,
                },
            };
            let events = match (heard, &mut self.open) {
                (Next::Data(data), Some(open)) => open.parser.push(&data).ok(),
                _ => None,
            };
            match events {
                Some(events) => {
                    self.said.extend(events.into_iter().map(|event| event.data).filter(|data| !data.is_empty()))
                }
                None => {
                    self.open = None;
                    self.endings = self.endings.saturating_add(1);
                    return (server, None);
                }
            }
        }
    }

    async fn ask(&mut self) -> Option<Open<P>> {
        if self.endings > 0 {
            let pause_ms = RETRY_MS.saturating_mul(1 << self.endings.min(5));
            self.gateway.platform.pause(Duration::from_millis(pause_ms)).await;
        }
        let body = jsonrpc::parse(self.text.as_bytes()).ok()?;
        let sending = Alone {
            server: self.place.server(),
            at: &self.place.at,
            text: &self.text,
            mirrored: mirrored(&body, &[]).ok()?,
            trace: &self.trace,
            repeatable: Repeatable::Yes,
            lens: None,
        };
        let reached = self.gateway.send_alone(&self.place.config, sending).await.ok()?;
        let (head, body) = reached.answer.response.into_parts();
        let is_stream = head.status.is_success() && is_type(&head.headers, mcp::header::TEXT_EVENT_STREAM);
        let open = Open { body, parser: sse::Parser::new(EVENT_MAX_BYTES), abort: Some(reached.answer.abort) };
        is_stream.then_some(open)
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
