//! Whatever comes in whatever order: is every request answered once, and nothing said to nobody?

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};

use bridge::{
    facade::{Action, Channel, End, Event, Facade, Hop, Life, Moment},
    up::{Terms, Up},
};
use mcp::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
enum Step {
    Call(u8, &'static str),
    Batch,
    Notify(&'static str),
    Listen(Option<usize>),
    Leave(usize),
    Serve(usize, Served),
    Cut(usize, End),
    Reply(usize, bool),
    Cancel(u8),
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Served {
    Result,
    Error,
    Progress,
    Log,
    Ask,
    AskNothing,
    State,
    Acknowledge,
    Changed,
    Garbage,
}

fn step() -> impl Strategy<Value = Step> {
    let methods = prop::sample::select(vec![
        "tools/call",
        "tools/list",
        "prompts/get",
        "resources/read",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/get",
    ]);
    let served = prop::sample::select(vec![
        Served::Result,
        Served::Error,
        Served::Progress,
        Served::Log,
        Served::Ask,
        Served::AskNothing,
        Served::State,
        Served::Acknowledge,
        Served::Changed,
        Served::Garbage,
    ]);
    let ends = prop::sample::select(vec![End::Complete, End::Broken(String::new()), End::Unreachable(String::new())]);
    prop_oneof![
        6 => (0_u8..4, methods).prop_map(|(id, method)| Step::Call(id, method)),
        1 => Just(Step::Batch),
        1 => Just(Step::Notify("notifications/initialized")),
        2 => prop::option::of(any::<usize>()).prop_map(Step::Listen),
        3 => any::<usize>().prop_map(Step::Leave),
        8 => (any::<usize>(), served).prop_map(|(hop, served)| Step::Serve(hop, served)),
        2 => (any::<usize>(), ends).prop_map(|(hop, end)| Step::Cut(hop, end)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(asked, good)| Step::Reply(asked, good)),
        1 => (0_u8..4).prop_map(Step::Cancel),
        2 => (0_u64..700_000).prop_map(Step::Pass),
    ]
}

/// A host and all it talks to, which does what it is told and checks that it makes sense.
struct World {
    up: Up,
    session: String,
    now: Timestamp,
    wake: Option<Timestamp>,
    channels: BTreeMap<u64, Line>,
    /// What is under way behind, and the method of it.
    hops: BTreeMap<u64, String>,
    sent: BTreeSet<u64>,
    asked: Vec<String>,
    event_ids: Vec<String>,
}

/// A request of the caller.
#[derive(Debug, Default)]
struct Line {
    state: State,
    /// How many requests it brought.
    requests: usize,
    responses: usize,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Open,
    Closed,
    Left,
}

impl World {
    fn new(revision: &str) -> Self {
        let params = json!({"protocolVersion": revision, "capabilities": {"roots": {}, "elicitation": {}}});
        let mut terms = Terms::of_initialize(&params.to_string()).unwrap();
        (terms.serves.tools_changed, terms.serves.subscriptions, terms.serves.logging) = (true, true, true);
        Self {
            up: Up::new(Life::Conversation),
            session: terms.spell(),
            now: Timestamp::from_secs(1_000),
            wake: None,
            channels: BTreeMap::new(),
            hops: BTreeMap::new(),
            sent: BTreeSet::new(),
            asked: Vec::new(),
            event_ids: Vec::new(),
        }
    }

    fn hand(&mut self, event: Event<'_>) {
        let moment = Moment { now: self.now, random: [9; 32] };
        for action in self.up.handle(event, &moment) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Request(request) => {
                assert!(self.sent.insert(request.hop.0), "a number is used once");
                let body: Value = serde_json::from_str(&request.body).unwrap();
                assert_eq!(body["id"], json!(request.hop.0));
                assert!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28");
                self.hops.insert(request.hop.0, body["method"].as_str().unwrap().to_owned());
            }
            Action::Abort(hop) => {
                assert!(self.sent.contains(&hop.0), "only what was sent is cut off");
            }
            Action::Answer(answer) => {
                let line = self.channels.get_mut(&answer.channel.0).unwrap();
                assert_eq!(line.state, State::Waiting, "an answer is whole");
                line.state = State::Closed;
                let message = answer.message.map(|message| serde_json::from_str::<Value>(&message).unwrap());
                line.responses += match message {
                    Some(Value::Array(messages)) => messages.len(),
                    Some(_) => 1,
                    None => 0,
                };
                assert!(matches!(answer.status, 200 | 202 | 204 | 400 | 409), "{}", answer.status);
            }
            Action::Open { channel, .. } => {
                let line = self.channels.get_mut(&channel.0).unwrap();
                assert_eq!(std::mem::replace(&mut line.state, State::Open), State::Waiting);
            }
            Action::Say { channel, event } => {
                let line = self.channels.get_mut(&channel.0).unwrap();
                assert_eq!(line.state, State::Open, "nothing is said to nobody");
                self.event_ids.extend(event.id);
                if !event.data.is_empty() {
                    let message: Value = serde_json::from_str(&event.data).unwrap();
                    let is_request = message.get("method").is_some() && message.get("id").is_some();
                    line.responses += usize::from(message.get("method").is_none());
                    self.asked.extend(is_request.then(|| message["id"].as_str().unwrap().to_owned()));
                }
            }
            Action::Close(channel) => {
                let line = self.channels.get_mut(&channel.0).unwrap();
                assert_eq!(std::mem::replace(&mut line.state, State::Closed), State::Open);
            }
            Action::Wake(at) => self.wake = Some(at),
        }
    }

    fn post(&mut self, message: &Value, requests: usize) {
        let channel = self.line(requests);
        let (text, session) = (message.to_string(), self.session.clone());
        self.hand(Event::Posted { channel, body: &text, session_id: Some(&session) });
    }

    fn line(&mut self, requests: usize) -> Channel {
        let number = self.channels.len() as u64;
        self.channels.insert(number, Line { requests, ..Line::default() });
        Channel(number)
    }

    fn listen(&mut self, last_event_id: Option<&str>) {
        let (channel, session) = (self.line(0), self.session.clone());
        self.hand(Event::Listened { channel, last_event_id, session_id: Some(&session) });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Call(id, method) => {
                let params = json!({"name": "t", "uri": "a:b", "level": "info", "_meta": {"progressToken": id}});
                self.post(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}), 1);
            }
            Step::Batch => {
                let one = |id: u8| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "t"}});
                self.post(&json!([one(1), one(2)]), 2);
            }
            Step::Notify(method) => self.post(&json!({"jsonrpc": "2.0", "method": method}), 0),
            Step::Cancel(id) => {
                let params = json!({"requestId": id});
                self.post(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}), 0);
                // Which of the same id it was is not followed here.
                self.channels.values_mut().for_each(|line| line.cancelled = true);
            }
            Step::Listen(last) => {
                let id = last.and_then(|last| pick(&self.event_ids, last).cloned());
                self.listen(id.as_deref());
            }
            Step::Leave(which) => self.leave(which),
            Step::Serve(which, served) => self.serve(which, served),
            Step::Cut(which, end) => {
                if let Some(hop) = pick(&self.hops.keys().copied().collect::<Vec<_>>(), which).copied() {
                    self.hops.remove(&hop);
                    self.hand(Event::Ended { hop: Hop(hop), end });
                }
            }
            Step::Reply(which, good) => {
                if let Some(id) = pick(&self.asked, which).cloned() {
                    let mut reply = json!({"jsonrpc": "2.0", "id": id});
                    match good {
                        true => reply["result"] = json!({"action": "accept", "roots": []}),
                        false => reply["error"] = json!({"code": -1, "message": "no"}),
                    }
                    self.post(&reply, 0);
                }
            }
            Step::Pass(millis) => self.pass(millis),
        }
    }

    fn leave(&mut self, which: usize) {
        let there = |line: &Line| matches!(line.state, State::Waiting | State::Open);
        let channels: Vec<_> =
            self.channels.iter().filter(|(_, line)| there(line)).map(|(number, _)| *number).collect();
        if let Some(channel) = pick(&channels, which).copied() {
            self.channels.get_mut(&channel).unwrap().state = State::Left;
            self.hand(Event::Left { channel: Channel(channel) });
        }
    }

    fn serve(&mut self, which: usize, served: Served) {
        let Some(hop) = pick(&self.hops.keys().copied().collect::<Vec<_>>(), which).copied() else { return };
        let result = |result: Value| json!({"jsonrpc": "2.0", "id": hop, "result": result});
        let note = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
        let form = json!({"method": "elicitation/create", "params": {"message": "m"}});
        let message = match served {
            Served::Result => result(json!({"resultType": "complete", "content": [], "tools": []})),
            Served::Error => json!({"jsonrpc": "2.0", "id": hop, "error": {"code": -32602, "message": "m"}}),
            Served::Progress => note("notifications/progress", json!({"progressToken": 1, "progress": hop})),
            Served::Log => note("notifications/message", json!({"level": "error", "data": 1})),
            Served::Ask => result(json!({"resultType": "input_required", "requestState": "s",
                "inputRequests": {"a": form, "b": {"method": "roots/list"}}})),
            Served::AskNothing => result(json!({"resultType": "input_required"})),
            Served::State => result(json!({"resultType": "input_required", "requestState": "s"})),
            Served::Acknowledge => note("notifications/subscriptions/acknowledged", json!({})),
            Served::Changed => note("notifications/tools/list_changed", json!({})),
            Served::Garbage => json!({"jsonrpc": "2.0", "id": 77, "result": 1}),
        };
        self.hand(Event::Said { hop: Hop(hop), message: &message.to_string(), event_id: None, retry_ms: None });
    }

    fn pass(&mut self, millis: u64) {
        let until = self.now.plus_millis(millis);
        for _ in 0..10_000 {
            let Some(at) = self.wake.filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(at);
            self.wake = None;
            self.hand(Event::Woken);
            assert!(self.wake.is_none_or(|next| next > at), "time goes on");
        }
        panic!("woken without end");
    }

    /// Ends whatever is under way, as time does.
    fn settle(&mut self) {
        for _ in 0..10 {
            while let Some(hop) = self.hops.keys().next().copied() {
                self.hops.remove(&hop);
                self.hand(Event::Ended { hop: Hop(hop), end: End::Complete });
            }
            // The listener goes, so that nothing is listened to again.
            let is_listener = |line: &Line| line.state == State::Open && line.requests == 0;
            let listeners = self.channels.iter().filter(|(_, line)| is_listener(line)).map(|(number, _)| *number);
            for channel in listeners.collect::<Vec<_>>() {
                self.channels.get_mut(&channel).unwrap().state = State::Left;
                self.hand(Event::Left { channel: Channel(channel) });
            }
            self.pass(11 * 60_000);
        }
    }
}

