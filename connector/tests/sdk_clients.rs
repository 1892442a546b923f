//! Do clients nobody here wrote work with the connector?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use serde_json::{Value, json};
use support::{Connector, MODERN, SECRET, fixture, npm, pypi};

async fn run(program: &str, args: &[&str]) -> Value {
    let output = tokio::process::Command::new(program)
        .args(args)
        .env("TURNPIKE_CONNECTOR_SECRET", SECRET)
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\nif a package is missing, run `npm ci` at the root of the repository");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn drive(sdk: &str) {
    let connector = Connector::start("", &[("everything", &npm("mcp-server-everything"), &[], "")]);
    let seen = run("node", &[&fixture("client.mjs"), &connector.caller("everything").url, sdk]).await;
    assert!(seen["tools"].as_u64().unwrap() > 10, "{seen}");
    assert_eq!(seen["echo"], "Echo: hello");
    assert_eq!(seen["progress"], 4);
    assert!(seen["sampling"].as_str().unwrap().contains("a sampled text"), "{seen}");
    assert!(seen["elicitation"].as_str().unwrap().contains("Ada"), "{seen}");
    assert_eq!(seen["parallel"], true);
    // The client ended its session, and so its process.
    connector.wait_until_gone().await;
}

#[tokio::test]
async fn npm_sdk_v1() {
    drive("v1").await;
}

#[tokio::test]
async fn npm_client_v2() {
    drive("v2").await;
}

/// It asks for the era first, and is sent to `initialize`.
#[tokio::test]
async fn npm_client_v2_finds_a_legacy_server_out() {
    drive("v2-auto").await;
}

#[tokio::test]
async fn npm_client_v2_at_a_modern_server() {
    let connector = Connector::modern("");
    let seen = run("node", &[&fixture("modern_client.mjs"), &connector.caller("modern").url]).await;
    assert_eq!(seen["era"], "modern");
    assert!(seen["tools"].as_u64().unwrap() > 5, "{seen}");
    assert_eq!(seen["echo"], "hello");
    assert!(seen["elicitation"].as_str().unwrap().contains("Ada"), "{seen}");
    assert_eq!(seen["parallel"], json!((0..20).map(|n| n.to_string()).collect::<Vec<_>>()));
    assert_eq!(seen["progress"], 1);
    assert_eq!(seen["released"], json!(["done", "released k"]));
    assert_eq!(seen["cancelled"], "left");
    assert_eq!(seen["honoured"], json!({"toolsListChanged": true}));
    assert_eq!(seen["changed"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn python_client_in_each_mode() {
    let connector = Connector::start("", &[("time", &pypi("mcp-server-time"), &["--local-timezone", "UTC"], "")]);
    let (python, script) = (pypi("python"), fixture("modern_client.py"));
    for (mode, version) in [("auto", MODERN), (MODERN, MODERN), ("legacy", "2025-11-25")] {
        let seen = run(&python, &[&script, &connector.caller("time").url, mode]).await;
        let tools = json!(["get_current_time", "convert_time"]);
        assert_eq!(seen, json!({"version": version, "tools": tools, "timezone": "Europe/Berlin"}), "{mode}");
    }
}
