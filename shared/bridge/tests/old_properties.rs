//! Whatever comes in whatever order: is every caller answered once, nothing said to nobody, and nothing kept without end?

use std::collections::{BTreeMap, BTreeSet};

use bridge::{
    facade::{Action, Channel, End, Event, Facade, Hop, Method, Moment},
    old::{Sse, SseTerms, Streamable, StreamableTerms},
};
use mcp::Timestamp;
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
enum Step {
    Post(Option<bool>, String),
    Listen(bool),
    Delete(bool),
    Leave(usize),
    Head(usize, u16),
    Point(usize),
    Say(usize, String, Option<u64>),
    Cut(usize, End),
    Pass(u64),
}

fn message() -> impl Strategy<Value = String> {
    let id = prop_oneof![(0_u64..12).prop_map(|id| json!(id)), "[ab]".prop_map(|id| json!(id))];
    let method = prop::sample::select(vec![
        "initialize",
        "tools/call",
        "ping",
        "roots/list",
        "notifications/initialized",
        "notifications/progress",
        "notifications/cancelled",
        "notifications/message",
    ]);
    let one = (id, method, 0..4_u8).prop_map(|(id, method, kind)| match kind {
        0 => json!({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-03-26"}}),
        1 => json!({"jsonrpc": "2.0", "id": id, "error": {"code": 1, "message": ""}}),
        2 if !method.starts_with("notifications/") => {
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": {"progressToken": id}}})
        }
        _ => json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": id, "progressToken": id}}),
    });
    prop_oneof![
        12 => one.clone().prop_map(|one| one.to_string()),
        2 => prop::collection::vec(one, 1..40).prop_map(|batch| json!(batch).to_string()),
        1 => "[ -~]{0,20}",
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ends = prop::sample::select(vec![
        End::Complete,
        End::Broken(String::new()),
        End::Unreachable(String::new()),
        End::Garbage(String::new()),
        End::Silent(1),
    ]);
    let status = prop::sample::select(vec![200_u16, 200, 202, 202, 400, 404, 405, 500]);
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}).to_string();
    let result = json!({"jsonrpc": "2.0", "id": 2, "result": {"protocolVersion": "2025-03-26"}}).to_string();
    prop_oneof![
        2 => Just(Step::Post(None, initialize)),
        8 => (prop::option::weighted(0.9, prop::bool::weighted(0.95)), message()).prop_map(|(id, text)| Step::Post(id, text)),
        3 => prop::bool::weighted(0.95).prop_map(Step::Listen),
        1 => prop::bool::weighted(0.2).prop_map(Step::Delete),
        2 => any::<usize>().prop_map(Step::Leave),
        6 => (any::<usize>(), status).prop_map(|(hop, status)| Step::Head(hop, status)),
        4 => any::<usize>().prop_map(Step::Point),
        2 => any::<usize>().prop_map(move |hop| Step::Say(hop, result.clone(), None)),
        8 => (any::<usize>(), message(), prop::option::of(0_u64..9_000)).prop_map(|(hop, text, ms)| Step::Say(hop, text, ms)),
        2 => (any::<usize>(), ends).prop_map(|(hop, end)| Step::Cut(hop, end)),
        2 => (0_u64..70_000).prop_map(Step::Pass),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Waiting,
    Open,
}

/// A host that does what it is told and checks that it makes sense.
struct World {
    facade: Box<dyn Facade>,
    session: &'static str,
    now: Timestamp,
    wake: Option<Timestamp>,
    last: u64,
    channels: BTreeMap<u64, Line>,
    hops: BTreeMap<u64, Method>,
    sent: BTreeSet<u64>,
}

impl World {
    fn new(facade: Box<dyn Facade>, session: &'static str) -> Self {
        let now = Timestamp::from_secs(1_000);
        let (channels, hops, sent) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { facade, session, now, wake: None, last: 0, channels, hops, sent }
    }

    fn hand(&mut self, event: Event<'_>) {
        let moment = Moment { now: self.now, random: [9; 32] };
        for action in self.facade.handle(event, &moment) {
            self.act(action);
        }
        assert!(self.hops.len() <= 128, "the host takes no more");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Request(request) => {
                assert!(self.sent.insert(request.hop.0), "a number is used once");
                self.hops.insert(request.hop.0, request.method);
            }
            Action::Abort(hop) => assert!(self.sent.contains(&hop.0), "only what was sent is cut off"),
            Action::Answer(answer) => {
                assert_eq!(self.channels.remove(&answer.channel.0), Some(Line::Waiting), "it is answered once");
            }
            Action::Open { channel, .. } => {
                assert_eq!(self.channels.insert(channel.0, Line::Open), Some(Line::Waiting), "it is opened once");
            }
            Action::Say { channel, .. } => {
                assert_eq!(self.channels.get(&channel.0), Some(&Line::Open), "somebody listens");
            }
            Action::Close(channel) => {
                assert_eq!(self.channels.remove(&channel.0), Some(Line::Open), "it was open");
            }
            Action::Wake(at) => self.wake = Some(at),
        }
    }

    fn channel(&mut self) -> Option<Channel> {
        // As the host: it takes no more at once.
        (self.channels.len() < 128).then(|| {
            self.last += 1;
            self.channels.insert(self.last, Line::Waiting);
            Channel(self.last)
        })
    }

    fn one(keys: impl ExactSizeIterator<Item = u64>, at: usize) -> Option<u64> {
        let length = keys.len();
        let mut keys = keys;
        keys.nth(at.checked_rem(length)?)
    }

    fn hop(&self, at: usize) -> Option<Hop> {
        Self::one(self.hops.keys().copied(), at).map(Hop)
    }

    fn step(&mut self, step: Step) -> Option<()> {
        let session = |is_ours: bool, ours| Some(if is_ours { ours } else { "another" });
        match step {
            Step::Post(whose, body) => {
                let session_id = whose.and_then(|is_ours| session(is_ours, self.session));
                let channel = self.channel()?;
                self.hand(Event::Posted { channel, body: &body, session_id });
            }
            Step::Listen(is_ours) => {
                let session_id = session(is_ours, self.session);
                let channel = self.channel()?;
                self.hand(Event::Listened { channel, last_event_id: None, session_id });
            }
            Step::Delete(is_ours) => {
                let session_id = session(is_ours, self.session);
                let channel = self.channel()?;
                self.hand(Event::Deleted { channel, session_id });
            }
            Step::Leave(at) => {
                let left = Self::one(self.channels.keys().copied(), at)?;
                self.channels.remove(&left);
                self.hand(Event::Left { channel: Channel(left) });
            }
            Step::Head(at, status) => {
                let hop = self.hop(at)?;
                self.hand(Event::Answered { hop, status, session_id: Some("behind") });
            }
            Step::Point(at) => {
                let hop = self.hop(at)?;
                self.hand(Event::Pointed { hop, path_and_query: "/m" });
            }
            Step::Say(at, message, retry_ms) => {
                let hop = self.hop(at)?;
                self.hand(Event::Said { hop, message: &message, event_id: retry_ms.map(|_| "e"), retry_ms });
            }
            Step::Cut(at, end) => {
                let hop = self.hop(at)?;
                self.hops.remove(&hop.0);
                self.hand(Event::Ended { hop, end });
            }
            Step::Pass(millis) => self.pass(millis),
        }
        Some(())
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        if self.wake.is_some_and(|at| at <= self.now) {
            self.wake = None;
            self.hand(Event::Woken);
        }
    }

    /// Everything behind ends, and time passes: whoever only waited is answered.
    fn settle(&mut self) {
        for _ in 0..200 {
            for hop in std::mem::take(&mut self.hops).into_keys() {
                self.hand(Event::Ended { hop: Hop(hop), end: End::Broken(String::new()) });
            }
            self.pass(100_000);
        }
        assert!(self.channels.values().all(|line| *line == Line::Open), "{:?}", self.channels);
        assert!(self.hops.is_empty());
        for action in self.facade.farewell() {
            self.act(action);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn callers_of_an_http_sse_server_are_answered_once(steps in prop::collection::vec(step(), 0..120)) {
        let facade = Streamable::new(StreamableTerms { session_id: "ours".to_owned() });
        let mut world = World::new(Box::new(facade), "ours");
        for step in steps {
            world.step(step);
        }
        world.settle();
        prop_assert!(world.channels.is_empty(), "with the stream everything ends: {:?}", world.channels);
        prop_assert!(world.facade.is_idle());
    }

    #[test]
    fn clients_of_http_sse_are_answered_once(steps in prop::collection::vec(step(), 0..120)) {
        let facade = Sse::new(SseTerms { endpoint: "/m".to_owned() });
        let mut world = World::new(Box::new(facade), "ours");
        world.step(Step::Listen(true)).unwrap();
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