fn pick<T>(all: &[T], which: usize) -> Option<&T> {
    all.get(which.checked_rem(all.len())?)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_once_and_nothing_is_said_to_nobody(
        revision in prop::sample::select(vec!["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(revision);
        for step in steps {
            world.step(step);
        }
        world.settle();
        for (number, line) in &world.channels {
            prop_assert!(matches!(line.state, State::Closed | State::Left), "{number} {line:?}");
            if line.state == State::Closed && line.requests == 1 && !line.cancelled {
                // One that resumed a stream brings the answer of another.
                let taken_over = line.responses == 0 && !world.event_ids.is_empty();
                prop_assert!(line.responses == 1 || taken_over, "{number} {line:?}");
            }
            // A GET may resume the stream of a batch of two; a refusal answers what holds no request.
            let most = if line.requests == 0 { 2 } else { line.requests };
            prop_assert!(line.responses <= most, "{number} {line:?}");
        }
        prop_assert!(world.up.is_idle());
    }

    #[test]
    fn arbitrary_messages_never_panic(
        bodies in prop::collection::vec("\\PC{0,60}", 0..6),
        members in prop::collection::vec(("[a-zA-Z]{1,9}|_meta|requestId|uri|level", "null|1|\"x\"|\\{\\}|\\[1\\]|\\{\"a\":1\\}"), 0..5),
        method in "initialize|tools/(call|list)|resources/(read|subscribe)|logging/setLevel|notifications/(cancelled|progress)|[a-z/]{1,9}",
    ) {
        let mut world = World::new("2025-03-26");
        let session = world.session.clone();
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let params = format!("{{{}}}", members.join(","));
        let whole = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{params}}}"#);
        for body in bodies.iter().map(String::as_str).chain([whole.as_str(), answer.as_str()]) {
            let moment = Moment { now: world.now, random: [1; 32] };
            for session_id in [None, Some(session.as_str())] {
                let _ = world.up.handle(Event::Posted { channel: Channel(1), body, session_id }, &moment);
            }
            let said = Event::Said { hop: Hop(1), message: body, event_id: None, retry_ms: None };
            let _ = world.up.handle(said, &moment);
        }
        let _ = world.up.farewell();
    }
}
