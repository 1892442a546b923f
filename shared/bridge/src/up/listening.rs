//! What does a session hear of its server's changes? One `subscriptions/listen` with all that is wanted, for as long as
//! somebody listens (MCP 2026-07-28 basic/patterns/subscriptions).
//!
//! What was subscribed to cannot be changed: another listen is opened, and the earlier one cut off once the new one is
//! acknowledged.

use std::collections::BTreeSet;

use mcp::{
    Timestamp,
    jsonrpc::{Call, Reply, code},
};

use crate::{
    facade::Hop,
    text::{self, Members, array, key, quoted},
};

use super::{
    request::{Envelope, Round, request},
    terms::Serves,
    turn::{Hops, Turn},
};

/// What a session listens to behind.
#[derive(Debug)]
pub(super) struct Listening {
    serves: Serves,
    uris: BTreeSet<String>,
    /// Acknowledged: what it says is passed on.
    current: Option<Leg>,
    /// Opened, and not acknowledged yet.
    next: Option<Leg>,
    /// How many in a row did not last.
    failures: u32,
    /// There is no listen before.
    rests_until: Option<Timestamp>,
    /// The server does not do this one; it is not asked again.
    refused: Option<Filter>,
    gap: Gap,
}

/// Whether something may have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    /// Nothing was.
    Closed,
    /// A listen ended, and no other was acknowledged yet.
    Open,
}

#[derive(Debug)]
struct Leg {
    hop: Hop,
    filter: Filter,
    opened_at: Timestamp,
}

/// What is listened to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: Vec<String>,
}

/// Too much was subscribed to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {URIS_MAX} resources of at most {URI_MAX_BYTES} bytes each can be subscribed to")]
pub(super) struct TooMany;

impl Listening {
    /// Nothing is listened to yet, of a server that serves this.
    pub(super) fn new(serves: Serves) -> Self {
        let uris = BTreeSet::new();
        Self {
            serves,
            uris,
            current: None,
            next: None,
            failures: 0,
            rests_until: None,
            refused: None,
            gap: Gap::Closed,
        }
    }

    /// Subscribes to `uri`.
    pub(super) fn subscribe(&mut self, uri: &str) -> Result<(), TooMany> {
        if uri.len() > URI_MAX_BYTES || (self.uris.len() >= URIS_MAX && !self.uris.contains(uri)) {
            return Err(TooMany);
        }
        self.uris.insert(uri.to_owned());
        Ok(())
    }

    /// Ends the subscription to `uri`, if there is one.
    pub(super) fn unsubscribe(&mut self, uri: &str) {
        self.uris.remove(uri);
    }

    /// Sees to it that what is wanted is listened to, and nothing else.
    pub(super) fn settle(&mut self, envelope: &Envelope<'_>, hops: &mut Hops, turn: &mut Turn) {
        let wanted = self.wanted();
        self.rests_until = self.rests_until.filter(|until| *until > turn.now);
        if wanted == Filter::default() {
            return self.rest(turn);
        }
        if self.next.as_ref().is_some_and(|leg| leg.filter == wanted) {
            return;
        }
        abort(&mut self.next, turn);
        let is_there = self.current.as_ref().is_some_and(|leg| leg.filter == wanted);
        if is_there || self.rests_until.is_some() || self.refused.as_ref() == Some(&wanted) {
            return;
        }
        let hop = hops.next();
        let params = wanted.params();
        let body = request(&hop.0.to_string(), "subscriptions/listen", Some(&params), envelope, Round::default());
        if let Ok(body) = body {
            turn.send(hop, body);
            self.next = Some(Leg { hop, filter: wanted, opened_at: turn.now });
        }
    }

    /// Whether `hop` is one of these.
    pub(super) fn owns(&self, hop: Hop) -> bool {
        [&self.current, &self.next].into_iter().flatten().any(|leg| leg.hop == hop)
    }

