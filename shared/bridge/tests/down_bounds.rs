//! What does a façade do when too much is asked of it? It says so, and keeps no more.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what is missing fails its test")]

use bridge::{
    down::{Down, PARKED_MAX, Terms},
    facade::{Action, Channel, End, Event, Facade, Hop, Moment, Request},
};
use mcp::Timestamp;
use serde_json::{Value, json};

#[test]
fn no_more_calls_are_under_way_than_are_kept() {
    let mut server = Server::new(json!({}));
    for channel in 1..=256 {
        assert_eq!(server.call(channel).len(), 1, "sent");
    }
    let refused = server.call(257);
    let [Action::Answer(answer)] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!((answer.status, answer.channel), (503, Channel(257)));
    server.handle(Event::Left { channel: Channel(1) });
    assert!(matches!(server.call(258).as_slice(), [Action::Request(_)]));
}

#[test]
fn an_abandoned_exchange_makes_room_but_a_fresh_one_does_not() {
    let mut server = Server::new(json!({"roots": {}}));
    for channel in 1..=PARKED_MAX as u64 {
        assert!(server.parks(channel), "{channel}");
    }
    assert!(!server.parks(1000), "all of them are fresh");
    server.now_ms += 60_000;
    let asked = server.ask(1001);
    assert!(asked.iter().any(|action| matches!(action, Action::Abort(_))), "the oldest is given up: {asked:?}");
    assert!(asked.iter().any(|action| matches!(action, Action::Answer(answer) if answer.channel == Channel(1001))));
    server.now_ms += PARKED_MS;
    server.handle(Event::Woken);
    assert!(server.parks(1002), "all of them are given up");
}

#[test]
fn questions_are_bounded_in_number_and_size() {
    let mut server = Server::new(json!({"roots": {}, "sampling": {}}));
    let call = server.sent(1);
    let refused = |actions: Vec<Action>| match actions.as_slice() {
        [Action::Request(request)] => request.body.contains("asked too much"),
        _ => false,
    };
    let large = json!({"messages": "x".repeat(3 << 20)});
    assert!(!refused(
        server.says(call, &json!({"jsonrpc": "2.0", "id": 0, "method": "sampling/createMessage", "params": large}))
    ));
    assert!(refused(
        server.says(call, &json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": large}))
    ));
    for id in 2..=16 {
        assert!(!refused(server.says(call, &json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"}))), "{id}");
    }
    assert!(refused(server.says(call, &json!({"jsonrpc": "2.0", "id": 17, "method": "roots/list"}))));
}

#[test]
fn a_server_that_pings_without_end_is_not_answered_without_end() {
    let mut server = Server::new(json!({}));
    let call = server.sent(1);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let answered = (0..1000).filter(|_| !server.says(call, &ping).is_empty()).count();
    assert_eq!(answered, 64);
}

#[test]
fn listeners_and_what_they_watch_are_bounded() {
    let mut server = Server::new(json!({}));
    let listen = |server: &mut Server, channel, uris: usize| {
        let uris: Vec<String> = (0..uris).map(|uri| format!("u:{uri}")).collect();
        server.post(channel, "subscriptions/listen", &json!({"notifications": {"resourceSubscriptions": uris}}))
    };
    let is_refused =
        |actions: &[Action], status| matches!(actions, [Action::Answer(answer)] if answer.status == status);
    assert!(is_refused(&listen(&mut server, 1, 257), 200), "as a wrong parameter");
    for channel in 2..6 {
        assert!(!is_refused(&listen(&mut server, channel, 255), 503));
    }
    assert!(is_refused(&listen(&mut server, 6, 255), 503));
    for channel in 7..67 {
        assert!(!is_refused(&listen(&mut server, channel, 0), 503), "{channel}");
    }
    assert!(is_refused(&listen(&mut server, 67, 0), 503));
}

/// A façade with an open session.
struct Server {
    down: Down,
    now_ms: u64,
}

impl Server {
    fn new(capabilities: Value) -> Self {
        let down = Down::new(Terms { server: "s".into(), capabilities, client_info: None, parked_ms: PARKED_MS });
        let mut server = Self { down, now_ms: 1 };
        let opening = server.post(0, "server/discover", &json!({}));
        let opening = request(&opening);
        let id: Value = serde_json::from_str(&opening.body).unwrap();
        let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"resources": {"subscribe": true}}});
        // Without a session id, so that no stream is waited for.
        let hop = opening.hop;
        server.handle(Event::Answered { hop, status: 200, session_id: None });
        let announced = server.says(hop, &json!({"jsonrpc": "2.0", "id": id["id"], "result": result}));
        server.handle(Event::Ended { hop, end: End::Complete });
        server.handle(Event::Answered { hop: request(&announced).hop, status: 202, session_id: None });
        server
    }

    fn handle(&mut self, event: Event<'_>) -> Vec<Action> {
        let moment = Moment { now: Timestamp::from_millis(self.now_ms), random: [0; 32] };
        let mut actions = self.down.handle(event, &moment);
        actions.retain(|action| !matches!(action, Action::Wake(_)));
        actions
    }

    fn post(&mut self, channel: u64, method: &str, params: &Value) -> Vec<Action> {
        let body = json!({"jsonrpc": "2.0", "id": channel, "method": method, "params": params}).to_string();
        self.handle(Event::Posted { channel: Channel(channel), body: &body, session_id: None })
    }

    fn call(&mut self, channel: u64) -> Vec<Action> {
        self.post(channel, "tools/call", &json!({"name": "t"}))
    }

    /// The hop of a call that the server has taken.
    fn sent(&mut self, channel: u64) -> Hop {
        let hop = request(&self.call(channel)).hop;
        self.handle(Event::Answered { hop, status: 200, session_id: None });
        hop
    }

    fn says(&mut self, hop: Hop, message: &Value) -> Vec<Action> {
        self.handle(Event::Said { hop, message: &message.to_string(), event_id: None, retry_ms: None })
    }

    /// What is done once a call is asked for its roots.
    fn ask(&mut self, channel: u64) -> Vec<Action> {
        let hop = self.sent(channel);
        self.says(hop, &json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}));
        self.now_ms += 20;
        self.handle(Event::Woken)
    }

    fn parks(&mut self, channel: u64) -> bool {
        let actions = self.ask(channel);
        actions.iter().any(|action| matches!(action, Action::Answer(answer) if answer.message.as_ref().unwrap().contains("input_required")))
    }
}

fn request(actions: &[Action]) -> &Request {
    match &actions[0] {
        Action::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

/// How long an exchange stays parked.
const PARKED_MS: u64 = 600_000;
