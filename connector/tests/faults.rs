//! What does a caller see of a server that misbehaves?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Connector, Messages, call, eventually, initialize};

#[tokio::test]
async fn what_is_no_message_is_logged_and_dropped() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    assert_eq!(caller.text(json!(1), "garbage", json!({})).await, "after the garbage");
    let log = connector.log();
    assert!(log.contains("Welcome to my server!") && log.contains("dropped a line"), "{log}");
    assert!(log.lines().all(|line| line.len() < 1000), "a long line of output is not logged whole");
}

#[tokio::test]
async fn an_overlong_line_is_an_error_and_ends_the_session() {
    let connector = Connector::misbehaving("max_message_bytes = 1000000");
    let caller = connector.session("bad").await;
    let answer = caller.call(json!("a"), "overlong", json!({})).await;
    assert_eq!(answer["id"], "a");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("more than 1000000 bytes (`max_message_bytes`)"), "{message}");
    assert_eq!(caller.post(&call(json!(3), "pid", json!({}))).await.status(), StatusCode::NOT_FOUND);
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_message_just_within_the_bound_passes_in_both_directions() {
    let connector = Connector::misbehaving("max_message_bytes = 1000000");
    let caller = connector.session("bad").await;
    let text = "é\u{2028}\\\"".repeat(100_000);
    assert_eq!(caller.text(json!(1), "echo", json!({"message": text})).await, text);
    let too_much = call(json!(2), "echo", json!({"message": "x".repeat(1_000_000)}));
    let response = caller.post(&too_much).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    caller.text(json!(3), "pid", json!({})).await;
}

#[tokio::test]
async fn a_request_without_an_answer_is_given_up_and_cancelled() {
    let connector = Connector::misbehaving("request_timeout_ms = 3000");
    let caller = connector.session("bad").await;
    let answer = caller.call(json!(7), "hang", json!({})).await;
    assert_eq!(answer["error"]["message"], "server `bad` did not answer within 3000 ms");
    // The fixture reports each cancellation.
    let mut stream = Messages::of(caller.get().await);
    loop {
        let message = stream.next().await.unwrap();
        if message["params"]["uri"] == "cancelled://7" {
            break;
        }
    }
    caller.text(json!(7), "pid", json!({})).await;
}

#[tokio::test]
async fn a_server_that_reads_no_more_holds_its_callers_back_and_not_the_connector() {
    let connector = Connector::misbehaving("");
    let deaf = connector.session("bad").await;
    deaf.text(json!(1), "deaf", json!({})).await;
    let mut sent = Vec::new();
    for id in 2..40 {
        let deaf = deaf.clone();
        let message = call(json!(id), "echo", json!({"message": "x".repeat(1 << 20)}));
        sent.push(tokio::spawn(async move { deaf.post(&message).await.status() }));
    }
    let other = connector.session("bad").await;
    assert_eq!(other.text(json!(1), "count", json!({})).await, "1");
    assert_eq!(deaf.delete().await, StatusCode::OK);
    for sent in sent {
        let status = sent.await.unwrap();
        assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND), "{status}");
    }
    other.delete().await;
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_server_that_reads_no_more_is_given_up() {
    let connector = Connector::misbehaving("request_timeout_ms = 3000");
    let caller = connector.session("bad").await;
    caller.text(json!(1), "deaf", json!({})).await;
    // More than a pipe and node's own buffer hold.
    let answer = caller.call(json!(2), "echo", json!({"message": "x".repeat(3 << 20)})).await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    eventually("the session is over", || connector.log().contains("does not read its standard input")).await;
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_server_that_fails_at_initialize_begins_no_session() {
    let node = &[support::fixture("misbehaving.mjs")];
    let node: Vec<&str> = node.iter().map(String::as_str).collect();
    // A file that may be executed and is no program.
    let broken = std::env::temp_dir().join(format!("turnpike-broken-{}", std::process::id()));
    std::fs::write(&broken, [0_u8; 64]).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&broken, executable).unwrap();
    let servers: [(&str, &str, &[&str], &str); 3] =
        [("bad", "node", &node, ""), ("gone", "true", &[], ""), ("broken", broken.to_str().unwrap(), &[], "")];
    let connector = Connector::start("request_timeout_ms = 5000", &servers);
    let begin = async |server: &str, more: Value| {
        let mut message = initialize("2025-11-25", json!({}));
        message["params"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = connector.caller(server).post(&message).await;
        let (status, session) = (response.status(), response.headers().get("mcp-session-id").cloned());
        assert_eq!(session, None);
        (status.as_u16(), response.json::<Value>().await.unwrap()["error"]["message"].as_str().unwrap().to_owned())
    };
    let said = |status, text: &str| (status, text.to_owned());
    assert_eq!(begin("bad", json!({"refuse": true})).await, said(200, "not today"));
    assert_eq!(
        begin("bad", json!({"exit": 9})).await,
        said(502, "server `bad` exited with status 9; see the connector's log")
    );
    assert_eq!(
        begin("bad", json!({"hang": true})).await,
        said(504, "server `bad` did not answer `initialize` in time; see the connector's log")
    );
    assert_eq!(
        begin("gone", json!({})).await,
        said(502, "server `gone` exited with status 0; see the connector's log")
    );
    assert_eq!(
        begin("broken", json!({})).await,
        said(502, "server `broken` could not be started; see the connector's log")
    );
    std::fs::remove_file(broken).unwrap();
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn stderr_goes_to_the_log_with_the_servers_name_and_bounded_lines() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    assert_eq!(caller.text(json!(1), "stderr", json!({})).await, "ok");
    eventually("the log has all of it", || connector.log().contains("after the long line")).await;
    let log = connector.log();
    let line = log.lines().find(|line| line.contains("a line for the log")).unwrap();
    assert!(line.contains("server=\"bad\""), "{line}");
    assert!(log.contains("[cut]") && log.lines().all(|line| line.len() < 5000));
}

#[tokio::test]
async fn a_server_may_send_batches() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    let messages = Messages::of(caller.post(&call(json!(1), "batch", json!({}))).await).all().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["params"]["data"], "in a batch");
    assert_eq!(messages[1]["id"], 1);
}

#[tokio::test]
async fn what_nobody_fetches_is_bounded_and_the_newest_stays() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    caller.text(json!(1), "announce", json!({"times": 5000})).await;
    let mut stream = Messages::of(caller.get().await);
    let mut uris = Vec::new();
    while uris.last().map(String::as_str) != Some("test://4999") {
        uris.push(stream.next().await.unwrap()["params"]["uri"].as_str().unwrap_or_default().to_owned());
    }
    assert!(uris.len() <= 1024, "{}", uris.len());
}
