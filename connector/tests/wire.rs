//! Does the connector speak Streamable HTTP, and refuse what is not?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Connector, Messages, SECRET, call, eventually, initialize};

#[tokio::test]
async fn nothing_is_served_without_the_secret() {
    let connector = Connector::misbehaving("");
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let wrong = [None, Some("Bearer wrong-wrong-wrong-wrong-wrong-wrong-"), Some(SECRET), Some("Basic YTpi")];
    for authorization in wrong {
        for (method, path) in
            [(Method::POST, "bad/mcp"), (Method::GET, "bad/mcp"), (Method::DELETE, "no/mcp"), (Method::GET, "x")]
        {
            let mut request = http.request(method, format!("{}/{path}", connector.url));
            if let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.json(&initialize("2025-11-25", json!({}))).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let body = response.text().await.unwrap();
            assert!(!body.contains(SECRET) && !body.contains("wrong-wrong"), "{body}");
        }
    }
    assert_eq!(connector.processes(), Vec::<i32>::new());
    let health = http.get(format!("{}/healthz", connector.url)).send().await.unwrap();
    assert_eq!((health.status(), health.text().await.unwrap().as_str()), (StatusCode::OK, "ok"));
    assert!(!connector.log().contains(SECRET));
}

#[tokio::test]
async fn a_request_of_the_wrong_shape_is_refused_with_the_reason() {
    let connector = Connector::misbehaving("max_message_bytes = 10000");
    let caller = connector.session("bad").await;
    let ping = || json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let post = || caller.request(Method::POST).header(CONTENT_TYPE, "application/json").body(ping());
    let raw = |body: &str| caller.request(Method::POST).header(CONTENT_TYPE, "application/json").body(body.to_owned());
    let mut nobody = caller.clone();
    nobody.session = None;
    let mut unknown = caller.clone();
    unknown.session = Some("AAAA".into());
    let mut elsewhere = caller.clone();
    elsewhere.url = format!("{}/nothing/mcp", connector.url);
    let big = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": "x".repeat(10_000)}});
    let cases = [
        (post(), 200, None),
        (post().header("mcp-protocol-version", "2025-06-18"), 200, None),
        (post().header("mcp-protocol-version", "2026-07-28"), 400, Some(-32000)),
        (post().header("mcp-protocol-version", "1999-01-01"), 400, Some(-32000)),
        (post().header(HOST, "evil.example"), 403, Some(-32000)),
        (post().header(ORIGIN, "https://evil.example"), 403, Some(-32000)),
        (post().header(ORIGIN, "http://localhost:6274"), 200, None),
        (caller.request(Method::POST).header(CONTENT_TYPE, "text/plain").body(ping()), 415, Some(-32000)),
        (caller.request(Method::POST).body(ping()), 415, Some(-32000)),
        (raw("{"), 400, Some(-32700)),
        (raw("[]"), 400, Some(-32600)),
        (raw(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), 400, Some(-32600)),
        (raw(&format!("[{}]", ping())), 400, Some(-32600)),
        (raw(&big.to_string()), 413, Some(-32000)),
        (raw(&initialize("2025-11-25", json!({})).to_string()), 400, Some(-32600)),
        (nobody.request(Method::POST).json(&call(json!(1), "pid", json!({}))), 400, Some(-32000)),
        (nobody.request(Method::GET), 400, Some(-32000)),
        (nobody.request(Method::DELETE), 400, Some(-32000)),
        (unknown.request(Method::POST).json(&call(json!(1), "pid", json!({}))), 404, Some(-32001)),
        (unknown.request(Method::POST).json(&initialize("2025-11-25", json!({}))), 404, Some(-32001)),
        (unknown.request(Method::GET), 404, Some(-32001)),
        (unknown.request(Method::DELETE), 404, Some(-32001)),
        (elsewhere.request(Method::POST).json(&initialize("2025-11-25", json!({}))), 404, Some(-32000)),
    ];
    for (n, (request, status, code)) in cases.into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "case {n}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"].as_i64(), code, "case {n}: {body}");
    }
    let put = caller.request(Method::PUT).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    // Besides the session's there was one that was asked for its era.
    eventually("only the session is left", || connector.processes().len() == 2).await;
}

#[tokio::test]
async fn a_type_that_is_not_accepted_is_not_sent() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (method, accept, status) in [
        (Method::POST, "application/json", 406),
        (Method::POST, "text/event-stream", 406),
        (Method::GET, "application/json", 406),
        (Method::POST, "*/*", 200),
    ] {
        let request = http.request(method, &caller.url).bearer_auth(SECRET).header(ACCEPT, accept);
        let request = request.header("mcp-session-id", caller.session.as_deref().unwrap());
        let response = request.json(&call(json!(1), "pid", json!({}))).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{accept}");
    }
}

