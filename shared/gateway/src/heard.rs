//! What did an upstream say, where the gateway has to know? An answer, read up to its last response, and written again.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mcp::{Body, Message, header as mcp_header, jsonrpc, sse};

use crate::{
    answer::is_type,
    meter::Next,
    platform::{Answer, Platform},
    refusal::Refusal,
    serve::Gateway,
};

/// An answer that was read.
pub(crate) struct Heard {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    said: Spoken,
}

/// How it was said.
enum Spoken {
    Whole(String),
    Events(Vec<sse::Event>),
}

impl<P: Platform> Gateway<P> {
    /// Reads `answer` until all `responses` it owes are there.
    pub(crate) async fn hear(
        &self,
        answer: Answer<P::Body>,
        responses: u32,
        silence: Duration,
    ) -> Result<Heard, Refusal> {
        let (head, body) = answer.response.into_parts();
        let (status, headers) = (head.status, head.headers);
        let said = if is_type(&headers, mcp_header::TEXT_EVENT_STREAM) {
            let events = self.read_events(body, responses, silence).await?;
            answer.abort.abort();
            Spoken::Events(events)
        } else {
            let bytes = self.platform.whole(body, ANSWER_MAX_BYTES).await;
            let bytes = bytes.map_err(|unread| Refusal::Garbage(unread.to_string()))?;
            Spoken::Whole(String::from_utf8(bytes.into()).map_err(|_| Refusal::Garbage("it is not UTF-8".to_owned()))?)
        };
        Ok(Heard { status, headers, said })
    }

    async fn read_events(
        &self,
        mut body: P::Body,
        responses: u32,
        silence: Duration,
    ) -> Result<Vec<sse::Event>, Refusal> {
        let mut parser = sse::Parser::new(ANSWER_MAX_BYTES);
        let (mut events, mut owed) = (Vec::new(), responses as usize);
        while owed > 0 {
            let data = match self.next(&mut body, silence).await {
                Next::Data(data) if parser.read_bytes() + data.len() <= ANSWER_MAX_BYTES => data,
                Next::Data(_) => return Err(Refusal::Garbage(format!("it is larger than {ANSWER_MAX_BYTES} bytes"))),
                Next::End => return Err(Refusal::Garbage("its stream ends before the response".to_owned())),
                Next::Broken(detail) => return Err(Refusal::Broken(detail)),
                Next::Silence => return Err(Refusal::Deadline(silence.as_millis())),
            };
            for event in parser.push(&data).map_err(|error| Refusal::Garbage(error.to_string()))? {
                owed = owed.saturating_sub(count_responses(&event.data));
                events.push(event);
            }
        }
        Ok(events)
    }
}

impl Heard {
    /// The text that holds the response to the one request that was made.
    pub(crate) fn response(&self) -> &str {
        match &self.said {
            Spoken::Whole(text) => text,
            Spoken::Events(events) => {
                events.iter().rfind(|event| count_responses(&event.data) > 0).map_or("", |event| &event.data)
            }
        }
    }

    /// The answer's body, each message in it as `rewrite` gives it. Event ids are left out, and events that only bring
    /// one: a stream that was resumed by them would bring the messages as they were.
    pub(crate) fn rewritten<E>(
        self,
        mut rewrite: impl for<'a> FnMut(&'a str) -> Result<Cow<'a, str>, E>,
    ) -> Result<Bytes, E> {
        match self.said {
            Spoken::Whole(text) => Ok(rewrite(&text)?.into_owned().into()),
            Spoken::Events(events) => {
                let mut written = String::new();
                for mut event in events.into_iter().filter(|event| !event.data.is_empty()) {
                    event.id = None;
                    if count_responses(&event.data) > 0 {
                        event.data = rewrite(&event.data)?.into_owned();
                    }
                    written.push_str(&event.encode());
                }
                Ok(written.into())
            }
        }
    }
}

/// How many responses the message `data`, or the batch, holds.
pub(crate) fn count_responses(data: &str) -> usize {
    jsonrpc::parse(data.as_bytes()).map_or(0, |body: Body<'_>| {
        body.messages().iter().filter(|message| matches!(message, Message::Response(_))).count()
    })
}

/// Lists of thousands of tools fit; what is larger is not held.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;