    /// Takes a notification of `hop`; gives those to pass on. After a gap the caller is told that all may have changed:
    /// nothing is said twice on the modern wire.
    pub(super) fn said(&mut self, hop: Hop, said: &Call<'_>, turn: &mut Turn) -> Vec<String> {
        let mut told = Vec::new();
        if self.next.as_ref().is_some_and(|leg| leg.hop == hop) {
            abort(&mut self.current, turn);
            self.current = self.next.take();
            if std::mem::replace(&mut self.gap, Gap::Closed) == Gap::Open {
                told.extend(self.current.iter().flat_map(|leg| leg.filter.all()));
            }
        }
        let leg = self.current.as_ref().filter(|leg| leg.hop == hop);
        if leg.is_some_and(|leg| leg.filter.wants(&said.method)) {
            told.extend(untagged(said));
        }
        told
    }

    /// Takes the response of `hop`: it ends, or never began.
    pub(super) fn answered(&mut self, hop: Hop, reply: &Reply<'_>) {
        let error = reply.error.and_then(|error| Members::parse(error.get()).ok());
        let code = error.and_then(|error| error.raw("code").and_then(|code| code.parse().ok()));
        if code.is_some_and(is_final) {
            self.refuse(hop);
        }
    }

    /// Takes the status of `hop`.
    pub(super) fn headed(&mut self, hop: Hop, status: u16) {
        if matches!(status, 404 | 405 | 501) {
            self.refuse(hop);
        }
    }

    /// Takes note that `hop` is over; after a pause another one follows.
    pub(super) fn ended(&mut self, hop: Hop, turn: &mut Turn) {
        let is_it = |leg: &mut Leg| leg.hop == hop;
        if self.current.as_ref().is_some_and(|leg| leg.hop == hop) {
            self.gap = Gap::Open;
        }
        let Some(leg) = self.next.take_if(is_it).or_else(|| self.current.take_if(is_it)) else { return };
        let lasted = turn.now.millis_since(leg.opened_at) >= LASTED_MS;
        self.failures = if lasted { 0 } else { self.failures.saturating_add(1) };
        let pause_ms = PAUSE_MS.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX_MS);
        self.rests_until = Some(turn.now.plus_millis(turn.jittered(pause_ms)));
    }

    /// When [`Listening::settle`] has something to do that no event tells of.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        self.rests_until
    }

    /// Whether a listen is not acknowledged yet.
    pub(super) fn is_opening(&self) -> bool {
        self.next.is_some()
    }

    /// Whether nothing is listened to.
    pub(super) fn is_resting(&self) -> bool {
        self.current.is_none() && self.next.is_none()
    }

    /// Listens to nothing any more.
    pub(super) fn rest(&mut self, turn: &mut Turn) {
        abort(&mut self.current, turn);
        abort(&mut self.next, turn);
        (self.failures, self.rests_until, self.refused, self.gap) = (0, None, None, Gap::Closed);
    }

    fn refuse(&mut self, hop: Hop) {
        let leg = [&self.current, &self.next].into_iter().flatten().find(|leg| leg.hop == hop);
        self.refused = leg.map(|leg| leg.filter.clone()).or_else(|| self.refused.take());
    }

    fn wanted(&self) -> Filter {
        Filter {
            tools: self.serves.tools_changed,
            prompts: self.serves.prompts_changed,
            resources: self.serves.resources_changed,
            uris: self.uris.iter().cloned().collect(),
        }
    }
}

impl Filter {
    fn params(&self) -> String {
        let mut filter = Members::new();
        let types = [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ];
        for (name, _) in types.into_iter().filter(|(_, wanted)| *wanted) {
            filter.set(name, "true");
        }
        if !self.uris.is_empty() {
            filter.set("resourceSubscriptions", array(self.uris.iter().map(|uri| quoted(uri))));
        }
        ["{\"notifications\":", &filter.write(), "}"].concat()
    }

