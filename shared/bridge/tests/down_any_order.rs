//! Does a façade keep its promises whatever comes, in whatever order? Callers, a server and the clock are played by chance.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a broken promise fails its test")]

use std::collections::{BTreeMap, BTreeSet};

use bridge::{
    down::{Down, PARKED_MAX, Terms},
    facade::{Action, Channel, End, Event, Facade, Hop, Method, Moment},
};
use mcp::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_each_caller_is_answered_once_and_no_call_is_sent_twice(
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..400),
        asking in prop::bool::weighted(0.8),
        kind in 0..3_u8,
    ) {
        let mut world = World::new(asking, kind);
        for step in steps {
            world.step(step);
        }
        world.finish();
    }

    #[test]
    fn arbitrary_messages_never_panic(bodies in prop::collection::vec((any::<bool>(), ".{0,60}"), 0..12)) {
        let mut world = World::new(true, 0);
        for (from_server, text) in bodies {
            let hop = world.hops.keys().next().copied();
            match hop.filter(|_| from_server) {
                Some(hop) => {
                    world.handle(Event::Answered { hop, status: 200, session_id: None });
                    world.handle(Event::Said { hop, message: &text, event_id: Some(&text), retry_ms: None });
                }
                None => {
                    let channel = world.channel(None);
                    world.handle(Event::Posted { channel, body: &text, session_id: None });
                }
            }
        }
    }
}

/// How far the answer of a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Open,
    All,
    Left,
}

struct World {
    down: Down,
    now_ms: u64,
    wake_ms: Option<u64>,
    kind: u8,
    /// Each channel, the id it waits with, and how far its answer is.
    channels: BTreeMap<Channel, (Option<Value>, Told)>,
    listeners: BTreeSet<Channel>,
    /// What was sent on each hop that runs, and whether its head came.
    hops: BTreeMap<Hop, (Value, bool)>,
    highest_hop: u64,
    ids: BTreeSet<u64>,
    /// How often each call was sent, and whether that may happen again.
    calls: BTreeMap<u64, Sent>,
    /// The call each channel is about.
    markers: BTreeMap<Channel, u64>,
    /// The states callers got, and the calls they belong to.
    states: Vec<(String, u64, Vec<String>)>,
    sessions: u64,
}

const PREPARING: [&str; 4] = ["initialize", "notifications/initialized", "logging/setLevel", "tools/list"];

#[derive(Default)]
struct Sent {
    times: u32,
    /// Set once it cannot be sent any more: it was answered, parked, or something of it was handed on.
    is_final: bool,
}

impl World {
    fn new(asking: bool, kind: u8) -> Self {
        let capabilities = if asking { json!({"elicitation": {}, "roots": {}, "sampling": {}}) } else { json!({}) };
        Self {
            down: Down::new(Terms { server: "s".into(), capabilities, client_info: None, parked_ms: PARKED_MS }),
            now_ms: 1_800_000_000_000,
            wake_ms: None,
            kind,
            channels: BTreeMap::new(),
            listeners: BTreeSet::new(),
            hops: BTreeMap::new(),
            highest_hop: 0,
            ids: BTreeSet::new(),
            calls: BTreeMap::new(),
            markers: BTreeMap::new(),
            states: Vec::new(),
            sessions: 0,
        }
    }

    fn step(&mut self, (what, which, how): (u8, u8, u8)) {
        match what % 16 {
            0 => self.call(how),
            1 => self
                .post(["tools/list", "server/discover", "resources/read"][usize::from(how % 3)], json!({"uri": "u:1"})),
            2 if how < 100 => self.listen(how),
            2..=4 => self.retry(which, how),
            5 => self.leave(which),
            6 | 7 => self.wake(how),
            _ => self.serve(which, how),
        }
    }

    fn channel(&mut self, id: Option<Value>) -> Channel {
        let channel = Channel(self.channels.len() as u64 + 1);
        self.channels.insert(channel, (id, Told::Nothing));
        channel
    }

