//! What is the most a legacy session keeps in front of a modern server? Callers and servers that ask for more are told so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

use bridge::{
    facade::{Action, Channel, Event, Facade, Hop, Life, Moment},
    up::{Terms, Up},
};
use mcp::Timestamp;
use serde_json::{Value, json};

struct Session {
    up: Up,
    id: String,
    posts: u64,
}

impl Session {
    fn new(revision: &str) -> Self {
        let params = json!({"protocolVersion": revision, "capabilities": {"roots": {}}}).to_string();
        Self { up: Up::new(Life::Conversation), id: Terms::of_initialize(&params).unwrap().spell(), posts: 0 }
    }

    fn post(&mut self, body: &Value) -> Vec<Action> {
        self.posts += 1;
        let (channel, body) = (Channel(self.posts), body.to_string());
        self.up.handle(Event::Posted { channel, body: &body, session_id: Some(&self.id) }, &MOMENT)
    }

    fn said(&mut self, hop: u64, result: &Value) -> Vec<Action> {
        let message = json!({"jsonrpc": "2.0", "id": hop, "result": result}).to_string();
        self.up.handle(Event::Said { hop: Hop(hop), message: &message, event_id: None, retry_ms: None }, &MOMENT)
    }
}

fn call(id: usize, arguments: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "t", "arguments": {"a": arguments}}})
}

fn sends(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Request(_)))
}

fn answer(actions: &[Action]) -> &str {
    let message = actions.iter().find_map(|action| match action {
        Action::Answer(answer) => answer.message.as_deref(),
        _ => None,
    });
    message.unwrap_or_else(|| panic!("{actions:?}"))
}

#[test]
fn so_many_calls_are_under_way_and_no_more() {
    let mut session = Session::new("2025-11-25");
    assert!((0..256).all(|id| sends(&session.post(&call(id, "")))));
    assert!(answer(&session.post(&call(256, ""))).contains("too many calls"));
    session.said(1, &json!({"content": []}));
    assert!(sends(&session.post(&call(257, ""))), "one was answered");
}

#[test]
fn so_many_bytes_are_kept_and_no_more() {
    let mut session = Session::new("2025-11-25");
    let megabytes = "x".repeat(5 << 20);
    assert!((0..3).all(|id| sends(&session.post(&call(id, &megabytes)))));
    assert!(answer(&session.post(&call(3, &megabytes))).contains("too many calls"));
    let asks = json!({"resultType": "input_required", "inputRequests": {"k": {"method": "roots/list"}}});
    let asked = session.said(1, &asks);
    let question = asked.iter().find_map(|action| match action {
        Action::Say { event, .. } if !event.data.is_empty() => serde_json::from_str::<Value>(&event.data).ok(),
        _ => None,
    });
    let reply = json!({"jsonrpc": "2.0", "id": question.unwrap()["id"], "result": {"roots": [megabytes]}});
    let actions = format!("{:?}", session.post(&reply));
    assert!(actions.contains("answers are too large") && !actions.contains("Request("));
}

#[test]
fn a_batch_of_large_answers_is_not_gathered() {
    let mut session = Session::new("2025-03-26");
    session.post(&json!([call(1, ""), call(2, ""), call(3, "")]));
    let large = json!({"content": [{"type": "text", "text": "x".repeat(600 << 10)}]});
    assert_eq!(session.said(1, &large), []);
    let opened = session.said(2, &large);
    assert!(matches!(opened.as_slice(), [Action::Open { .. }, Action::Say { .. }, Action::Say { .. }]));
}

const MOMENT: Moment = Moment { now: Timestamp::from_secs(1), random: [3; 32] };

#[test]
fn what_would_have_to_be_remembered_is_not_offered_for_one_request() {
    let mut up = Up::new(Life::Request);
    let capabilities = json!({"elicitation": {}, "sampling": {}, "roots": {}});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string();
    let actions = up.handle(Event::Posted { channel: Channel(1), body: &body, session_id: None }, &MOMENT);
    let [Action::Request(asked)] = actions.as_slice() else { panic!("{actions:?}") };
    assert!(asked.body.contains(r#""io.modelcontextprotocol/clientCapabilities":{}"#), "{}", asked.body);
    let served = json!({"logging": {}, "tools": {}, "resources": {"subscribe": true, "listChanged": true}});
    let result = json!({"supportedVersions": ["2026-07-28"], "capabilities": served});
    let said = json!({"jsonrpc": "2.0", "id": asked.hop.0, "result": result}).to_string();
    let hop = asked.hop;
    let opened = up.handle(Event::Said { hop, message: &said, event_id: None, retry_ms: None }, &MOMENT);
    let told: Value = serde_json::from_str(answer(&opened)).unwrap();
    assert_eq!(told["result"]["capabilities"], json!({"tools": {}, "resources": {"listChanged": true}}));
    let id = opened.iter().find_map(|action| match action {
        Action::Answer(answer) => answer.session_id.clone(),
        _ => None,
    });
    for method in ["logging/setLevel", "resources/subscribe"] {
        let mut next = Session { up: Up::new(Life::Request), id: id.clone().unwrap(), posts: 0 };
        let asked = json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": {"level": "info", "uri": "a:b"}});
        let refused: Value = serde_json::from_str(answer(&next.post(&asked))).unwrap();
        assert_eq!(refused["error"]["code"], -32601, "{refused}");
    }
}
