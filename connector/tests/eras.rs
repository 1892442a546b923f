//! Is it found out which era a server speaks, and is each caller told so in its own?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Connector, MODERN, Messages, call, eventually, fixture, initialize, npm, pypi};

/// A modern caller is refused in the way of a server that never heard of 2026-07-28, and a legacy one is served.
async fn is_legacy(connector: &Connector, server: &str) {
    let caller = connector.caller(server);
    let requests = [("server/discover", json!({})), ("tools/call", json!({"name": "x", "arguments": {}}))];
    for (method, params) in requests {
        let (status, answer) = caller.ask(json!("d"), method, params).await;
        assert_eq!((status, &answer["id"], &answer["error"]["code"]), (400, &json!("d"), &json!(-32000)), "{answer}");
        let verdict = bridge::probe::verdict(status, Some(&answer.to_string()));
        assert_eq!(verdict, bridge::probe::Verdict::Legacy, "what the gateway concludes");
    }
    // Nor is a request refused with an error that only 2026-07-28 has.
    let unsound =
        caller.request(Method::POST).header("mcp-protocol-version", MODERN).json(&call(json!(1), "x", json!({})));
    let answer: Value = unsound.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    let caller = connector.session(server).await;
    let listed = caller.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert!(Messages::of(listed).last().await["result"].is_object());
    assert_eq!(caller.delete().await, StatusCode::OK);
}

