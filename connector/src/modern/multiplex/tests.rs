use mcp::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct Process(Multiplex);

impl Process {
    fn new() -> Self {
        Self(Multiplex::new(1000))
    }

    /// A caller's request; what the process reads.
    fn posted(&mut self, id: &Value, method: &str, meta: Value) -> (Number, Value) {
        let text = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": meta}}).to_string();
        let Body::Single(Message::Request(call)) = mcp::jsonrpc::parse(text.as_bytes()).unwrap() else { panic!() };
        let (number, line) = self.0.open(&Request::read(&call).unwrap(), 0);
        (number, serde_json::from_str(&line).unwrap())
    }

    /// What becomes of something the process says.
    fn says(&mut self, message: &Value) -> Route {
        let text = message.to_string();
        let Body::Single(message) = mcp::jsonrpc::parse(text.as_bytes()).unwrap() else { panic!() };
        self.0.route(&message)
    }
}

fn response(id: u64, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

#[test]
fn callers_with_the_same_id_and_token_are_told_apart() {
    let mut process = Process::new();
    let meta = json!({"progressToken": "p"});
    let (one, read) = process.posted(&json!("x"), "tools/call", meta.clone());
    assert_eq!((&read["id"], &read["params"]["_meta"]["progressToken"]), (&json!(one.0), &json!(one.0)));
    let (two, _) = process.posted(&json!("x"), "tools/call", meta);
    for number in [two, one] {
        let progress =
            process.says(&notification("notifications/progress", json!({"progressToken": number.0, "progress": 1})));
        let Route::Related(to, text) = progress else { panic!("{progress:?}") };
        assert_eq!(to, number);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["params"]["progressToken"], "p");
        let Route::Answer(to, text) = process.says(&response(number.0, json!({"of": number.0}))) else { panic!() };
        assert_eq!((to, text), (number, format!(r#"{{"jsonrpc":"2.0","id":"x","result":{{"of":{}}}}}"#, number.0)));
        assert!(matches!(process.says(&response(number.0, json!({}))), Route::Nowhere(_)));
    }
}

#[test]
fn a_subscription_is_told_what_is_its_own_under_its_callers_id() {
    let mut process = Process::new();
    let (listen, _) = process.posted(&json!("l"), "subscriptions/listen", json!({}));
    let (call, _) = process.posted(&json!(0), "tools/call", json!({}));
    let changed =
        |id: Value| notification("notifications/tools/list_changed", json!({"_meta": {SUBSCRIPTION_ID: id, "own": 1}}));
    let Route::Subscribed(to, text) = process.says(&changed(json!(listen.0))) else { panic!() };
    assert_eq!((to, serde_json::from_str::<Value>(&text).unwrap()), (listen, changed(json!("l"))));
    for stray in
        [changed(json!(call.0)), changed(json!("0")), changed(json!(99)), notification("notifications/x", json!({}))]
    {
        assert!(matches!(process.says(&stray), Route::Nowhere(_)), "{stray}");
    }
    let last = json!({"resultType": "complete", "_meta": {SUBSCRIPTION_ID: listen.0}});
    let Route::Answer(_, text) = process.says(&response(listen.0, last)) else { panic!() };
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(&text), value(&end_of_subscription("\"l\"")));
}

#[test]
fn progress_needs_a_token_that_was_given() {
    let mut process = Process::new();
    let (silent, read) = process.posted(&json!(1), "tools/call", json!({}));
    assert_eq!(read["params"]["_meta"], json!({}));
    for token in [json!(silent.0), json!("0"), json!(77)] {
        let progress = notification("notifications/progress", json!({"progressToken": token, "progress": 1}));
        assert!(matches!(process.says(&progress), Route::Nowhere(_)), "{token}");
    }
}

#[test]
fn a_log_message_reaches_only_who_was_served_alone_and_asked_for_it() {
    let log = notification("notifications/message", json!({"level": "info", "data": "secret"}));
    let wanted = json!({bridge::claim::LOG_LEVEL: "info"});
    let mut process = Process::new();
    let (silent, _) = process.posted(&json!(1), "tools/call", json!({}));
    assert!(matches!(process.says(&log), Route::Nowhere(_)));
    process.says(&response(silent.0, json!({})));
    process.posted(&json!("l"), "subscriptions/listen", wanted.clone());
    assert!(matches!(process.says(&log), Route::Nowhere(_)));
    let (alone, _) = process.posted(&json!(1), "tools/call", wanted.clone());
    assert_eq!(process.says(&log), Route::Related(alone, log.to_string()));
    let (second, _) = process.posted(&json!(1), "tools/call", wanted);
    assert!(matches!(process.says(&log), Route::Nowhere(_)));
    process.says(&response(second.0, json!({})));
    assert!(matches!(process.says(&log), Route::Nowhere(_)), "it may still be of the second");
}

#[test]
fn a_process_may_ask_nothing() {
    let mut process = Process::new();
    process.posted(&json!(1), "tools/call", json!({}));
    let asked = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}});
    let Route::Refused(line) = process.says(&asked) else { panic!() };
    let refusal: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!("q"), &json!(-32601)));
}

#[test]
fn who_leaves_and_what_takes_too_long_is_cancelled_and_a_subscription_has_no_end() {
    let mut process = Process::new();
    let (listen, _) = process.posted(&json!("l"), "subscriptions/listen", json!({}));
    let (left, _) = process.posted(&json!(1), "tools/call", json!({}));
    let (slow, _) = process.posted(&json!("s"), "tools/call", json!({}));
    let cancelled = |line: &str| serde_json::from_str::<Value>(line).unwrap()["params"]["requestId"].clone();
    assert_eq!(process.0.leave(left).map(|line| cancelled(&line)), Some(json!(left.0)));
    assert_eq!(process.0.leave(left), None);
    assert_eq!(process.0.expire(999), []);
    let expired = process.0.expire(1000);
    let [(Unanswered { number, id, kind: Kind::Request }, line)] = expired.as_slice() else { panic!("{expired:?}") };
    assert_eq!((*number, &**id, cancelled(line)), (slow, "\"s\"", json!(slow.0)));
    assert_eq!(process.0.expire(u64::MAX - 1), []);
    assert_eq!(process.0.end(), [Unanswered { number: listen, id: "\"l\"".into(), kind: Kind::Subscription }]);
    assert_eq!(process.0.in_flight(), 0);
}

proptest! {
    /// Whatever the process says, each request is answered at most once, and under its caller's id.
    #[test]
    fn each_request_is_answered_once(ids in prop::collection::vec(0..3_u64, 1..20), answers in prop::collection::vec(0..25_u64, 0..60)) {
        let mut process = Process::new();
        let numbers: Vec<_> = ids.iter().map(|id| process.posted(&json!(id), "tools/call", json!({})).0).collect();
        let mut answered = std::collections::HashSet::new();
        for answer in answers {
            match process.says(&response(answer, json!({}))) {
                Route::Answer(number, text) => {
                    prop_assert!(answered.insert(number) && number.0 == answer);
                    let at = numbers.iter().position(|other| *other == number).unwrap();
                    prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap()["id"], &json!(ids[at]));
                }
                route => prop_assert!(matches!(route, Route::Nowhere(_))),
            }
        }
        prop_assert_eq!(process.0.in_flight() + answered.len(), ids.len());
    }
}
