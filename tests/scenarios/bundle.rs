//! Does the gateway run on the last configuration that holds together, and say so when there is none?

use std::time::Duration;

use gateway::config;
use serde_json::json;
use turnpike_tests::{
    Stage,
    client::LATEST,
    fixture::Shared,
    setup::{Setup, documents},
    stage::eventually,
};

scenarios! {
    without_a_configuration_503,
    with_a_bad_configuration_503,
}

memory_only! {
    "A new configuration is looked for every 20 s, and only in memory is the store at hand.":
    a_bad_bundle_does_not_replace_a_good_one,
    a_good_bundle_replaces_the_one_in_force,
    a_bundle_is_checked_once,
}

async fn without_a_configuration_503(stage: Stage) {
    unconfigured(stage, Setup::new().without_bundle(), "no configuration yet").await;
}

async fn with_a_bad_configuration_503(stage: Stage) {
    unconfigured(stage, Setup::new().with_bad_bundle(), "cannot be used").await;
}

async fn a_bad_bundle_does_not_replace_a_good_one(stage: Stage) {
    let setup = Setup::new().server("json", &[&Shared::running().json.url]);
    let gateway = stage.open(setup.clone()).await;
    let client = gateway.caller("json").open().await;
    let good = setup.bundle(gateway.origin());
    let invalid = Setup::new().server("NO NAME", &["ftp://elsewhere"]).bundle(gateway.origin());
    let bad = [
        documents("0".repeat(64), good.json.replace(r#""name":"json""#, r#""name":"other""#)),
        documents(invalid.id, invalid.json),
        documents("../live".to_owned(), "{}".to_owned()),
        [("bundle/live".to_owned(), "nowhere".to_owned())].into(),
        [].into(),
    ];
    for documents in bad {
        gateway.memory().documents().replace(documents);
        for _ in 0..3 {
            gateway.memory().advance(Duration::from_secs(21));
            assert_eq!(client.call("echo", json!({ "text": "on" })).await, "on");
        }
    }
}

async fn a_good_bundle_replaces_the_one_in_force(stage: Stage) {
    let url = &Shared::running().json.url;
    let setup = Setup::new().server("json", &[url]);
    let gateway = stage.open(setup.clone()).await;
    gateway.caller("json").open().await;
    gateway.caller("new").initialize(LATEST).await.refuses(404, -32000);
    let newer = setup.server("new", &[url]);
    gateway.memory().documents().replace(newer.documents(gateway.origin()));
    gateway.caller("new").initialize(LATEST).await.refuses(404, -32000);
    gateway.memory().advance(Duration::from_secs(21));
    eventually("the new server is there", async || gateway.caller("new").initialize(LATEST).await.status == 200).await;
}

/// Policies that Cedar's validator refuses show whether it was asked.
async fn a_bundle_is_checked_once(stage: Stage) {
    let wrong = "permit (principal, action, resource) when { context.nothing == 1 };";
    for (checked, status) in [(None, 503), (Some("0"), 503), (Some(config::CHECKS), 200)] {
        let setup = Setup::new().server("json", &[&Shared::running().json.url]).policies(wrong);
        let gateway = stage.open(setup.clone()).await;
        let key = config::checked_key(&setup.bundle(gateway.origin()).id);
        if let Some(version) = checked {
            gateway.memory().documents().borrow_mut().insert(key, version.to_owned());
        }
        assert_eq!(gateway.client().exact("GET", "/readyz").send().await.status, status, "{checked:?}");
    }
    let setup = Setup::new().server("json", &[&Shared::running().json.url]);
    let gateway = stage.open(setup.clone()).await;
    gateway.caller("json").open().await;
    let key = config::checked_key(&setup.bundle(gateway.origin()).id);
    let checked = async || gateway.memory().documents().borrow().get(&key).map(String::as_str) == Some(config::CHECKS);
    eventually("the next isolate need not check it", checked).await;
}

async fn unconfigured(stage: Stage, setup: Setup, says: &str) {
    let gateway = stage.open(setup).await;
    for path in ["/mcp/one", "/readyz", "/.well-known/oauth-protected-resource"] {
        let answer = gateway.client().exact("GET", path).send().await;
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{path}: {answer:?}");
        assert_eq!(answer.header("retry-after"), "5");
    }
    assert_eq!(gateway.client().exact("GET", "/healthz").send().await.status, 200);
}
