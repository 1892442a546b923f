//! Are the callers of 2026-07-28 served by one process as if each had it alone?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use std::fs::File;
use std::io::Read as _;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{CAPABILITIES, Connector, MODERN, Messages, SUBSCRIPTION_ID, VERSION, eventually, modern};

fn tools() -> Value {
    json!({"toolsListChanged": true})
}

#[tokio::test]
async fn everybody_shares_one_process_and_keeps_ids_and_tokens() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let (status, discovered) = caller.ask(json!("d"), "server/discover", json!({})).await;
    assert_eq!((status, &discovered["id"]), (200, &json!("d")));
    assert_eq!(discovered["result"]["supportedVersions"], json!([MODERN]));
    // The same ids and tokens, all at once.
    let keys: Vec<_> = (0..20).map(|n| format!("k{n}")).collect();
    let held = join_all(keys.iter().map(|key| caller.hold_modern(json!("same"), key))).await;
    for key in keys.iter().rev() {
        assert_eq!(caller.told("release", json!({"key": key})).await, "done");
    }
    for (key, held) in keys.iter().zip(held) {
        let answer = held.last().await;
        assert_eq!(answer["id"], "same");
        assert_eq!(answer["result"]["content"][0]["text"], format!("released {key}"));
        assert_eq!(answer["result"]["resultType"], "complete");
    }
    assert_eq!(caller.told("pid", json!({})).await, connector.caller("modern").told("pid", json!({})).await);
    // The server and its warden.
    assert_eq!(connector.processes().len(), 2);
}

#[tokio::test]
async fn a_large_answer_and_a_large_request_pass() {
    let connector = Connector::modern("");
    let text = "é\u{2028}\\\"".repeat(100_000);
    assert_eq!(connector.caller("modern").told("echo", json!({"message": text})).await, text);
}

#[tokio::test]
async fn who_closes_its_stream_cancels_its_request_and_no_other() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let kept = caller.hold_modern(json!(1), "kept").await;
    drop(caller.hold_modern(json!(1), "left").await);
    // Without progress the answer has not even begun.
    let params = json!({"name": "hold", "arguments": {"key": "silent"}});
    let silent = tokio::spawn(caller.modern(json!(1), "tools/call", params).send());
    while !caller.told("held", json!({})).await.contains("silent") {}
    silent.abort();
    while caller.told("held", json!({})).await != "kept" {}
    assert_eq!(caller.told("cancelled", json!({})).await, "left silent");
    assert_eq!(caller.told("release", json!({"key": "kept"})).await, "done");
    assert_eq!(kept.last().await["result"]["content"][0]["text"], "released kept");
}

#[tokio::test]
async fn a_subscription_is_told_of_changes_under_its_own_id() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let mut listeners = [caller.listen(json!("a"), tools()).await, caller.listen(json!(7), tools()).await];
    assert_eq!(caller.told("grow", json!({"name": "new"})).await, "grown");
    for (listener, id) in listeners.iter_mut().zip([json!("a"), json!(7)]) {
        let changed = listener.next().await.unwrap();
        assert_eq!(changed["method"], "notifications/tools/list_changed");
        assert_eq!(changed["params"]["_meta"][SUBSCRIPTION_ID], id);
    }
}

#[tokio::test]
async fn a_subscription_nobody_reads_holds_nobody_back_and_begins_anew() {
    let connector = Connector::modern("max_message_bytes = 20000");
    let caller = connector.caller("modern");
    // More than the sockets in between hold.
    let (uri, times) = (format!("test://{}", "x".repeat(8_000)), 3_000);
    let mut listener = caller.listen(json!("l"), json!({"resourceSubscriptions": [uri]})).await;
    assert_eq!(caller.told("flood", json!({"uri": uri, "times": times})).await, "flooded");
    eventually("it is cut off", || connector.log().contains("cut a subscription off")).await;
    // Its caller reads on, until nothing of what came before is left.
    let (mut log, mut more) = (File::open(connector.folder.join("log")).unwrap(), String::new());
    let mut read = 0;
    while !more.contains("a subscription begins anew") {
        assert_eq!(listener.next().await.unwrap()["params"]["_meta"][SUBSCRIPTION_ID], "l");
        read += 1;
        more.clear();
        log.read_to_string(&mut more).unwrap();
    }
    assert!(read < times, "{read}");
    // It may have changed for the last time while nobody was told of it.
    assert_eq!(listener.next().await.unwrap()["params"]["uri"], uri);
    caller.told("flood", json!({"uri": uri, "times": 1})).await;
    assert_eq!(listener.next().await.unwrap()["params"]["uri"], uri);
}

