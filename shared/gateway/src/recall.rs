//! Was this asked of the server a moment ago? What it says of how long its answer holds is believed: the next who asks the
//! same is spared the way there (MCP 2026-07-28 server/utilities/caching).
//!
//! Answers are kept as the server gave them. Whoever is answered out of the cache passed every stage, and what is shown of
//! the answer is decided anew. Only a server that speaks the modern era itself says how long its answers hold.

use std::cell::Cell;

use bridge::{
    claim::CAPABILITIES,
    federation::cache::{self, Change, Context, Question},
    text::{self, Members},
};
use http::{HeaderMap, Response, header};
use mcp::{Body, Call, Message, digest, header as mcp_header, jsonrpc, sse};
use registry::Server;

use crate::{
    alone::Alone,
    answer::is_type,
    config::Config,
    federated::whole,
    heard::count_responses,
    instances::Reached,
    meter::Next,
    platform::{Answer, Platform},
    serve::Gateway,
};

/// For whom answers may be remembered, and how many of them were.
pub(crate) struct Recall {
    whose: [u8; 32],
    freshness: Freshness,
    asked: Cell<u32>,
    recalled: Cell<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// What still holds is good enough.
    Kept,
    /// The server is asked in any case.
    Fresh,
}

/// What is known before a server is asked.
pub(crate) enum Recalled<B> {
    /// Its answer.
    Answer(Reached<B>),
    /// Nothing; what it will answer may be kept as the answer to this.
    Unknown(Option<Question>),
}

impl Recall {
    /// For the principal bound as `principal`.
    pub(crate) const fn of(principal: &[u8; 32]) -> Self {
        Self::new(*principal, Freshness::Kept)
    }

    /// For the gateway itself.
    pub(crate) fn own() -> Self {
        Self::new(digest::sha256(OWN), Freshness::Kept)
    }

    /// For the gateway itself, which wants to know how things are now.
    pub(crate) fn fresh() -> Self {
        Self::new(digest::sha256(OWN), Freshness::Fresh)
    }

    const fn new(whose: [u8; 32], freshness: Freshness) -> Self {
        Self { whose, freshness, asked: Cell::new(0), recalled: Cell::new(0) }
    }

    /// What the record says of it; nothing where no answer was remembered.
    pub(crate) fn said(&self) -> Option<String> {
        match (self.recalled.get(), self.asked.get()) {
            (0, _) => None,
            (recalled, asked) if recalled == asked => Some("cached".to_owned()),
            (recalled, asked) => Some(format!("{recalled} of {asked} cached")),
        }
    }

    /// With what authorization `call` asks: whatever its answer may depend on.
    fn context(&self, call: &Call<'_>) -> Context {
        let params = call.params.and_then(|params| Members::parse(params.get()).ok());
        let meta = params.as_ref().and_then(|params| params.object("_meta").ok());
        let capabilities = meta.as_ref().and_then(|meta| meta.raw(CAPABILITIES)).unwrap_or("{}");
        Context(digest::sha256([&self.whose, capabilities.as_bytes()].concat().as_slice()))
    }
}

impl<P: Platform> Gateway<P> {
    /// What is remembered of the answer to `sending`, which goes to a modern server.
    pub(crate) fn recall(&self, config: &Config, sending: &Alone<'_>) -> Recalled<P::Body> {
        let Some(recall) = sending.recall.filter(|_| is_cacheable(sending)) else { return Recalled::Unknown(None) };
        let Ok(Body::Single(Message::Request(call))) = jsonrpc::parse(sending.text.as_bytes()) else {
            return Recalled::Unknown(None);
        };
        recall.asked.set(recall.asked.get() + 1);
        let params = call.params.map(|params| params.get());
        let Some(key) = cache::key(&kept_as(config, sending.server), &call.method, params) else {
            return Recalled::Unknown(None);
        };
        let mut memory = self.memory.0.borrow_mut();
        let question = memory.answers.question(key, recall.context(&call));
        if recall.freshness == Freshness::Kept
            && let Some(result) = memory.answers.lookup(&question, self.platform.now())
        {
            recall.recalled.set(recall.recalled.get() + 1);
            let id = call.id.map_or("null", |id| id.get());
            return Recalled::Answer(whole(&text::response(id, &result)));
        }
        Recalled::Unknown(Some(question))
    }

