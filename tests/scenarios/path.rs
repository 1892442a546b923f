//! Does a call reach the server and its answer the caller, with nothing lost, added or held back?

use futures_util::future::join_all;
use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    fixture::{Fixture, Shared},
    setup::Setup,
    stage::{UPSTREAM_SECRET, eventually},
};

scenarios! {
    initialize_list_and_call_answered_as_json,
    initialize_list_and_call_answered_as_events,
    the_upstream_sees_neither_the_callers_token_nor_its_session_id,
    the_upstream_is_sent_the_gateways_own_secret,
    a_trace_named_in_meta_is_continued_before_one_in_headers,
    a_trace_named_in_headers_is_continued,
    a_trace_is_begun_where_none_is_named,
    progress_arrives_in_pieces,
    the_server_asks_the_user_and_is_answered,
    the_server_asks_for_a_sampling_and_is_answered,
    a_closed_stream_is_resumed_after_its_last_event,
    the_server_speaks_on_its_own_stream,
    a_stream_the_caller_left_is_closed_at_the_upstream,
    delete_ends_the_session_at_the_upstream_and_everywhere,
    every_legacy_revision_is_served,
    a_batch_is_served_in_the_revision_that_has_it,
    a_batch_is_refused_in_every_other_revision,
    a_large_answer_arrives_whole,
    what_is_sent_arrives_as_it_was_spelled,
    many_calls_at_once_are_not_mixed_up,
}

async fn initialize_list_and_call_answered_as_json(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("json").open().await;
    let listed = client.request("tools/list", json!({})).await;
    assert_eq!(listed.header("content-type"), "application/json");
    let tools = listed.reply()["result"]["tools"].as_array().unwrap().clone();
    assert!(tools.iter().any(|tool| tool["name"] == "echo"), "{tools:?}");
    assert_eq!(client.call("echo", json!({ "text": "hello" })).await, "hello");
}

async fn initialize_list_and_call_answered_as_events(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let listed = client.request("tools/list", json!({})).await;
    assert_eq!(listed.header("content-type"), "text/event-stream");
    assert!(listed.reply()["result"]["tools"].as_array().unwrap().len() > 3);
    assert_eq!(client.call("echo", json!({ "text": "hello" })).await, "hello");
}

async fn the_upstream_sees_neither_the_callers_token_nor_its_session_id(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("one", &token).open().await;
    let call = client.message("tools/call", json!({ "name": "whoami", "arguments": {} }));
    let request = client.post(call.to_string()).header("cookie", "secret=cookie").header("x-anything", "else");
    let answer = request.send().await;
    assert_eq!(answer.header("mcp-session-id"), "", "an upstream's session id is not for callers: {answer:?}");
    let seen = answer.text();
    assert!(!seen.contains(&token.text()), "{seen}");
    assert!(!seen.contains(&client.session().unwrap()), "{seen}");
    let seen: Value = serde_json::from_str(&seen).unwrap();
    for name in ["authorization", "cookie", "x-anything"] {
        assert_eq!(seen["headers"].get(name), None, "{seen}");
    }
    assert_eq!(seen["headers"]["mcp-session-id"], seen["session"]);
}

async fn the_upstream_is_sent_the_gateways_own_secret(stage: Stage) {
    let gateway = stage.common().await;
    let seen = gateway.caller("guarded").open().await.whoami().await;
    assert_eq!(seen["headers"]["authorization"], format!("Bearer {UPSTREAM_SECRET}"));
}

async fn a_trace_named_in_meta_is_continued_before_one_in_headers(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let meta = json!({ "traceparent": PARENT, "tracestate": "vendor=1", "com.example/n": [1.50, "é"] });
    let call = client.message("tools/call", json!({ "name": "whoami", "arguments": {}, "_meta": meta }));
    let answer = client.post(call.to_string()).header("traceparent", OTHER_PARENT).send().await;
    let seen: Value = serde_json::from_str(&answer.text()).unwrap();
    assert!(continues(&seen, PARENT), "{seen}");
    assert_eq!(seen["headers"]["tracestate"], "vendor=1");
    assert_eq!(seen["_meta"]["tracestate"], "vendor=1");
    assert_eq!(seen["_meta"]["com.example/n"], json!([1.50, "é"]));
    assert_eq!(seen["_meta"].as_object().unwrap().len(), 3, "{seen}");
}

