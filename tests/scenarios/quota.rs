//! Is exactly as much admitted as the limit says, and the wait that is told true?

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    client::{Answer, Client, LATEST},
    faulty::Upstream,
    issuer::fresh,
    setup::Setup,
    stage::eventually,
};

scenarios! {
    exactly_the_limit_is_admitted_of_many_at_once,
    what_is_refused_is_told_when_and_why,
    agents_do_not_share_a_limit,
    a_batch_is_admitted_whole_or_not_at_all,
    notifications_and_answers_are_not_counted,
    the_count_survives_a_restart,
    what_one_limit_refuses_no_other_counts,
}

not_on_workerd! {
    "A gateway has one isolate there, as far as a test can see.":
    isolates_share_the_limit,
}

memory_only! {
    "The clock is moved by hand.":
    the_wait_that_is_told_is_true;

    "Storage is held or fails on demand.":
    a_ledger_that_cannot_be_asked_refuses,
}

async fn exactly_the_limit_is_admitted_of_many_at_once(stage: Stage) {
    let gateway = stage.open(limited(16)).await;
    let client = gateway.caller("no-json").open().await;
    let marker = fresh("marker");
    let answers = join_all((0..40).map(|_| client.try_call("echo", json!({ "text": marker })))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    // `initialize` was the first of them.
    assert_eq!((count(200), count(429)), (15, 25));
    assert_eq!(Upstream::shared().received_with(&marker), 15, "nothing that was refused was sent on");
}

async fn what_is_refused_is_told_when_and_why(stage: Stage) {
    let gateway = stage.open(limited(1)).await;
    let client = gateway.caller("no-json").open().await;
    let message = client.message("tools/call", json!({ "name": "echo", "arguments": {} }));
    let answer = client.post(message.to_string()).send().await;
    answer.refuses(429, -32000);
    let wait = retry_after(&answer);
    assert!((1..=61).contains(&wait), "{answer:?}");
    let reply = answer.reply();
    assert_eq!(reply["id"], message["id"]);
    assert_eq!(reply["error"]["data"]["retryAfterSeconds"], wait);
    assert_eq!(reply["error"]["data"]["limit"], "1 requests per minute by agent");
}

async fn agents_do_not_share_a_limit(stage: Stage) {
    let gateway = stage.open(limited(3)).await;
    let token = gateway.token().claim("client_id", "one");
    let first = gateway.caller_with("no-json", &token).open().await;
    assert_eq!(until_refused(&first).await, 2);
    let namesake = token.clone().claim("tenant", fresh("tenant"));
    for other in [token.clone().claim("client_id", "another"), namesake] {
        let other = gateway.caller_with("no-json", &other).open().await;
        assert_eq!(until_refused(&other).await, 2);
    }
    // Another user, or another token, of the same agent is no other agent.
    let user = gateway.caller_with("no-json", &token.claim("sub", "another user"));
    user.initialize("2025-11-25").await.refuses(429, -32000);
}

async fn a_batch_is_admitted_whole_or_not_at_all(stage: Stage) {
    let gateway = stage.open(limited(5)).await;
    let client = gateway.caller("no-json").open_as("2025-03-26").await;
    assert_eq!(client.post(batch(5)).send().await.status, 429, "five do not fit beside `initialize`");
    assert_eq!(client.post(batch(4)).send().await.status, 200);
    assert_eq!(client.post(batch(1)).send().await.status, 429);
}

async fn notifications_and_answers_are_not_counted(stage: Stage) {
    let gateway = stage.open(limited(2)).await;
    let client = gateway.caller("no-json").open().await;
    for _ in 0..5 {
        assert_eq!(client.notify("notifications/roots/list_changed").await.status, 202);
    }
    assert_eq!(until_refused(&client).await, 1);
    assert_eq!(client.notify("notifications/roots/list_changed").await.status, 202);
}

async fn the_count_survives_a_restart(stage: Stage) {
    let gateway = stage.open(limited(4)).await;
    let client = gateway.caller("no-json").open().await;
    assert_eq!(client.request("tools/list", json!({})).await.status, 200);
    gateway.restart();
    assert_eq!(until_refused(&client).await, 2);
}

async fn what_one_limit_refuses_no_other_counts(stage: Stage) {
    let setup = limited(2).limit(&json!({ "by": ["server"], "requests_per_minute": 5 }));
    let gateway = stage.open(setup).await;
    let greedy = gateway.caller("no-json").open().await;
    assert_eq!(until_refused(&greedy).await, 1);
    for _ in 0..20 {
        greedy.request("tools/list", json!({})).await.refuses(429, -32000);
    }
    // What was counted for the refused is given back beside the answer.
    let other = gateway.caller("no-json");
    eventually("the server's limit has room again", async || other.initialize(LATEST).await.status == 200).await;
    let third = gateway.caller("no-json");
    eventually("and again", async || third.initialize(LATEST).await.status == 200).await;
}

async fn the_wait_that_is_told_is_true(stage: Stage) {
    let gateway = stage.open(limited(3).clock_stands()).await;
    let client = gateway.caller("no-json").open().await;
    gateway.memory().advance(Duration::from_millis(7_300));
    assert_eq!(until_refused(&client).await, 2);
    let refused = client.request("ping", json!({})).await;
    let wait = retry_after(&refused);
    // The ledger counts by the second, and the wait is told in whole ones.
    gateway.memory().advance(Duration::from_secs(wait - 2));
    client.request("ping", json!({})).await.refuses(429, -32000);
    gateway.memory().advance(Duration::from_secs(2));
    assert_eq!(client.request("ping", json!({})).await.status, 200, "after the {wait} s it was told");
    client.request("ping", json!({})).await.refuses(429, -32000);
}

async fn isolates_share_the_limit(stage: Stage) {
    let gateway = stage.open(limited(10).isolates(3)).await;
    let client = gateway.caller("no-json").open().await;
    let isolates = gateway.isolates();
    let clients: Vec<Client> = isolates.iter().cycle().take(30).map(|isolate| client.through(isolate)).collect();
    let answers = join_all(clients.iter().map(|client| client.request("tools/list", json!({})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 9);
    gateway.restart();
    client.request("tools/list", json!({})).await.refuses(429, -32000);
}

async fn a_ledger_that_cannot_be_asked_refuses(stage: Stage) {
    let gateway = stage.open(limited(10)).await;
    let client = gateway.caller("no-json").open().await;
    let marker = fresh("marker");
    gateway.memory().objects().fail("ledger");
    client.try_call("echo", json!({ "text": marker })).await.refuses(503, -32603);
    assert_eq!(Upstream::shared().received_with(&marker), 0);
    gateway.memory().objects().heal();
    assert_eq!(client.try_call("echo", json!({ "text": marker })).await.status, 200);
}

/// How many requests of `client` are admitted before one is refused.
async fn until_refused(client: &Client) -> usize {
    for admitted in 0..100 {
        match client.request("tools/list", json!({})).await.status {
            200 => {}
            429 => return admitted,
            status => panic!("answered {status}"),
        }
    }
    panic!("never refused");
}

/// A gateway with a limit for each agent, before an upstream that answers at once and counts what it receives.
fn limited(requests_per_minute: u32) -> Setup {
    Setup::new().server("no-json", &[&Upstream::shared().url("no-json")]).limit_by_agent(requests_per_minute)
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

fn batch(requests: u64) -> String {
    let messages: Vec<Value> =
        (0..requests).map(|id| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" })).collect();
    json!(messages).to_string()
}