#[tokio::test]
async fn a_process_that_dies_answers_who_waits_and_subscriptions_go_on_with_the_next() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let mut listener = caller.listen(json!("l"), tools()).await;
    let pid = caller.told("pid", json!({})).await;
    let waiting = caller.hold_modern(json!("w"), "w").await;
    let (status, crashed) = caller.ask(json!("c"), "tools/call", json!({"name": "crash", "arguments": {}})).await;
    for (id, answer) in [("c", crashed), ("w", waiting.last().await)] {
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32603)));
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(message, "server `modern` was killed by SIGKILL; see the connector's log");
    }
    assert_eq!(status, 200);
    // Nobody asks for it: the subscription alone has the process started again, and is told that all may have changed.
    let changed = listener.next().await.unwrap();
    assert_eq!(changed["method"], "notifications/tools/list_changed", "{changed}");
    assert_eq!(changed["params"]["_meta"][SUBSCRIPTION_ID], "l");
    assert_ne!(caller.told("pid", json!({})).await, pid);
    assert_eq!(caller.told("grow", json!({"name": "new"})).await, "grown");
    let changed = listener.next().await.unwrap();
    assert_eq!(changed["params"]["_meta"][SUBSCRIPTION_ID], "l");
    // Again, after a rest this time.
    caller.ask(json!("c"), "tools/call", json!({"name": "crash", "arguments": {}})).await;
    assert_eq!(listener.next().await.unwrap()["method"], "notifications/tools/list_changed");
    assert_eq!(connector.processes().len(), 2);
}

#[tokio::test]
async fn a_request_without_an_answer_is_given_up_and_cancelled() {
    let connector = Connector::modern("request_timeout_ms = 3000");
    let caller = connector.caller("modern");
    let answer = caller.hold_modern(json!(7), "long").await.last().await;
    assert_eq!(answer["error"]["message"], "server `modern` did not answer within 3000 ms");
    assert_eq!(answer["id"], 7);
    assert_eq!(caller.told("cancelled", json!({})).await, "long");
}

#[tokio::test]
async fn an_unused_process_ends_and_a_subscription_is_a_use() {
    let connector = Connector::modern("idle_timeout_ms = 1500");
    let caller = connector.caller("modern");
    let listener = caller.listen(json!("l"), tools()).await;
    let other = Connector::modern("idle_timeout_ms = 400");
    other.caller("modern").told("pid", json!({})).await;
    other.wait_until_gone().await;
    assert_eq!(connector.processes().len(), 2);
    drop(listener);
    connector.wait_until_gone().await;
    caller.told("pid", json!({})).await;
}

#[tokio::test]
async fn sigterm_ends_subscriptions_as_the_revision_says() {
    let mut connector = Connector::modern("");
    let caller = connector.caller("modern");
    let listener = caller.listen(json!("l"), tools()).await;
    let waiting = caller.hold_modern(json!("w"), "w").await;
    connector.signal(nix::sys::signal::Signal::SIGTERM);
    let last = listener.last().await;
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!("l"), &json!("complete")));
    assert_eq!(last["result"]["_meta"][SUBSCRIPTION_ID], "l");
    assert!(waiting.last().await["error"]["message"].as_str().unwrap().contains("the connector stops"));
    assert_eq!(connector.wait(), Some(0));
    assert_eq!(connector.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn requests_and_subscriptions_are_bounded() {
    let servers: [(&str, &str, &[&str], &str); 1] =
        [("modern", "node", &[&support::fixture("modern.mjs")], "max_sessions = 1")];
    let connector = Connector::start("max_in_flight = 1", &servers);
    let caller = connector.caller("modern");
    let held = caller.hold_modern(json!("a"), "a").await;
    let listener = caller.listen(json!("l"), tools()).await;
    for (method, params) in [("tools/list", json!({})), ("subscriptions/listen", json!({"notifications": {}}))] {
        let refused = caller.modern(json!("b"), method, params).send().await.unwrap();
        assert_eq!(
            (refused.status(), &refused.headers()["retry-after"]),
            (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
        );
        assert_eq!(refused.json::<Value>().await.unwrap()["id"], "b");
    }
    drop((held, listener));
    eventually("both left", || connector.log().matches("a caller left").count() == 2).await;
    caller.told("pid", json!({})).await;
    caller.listen(json!("l"), tools()).await;
}

#[tokio::test]
async fn what_does_not_hold_together_is_refused_as_the_revision_says() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let list = || modern(json!("i"), "tools/list", json!({}));
    let post = |message: &Value| caller.request(Method::POST).json(message);
    let named = |message: &Value, version: &str, method: &str| {
        post(message).header("mcp-protocol-version", version).header("mcp-method", method)
    };
    let without = |key: &str| {
        let mut message = list();
        message["params"]["_meta"].as_object_mut().unwrap().remove(key);
        message
    };
    let mut later = list();
    later["params"]["_meta"][VERSION] = json!("2027-01-01");
    let (unknown, initialize) = (modern(json!("i"), "x/y", json!({})), modern(json!("i"), "initialize", json!({})));
    let cases = [
        (post(&list()), 400, -32020),
        (named(&list(), MODERN, "tools/call"), 400, -32020),
        (named(&list(), MODERN, "tools/list").header("mcp-method", "tools/list"), 400, -32020),
        (named(&list(), "2025-11-25", "tools/list"), 400, -32020),
        (named(&without(CAPABILITIES), MODERN, "tools/list"), 400, -32602),
        (named(&without(VERSION), MODERN, "tools/list"), 400, -32602),
        (named(&later, "2027-01-01", "tools/list"), 400, -32022),
        (named(&unknown, MODERN, "x/y"), 404, -32601),
        (named(&initialize, MODERN, "initialize"), 404, -32601),
        // The server's own refusal.
        (named(&modern(json!("i"), "prompts/list", json!({})), MODERN, "prompts/list"), 404, -32601),
        (caller.modern(json!("i"), "tools/call", json!({"name": "no", "arguments": {}})), 200, -32602),
    ];
    for (n, (request, status, code)) in cases.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "case {n}");
        let body: Value = response.json().await.unwrap();
        assert_eq!((body["error"]["code"].as_i64(), &body["id"]), (Some(code), &json!("i")), "case {n}: {body}");
    }
    let batch = post(&json!([list()])).send().await.unwrap();
    assert_eq!(batch.status(), StatusCode::BAD_REQUEST);
    assert_eq!(batch.json::<Value>().await.unwrap()["error"]["code"], -32600);
    let mut note = modern(json!(0), "notifications/cancelled", json!({"requestId": 1}));
    note.as_object_mut().unwrap().remove("id");
    assert_eq!(named(&note, MODERN, "notifications/cancelled").send().await.unwrap().status(), StatusCode::ACCEPTED);
    // What is left over from sessions is not looked at.
    let leftover = caller.modern(json!(1), "tools/list", json!({})).header("mcp-session-id", "x").send().await.unwrap();
    assert_eq!((leftover.status(), leftover.headers().get("mcp-session-id")), (StatusCode::OK, None));
}

