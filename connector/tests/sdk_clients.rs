//! Do clients nobody here wrote work with the connector?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use serde_json::Value;
use support::{Connector, SECRET, fixture, npm};

async fn drive(sdk: &str) {
    let connector = Connector::start("", &[("everything", &npm("mcp-server-everything"), &[], "")]);
    let output = tokio::process::Command::new("node")
        .args([&fixture("client.mjs"), &connector.caller("everything").url, sdk])
        .env("TURNPIKE_CONNECTOR_SECRET", SECRET)
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\nif a package is missing, run `npm ci` at the root of the repository");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
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
