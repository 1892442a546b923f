//! Does every request leave its record, complete, unchangeable unseen, and without a secret in it?

use std::{collections::BTreeMap, time::Duration};

use audit::{Head, verify};
use mcp::{digest, json::strict};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::timeout;
use turnpike_tests::{
    Gateway, Stage,
    client::LATEST,
    faulty::Upstream,
    fixture::Shared,
    issuer::{Token, fresh},
    setup::Setup,
};

scenarios! {
    each_request_leaves_one_decision_and_one_outcome_if_it_was_sent,
    the_chain_verifies_and_a_change_shows,
    a_decision_says_who_called_what_under_which_configuration,
    nothing_secret_is_stored,
    another_tenant_cannot_read,
    what_is_refused_before_anyone_is_known_is_recorded_too,
    the_chain_goes_on_after_a_restart,
    a_gateway_that_dies_leaves_the_decision_of_the_call_it_worked_on,
}

memory_only! {
    "Storage is held or fails on demand.":
    no_answer_is_released_before_its_decision_is_written,
    without_a_record_there_is_no_answer,
    relaxed_answers_do_not_wait;

    "The clock is moved by hand.":
    an_isolate_that_dies_loses_no_decision,
}

workerd_only! {
    "Only there an answer could leave before the gateway has looked at it, and storage be taken away between two starts.":
    an_answer_that_could_pass_on_is_held_until_its_decision_is_written,
}

async fn each_request_leaves_one_decision_and_one_outcome_if_it_was_sent(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("one", &token).open().await; // 2 requests
    client.call("echo", json!({ "text": "a" })).await; // 3
    client.request("tools/call", json!({ "name": "no such tool" })).await; // 4
    client.post("{").send().await.refuses(400, -32700); // refused 1
    gateway.caller_with("absent", &token).initialize(LATEST).await.refuses(404, -32000); // refused 2
    gateway.caller_with("one", &token).request("ping", json!({})).await.refuses(400, -32000); // refused 3
    let hanging = gateway.caller_with("hang", &token).open().await; // 6
    hanging.request("ping", json!({})).await.refuses(504, -32603); // 7
    drop(client.listen(None).await); // 8
    assert_eq!(client.delete().await.status, 200); // 9
    let entries = gateway.audit(&token, |entries| entries.len() >= 12 + 9).await;
    let mut decided: BTreeMap<&str, (&Value, usize)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["kind"] == "decision") {
        let twice = decided.insert(entry["request"].as_str().unwrap(), (entry, 0));
        assert!(twice.is_none(), "decided twice: {entry}");
    }
    for entry in entries.iter().filter(|entry| entry["kind"] == "outcome") {
        let (_, outcomes) = decided.get_mut(entry["request"].as_str().unwrap()).expect("a decision comes first");
        *outcomes += 1;
    }
    assert_eq!(decided.len(), 12, "{entries:#?}");
    for (decision, outcomes) in decided.values() {
        let expected = usize::from(decision["verdict"] == "allowed");
        assert_eq!(*outcomes, expected, "{decision}");
    }
    assert_eq!(decided.values().filter(|(decision, _)| decision["verdict"] == "denied").count(), 3);
    let statuses: Vec<u64> = entries.iter().filter_map(|entry| entry["status"].as_u64()).collect();
    assert!([200, 202, 400, 404, 504].iter().all(|status| statuses.contains(status)), "{statuses:?}");
}

