//! Can an operator put a configuration in force while the gateway runs, and nobody else?

use std::time::Duration;

use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    client::{Answer, LATEST},
    fixture::Shared,
    issuer::Token,
    setup::Setup,
    stage::{Gateway, eventually},
};

scenarios! {
    a_push_is_in_force_at_once_and_can_be_rolled_back,
    a_bundle_that_does_not_hold_together_is_refused_with_everything_that_is_wrong,
    two_who_push_at_once_do_not_overwrite_each_other,
    only_operators_with_the_scope_may,
    a_push_survives_a_restart,
}

memory_only! {
    "A new configuration is looked for every 20 s, and only in memory is the store at hand.":
    every_isolate_notices_within_half_a_minute,
    what_is_written_to_the_store_afterwards_counts,
}

const OPERATORS: &str = "operators";

async fn a_push_is_in_force_at_once_and_can_be_rolled_back(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let first = live(&gateway).await["id"].as_str().unwrap().to_owned();
    let running = gateway.caller("json").open().await;
    let second = push(&gateway, &with_another(), Some(&first)).await;
    assert_eq!(second.0.status, 200, "{:?}", second.0);
    assert_eq!(gateway.caller("another").initialize(LATEST).await.status, 200);
    assert_eq!(running.call("echo", json!({ "text": "on" })).await, "on", "sessions go on");
    let moved = live(&gateway).await;
    assert_eq!(
        (&moved["id"], &moved["previous"], &moved["by"]),
        (&json!(second.1), &json!(first), &json!("cli/alice"))
    );

    let back = call(&gateway, "PUT", "/api/live", &json!({ "id": first, "expected": second.1 })).await;
    assert_eq!(back.status, 200, "{back:?}");
    gateway.caller("another").initialize(LATEST).await.refuses(404, -32000);
    let history = call(&gateway, "GET", "/api/live/history", &Value::Null).await.json();
    let ids: Vec<&Value> = history["rows"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&json!(second.1), &json!(first)]);
    assert_eq!(call(&gateway, "GET", &format!("/api/bundles/{first}"), &Value::Null).await.status, 200);
}

async fn a_bundle_that_does_not_hold_together_is_refused_with_everything_that_is_wrong(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let wrong = setup().server("NO NAME", &["ftp://elsewhere"]).policies(
        "permit (principal, action == Action::\"json/ecko\", resource);\npermit (principal, action, resource",
    );
    let bundle = wrong.bundle(gateway.origin());
    let answer = put(&gateway, &format!("/api/bundles/{}", bundle.id), bundle.json.clone()).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let problems = answer.json()["problems"].as_array().unwrap().clone();
    for at in ["servers[1].name", "servers[1].instances[0]", "policies"] {
        assert!(problems.iter().any(|problem| problem["at"].as_str().unwrap().contains(at)), "{at}: {problems:?}");
    }
    let elsewhere = put(&gateway, &format!("/api/bundles/{}", "0".repeat(64)), bundle.json).await;
    assert_eq!(elsewhere.status, 422, "{elsewhere:?}");
    let absent = call(&gateway, "PUT", "/api/live", &json!({ "id": "0".repeat(64) })).await;
    assert_eq!(absent.status, 404, "{absent:?}");
    assert_eq!(gateway.caller("json").initialize(LATEST).await.status, 200, "it runs on as it was");
}