#[tokio::test]
async fn a_second_get_stream_is_refused_and_a_closed_one_makes_room() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    let mut first = Messages::of(caller.get().await);
    assert_eq!((first.status, first.content_type.as_str()), (StatusCode::OK, "text/event-stream"));
    assert_eq!(first.next().await.unwrap()["params"]["data"], "before initialize is answered");
    assert_eq!(caller.get().await.status(), StatusCode::CONFLICT);
    drop(first);
    let mut second = caller.get().await;
    while second.status() == StatusCode::CONFLICT {
        second = caller.get().await;
    }
    let mut stream = Messages::of(second);
    caller.text(json!(1), "announce", json!({"times": 1})).await;
    assert_eq!(stream.next().await.unwrap()["params"]["uri"], "test://0");
}

#[tokio::test]
async fn ids_are_kept_and_one_in_flight_is_not_taken_twice() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    for id in [json!(5), json!("5"), json!("\u{e9}\n\"")] {
        assert_eq!(caller.call(id.clone(), "pid", json!({})).await["id"], id);
    }
    let held = caller.hold(json!("h")).await;
    let again = caller.post(&call(json!("h"), "pid", json!({}))).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    let body: Value = again.json().await.unwrap();
    assert_eq!((&body["error"]["code"], &body["id"]), (&json!(-32600), &json!("h")));
    caller.text(json!("r"), "release", json!({"held": "h"})).await;
    assert_eq!(held.last().await["id"], "h");
}

#[tokio::test]
async fn batches_are_served_in_sessions_of_2025_03_26() {
    let connector = Connector::misbehaving("");
    let mut caller = connector.caller("bad");
    let response = caller.post(&initialize("2025-03-26", json!({}))).await;
    caller.session = Some(response.headers()["mcp-session-id"].to_str().unwrap().to_owned());
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let batch = json!([call(json!(1), "echo", json!({"message": "a"})), note, call(json!("1"), "pid", json!({}))]);
    let response = caller.post(&batch).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let answers: Vec<Value> = response.json().await.unwrap();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().any(|answer| answer["id"] == 1) && answers.iter().any(|answer| answer["id"] == "1"));
    assert_eq!(caller.post(&json!([note, note])).await.status(), StatusCode::ACCEPTED);
    let twice = json!([call(json!(1), "pid", json!({})), call(json!(1), "pid", json!({}))]);
    assert_eq!(caller.post(&twice).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_nothing() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    drop(caller.hold(json!("h")).await);
    eventually("the connector noticed", || connector.log().contains("caller left")).await;
    assert_eq!(caller.text(json!(2), "release", json!({"held": "h"})).await, "done");
    eventually("its response was dropped", || connector.log().contains("a response whose caller has left")).await;
    // Only now is the id free again, and the server was not told of anything.
    assert!(caller.text(json!("h"), "pid", json!({})).await.parse::<i32>().is_ok());
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let connector = Connector::misbehaving("max_in_flight = 2");
    let caller = connector.session("bad").await;
    let held = [caller.hold(json!("a")).await, caller.hold(json!("b")).await];
    let refused = caller.post(&call(json!("c"), "pid", json!({}))).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    // Responses and notifications are no requests.
    let note = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    assert_eq!(caller.post(&note).await.status(), StatusCode::ACCEPTED);
    caller.delete().await;
    for held in held {
        assert_eq!(held.last().await["error"]["code"], -32603);
    }
}

#[tokio::test]
async fn sessions_are_bounded_per_server_and_in_all() {
    let fixture = support::fixture("misbehaving.mjs");
    let servers: [(&str, &str, &[&str], &str); 2] =
        [("one", "node", &[&fixture], "max_sessions = 1"), ("two", "node", &[&fixture], "")];
    let connector = Connector::start("max_sessions = 2", &servers);
    let one = connector.session("one").await;
    let full = connector.caller("one").post(&initialize("2025-11-25", json!({}))).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(full.headers()["retry-after"], "1");
    let body: Value = full.json().await.unwrap();
    assert_eq!(body["id"], 0);
    assert!(body["error"]["message"].as_str().unwrap().contains("server `one` has no room"), "{body}");
    connector.session("two").await;
    let full = connector.caller("two").post(&initialize("2025-11-25", json!({}))).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = full.json().await.unwrap();
    assert!(body["error"]["message"].as_str().unwrap().contains("the connector has no room"), "{body}");
    // A session's id is good for its own server only.
    let mut stranger = connector.caller("two");
    stranger.session = one.session.clone();
    assert_eq!(stranger.delete().await, StatusCode::NOT_FOUND);
    one.delete().await;
    eventually("its process is gone", || connector.processes().len() == 2).await;
    connector.session("one").await;
}

#[tokio::test]
async fn a_server_sees_its_own_environment_and_folder_only() {
    let fixture = support::fixture("misbehaving.mjs");
    let folder = std::env::temp_dir().canonicalize().unwrap();
    let more = format!("env = [\"PATH\"]\ncwd = {folder:?}");
    let connector = Connector::start("", &[("bad", "node", &[&fixture], &more)]);
    let caller = connector.session("bad").await;
    let env: Value = serde_json::from_str(&caller.text(json!(1), "env", json!({})).await).unwrap();
    let mut names: Vec<_> = env.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["PATH", "TURNPIKE_TEST_MARK"]);
    assert_eq!(caller.text(json!(2), "cwd", json!({})).await, folder.to_str().unwrap());
}