#[tokio::test]
async fn headers_that_repeat_arguments_say_what_they_do() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let call = |region: Value| {
        let arguments = if region.is_null() { json!({}) } else { json!({"region": region}) };
        caller.modern(json!("i"), "tools/call", json!({"name": "region", "arguments": arguments}))
    };
    let named = |value: &str| call(json!("Zürich")).header("mcp-param-region", value);
    let cases = [
        (named("=?base64?WsO8cmljaA==?="), 200, None),
        (call(json!("eu")).header("mcp-param-region", " eu "), 200, None),
        (call(json!("eu")).header("mcp-param-unknown", "x").header("mcp-param-region", "eu"), 200, None),
        (call(json!("eu")).header("mcp-param-region", "us"), 400, Some(-32020)),
        (call(json!("eu")).header("mcp-param-region", "eu").header("mcp-param-region", "eu"), 400, Some(-32020)),
        (call(json!("eu")), 400, Some(-32020)),
        (call(Value::Null).header("mcp-param-region", "eu"), 400, Some(-32020)),
        (named("=?base64?%?="), 400, Some(-32020)),
    ];
    for (n, (request, status, code)) in cases.into_iter().enumerate() {
        let messages = Messages::of(request.send().await.unwrap());
        assert_eq!(messages.status.as_u16(), status, "case {n}");
        let body = messages.last().await;
        assert_eq!((body["error"]["code"].as_i64(), &body["id"]), (code, &json!("i")), "case {n}: {body}");
    }
}

#[tokio::test]
async fn input_is_required_and_given() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let ask = |more: Value| {
        let mut params = json!({"name": "ask", "arguments": {}, "_meta": {CAPABILITIES: {"elicitation": {}}}});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        caller.modern(json!("a"), "tools/call", params)
    };
    let asked: Value = ask(json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(asked["result"]["inputRequests"]["name"]["method"], "elicitation/create");
    let given = json!({"inputResponses": {"name": {"action": "accept", "content": {"name": "Ada"}}}});
    let answer: Value = ask(given).send().await.unwrap().json().await.unwrap();
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("Ada"), "{answer}");
}

#[tokio::test]
async fn log_messages_reach_who_wants_them_and_is_alone() {
    let connector = Connector::modern("");
    let caller = connector.caller("modern");
    let log = |id: Value, meta: Value| {
        let params = json!({"name": "log", "arguments": {"message": "a secret"}, "_meta": meta});
        caller.modern(id, "tools/call", params)
    };
    let wanted = json!({"io.modelcontextprotocol/logLevel": "info"});
    let messages = Messages::of(log(json!(1), wanted.clone()).send().await.unwrap()).all().await;
    assert_eq!(messages[0]["params"]["data"], "a secret");
    assert_eq!(Messages::of(log(json!(2), json!({})).send().await.unwrap()).all().await.len(), 1);
    let held = caller.hold_modern(json!("other"), "other").await;
    assert_eq!(Messages::of(log(json!(3), wanted).send().await.unwrap()).all().await.len(), 1);
    caller.told("release", json!({"key": "other"})).await;
    assert_eq!(held.all().await.len(), 1);
}