#[tokio::test]
async fn npm_servers_of_the_older_sdk_are_legacy() {
    let folder = std::env::temp_dir();
    let servers: [(&str, &str, &[&str], &str); 3] = [
        ("everything", &npm("mcp-server-everything"), &[], ""),
        ("memory", &npm("mcp-server-memory"), &[], ""),
        ("filesystem", &npm("mcp-server-filesystem"), &[folder.to_str().unwrap()], ""),
    ];
    let connector = Connector::start("", &servers);
    for (server, ..) in servers {
        is_legacy(&connector, server).await;
    }
    // The processes that were asked have ended.
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn whatever_else_a_server_does_when_it_is_asked_it_is_legacy() {
    let eras = fixture("eras.mjs");
    let all = ["dies", "keeps_quiet", "invalid_params", "answers_anything"];
    let arguments = all.map(|kind| [eras.as_str(), kind]);
    let servers: Vec<(&str, &str, &[&str], &str)> = all
        .into_iter()
        .zip(&arguments)
        .map(|(kind, args)| (kind, "node", args.as_slice(), "max_sessions = 1"))
        .collect();
    let connector = Connector::start("probe_timeout_ms = 500", &servers);
    for server in all {
        is_legacy(&connector, server).await;
        // Once is enough.
        let started = || connector.log().matches("server started").count();
        let before = started();
        connector.caller(server).ask(json!(1), "server/discover", json!({})).await;
        assert_eq!(started(), before, "{server}");
    }
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_session_is_not_touched_by_the_question_that_its_server_dies_of() {
    let connector = Connector::start("", &[("dies", "node", &[&fixture("eras.mjs"), "dies"], "max_sessions = 1")]);
    let session = connector.session("dies").await;
    let (status, _) = connector.caller("dies").ask(json!(1), "server/discover", json!({})).await;
    assert_eq!(status, 400);
    let answer = session.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert!(Messages::of(answer).last().await["result"].is_object());
}

#[tokio::test]
async fn that_a_server_does_not_run_says_nothing_of_its_era() {
    let connector = Connector::start("request_timeout_ms = 3000", &[("gone", "false", &[], "")]);
    let caller = connector.caller("gone");
    for _ in 0..2 {
        let refused = caller.modern(json!("d"), "server/discover", json!({})).send().await.unwrap();
        let status = refused.status();
        assert_eq!((status, refused.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
        let answer = refused.text().await.unwrap();
        assert!(answer.contains("server `gone` exited with status 1"), "{answer}");
        let verdict = bridge::probe::verdict(status.as_u16(), Some(&answer));
        assert_eq!(verdict, bridge::probe::Verdict::Unknown, "what the gateway concludes");
    }
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn what_is_said_to_be_modern_and_does_not_run_is_not_waited_for() {
    let link = std::env::temp_dir().join(format!("turnpike-modern-{}.mjs", std::process::id()));
    std::os::unix::fs::symlink(fixture("modern.mjs"), &link).unwrap();
    let servers: [(&str, &str, &[&str], &str); 1] = [("told", "node", &[link.to_str().unwrap()], "era = \"modern\"")];
    let connector = Connector::start("", &servers);
    let caller = connector.caller("told");
    let mut listener = caller.listen(json!("l"), json!({"toolsListChanged": true})).await;
    std::fs::remove_file(link).unwrap();
    caller.ask(json!("c"), "tools/call", json!({"name": "crash", "arguments": {}})).await;
    assert_eq!(listener.next().await, None);
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn a_python_server_serves_both_eras() {
    let connector = Connector::start("", &[("time", &pypi("mcp-server-time"), &["--local-timezone", "UTC"], "")]);
    let modern = connector.caller("time");
    let legacy = connector.session("time").await;
    let arguments = json!({"timezone": "Europe/Berlin"});
    let told = [
        modern.told("get_current_time", arguments.clone()).await,
        legacy.text(json!(1), "get_current_time", arguments).await,
    ];
    for told in told {
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["timezone"], "Europe/Berlin");
    }
    let (status, answer) = modern.ask(json!("l"), "subscriptions/listen", json!({"notifications": {}})).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)), "it has nothing to tell");
    // A server and a warden for the session, and for everybody else.
    assert_eq!(connector.processes().len(), 4);
}

#[tokio::test]
async fn a_server_of_both_eras_has_a_process_for_each_session_and_one_for_the_rest() {
    let connector = Connector::start("", &[("both", "node", &[&fixture("modern.mjs"), "both"], "")]);
    let (one, two) = (connector.session("both").await, connector.session("both").await);
    let modern = connector.caller("both");
    let mut pids = vec![one.text(json!(1), "pid", json!({})).await, two.text(json!(1), "pid", json!({})).await];
    pids.extend([modern.told("pid", json!({})).await, modern.told("pid", json!({})).await]);
    pids.dedup();
    assert_eq!(pids.len(), 3);
}

#[tokio::test]
async fn a_modern_server_refuses_sessions_and_says_what_it_speaks() {
    let modern = [fixture("modern.mjs")];
    let modern: Vec<&str> = modern.iter().map(String::as_str).collect();
    let servers: [(&str, &str, &[&str], &str); 2] =
        [("found", "node", &modern, ""), ("told", "node", &modern, "era = \"modern\"")];
    let connector = Connector::start("", &servers);
    for server in ["told", "found"] {
        let refused = connector.caller(server).post(&initialize("2025-06-18", json!({}))).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{server}");
        assert_eq!(refused.headers().get("mcp-session-id"), None);
        let answer: Value = refused.json().await.unwrap();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(0), &json!(-32022)));
        assert_eq!(answer["error"]["data"], json!({"supported": [MODERN], "requested": "2025-06-18"}));
        assert!(bridge::probe::refuses_initialize(400, &answer.to_string()), "what the gateway concludes");
        if server == "told" {
            assert_eq!(connector.processes(), Vec::<i32>::new(), "nothing had to be started");
        }
    }
    for method in [Method::GET, Method::DELETE] {
        let refused = connector.caller("told").request(method).send().await.unwrap();
        assert_eq!(
            (refused.status(), &refused.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );
    }
    assert_eq!(connector.caller("told").told("echo", json!({"message": "hello"})).await, "hello");
}

#[tokio::test]
async fn a_server_that_is_said_to_be_legacy_is_not_asked() {
    let connector = Connector::start("", &[("both", "node", &[&fixture("modern.mjs"), "both"], "era = \"legacy\"")]);
    let (status, answer) = connector.caller("both").ask(json!(1), "server/discover", json!({})).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
    assert_eq!(connector.processes(), Vec::<i32>::new());
    connector.session("both").await;
}

#[tokio::test]
async fn a_server_that_is_slow_to_start_is_no_legacy_one() {
    let slow = format!("sleep 2; exec node {} both", fixture("modern.mjs"));
    let connector = Connector::start("probe_timeout_ms = 100", &[("slow", "sh", &["-c", &slow], "")]);
    let caller = connector.caller("slow");
    assert_eq!(caller.told("echo", json!({"message": "at last"})).await, "at last");
    // It had been sent `initialize` as well, and some servers are of the era of what came last: it does not serve.
    eventually("only the other one is left", || connector.processes().len() == 2).await;
    let (status, discovered) = caller.ask(json!("d"), "server/discover", json!({})).await;
    assert_eq!((status, &discovered["result"]["supportedVersions"]), (200, &json!([MODERN])));
}

#[tokio::test]
async fn a_server_is_asked_again_after_its_process_has_ended() {
    // What the server is, is in a file: it is replaced while the connector runs.
    let folder = std::env::temp_dir().join(format!("turnpike-eras-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join("server.mjs");
    let replace_by = |name: &str| {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(fixture(name), &link).unwrap();
    };
    replace_by("modern.mjs");
    let connector = Connector::start("", &[("server", "node", &[link.to_str().unwrap(), "answers_anything"], "")]);
    let caller = connector.caller("server");
    let mut listener = caller.listen(json!("l"), json!({"toolsListChanged": true})).await;
    replace_by("eras.mjs");
    caller.ask(json!("c"), "tools/call", json!({"name": "crash", "arguments": {}})).await;
    // Its subscriptions cannot go on.
    assert_eq!(listener.next().await, None);
    eventually("it is found to be legacy", || connector.log().contains("legacy revisions only")).await;
    is_legacy(&connector, "server").await;
    std::fs::remove_dir_all(folder).unwrap();
}