    fn wants(&self, method: &str) -> bool {
        match method {
            TOOLS_CHANGED => self.tools,
            PROMPTS_CHANGED => self.prompts,
            RESOURCES_CHANGED => self.resources,
            // Of a resource below one that is subscribed to, perhaps.
            UPDATED => !self.uris.is_empty(),
            _ => false,
        }
    }

    /// Every notification there can be.
    fn all(&self) -> impl Iterator<Item = String> {
        let lists = [(TOOLS_CHANGED, self.tools), (PROMPTS_CHANGED, self.prompts), (RESOURCES_CHANGED, self.resources)];
        let lists = lists.into_iter().filter(|(_, wanted)| *wanted).map(|(method, _)| text::notification(method, None));
        let updated = |uri: &String| text::notification(UPDATED, Some(&["{\"uri\":", &quoted(uri), "}"].concat()));
        lists.chain(self.uris.iter().map(updated))
    }
}

/// The notification without the id of a subscription that its caller knows nothing of.
fn untagged(said: &Call<'_>) -> Option<String> {
    let Some(params) = said.params else { return Some(text::notification(&said.method, None)) };
    let mut params = Members::parse(params.get()).ok()?;
    params.edit("_meta", |meta| drop(meta.remove(key::SUBSCRIPTION_ID))).ok()?;
    let written = (!params.is_empty()).then(|| params.write());
    Some(text::notification(&said.method, written.as_deref()))
}

fn abort(leg: &mut Option<Leg>, turn: &mut Turn) {
    if let Some(leg) = leg.take() {
        turn.abort(leg.hop);
    }
}

