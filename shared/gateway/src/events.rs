//! How is a stream handed on whose events have to be looked at? One by one, as they come.

use std::time::Duration;

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
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Hands an event stream on with each message as `edit` gives it. A caller that goes away cancels the exchange (MCP 2026-07-28
    /// basic/patterns/cancellation).
    pub(crate) fn handed_on(
        &self,
        draft: &Draft,
        reached: Reached<P::Body>,
        silence: Duration,
        edit: impl Fn(&str) -> Result<String, String> + 'static,
    ) -> Response<P::Body> {
        let count = Count { ending: draft.ending(), meter: Meter::new(Format::EventStream) };
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
        let mut relay = self.relay_of(head.status, silence, (edit, count, answers));
        relay.cuts(answer.abort, seat);
        let events = stream::unfold((self.clone(), body, relay), |(gateway, mut body, mut relay)| async move {
            let bytes = gateway.next_events(&mut body, &mut relay).await?;
            Some((bytes, (gateway, body, relay)))
        });
        let response = Response::from_parts(head, self.platform.body(events));
        // Who cuts it off drops the stream, and with it what is behind.
        Reached { answer: Answer { response, arrived: None, abort: Abort::new(|| {}) }, seat: None }
    }
}

impl<P: Platform> Gateway<P> {
    /// A stream to a caller whose answer is not here yet.
    pub(crate) fn relay_to_caller(&self, draft: &Draft, silence: Duration, seal: Seal) -> Relay {
        let count = Count { ending: draft.ending(), meter: Meter::new(Format::EventStream) };
        let edit = move |message: &str| seal.said(message);
        self.relay_of(StatusCode::OK, silence, (edit, Some(count), draft.answers.clone()))
    }

    fn relay_of(
        &self,
        status: StatusCode,
        silence: Duration,
        (edit, count, answers): (
            impl Fn(&str) -> Result<String, String> + 'static,
            Option<Count>,
            Option<Box<RawValue>>,
        ),
    ) -> Relay {
        let gateway = self.clone();
        Relay {
            parser: sse::Parser::new(EVENT_MAX_BYTES),
            edit: Box::new(edit),
            silence,
            answers,
            count,
            bytes_out: 0,
            is_answered: false,
            abort: Some(Abort::new(|| {})),
            charge: Box::new(move |Count { ending, meter }, end, bytes_out| {
                gateway.ended(ending, (status, end), bytes_out, &meter.finish());
            }),
            seat: None,
        }
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
pub(crate) struct Relay {
    parser: sse::Parser,
    edit: Edit,
    silence: Duration,
    answers: Option<Box<RawValue>>,
    count: Option<Count>,
    bytes_out: u64,
    is_answered: bool,
    /// None once it is over.
    abort: Option<Abort>,
    charge: Charge,
    seat: Option<Seat>,
}

/// Charges a stream that ended so, after so many bytes.
type Charge = Box<dyn Fn(Count, &str, u64)>;

impl<P: Platform> Gateway<P> {
    /// What the caller of a stream gets next; `None` at the end.
    pub(crate) async fn next_events(&self, body: &mut P::Body, relay: &mut Relay) -> Option<Bytes> {
        relay.abort.as_ref()?;
        let written = match self.next(body, relay.silence).await {
            Next::Data(data) => relay.passed(&data),
            Next::End if relay.is_answered => Err("complete".to_owned()),
            Next::End => Err("the upstream ended its stream before the response".to_owned()),
            Next::Broken(detail) => Err(format!("the upstream broke off: {detail}")),
            Next::Silence => Err(format!("cut off: silent for {} ms", relay.silence.as_millis())),
        };
        let bytes = match written {
            Ok(text) => Some(Bytes::from(text)),
            Err(end) => {
                relay.finish(&end);
                relay.apology()
            }
        };
        relay.bytes_out += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        bytes
    }
}

impl Relay {
    pub(crate) const fn silence(&self) -> Duration {
        self.silence
    }

    /// What is cut off when it is dropped, and whose place is free then.
    pub(crate) fn cuts(&mut self, abort: Abort, seat: Option<Seat>) {
        self.abort = Some(abort);
        self.seat = seat;
    }

    /// The last message, as an event.
    pub(crate) fn last(&mut self, message: &str) -> Option<Bytes> {
        let event = sse::Event::message(message).encode();
        let written = self.passed(event.as_bytes());
        self.bytes_out += event.len() as u64;
        self.finish(written.as_ref().map_or_else(String::as_str, |_| "complete"));
        written.ok().map(Bytes::from).or_else(|| self.apology())
    }

    /// What a caller is told whose request was refused after its stream began.
    pub(crate) fn refused(&mut self, refusal: &Refusal) -> Option<Bytes> {
        self.finish(&refusal.reason());
        let id = self.answers.take()?;
        self.is_answered = true;
        Some(sse::Event::message(&refusal.message(id.get())).encode().into())
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
        self.seat = None;
        if let Some(count) = self.count.take() {
            (self.charge)(count, end, self.bytes_out);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.finish("the caller went away");
    }
}

/// Larger events are not held.
const EVENT_MAX_BYTES: usize = 4 * 1024 * 1024;
