//! However a session or the connector ends: is anything left of the servers?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Caller, Connector, Messages, call, eventually, is_alive, npm};

/// A session with children in and outside of the process group, none of which minds SIGTERM.
async fn with_children(connector: &Connector) -> Caller {
    let caller = connector.session("bad").await;
    let pids = caller.text(json!(1), "children", json!({})).await;
    let pids: Vec<i32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    // The server, its warden, and the two.
    assert_eq!(connector.processes().len(), 4);
    caller
}

#[tokio::test]
async fn delete_leaves_no_process() {
    let connector = Connector::misbehaving("");
    let caller = with_children(&connector).await;
    assert_eq!(caller.delete().await, StatusCode::OK);
    connector.wait_until_gone().await;
    let response = caller.post(&call(json!(2), "pid", json!({}))).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], -32001);
    assert_eq!(caller.delete().await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_server_that_minds_nothing_is_killed() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    caller.text(json!(1), "stubborn", json!({})).await;
    assert_eq!(caller.delete().await, StatusCode::OK);
    connector.wait_until_gone().await;
    eventually("the end is in the log", || connector.log().contains("server was killed by SIGKILL")).await;
}

#[tokio::test]
async fn sigkill_of_the_connector_leaves_no_process() {
    let everything = npm("mcp-server-everything");
    let fixture = support::fixture("misbehaving.mjs");
    let servers: [(&str, &str, &[&str], &str); 2] =
        [("everything", &everything, &[], ""), ("bad", "node", &[&fixture], "")];
    let mut connector = Connector::start("", &servers);
    let one = with_children(&connector).await;
    let two = connector.session("bad").await;
    two.text(json!(1), "stubborn", json!({})).await;
    let _three = connector.session("everything").await;
    assert!(connector.processes().len() >= 8);
    connector.signal(Signal::SIGKILL);
    assert_eq!(connector.wait(), None);
    connector.wait_until_gone().await;
    drop(one);
}

#[tokio::test]
async fn npx_and_what_it_starts_end_together() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    npm("mcp-server-everything");
    let servers: [(&str, &str, &[&str], &str); 1] =
        [("npx", "npx", &["--offline", "mcp-server-everything"], &format!("cwd = {root:?}"))];
    let mut connector = Connector::start("", &servers);
    let one = connector.session("npx").await;
    assert!(connector.processes().len() >= 3, "warden, npx, server");
    assert_eq!(one.delete().await, StatusCode::OK);
    connector.wait_until_gone().await;
    let _two = connector.session("npx").await;
    connector.signal(Signal::SIGKILL);
    connector.wait();
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn sigterm_ends_every_session_and_answers_who_waits() {
    let mut connector = Connector::misbehaving("");
    let caller = with_children(&connector).await;
    let waiting = caller.hold(json!("w")).await;
    let mut stream = Messages::of(caller.get().await);
    connector.signal(Signal::SIGTERM);
    let answer = waiting.last().await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("the connector stops"), "{answer}");
    while stream.next().await.is_some() {}
    assert_eq!(connector.wait(), Some(0));
    assert_eq!(connector.processes(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_the_wardens_do_the_rest() {
    let mut connector = Connector::misbehaving("");
    with_children(&connector).await;
    connector.signal(Signal::SIGINT);
    connector.signal(Signal::SIGTERM);
    assert_eq!(connector.wait(), Some(0));
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn an_idle_session_ends_and_a_used_one_does_not() {
    let connector = Connector::misbehaving("idle_timeout_ms = 400");
    let idle = connector.session("bad").await;
    let listened = connector.session("bad").await;
    let stream = listened.get().await;
    let waiting = connector.session("bad").await;
    let held = waiting.hold(json!("h")).await;
    eventually("one session is over", || connector.log().contains("nobody used it")).await;
    assert_eq!(idle.post(&call(json!(1), "pid", json!({}))).await.status(), StatusCode::NOT_FOUND);
    listened.text(json!(1), "pid", json!({})).await;
    assert_eq!(waiting.text(json!(1), "release", json!({"held": "h"})).await, "done");
    assert_eq!(held.last().await["id"], "h");
    drop(stream);
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn killing_the_warden_ends_the_session_and_its_group() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    let server: i32 = caller.text(json!(1), "pid", json!({})).await.parse().unwrap();
    let warden = connector.processes().into_iter().find(|pid| *pid != server).unwrap();
    let waiting = caller.hold(json!(2)).await;
    kill(Pid::from_raw(warden), Signal::SIGKILL).unwrap();
    let answer = waiting.last().await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_caller_that_leaves_during_initialize_leaves_no_process() {
    let connector = Connector::misbehaving("");
    let caller = connector.caller("bad");
    let mut message = support::initialize("2025-11-25", json!({}));
    message["params"]["hang"] = json!(true);
    let sending = tokio::spawn(async move { caller.post(&message).await });
    eventually("the server runs", || connector.processes().len() == 2).await;
    sending.abort();
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_dead_server_is_told_to_everyone_who_waits_and_ends_the_session() {
    for (tool, arguments, expected) in [
        ("exit", json!({"status": 3}), "server `bad` exited with status 3; see the connector's log"),
        ("crash", json!({}), "server `bad` was killed by SIGKILL; see the connector's log"),
        ("close_output", json!({}), "server `bad` closed its standard output; see the connector's log"),
    ] {
        let connector = Connector::misbehaving("");
        let caller = connector.session("bad").await;
        let waiting = caller.hold(json!("waiting")).await;
        let answer = caller.call(json!(2), tool, arguments).await;
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 2, "error": {"code": -32603, "message": expected}}));
        let answer = waiting.last().await;
        assert_eq!(answer["id"], "waiting");
        assert_eq!(answer["error"]["message"], expected);
        let status = caller.post(&call(json!(3), "pid", json!({}))).await.status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{tool}");
        connector.wait_until_gone().await;
    }
}

#[tokio::test]
async fn the_last_words_of_a_server_arrive() {
    let connector = Connector::misbehaving("");
    let caller = connector.session("bad").await;
    let answer = caller.call(json!(1), "last_words", json!({})).await;
    assert_eq!(answer["result"]["content"], json!([]), "{answer}");
    connector.wait_until_gone().await;
}