async fn the_chain_verifies_and_a_change_shows(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("json", &token).open().await;
    for n in 0..5 {
        client.call("echo", json!({ "text": n.to_string() })).await;
    }
    gateway.audit(&token, |entries| entries.len() == 14).await;
    let rows = rows(&gateway, &token, "").await;
    let head = verify(Head::default(), rows.iter().map(String::as_str)).expect("the chain holds");
    assert_eq!(head.length, 14);
    // In pages, it is the same chain.
    let mut paged = self::rows(&gateway, &token, "?limit=5").await;
    paged.extend(self::rows(&gateway, &token, "?after=5&limit=100").await);
    assert_eq!(paged, rows);
    for (text, other) in [("echo", "gone"), (r#""seq":5,"#, r#""seq":6,"#), ("allowed", "denied")] {
        let mut rows = rows.clone();
        let row = rows.iter_mut().find(|row| row.contains(text)).expect("a row says so");
        *row = row.replacen(text, other, 1);
        verify(Head::default(), rows.iter().map(String::as_str)).expect_err("a changed row does not verify");
    }
}

async fn a_decision_says_who_called_what_under_which_configuration(stage: Stage) {
    let setup = Setup::new().server("json", &[&Shared::running().json.url]);
    let gateway = stage.open(setup.clone()).await;
    let token = gateway.token().claim("client_id", "agent-7").claim("sub", "ada");
    let client = gateway.caller_with("json", &token).open().await;
    let arguments = r#"{"text": "\u00e9", "size": 3}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
    );
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = client.post(body).header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(request.send().await.status, 200);
    let entries = gateway.audit(&token, |entries| entries.iter().filter(|one| one["kind"] == "outcome").count() == 3);
    let entries = entries.await;
    let is_call = |entry: &&Value| entry["calls"][0]["method"] == "tools/call";
    let decision = entries.iter().find(is_call).unwrap();
    let expected = digest::hex(&digest::canonical(&strict(r#"{"size":3,"text":"é"}"#).unwrap()));
    assert_eq!(decision["calls"][0], json!({ "method": "tools/call", "target": "echo", "arguments": expected }));
    assert_eq!(decision["who"]["agent"], "agent-7");
    assert_eq!(decision["who"]["user"], "ada");
    assert_eq!(decision["who"]["tenant"], token.tenant());
    assert_eq!(decision["server"], "json");
    assert_eq!(decision["instance"], Shared::running().json.url);
    assert_eq!(decision["verdict"], "allowed");
    assert_eq!(decision["trace"], trace);
    assert_eq!(decision["bundle"], setup.bundle(gateway.origin()).id);
    let opened = entries.iter().find(|entry| entry["kind"] == "outcome" && entry["session"].is_string()).unwrap();
    assert_eq!(opened["session"], decision["session"], "the outcome of `initialize` names the session it opened");
}

async fn nothing_secret_is_stored(stage: Stage) {
    let setup = Setup::new()
        .server_with("guarded", &[&Shared::running().one.url], |server| server.secret = Some("SECRET".to_owned()))
        .secret("SECRET", "the-upstreams-own-secret")
        .limit_by_agent(1000);
    let gateway = stage.open(setup.clone()).await;
    let token = gateway.token();
    let client = gateway.caller_with("guarded", &token).open().await;
    client.call("echo", json!({ "text": "an-argument-nobody-else-may-read" })).await;
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"arguments":{{"k":"{ARGUMENT}"}}}}"#);
    client.post(text).send().await.refuses(400, -32700);
    gateway.audit(&token, |entries| entries.len() >= 7).await;
    let stored = gateway.stored();
    assert!(stored.contains(token.tenant()), "what is stored can be looked through");
    let [header, claims, signature] =
        token.text().split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    let session = client.session().unwrap();
    let key = &setup.secrets["TURNPIKE_KEY"];
    let secrets = ["the-upstreams-own-secret", "an-argument-nobody-else-may-read", ARGUMENT, &claims, &signature];
    for secret in secrets.into_iter().chain([session.as_str(), key]) {
        assert!(!stored.contains(secret), "`{secret}` is stored");
    }
    assert!(!stored.contains(&format!("{header}.")), "a token is stored");
}

async fn another_tenant_cannot_read(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    gateway.caller_with("json", &token).open().await;
    let read = async |reader: Option<&Token>| {
        let request = gateway.client().exact("GET", &format!("/api/audit/{}", token.tenant()));
        let request = match reader {
            Some(reader) => request.header("authorization", &format!("Bearer {}", reader.text())),
            None => request,
        };
        request.send().await
    };
    assert_eq!(read(Some(&token)).await.status, 200);
    read(Some(&gateway.token())).await.refuses(404, -32000);
    let mute = token.clone().claim("scope", "mcp");
    read(Some(&mute)).await.refuses(403, -32000);
    read(None).await.refuses(401, -32000);
    let narrow = token.clone().claim("aud", format!("{}/mcp/json", gateway.origin()));
    read(Some(&narrow)).await.refuses(401, -32000);
}

async fn what_is_refused_before_anyone_is_known_is_recorded_too(stage: Stage) {
    let gateway = stage.common().await;
    let server = fresh("absent");
    gateway.client().server(&server).initialize(LATEST).await.refuses(401, -32000);
    let bad = gateway.client().server(&server).token("x.y.z").initialize(LATEST).await;
    bad.refuses(401, -32000);
    let reader = gateway.token().claim("scope", "audit:read:unknown");
    turnpike_tests::stage::eventually("both are recorded", async || {
        let rows = all_rows(&gateway, &reader, "-").await;
        verify(Head::default(), rows.iter().map(String::as_str)).expect("the chain holds");
        rows.iter().filter(|row| row.contains(&server) && row.contains(r#""status":401"#)).count() == 2
    })
    .await;
}

async fn the_chain_goes_on_after_a_restart(stage: Stage) {
    let gateway = stage.open(Setup::new().server("json", &[&Shared::running().json.url])).await;
    let token = gateway.token();
    let client = gateway.caller_with("json", &token).open().await;
    gateway.audit(&token, |entries| entries.len() == 4).await;
    gateway.restart();
    client.call("echo", json!({ "text": "after it" })).await;
    gateway.audit(&token, |entries| entries.len() == 6).await;
    let rows = rows(&gateway, &token, "").await;
    let head = verify(Head::default(), rows.iter().map(String::as_str)).expect("the chain holds");
    assert_eq!(head.length, 6);
}

async fn a_gateway_that_dies_leaves_the_decision_of_the_call_it_worked_on(stage: Stage) {
    let gateway = stage.open(Setup::new().server("json", &[&Shared::running().json.url])).await;
    let token = gateway.token();
    let client = gateway.caller_with("json", &token).open().await;
    let outcomes = |entries: &[Value]| entries.iter().filter(|entry| entry["kind"] == "outcome").count();
    gateway.audit(&token, |entries| outcomes(entries) == 2).await;
    let call = json!({ "text": "never", "delay_ms": 300_000 });
    let mut call = Box::pin(client.try_call("echo", call));
    let decided = gateway.audit(&token, |entries| entries.len() == 5);
    tokio::select! {
        answer = &mut call => panic!("answered {answer:?}"),
        _ = decided => {}
    }
    drop(call);
    gateway.restart();
    assert_eq!(client.call("echo", json!({ "text": "after it" })).await, "after it");
    let entries = gateway.audit(&token, |entries| outcomes(entries) == 3).await;
    assert_eq!(entries.len(), 4 + 1 + 2, "one decision has no outcome: {entries:#?}");
    let rows = rows(&gateway, &token, "").await;
    verify(Head::default(), rows.iter().map(String::as_str)).expect("the chain holds");
}

async fn no_answer_is_released_before_its_decision_is_written(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("no-json").open().await;
    let marker = fresh("marker");
    gateway.memory().objects().hold("chain");
    let mut call = Box::pin(client.try_call("echo", json!({ "text": marker })));
    let answered = timeout(Duration::from_millis(300), &mut call).await;
    assert!(answered.is_err(), "answered before it was recorded: {answered:?}");
    assert_eq!(Upstream::shared().received_with(&marker), 1, "the record is written beside the call, not before it");
    gateway.memory().objects().heal();
    assert_eq!(call.await.status, 200);
}

async fn without_a_record_there_is_no_answer(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("no-json").open().await;
    gateway.memory().objects().fail("chain");
    let answer = client.try_call("echo", json!({})).await;
    answer.refuses(503, -32603);
    assert!(!String::from_utf8_lossy(&answer.body).contains("this is not JSON"), "{answer:?}");
    let fresh = gateway.caller("json");
    fresh.initialize(LATEST).await.refuses(503, -32603);
    assert_eq!(fresh.session(), None);
    // A refusal needs no record to stand.
    gateway.caller("absent").initialize(LATEST).await.refuses(404, -32000);
    gateway.memory().objects().heal();
    assert_eq!(client.try_call("echo", json!({})).await.status, 200);
}

async fn an_answer_that_could_pass_on_is_held_until_its_decision_is_written(stage: Stage) {
    let setup = Setup::new().server("no-json", &[&Upstream::shared().url("no-json")]);
    let gateway = stage.open(setup).await;
    let client = gateway.caller("no-json").open().await;
    // The head of the first is not known yet, that of the second is.
    let call = async || (client.try_call("echo", json!({})).await, client.try_call("echo", json!({})).await);
    let (first, second) = call().await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(second.body, "this is not JSON", "it passes on as it is");
    gateway.workerd().restart_without("CHAIN");
    let (first, second) = call().await;
    for answer in [first, second] {
        answer.refuses(503, -32603);
        assert!(!String::from_utf8_lossy(&answer.body).contains("this is not JSON"), "{answer:?}");
    }
}

async fn relaxed_answers_do_not_wait(stage: Stage) {
    let mut setup = Setup::new().server("json", &[&Shared::running().json.url]);
    setup.raw.gateway.audit = gateway::config::AuditMode::Relaxed;
    let gateway = stage.open(setup).await;
    let token = gateway.token();
    gateway.memory().objects().hold("chain");
    let client = gateway.caller_with("json", &token).open().await;
    assert_eq!(client.call("echo", json!({ "text": "at once" })).await, "at once");
    gateway.memory().objects().heal();
    gateway.audit(&token, |entries| entries.len() == 6).await;
}

async fn an_isolate_that_dies_loses_no_decision(stage: Stage) {
    let gateway = stage.open(Setup::new().server("json", &[&Shared::running().json.url]).clock_stands()).await;
    let token = gateway.token();
    let client = gateway.caller_with("json", &token).open().await;
    client.call("echo", json!({ "text": "a" })).await;
    gateway.restart();
    gateway.memory().advance(Duration::from_secs(10));
    let entries = gateway.audit(&token, |_| true).await;
    assert_eq!(entries.len(), 3, "{entries:#?}");
    assert!(entries.iter().all(|entry| entry["kind"] == "decision"), "{entries:#?}");
}

async fn rows(gateway: &Gateway, token: &Token, query: &str) -> Vec<String> {
    read_rows(gateway, token, token.tenant(), query).await
}

/// The whole chain of `token`'s tenant, byte for byte.
pub(crate) async fn chain(gateway: &Gateway, token: &Token) -> Vec<String> {
    all_rows(gateway, token, token.tenant()).await
}

async fn all_rows(gateway: &Gateway, token: &Token, tenant: &str) -> Vec<String> {
    let mut rows = Vec::new();
    loop {
        let page = read_rows(gateway, token, tenant, &format!("?after={}", rows.len())).await;
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}

/// Rows of a tenant's chain, byte for byte.
async fn read_rows(gateway: &Gateway, token: &Token, tenant: &str, query: &str) -> Vec<String> {
    let request = gateway.client().exact("GET", &format!("/api/audit/{tenant}{query}"));
    let answer = request.header("authorization", &format!("Bearer {}", token.text())).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let Page { rows } = serde_json::from_slice(&answer.body).unwrap();
    rows.into_iter().map(|row| row.get().to_owned()).collect()
}

#[derive(Deserialize)]
struct Page {
    rows: Vec<Box<RawValue>>,
}

const ARGUMENT: &str = "another-argument-nobody-may-read";
