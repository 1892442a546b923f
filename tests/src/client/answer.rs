//! What came back? An answer read to its end, or a stream read event by event.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mcp::sse;
use serde_json::Value;
use tokio::time::timeout;

use super::PATIENCE;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Why the body is not whole, if it broke off.
    pub broken: Option<String>,
}

/// An answer that is still being read.
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    parser: sse::Parser,
    events: VecDeque<sse::Event>,
}

impl Stream {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let parser = sse::Parser::new(EVENT_MAX_BYTES);
        Self { status: head.status.as_u16(), headers: head.headers, body, parser, events: VecDeque::new() }
    }

    /// The next event; none when the stream ended.
    pub async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("the stream goes on or ends")?.ok()?;
            self.events.extend(self.parser.push(&frame.into_data().unwrap_or_default()).unwrap());
        }
    }

    /// The next event's message; none when the stream ended.
    pub async fn message(&mut self) -> Option<Value> {
        loop {
            let event = self.next().await?;
            // An event without data primes the stream for a client that resumes.
            if !event.data.is_empty() {
                return Some(serde_json::from_str(&event.data).unwrap());
            }
        }
    }

    /// How many events came with the last one and were not asked for yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.events.len()
    }

    pub(super) async fn read(mut self) -> Answer {
        let mut bytes = Vec::new();
        let mut broken = None;
        while let Some(frame) = self.body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => {
                    broken = Some(error.to_string());
                    break;
                }
            }
        }
        Answer { status: self.status, headers: self.headers, body: bytes.into(), broken }
    }
}

impl Answer {
    /// The body, which is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The messages in the body, whether it is JSON or an event stream.
    pub fn messages(&self) -> Vec<Value> {
        if !self.header("content-type").starts_with("text/event-stream") {
            return vec![self.json()];
        }
        let events = sse::Parser::new(EVENT_MAX_BYTES).push(&self.body).unwrap();
        let texts = events.iter().map(|event| event.data.as_str()).filter(|data| !data.is_empty());
        texts.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// The one response in the body.
    pub fn reply(&self) -> Value {
        let messages = self.messages();
        let reply = messages.iter().find(|message| message.get("method").is_none());
        reply.unwrap_or_else(|| panic!("no response: {self:?}")).clone()
    }

    /// The text of a tool's result.
    pub fn text(&self) -> String {
        let reply = self.reply();
        let text = reply["result"]["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text: {self:?}")).to_owned()
    }

    /// The code of the error in the body.
    pub fn code(&self) -> i64 {
        self.reply()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// A header's text; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Fails unless the answer is a refusal with this status and JSON-RPC code.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: i64) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
    }
}

const EVENT_MAX_BYTES: usize = 64 * 1024 * 1024;