    fn post(&mut self, method: &str, params: Value) {
        let number = self.channels.len();
        let id = if number.is_multiple_of(2) { json!(7) } else { json!(format!("id {number}")) };
        let channel = self.channel(Some(id.clone()));
        if let Some(marker) = params["arguments"]["marker"].as_u64() {
            self.markers.insert(channel, marker);
        }
        if method == "subscriptions/listen" {
            self.listeners.insert(channel);
        }
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        self.handle(Event::Posted { channel, body: &body, session_id: None });
    }

    fn call(&mut self, how: u8) {
        let marker = self.channels.len() as u64;
        self.calls.insert(marker, Sent::default());
        let mut meta = json!({});
        if how.is_multiple_of(2) {
            meta["progressToken"] = json!("same");
        }
        if how.is_multiple_of(3) {
            meta["io.modelcontextprotocol/logLevel"] = json!(["debug", "error"][usize::from(how % 2)]);
        }
        self.post("tools/call", json!({"name": "t", "arguments": {"marker": marker}, "_meta": meta}));
    }

    fn listen(&mut self, how: u8) {
        let wanted =
            json!({"toolsListChanged": how.is_multiple_of(2), "resourceSubscriptions": [format!("u:{}", how % 3)]});
        self.post("subscriptions/listen", json!({"notifications": wanted}));
    }

    fn retry(&mut self, which: u8, how: u8) {
        if self.states.is_empty() {
            return;
        }
        let (state, marker, keys) =
            self.states[self.states.len() - 1 - usize::from(which / 32) % self.states.len()].clone();
        let answered = keys.iter().skip(usize::from(how % 2)).map(|key| (key.clone(), json!({"action": "accept"})));
        let responses: serde_json::Map<_, _> = answered.collect();
        let arguments = json!({"marker": marker});
        let params = json!({"name": "t", "arguments": arguments, "requestState": state, "inputResponses": responses});
        self.post("tools/call", params);
    }

    fn leave(&mut self, which: u8) {
        let waiting: Vec<Channel> = self
            .channels
            .iter()
            .filter(|(_, (_, told))| matches!(told, Told::Nothing | Told::Open))
            .map(|(one, _)| *one)
            .collect();
        if waiting.is_empty() {
            return;
        }
        let channel = waiting[usize::from(which) % waiting.len()];
        self.channels.get_mut(&channel).unwrap().1 = Told::Left;
        self.handle(Event::Left { channel });
    }

    fn wake(&mut self, how: u8) {
        match self.wake_ms {
            Some(at) if !how.is_multiple_of(4) => self.now_ms = self.now_ms.max(at),
            _ => self.now_ms += u64::from(how),
        }
        if self.wake_ms.is_some_and(|at| at <= self.now_ms) {
            self.wake_ms = None;
            self.handle(Event::Woken);
        }
    }

