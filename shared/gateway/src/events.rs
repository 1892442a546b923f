//! How is a stream handed on whose events have to be looked at? One by one, as they come.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use mcp::{jsonrpc, sse};
use quota::answer::{Format, Measured, Meter};
use serde_json::value::RawValue;

use crate::{
    answer::response,
    asking::Seal,
    draft::{Draft, Ending},
    heard::count_responses,
    instances::{Reached, Seat},
    meter::Next,
    platform::{Abort, Platform},
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
        let Reached { answer, seat } = reached;
        let (head, body) = answer.response.into_parts();
        let relay = Relay {
            gateway: self.clone(),
            body,
            parser: sse::Parser::new(EVENT_MAX_BYTES),
            seal,
            silence,
            answers: draft.answers.clone(),
            meter: Some(Meter::new(Format::EventStream)),
            ending: Some(draft.ending()),
            status: head.status,
            bytes_out: 0,
            is_answered: false,
            abort: Some(answer.abort),
            _seat: seat,
        };
        let events = stream::unfold(relay, |mut relay| async move { relay.next().await.map(|bytes| (bytes, relay)) });
        response(head.status, &head.headers, self.platform.body(events))
    }
}

/// A stream on its way through; dropped before its end, it is cut off at the upstream too.
struct Relay<P: Platform> {
    gateway: Gateway<P>,
    body: P::Body,
    parser: sse::Parser,
    seal: Seal,
    silence: Duration,
    answers: Option<Box<RawValue>>,
    meter: Option<Meter>,
    ending: Option<Ending>,
    status: StatusCode,
    bytes_out: u64,
    is_answered: bool,
    abort: Option<Abort>,
    _seat: Option<Seat>,
}

impl<P: Platform> Relay<P> {
    /// What the caller gets next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        self.ending.as_ref()?;
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
        if let Some(meter) = &mut self.meter {
            meter.push(data);
        }
        let events = self.parser.push(data).map_err(|error| format!("cut off: {error}"))?;
        let mut written = String::new();
        for mut event in events {
            self.is_answered |= count_responses(&event.data) > 0;
            event.data = self.seal.seal(&event.data).map_err(|refusal| refusal.reason())?.into_owned();
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
        let Some(ending) = self.ending.take() else { return };
        let measured = self.meter.take().map_or_else(Measured::default, Meter::finish);
        self.gateway.ended(ending, (self.status, end), self.bytes_out, &measured);
    }
}

impl<P: Platform> Drop for Relay<P> {
    fn drop(&mut self) {
        self.finish("the caller went away");
    }
}

/// Larger events are not held.
const EVENT_MAX_BYTES: usize = 4 * 1024 * 1024;