async fn two_who_push_at_once_do_not_overwrite_each_other(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let first = live(&gateway).await["id"].as_str().unwrap().to_owned();
    let (another, limited) = (with_another(), setup().limit_by_agent(77));
    let (one, two) = tokio::join!(push(&gateway, &another, Some(&first)), push(&gateway, &limited, Some(&first)));
    let mut statuses = [one.0.status, two.0.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let (won, lost) = if one.0.status == 200 { (one, two) } else { (two, one) };
    assert_eq!(lost.0.json()["live"], json!(won.1));
    assert_eq!(live(&gateway).await["id"], json!(won.1));
}

async fn only_operators_with_the_scope_may(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let attempt = async |token: Option<Token>| {
        let request = gateway.client().exact("GET", "/api/live");
        let request = match token {
            Some(token) => request.header("authorization", &format!("Bearer {}", token.text())),
            None => request,
        };
        request.send().await.status
    };
    assert_eq!(attempt(None).await, 401);
    assert_eq!(attempt(Some(operator(&gateway))).await, 200);
    assert_eq!(attempt(Some(operator(&gateway).claim("scope", "mcp"))).await, 403);
    assert_eq!(attempt(Some(operator(&gateway).claim("tenant", "acme"))).await, 404);
    let for_a_server = Token::of(OPERATORS, "cli", &format!("{}/mcp/json", gateway.origin()));
    assert_eq!(attempt(Some(for_a_server.claim("scope", "bundle:read"))).await, 401);
    let nobody = stage.open(Setup::new()).await;
    let request = nobody.client().exact("GET", "/api/live");
    let request = request.header("authorization", &format!("Bearer {}", operator(&nobody).text()));
    assert_eq!(request.send().await.status, 404, "where no tenant operates nobody does");
}

async fn a_push_survives_a_restart(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let first = live(&gateway).await["id"].as_str().unwrap().to_owned();
    assert_eq!(push(&gateway, &with_another(), Some(&first)).await.0.status, 200);
    gateway.restart();
    let caller = gateway.caller("another");
    eventually("the pushed configuration is in force", async || caller.initialize(LATEST).await.status == 200).await;
}

async fn every_isolate_notices_within_half_a_minute(stage: Stage) {
    let gateway = stage.open(setup().isolates(3).clock_stands()).await;
    let isolates = gateway.isolates();
    for isolate in &isolates {
        gateway.caller("json").through(isolate).open().await;
    }
    let first = live(&gateway).await["id"].as_str().unwrap().to_owned();
    assert_eq!(push(&gateway, &with_another(), Some(&first)).await.0.status, 200);
    gateway.memory().advance(Duration::from_secs(30));
    for isolate in &isolates {
        let caller = gateway.caller("another").through(isolate);
        eventually("it is noticed", async || caller.initialize(LATEST).await.status == 200).await;
    }
}

async fn what_is_written_to_the_store_afterwards_counts(stage: Stage) {
    let gateway = stage.open(setup().clock_stands()).await;
    let first = live(&gateway).await["id"].as_str().unwrap().to_owned();
    assert_eq!(push(&gateway, &with_another(), Some(&first)).await.0.status, 200);
    // As Terraform does it: the documents, without the gateway.
    let third = setup().server("third", &[&Shared::running().json.url]);
    gateway.memory().documents().borrow_mut().extend(third.documents(gateway.origin()));
    gateway.memory().advance(Duration::from_secs(30));
    let caller = gateway.caller("third");
    eventually("it is in force", async || caller.initialize(LATEST).await.status == 200).await;
    let id = third.bundle(gateway.origin()).id;
    assert_eq!(live(&gateway).await["id"], json!(id));
    assert_eq!(push(&gateway, &setup(), Some(&id)).await.0.status, 200, "and is what the next push replaces");
}

/// A set-up with operators, and the server `json`.
pub(crate) fn setup() -> Setup {
    Setup::new().operators(OPERATORS).server("json", &[&Shared::running().json.url])
}

fn with_another() -> Setup {
    setup().server("another", &[&Shared::running().json.url])
}

fn operator(gateway: &Gateway) -> Token {
    let token = Token::of(OPERATORS, "cli", gateway.origin()).claim("sub", "alice");
    token.claim("scope", "bundle:read bundle:push")
}

/// Stores the bundle of `setup` and moves the pointer; gives the last answer and the bundle's id.
pub(crate) async fn push(gateway: &Gateway, setup: &Setup, expected: Option<&str>) -> (Answer, String) {
    let bundle = setup.bundle(gateway.origin());
    let stored = put(gateway, &format!("/api/bundles/{}", bundle.id), bundle.json).await;
    assert!([200, 201].contains(&stored.status), "{stored:?}");
    (call(gateway, "PUT", "/api/live", &json!({ "id": bundle.id, "expected": expected })).await, bundle.id)
}

pub(crate) async fn live(gateway: &Gateway) -> Value {
    call(gateway, "GET", "/api/live", &Value::Null).await.json()
}

async fn put(gateway: &Gateway, path: &str, body: String) -> Answer {
    let request = gateway.client().exact("PUT", path).header("content-type", "application/json");
    request.header("authorization", &format!("Bearer {}", operator(gateway).text())).body(body).send().await
}

async fn call(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Answer {
    match body {
        Value::Null => {
            let request = gateway.client().exact(method, path);
            request.header("authorization", &format!("Bearer {}", operator(gateway).text())).send().await
        }
        body => put(gateway, path, body.to_string()).await,
    }
}