    /// Keeps `reached` as the answer to `question` once all of it is there, and hands it on.
    pub(crate) fn remembered(&self, question: Option<Question>, mut reached: Reached<P::Body>) -> Reached<P::Body> {
        let Some(question) = question.filter(|_| reached.answer.response.status().is_success()) else { return reached };
        if let Some(bytes) = reached.answer.peeked() {
            self.keep(question, reached.answer.response.headers(), &bytes);
            return reached;
        }
        if length(reached.answer.response.headers()).is_some_and(|length| length > KEPT_MAX_BYTES) {
            return reached;
        }
        let Reached { answer, seat } = reached;
        let (head, body) = answer.response.into_parts();
        let (body, tap) = self.platform.split(body);
        let (gateway, headers) = (self.clone(), head.headers.clone());
        self.platform.defer(async move {
            if let Some(bytes) = gateway.tapped(tap).await {
                gateway.keep(question, &headers, &bytes);
            }
        });
        Reached { answer: Answer { response: Response::from_parts(head, body), ..answer }, seat }
    }

    /// Forgets what the message `said` of `server` makes wrong.
    pub(crate) fn overhear(&self, config: &Config, server: &Server, said: &str) {
        if let Some(change) = Change::of(said) {
            self.outdate(config, server, &change);
        }
    }

    /// Forgets what `change` at `server` makes wrong.
    pub(crate) fn outdate(&self, config: &Config, server: &Server, change: &Change) {
        self.memory.0.borrow_mut().answers.invalidate(&kept_as(config, server), change);
    }

    fn keep(&self, question: Question, headers: &HeaderMap, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let now = self.platform.now();
        let keep = |response: &str| self.memory.0.borrow_mut().answers.store(question, response, now);
        if !is_type(headers, mcp_header::TEXT_EVENT_STREAM) {
            return keep(text);
        }
        let events = sse::Parser::new(bytes.len()).push(bytes).unwrap_or_default();
        if let Some(event) = events.iter().rfind(|event| count_responses(&event.data) > 0) {
            keep(&event.data);
        }
    }

    /// All of `tap`, if it is not more than is kept.
    async fn tapped(&self, mut tap: P::Body) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.next(&mut tap, SILENCE).await {
                Next::Data(data) if bytes.len() + data.len() <= KEPT_MAX_BYTES => bytes.extend_from_slice(&data),
                Next::End => return Some(bytes),
                Next::Data(_) | Next::Broken(_) | Next::Silence => return None,
            }
        }
    }
}

/// What a server's answers are kept under: a server is another one under another configuration.
pub(crate) fn kept_as(config: &Config, server: &Server) -> String {
    [server.name.as_str(), "@", &config.bundle].concat()
}

/// Its headers say so before its body is read.
fn is_cacheable(sending: &Alone<'_>) -> bool {
    let method = sending.mirrored.iter().find(|(name, _)| *name == mcp_header::MCP_METHOD);
    method.is_some_and(|(_, method)| text::CACHEABLE.iter().any(|cacheable| method == cacheable))
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

const OWN: &[u8] = b"turnpike";
/// What is larger is not kept: a list of some thousand tools fits.
const KEPT_MAX_BYTES: usize = 1024 * 1024;
const SILENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_says_how_much_was_remembered() {
        let recall = Recall::own();
        for (asked, recalled, said) in
            [(0, 0, None), (3, 0, None), (1, 1, Some("cached")), (3, 3, Some("cached")), (3, 2, Some("2 of 3 cached"))]
        {
            recall.asked.set(asked);
            recall.recalled.set(recalled);
            assert_eq!(recall.said().as_deref(), said);
        }
    }

    #[test]
    fn answers_depend_on_who_asks_and_on_what_they_can_do() {
        let context = |whose: u8, capabilities: &str| {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"{CAPABILITIES}":{capabilities},"x":1}}}}}}"#
            );
            let Ok(Body::Single(Message::Request(call))) = jsonrpc::parse(body.as_bytes()) else { panic!("a request") };
            Recall::of(&[whose; 32]).context(&call)
        };
        assert_eq!(context(1, "{}"), context(1, "{}"));
        assert_ne!(context(1, "{}"), context(2, "{}"));
        assert_ne!(context(1, "{}"), context(1, r#"{"roots":{}}"#));
    }
}