async fn a_trace_named_in_headers_is_continued(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let call = client.message("tools/call", json!({ "name": "whoami", "arguments": {} }));
    let answer = client.post(call.to_string()).header("traceparent", PARENT).send().await;
    let seen: Value = serde_json::from_str(&answer.text()).unwrap();
    assert!(continues(&seen, PARENT), "{seen}");
}

async fn a_trace_is_begun_where_none_is_named(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let [first, second] = [client.whoami().await, client.whoami().await];
    assert_eq!(first["headers"]["traceparent"], first["_meta"]["traceparent"]);
    assert_eq!(first["headers"]["traceparent"].as_str().unwrap().len(), 55);
    assert_ne!(first["headers"]["traceparent"], second["headers"]["traceparent"]);
}

async fn progress_arrives_in_pieces(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let arguments = json!({ "steps": 3, "step_ms": 300 });
    let params = json!({ "name": "slow", "arguments": arguments, "_meta": { "progressToken": "p" } });
    let mut stream = client.stream("tools/call", params).await;
    for step in 1..=3 {
        let message = stream.message().await.unwrap();
        assert_eq!(message["params"]["progress"], step, "{message}");
        assert_eq!(message["params"]["progressToken"], "p");
        assert_eq!(stream.waiting(), 0, "later events were held back and came with this one");
    }
    assert_eq!(stream.message().await.unwrap()["result"]["content"][0]["text"], "3 steps done");
    assert_eq!(stream.message().await, None);
}

async fn the_server_asks_the_user_and_is_answered(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let params = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let mut stream = client.stream("tools/call", params).await;
    let asked = stream.message().await.unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    let content = json!({ "username": "ada", "email": "ada@example.com" });
    let result = json!({ "action": "accept", "content": content });
    let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
    assert_eq!(client.post(reply.to_string()).send().await.status, 202);
    let text = stream.message().await.unwrap()["result"]["content"][0]["text"].to_string();
    assert!(text.contains("action=accept") && text.contains("ada@example.com"), "{text}");
}

async fn the_server_asks_for_a_sampling_and_is_answered(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let params = json!({ "name": "test_sampling", "arguments": { "prompt": "say it" } });
    let mut stream = client.stream("tools/call", params).await;
    let asked = stream.message().await.unwrap();
    assert_eq!(asked["method"], "sampling/createMessage");
    let content = json!({ "type": "text", "text": "said" });
    let result = json!({ "role": "assistant", "model": "none", "content": content });
    let reply = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
    assert_eq!(client.post(reply.to_string()).send().await.status, 202);
    assert_eq!(stream.message().await.unwrap()["result"]["content"][0]["text"], "LLM response: said");
}

async fn a_closed_stream_is_resumed_after_its_last_event(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let mut stream = client.stream("tools/call", json!({ "name": "test_reconnection", "arguments": {} })).await;
    let mut last = None;
    while let Some(event) = stream.next().await {
        assert!(!event.data.contains("result"), "the stream was to close before its result: {event:?}");
        last = event.id.or(last);
    }
    let mut resumed = client.listen(Some(&last.expect("the stream begins with an event that names it"))).await;
    assert_eq!(resumed.status, 200);
    assert_eq!(resumed.message().await.unwrap()["result"]["content"][0]["text"], "The stream was resumed.");
}

async fn the_server_speaks_on_its_own_stream(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let mut stream = client.listen(None).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-cache, no-transform");
    let subscribed = client.request("resources/subscribe", json!({ "uri": WATCHED })).await;
    assert_eq!(subscribed.reply()["result"], json!({}), "{subscribed:?}");
    assert_eq!(client.call("touch", json!({})).await, "The subscriber was told.");
    let told = stream.message().await.unwrap();
    assert_eq!((&told["method"], &told["params"]["uri"]), (&json!("notifications/resources/updated"), &json!(WATCHED)));
}

async fn a_stream_the_caller_left_is_closed_at_the_upstream(stage: Stage) {
    let fixture = Fixture::start("listened-to", &[]);
    let gateway = stage.open(Setup::new().server("one", &[&fixture.url])).await;
    let client = gateway.caller("one").open().await;
    let stream = client.listen(None).await;
    eventually("the stream is open at the upstream", async || fixture.open_responses().await == 1).await;
    drop(stream);
    eventually("the stream is closed at the upstream", async || fixture.open_responses().await == 0).await;
}

