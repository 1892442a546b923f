//! What was POSTed, and what is still owed for it?

use mcp::{
    Revision, Timestamp,
    jsonrpc::{self, Body, Message, Reply, code},
};

use crate::{
    facade::{Channel, End},
    text, up,
};

/// A message of the client's on its way through the server behind.
#[derive(Debug)]
pub(super) struct Post {
    /// Who waits to be told that it is taken.
    pub(super) channel: Option<Channel>,
    pub(super) step: Step,
    /// The ids of its requests that are not answered: JSON texts.
    owed: Vec<String>,
    pub(super) status: Option<u16>,
    /// The body of an answer that is none of 2xx.
    pub(super) refusal: Option<String>,
    pub(super) course: Course,
}

/// What it is to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Initialize,
    Initialized,
    Other,
}

/// How far a stream was read, and how it goes on when it ends early (MCP 2025-11-25 basic/transports).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) last_event_id: Option<String>,
    retry_ms: Option<u64>,
    failures: u32,
}

impl Post {
    /// What `body` asks.
    pub(super) fn new(channel: Channel, body: &Body<'_>) -> Self {
        let mut step = Step::Other;
        let mut owed = Vec::new();
        for message in body.messages() {
            match message {
                Message::Request(call) => {
                    owed.extend(call.id.map(|id| id.get().to_owned()));
                    if call.method == "initialize" {
                        step = Step::Initialize;
                    }
                }
                Message::Notification(call) if call.method == "notifications/initialized" => step = Step::Initialized,
                Message::Notification(_) | Message::Response(_) => {}
            }
        }
        Self { channel: Some(channel), step, owed, status: None, refusal: None, course: Course::default() }
    }

    /// Whether the server took it.
    pub(super) const fn is_taken(&self) -> bool {
        matches!(self.status, Some(200..300))
    }

    pub(super) const fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Notes the responses in `message`; what was agreed on, if one says that.
    pub(super) fn heard(&mut self, message: &str) -> Option<Revision> {
        let body = jsonrpc::parse(message.as_bytes()).ok()?;
        let mut agreed = None;
        for message in body.messages() {
            if let Message::Response(Reply { id: Some(id), result, .. }) = message {
                self.owed.retain(|owed| owed != id.get());
                if self.step == Step::Initialize {
                    agreed = result.and_then(|result| text::revision_of(result.get()));
                }
            }
        }
        agreed
    }

    /// What the client is told where the server did not take the message: status and body.
    pub(super) fn refused(&mut self, end: &End) -> (u16, String) {
        let status = self.status.filter(|status| *status >= 400).unwrap_or(502);
        let id = self.owed.first().map_or("null", String::as_str);
        let why = || text::error(id, code::INTERNAL_ERROR, &up::reason(end, self.status), None);
        (status, self.refusal.take().unwrap_or_else(why))
    }

    /// The errors of the requests that are never going to be answered.
    pub(super) fn failures(&mut self, why: &str) -> Vec<String> {
        std::mem::take(&mut self.owed).iter().map(|id| text::error(id, code::INTERNAL_ERROR, why, None)).collect()
    }
}

impl Course {
    /// An event came.
    pub(super) fn follow(&mut self, event_id: Option<&str>, retry_ms: Option<u64>) {
        self.failures = 0;
        if let Some(id) =
            event_id.filter(|id| id.len() <= EVENT_ID_MAX_BYTES && id.bytes().all(|b| b.is_ascii_graphic()))
        {
            self.last_event_id = Some(id.to_owned());
        }
        self.retry_ms = retry_ms.or(self.retry_ms);
    }

    /// It ended. When it is tried again; never where it failed too often.
    pub(super) fn again_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.failures += 1;
        let pause_ms = self.retry_ms.unwrap_or(RETRY_MS).clamp(RETRY_MIN_MS, RETRY_MAX_MS);
        let doubled = pause_ms.saturating_mul(1 << self.failures.min(6).saturating_sub(1)).min(RETRY_MAX_MS);
        (self.failures <= FAILURES_MAX).then(|| now.plus_millis(doubled))
    }
}

const EVENT_ID_MAX_BYTES: usize = 1024;
const RETRY_MS: u64 = 1_000;
const RETRY_MIN_MS: u64 = 50;
const RETRY_MAX_MS: u64 = 60_000;
/// A stream that ends so often without anything new is given up.
const FAILURES_MAX: u32 = 8;