/// Whether asking again would be answered the same.
fn is_final(error: i64) -> bool {
    matches!(error, code::METHOD_NOT_FOUND | code::INVALID_PARAMS | code::INVALID_REQUEST | -32099..=-32020)
}

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";
/// No more resources are subscribed to in one session.
const URIS_MAX: usize = 256;
/// A longer URI is not subscribed to.
const URI_MAX_BYTES: usize = 1_024;
/// The pause before the first new attempt; it doubles from then on.
const PAUSE_MS: u64 = 500;
/// The longest pause.
const PAUSE_MAX_MS: u64 = 60_000;
/// A listen that lasted so long was no failure.
const LASTED_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use mcp::jsonrpc::{Body, Message, parse};

    use super::*;
    use crate::facade::Action;

    const ENVELOPE: Envelope<'static> = Envelope { capabilities: "{}", client_info: None, level: None };
    const SERVES: Serves = Serves {
        tools_changed: true,
        prompts_changed: false,
        resources_changed: false,
        subscriptions: true,
        logging: false,
    };

    struct Heard {
        listening: Listening,
        hops: Hops,
        turn: Turn,
    }

    impl Heard {
        fn new() -> Self {
            let turn = Turn::at(Timestamp::from_secs(100));
            Self { listening: Listening::new(SERVES), hops: Hops::default(), turn }
        }

        fn settle(&mut self) -> Vec<Action> {
            let Self { listening, hops, turn } = self;
            listening.settle(&ENVELOPE, hops, turn);
            std::mem::take(&mut turn.actions)
        }

        fn said(&mut self, hop: u64, message: &str) -> Vec<String> {
            let body = parse(message.as_bytes()).unwrap();
            let Body::Single(Message::Notification(call)) = &body else { panic!("{message}") };
            self.listening.said(Hop(hop), call, &mut self.turn)
        }
    }

    const ACKNOWLEDGED: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{}}}"#;

    #[test]
    fn a_new_wish_is_listened_to_before_the_old_one_ends() {
        let mut heard = Heard::new();
        assert_eq!(heard.settle().len(), 1);
        assert!(heard.settle().is_empty(), "it is under way");
        assert!(heard.said(1, ACKNOWLEDGED).is_empty());
        heard.listening.subscribe("a:b").unwrap();
        let actions = heard.settle();
        assert!(
            matches!(&actions[..], [Action::Request(one)] if one.body.contains(
                r#""notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b"]}"#)),
            "{actions:?}"
        );
        let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#;
        assert_eq!(heard.said(1, changed), [r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#]);
        assert!(heard.said(2, ACKNOWLEDGED).is_empty());
        assert_eq!(heard.turn.actions, [Action::Abort(Hop(1))]);
        assert!(heard.said(1, changed).is_empty(), "what comes twice is said once");
        let updated = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b","_meta":{"io.modelcontextprotocol/subscriptionId":2,"x":1}}}"#;
        assert!(heard.said(2, updated)[0].ends_with(r#""params":{"uri":"a:b","_meta":{"x":1}}}"#));
        let unwanted = r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#;
        assert!(heard.said(2, unwanted).is_empty());
    }

    #[test]
    fn a_listen_that_ends_follows_with_growing_pauses() {
        let mut heard = Heard::new();
        let mut pauses = Vec::new();
        for hop in 1..=9 {
            assert_eq!(heard.settle().len(), 1);
            heard.listening.ended(Hop(hop), &mut heard.turn);
            assert!(heard.settle().is_empty(), "it rests first");
            let due = heard.listening.due_at().unwrap();
            pauses.push(due.millis_since(heard.turn.now));
            heard.turn.now = due;
        }
        assert!(pauses.is_sorted() && pauses[0] >= 1_000, "{pauses:?}");
        assert!(pauses[8] <= PAUSE_MAX_MS * 5 / 4, "{pauses:?}");
        heard.settle();
        heard.turn.now = heard.turn.now.plus_millis(LASTED_MS);
        heard.listening.ended(Hop(10), &mut heard.turn);
        assert!(heard.listening.due_at().unwrap().millis_since(heard.turn.now) < 1_000);
    }

    #[test]
    fn after_a_gap_all_may_have_changed() {
        let mut heard = Heard::new();
        heard.listening.subscribe("a:b").unwrap();
        heard.settle();
        assert!(heard.said(1, ACKNOWLEDGED).is_empty());
        heard.listening.ended(Hop(1), &mut heard.turn);
        heard.turn.now = heard.listening.due_at().unwrap();
        heard.settle();
        assert_eq!(
            heard.said(2, ACKNOWLEDGED),
            [
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#
            ]
        );
    }

    #[test]
    fn a_server_that_does_not_do_it_is_asked_once() {
        let mut heard = Heard::new();
        heard.settle();
        let body = parse(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m"}}"#).unwrap();
        let Body::Single(Message::Response(reply)) = &body else { panic!("{body:?}") };
        heard.listening.answered(Hop(1), reply);
        heard.listening.ended(Hop(1), &mut heard.turn);
        heard.turn.now = heard.turn.now.plus_millis(PAUSE_MAX_MS);
        assert!(heard.settle().is_empty());
        assert_eq!(heard.listening.due_at(), None);
        heard.listening.subscribe("a:b").unwrap();
        assert_eq!(heard.settle().len(), 1, "another wish is another question");
        heard.listening.unsubscribe("a:b");
        assert_eq!(heard.settle(), [Action::Abort(Hop(2))]);
        heard.listening.rest(&mut heard.turn);
        assert_eq!(heard.settle().len(), 1, "another listener is a new attempt");
    }

    #[test]
    fn subscriptions_are_bounded() {
        let mut listening = Listening::new(SERVES);
        assert_eq!(listening.subscribe(&"x".repeat(URI_MAX_BYTES + 1)), Err(TooMany));
        (0..URIS_MAX).for_each(|n| listening.subscribe(&n.to_string()).unwrap());
        assert_eq!(listening.subscribe("one more"), Err(TooMany));
        assert_eq!(listening.subscribe("0"), Ok(()));
    }
}
