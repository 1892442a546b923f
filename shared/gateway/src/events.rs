//! How is a stream handed on whose events have to be looked at? One by one, as they come.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use mcp::{jsonrpc, sse};
use quota::answer::{Format, Meter};
use serde_json::value::RawValue;

use crate::{
    answer::response,
    asking::Seal,
    draft::{Draft, Ending},
    heard::count_responses,
    instances::{Reached, Seat},
    meter::Next,
    platform::{Abort, Answer, Platform},
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Hands an event stream on with the states in it sealed. A caller that goes away cancels the exchange (MCP 2026-07-28
    /// basic/patterns/cancellation).
    pub(crate) fn handed_on(
        &self,
        draft: &Draft,
        reached: Reached<P::Body>,
        silence: Duration,
        seal: Seal,
    ) -> Response<P::Body> {
        let count = Count { ending: draft.ending(), meter: Meter::new(Format::EventStream) };
        let edit = move |message: &str| seal.seal(message).map(Cow::into_owned).map_err(|refusal| refusal.reason());
        let passed = self.passed(reached, silence, (edit, Some(count), draft.answers.clone()));
        let (head, body) = passed.answer.response.into_parts();
        response(head.status, &head.headers, body)
    }

    /// An event stream with each message as `rewrite` gives it.
    pub(crate) fn rewritten(
        &self,
        reached: Reached<P::Body>,
        silence: Duration,
        rewrite: impl Fn(&str) -> String + 'static,
    ) -> Reached<P::Body> {
        self.passed(reached, silence, (move |message: &str| Ok(rewrite(message)), None, None))
    }

    fn passed(
        &self,
        reached: Reached<P::Body>,
        silence: Duration,
        (edit, count, answers): (
            impl Fn(&str) -> Result<String, String> + 'static,
            Option<Count>,
            Option<Box<RawValue>>,
        ),
    ) -> Reached<P::Body> {
        let Reached { answer, seat } = reached;
        let (head, body) = answer.response.into_parts();
        let relay = Relay {
            gateway: self.clone(),
            body,
            parser: sse::Parser::new(EVENT_MAX_BYTES),
            edit: Box::new(edit),
            silence,
            answers,
            count,
            status: head.status,
            bytes_out: 0,
            is_answered: false,
            abort: Some(answer.abort),
            _seat: seat,
        };
        let events = stream::unfold(relay, |mut relay| async move { relay.next().await.map(|bytes| (bytes, relay)) });
        let response = Response::from_parts(head, self.platform.body(events));
        // Who cuts it off drops the stream, and with it what is behind.
        Reached { answer: Answer { response, arrived: None, abort: Abort::new(|| {}) }, seat: None }
    }
}

/// What is counted of a stream that goes to a caller.
struct Count {
    ending: Ending,
    meter: Meter,
}

/// What a message becomes, or why the stream is cut off.
type Edit = Box<dyn Fn(&str) -> Result<String, String>>;

/// A stream on its way through; dropped before its end, it is cut off at the upstream too.
struct Relay<P: Platform> {
    gateway: Gateway<P>,
    body: P::Body,
    parser: sse::Parser,
    edit: Edit,
    silence: Duration,
    answers: Option<Box<RawValue>>,
    count: Option<Count>,
    status: StatusCode,
    bytes_out: u64,
    is_answered: bool,
    abort: Option<Abort>,
    _seat: Option<Seat>,
}

impl<P: Platform> Relay<P> {
    /// What the caller gets next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        self.abort.as_ref()?;
        let written = match self.gateway.next(&mut self.body, self.silence).await {
            Next::Data(data) => self.passed(&data),
            Next::End if self.is_answered => Err("complete".to_owned()),
            Next::End => Err("the upstream ended its stream before the response".to_owned()),
            Next::Broken(detail) => Err(format!("the upstream broke off: {detail}")),
            Next::Silence => Err(format!("cut off: silent for {} ms", self.silence.as_millis())),
        };
        let bytes = match written {
            Ok(text) => Some(Bytes::from(text)),
            Err(end) => {
                self.finish(&end);
                self.apology()
            }
        };
        self.bytes_out += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        bytes
    }

    /// The events that `data` completes, or why there will be no more.
    fn passed(&mut self, data: &[u8]) -> Result<String, String> {
        if let Some(count) = &mut self.count {
            count.meter.push(data);
        }
        let events = self.parser.push(data).map_err(|error| format!("cut off: {error}"))?;
        let mut written = String::new();
        for mut event in events {
            self.is_answered |= count_responses(&event.data) > 0;
            event.data = (self.edit)(&event.data)?;
            written.push_str(&event.encode());
        }
        // Something that is no event came, such as a comment: it keeps the connection alive on this side too.
        Ok(if written.is_empty() { sse::HEARTBEAT.to_owned() } else { written })
    }

    /// What a caller is told whose answer will not come.
    fn apology(&mut self) -> Option<Bytes> {
        let id = self.answers.take().filter(|_| !self.is_answered)?;
        self.is_answered = true;
        let message = "the server closed the connection before it answered; the request may have been carried out";
        let error = bridge::text::error(id.get(), jsonrpc::code::INTERNAL_ERROR, message, None);
        Some(sse::Event::message(&error).encode().into())
    }

    fn finish(&mut self, end: &str) {
        if let Some(abort) = self.abort.take() {
            abort.abort();
        }
        let Some(Count { ending, meter }) = self.count.take() else { return };
        self.gateway.ended(ending, (self.status, end), self.bytes_out, &meter.finish());
    }
}

impl<P: Platform> Drop for Relay<P> {
    fn drop(&mut self) {
        self.finish("the caller went away");
    }
}

/// Larger events are not held.
const EVENT_MAX_BYTES: usize = 4 * 1024 * 1024;