async fn delete_ends_the_session_at_the_upstream_and_everywhere(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    for isolate in gateway.isolates() {
        assert_eq!(client.through(&isolate).call("echo", json!({ "text": "here" })).await, "here");
    }
    let fixture = &Shared::running().one;
    let theirs = client.whoami().await["session"].as_str().unwrap().to_owned();
    assert!(fixture.sessions().await.contains(&theirs));
    assert_eq!(client.delete().await.status, 200);
    eventually("the upstream session is gone", async || !fixture.sessions().await.contains(&theirs)).await;
    for isolate in gateway.isolates() {
        client.through(&isolate).try_call("echo", json!({ "text": "here" })).await.refuses(404, -32001);
    }
}

async fn every_legacy_revision_is_served(stage: Stage) {
    let gateway = stage.common().await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = gateway.caller("one").open_as(revision).await;
        assert_eq!(client.call("echo", json!({ "text": revision })).await, revision);
    }
}

async fn a_batch_is_served_in_the_revision_that_has_it(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open_as("2025-03-26").await;
    let answer = client.post(batch().to_string()).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut messages = answer.messages();
    if let [Value::Array(batch)] = messages.as_slice() {
        messages = batch.clone();
    }
    let mut ids: Vec<u64> = messages.iter().map(|message| message["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [101, 102]);
}

async fn a_batch_is_refused_in_every_other_revision(stage: Stage) {
    let gateway = stage.common().await;
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let client = gateway.caller("one").open_as(revision).await;
        client.post(batch().to_string()).send().await.refuses(400, -32600);
    }
    let initialize = json!([{ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }]);
    gateway.caller("one").post(initialize.to_string()).send().await.refuses(400, -32600);
}

async fn a_large_answer_arrives_whole(stage: Stage) {
    let gateway = stage.common().await;
    for server in ["one", "json"] {
        let text = gateway.caller(server).open().await.call("big", json!({ "bytes": LARGE_BYTES })).await;
        assert_eq!(text.len(), LARGE_BYTES);
        assert!(text.as_bytes().chunks(16).all(|chunk| chunk == b"0123456789abcdef"));
    }
}

async fn what_is_sent_arrives_as_it_was_spelled(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("json").open().await;
    let long = "é\u{1f600}\u{0} \\\" ".repeat(10_000);
    for text in [long.as_str(), "", "\r\n\r\ndata: x\n\n", "</script>"] {
        assert_eq!(client.call("echo", json!({ "text": text })).await, text);
    }
    // The server reads what the caller wrote, not what a rewriting would make of it.
    let spelled = r#"{"jsonrpc" : "2.0","id":"\u0061","method":"tools/call","params":{"_meta":{"n":1e2},"name":"echo","arguments":{"text":"\ud83d\ude00"}}}"#;
    let answer = client.post(spelled).send().await;
    assert_eq!(answer.text(), "\u{1f600}");
    assert_eq!(answer.reply()["id"], "a");
}

async fn many_calls_at_once_are_not_mixed_up(stage: Stage) {
    let gateway = stage.common().await;
    let callers = (0..24).map(async |n| {
        let client = gateway.caller(if n % 2 == 0 { "one" } else { "pair" }).open().await;
        let session = client.whoami().await["session"].clone();
        let calls = (0..5).map(async |m| {
            let text = format!("caller {n}, call {m}");
            assert_eq!(client.call("echo", json!({ "text": text, "delay_ms": 20 })).await, text);
        });
        join_all(calls).await;
        session.to_string()
    });
    let mut sessions = join_all(callers).await;
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 24);
}

/// Whether what an upstream saw continues `parent` under a span of its own, in the headers and in `_meta` alike.
fn continues(seen: &Value, parent: &str) -> bool {
    let [in_header, in_meta] =
        ["headers", "_meta"].map(|place| seen[place]["traceparent"].as_str().unwrap_or_default());
    in_header == in_meta && in_header != parent && in_header[..35] == parent[..35]
}

fn batch() -> Value {
    json!([
        { "jsonrpc": "2.0", "id": 101, "method": "ping" },
        { "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "none" } },
        { "jsonrpc": "2.0", "id": 102, "method": "tools/call", "params": { "name": "echo", "arguments": { "text": "b" } } }
    ])
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER_PARENT: &str = "00-11111111111111111111111111111111-2222222222222222-01";
/// The fixture tells of this resource's changes.
const WATCHED: &str = "test://watched-resource";
const LARGE_BYTES: usize = 4 * 1024 * 1024;