    /// The server does something about one of the requests it has.
    fn serve(&mut self, which: u8, how: u8) {
        // What prepares for calls succeeds mostly, so that there are calls to look at.
        let prepares = |(body, _): &&(Value, bool)| PREPARING.iter().any(|method| body["method"] == *method);
        let preparing = self.hops.iter().find(|(_, hop)| prepares(hop)).map(|(hop, _)| *hop);
        let hops: Vec<Hop> = self.hops.keys().copied().collect();
        let any = hops.get(usize::from(which) % hops.len().max(1)).copied();
        let Some(hop) = preparing.or(any) else { return };
        let how = if preparing.is_some() && how > 12 { 11 } else { how };
        let (body, has_head) = self.hops[&hop].clone();
        if !has_head {
            return self.head(hop, &body, how);
        }
        let id = &body["id"];
        match how % 12 {
            0 if which > 32 => {}
            0 => self.end(hop, End::Complete),
            1 if which > 64 => {}
            1 => self.end(hop, End::Broken("reset".into())),
            2 if which > 32 => {}
            2 => self.end(hop, End::Silent(1)),
            3 => self.said(
                hop,
                &json!({"jsonrpc": "2.0", "id": which, "method": "elicitation/create", "params": {"message": "m"}}),
            ),
            4 => {
                let method = ["roots/list", "ping", "odd"][usize::from(which % 3)];
                self.said(hop, &json!({"jsonrpc": "2.0", "id": format!("q{which}"), "method": method}));
            }
            5 => {
                let token = body["params"]["_meta"]["progressToken"].clone();
                self.said(hop, &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}));
            }
            6 => self.said(
                hop,
                &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": 1}}),
            ),
            7 => self.handle(Event::Said { hop, message: "", event_id: Some("e"), retry_ms: Some(u64::from(which)) }),
            8 => self.said(hop, &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})),
            9 => self.said(hop, &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "no"}})),
            _ if body["method"] == "initialize" => {
                let tasks = if self.kind == 1 { json!({"requests": {"tools": {"call": {}}}}) } else { json!({}) };
                let capabilities = json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}, "logging": {}, "tasks": tasks});
                self.said(hop, &json!({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "s", "version": "1"}}}));
            }
            _ if body["method"] == "tools/list" => {
                self.said(hop, &json!({"jsonrpc": "2.0", "id": id, "result": {"tools": [{"name": "t", "execution": {"taskSupport": "required"}}]}}));
            }
            _ if body["params"].get("task").is_some() => {
                self.said(hop, &json!({"jsonrpc": "2.0", "id": id, "result": {"task": {"taskId": "t1"}}}));
            }
            _ => self.said(hop, &json!({"jsonrpc": "2.0", "id": id, "result": {}})),
        }
        if how % 12 > 8 && (preparing.is_some() || !which.is_multiple_of(4)) {
            self.end(hop, End::Complete);
        }
    }

    fn head(&mut self, hop: Hop, body: &Value, how: u8) {
        let status = match how % 16 {
            0 => 404,
            1 => 405,
            2 => 500,
            3 => return self.end(hop, End::Unreachable("no".into())),
            _ if body.get("method").is_none() || body.get("id").is_none() => 202,
            _ => 200,
        };
        self.hops.get_mut(&hop).unwrap().1 = true;
        self.sessions += 1;
        let session_id = format!("s{}", self.sessions);
        let named = (self.kind != 2 && body["method"] == "initialize").then_some(session_id.as_str());
        self.handle(Event::Answered { hop, status, session_id: named });
        if !(200..300).contains(&status) {
            if status == 404 {
                self.allow_again(body);
            }
            self.end(hop, End::Complete);
        } else if status == 202 {
            self.end(hop, End::Complete);
        }
    }

    /// A call whose session was not known has not been carried out.
    fn allow_again(&mut self, body: &Value) {
        let Some(sent) = body["params"]["arguments"]["marker"].as_u64().and_then(|marker| self.calls.get_mut(&marker))
        else {
            return;
        };
        assert!(sent.times <= 2, "a call is repeated once");
        sent.is_final |= sent.times == 2;
    }

    fn said(&mut self, hop: Hop, message: &Value) {
        self.handle(Event::Said { hop, message: &message.to_string(), event_id: None, retry_ms: None });
    }

    fn end(&mut self, hop: Hop, end: End) {
        if self.hops.remove(&hop).is_some() {
            self.handle(Event::Ended { hop, end });
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        let moment = Moment { now: Timestamp::from_millis(self.now_ms), random: [0; 32] };
        let mut aborted = Vec::new();
        for action in self.down.handle(event, &moment) {
            self.check(action, &mut aborted);
        }
        for hop in aborted {
            self.end(hop, End::Aborted);
        }
    }

    fn check(&mut self, action: Action, aborted: &mut Vec<Hop>) {
        match action {
            Action::Request(request) => {
                assert!(request.hop.0 > self.highest_hop, "hops are never numbered twice");
                self.highest_hop = request.hop.0;
                let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
                assert_eq!(request.method == Method::Post, body.is_object());
                if body["method"].is_string() && body["id"].is_number() {
                    assert!(self.ids.insert(body["id"].as_u64().unwrap()), "ids are never given twice");
                }
                if let Some(marker) = body["params"]["arguments"]["marker"].as_u64() {
                    let sent = self.calls.get_mut(&marker).unwrap();
                    sent.times += 1;
                    assert!(sent.times <= 2 && !sent.is_final, "call {marker} must not be sent again");
                }
                self.hops.insert(request.hop, (body, false));
                assert!(self.hops.len() < 600, "what is under way is bounded");
            }
            Action::Abort(hop) => aborted.push(hop),
            Action::Answer(answer) => {
                assert_eq!(self.tell(answer.channel, Told::All), Told::Nothing);
                if let Some(message) = answer.message {
                    self.answered(answer.channel, &message);
                }
            }
            Action::Open { channel, .. } => assert_eq!(self.tell(channel, Told::Open), Told::Nothing),
            Action::Say { channel, event } => {
                assert_eq!(self.tell(channel, Told::Open), Told::Open);
                self.answered(channel, &event.data);
                if let Some(sent) = self.markers.get(&channel).and_then(|marker| self.calls.get_mut(marker)) {
                    sent.is_final = true;
                }
            }
            Action::Close(channel) => assert_eq!(self.tell(channel, Told::All), Told::Open),
            Action::Wake(at) => {
                assert!(at.as_millis() > self.now_ms, "nobody is woken for what is past");
                self.wake_ms = Some(at.as_millis());
            }
        }
    }

    fn tell(&mut self, channel: Channel, told: Told) -> Told {
        std::mem::replace(&mut self.channels.get_mut(&channel).unwrap().1, told)
    }

    /// A message was said on a channel: a response carries the caller's id, and ends what can be sent for the call.
    fn answered(&mut self, channel: Channel, message: &str) {
        let message: Value = serde_json::from_str(message).unwrap();
        if message.get("method").is_some() {
            return;
        }
        if let Some(id) = &self.channels[&channel].0 {
            assert_eq!(&message["id"], id);
        }
        let Some(&marker) = self.markers.get(&channel) else { return };
        if let Some(state) = message["result"]["requestState"].as_str() {
            let keys = message["result"]["inputRequests"].as_object().unwrap().keys().cloned().collect();
            self.states.push((state.to_owned(), marker, keys));
        }
        self.calls.get_mut(&marker).unwrap().is_final = true;
    }

    /// Everything ends: whoever still waits is told so, and nothing is kept.
    fn finish(&mut self) {
        for channel in self.listeners.clone() {
            if matches!(self.channels[&channel].1, Told::Nothing | Told::Open) {
                self.channels.get_mut(&channel).unwrap().1 = Told::Left;
                self.handle(Event::Left { channel });
            }
        }
        for _ in 0..400 {
            let hops: Vec<Hop> = self.hops.keys().copied().collect();
            for hop in hops {
                self.end(hop, End::Broken("over".into()));
            }
            if let Some(at) = self.wake_ms.take() {
                self.now_ms = self.now_ms.max(at);
                self.handle(Event::Woken);
            }
            if self.down.is_idle() && self.hops.is_empty() {
                break;
            }
        }
        for (channel, (_, told)) in &self.channels {
            assert!(matches!(told, Told::All | Told::Left), "{channel:?} is {told:?}");
        }
        assert!(self.down.is_idle(), "{:#?}", self.down);
        assert!(self.states.len() <= 10 * PARKED_MAX * self.calls.len().max(1));
    }
}

/// How long an exchange stays parked.
const PARKED_MS: u64 = 600_000;
