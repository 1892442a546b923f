//! Is an instance that fails left alone, found again, and spared what it cannot take?

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use turnpike_tests::{
    Stage,
    client::LATEST,
    faulty::Upstream,
    fixture::Fixture,
    issuer::fresh,
    setup::Setup,
    stage::{Gateway, eventually},
};

scenarios! {
    a_killed_upstream_opens_the_breaker_and_a_restarted_one_closes_it,
    what_is_safe_is_repeated_and_nothing_else,
}

not_on_spin! {
    "It is counted, or remembered, by each isolate: Spin has as many as it likes.":
    what_is_full_says_so_and_when_to_come_again,
}

not_on_workerd! {
    "A gateway has one isolate there, as far as a test can see.":
    an_open_breaker_is_open_for_every_isolate,
}

async fn a_killed_upstream_opens_the_breaker_and_a_restarted_one_closes_it(stage: Stage) {
    let mut fixture = Fixture::start("mortal", &[]);
    let gateway = stage.open(fragile(&fixture.url)).await;
    gateway.caller("fixture").open().await;
    fixture.kill();
    until_open(&gateway).await;
    let answer = gateway.caller("fixture").initialize(LATEST).await;
    answer.refuses(503, -32603);
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer:?}");
    assert_eq!(answer.reply()["error"]["data"]["retryAfterSeconds"], wait);
    fixture.restart();
    let caller = gateway.caller("fixture");
    eventually("the breaker closes", async || caller.initialize(LATEST).await.status == 200).await;
    assert_eq!(gateway.caller("fixture").open().await.call("echo", json!({ "text": "back" })).await, "back");
}

async fn an_open_breaker_is_open_for_every_isolate(stage: Stage) {
    let mut fixture = Fixture::start("mortal", &[]);
    let gateway = stage.open(fragile(&fixture.url).isolates(2)).await;
    let isolates = gateway.isolates();
    for isolate in &isolates {
        gateway.caller("fixture").through(isolate).open().await;
    }
    fixture.kill();
    until_open(&gateway).await;
    // The other isolate learns of it with its first failure.
    let other = gateway.caller("fixture").through(&isolates[1]);
    other.initialize(LATEST).await.refuses(503, -32603);
    eventually("it is told", async || {
        let answer = other.initialize(LATEST).await;
        answer.reply()["error"]["message"].as_str().unwrap().contains("left alone")
    })
    .await;
}

async fn what_is_full_says_so_and_when_to_come_again(stage: Stage) {
    let fixture = Fixture::start("small", &["--json"]);
    let setup = Setup::new().server_with("fixture", &[&fixture.url], |server| {
        (server.concurrency, server.queue, server.queue_ms) = (2, 1, 400);
    });
    let gateway = stage.open(setup).await;
    let client = gateway.caller("fixture").open().await;
    let slow = json!({ "text": "slow", "delay_ms": 1_500 });
    let answers = join_all((0..5).map(|_| client.try_call("echo", slow.clone()))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(503)), (2, 3), "{answers:?}");
    let full = answers.iter().find(|answer| answer.status == 503).unwrap();
    assert!(full.header("retry-after").parse::<u64>().unwrap() >= 1, "{full:?}");
    let quick = json!({ "text": "quick", "delay_ms": 100 });
    let answers = join_all((0..3).map(|_| client.try_call("echo", quick.clone()))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "one waits in line: {answers:?}");
}

async fn what_is_safe_is_repeated_and_nothing_else(stage: Stage) {
    let upstream = Upstream::shared();
    let gateway = stage.open(Setup::new().server("drops", &[&upstream.url("close-lives")])).await;
    let client = gateway.caller("drops").open().await;
    let (read, call) = (fresh("marker"), fresh("marker"));
    let answer = client.request("resources/read", json!({ "uri": format!("file:///{read}") })).await;
    assert!(answer.status >= 400, "{answer:?}");
    client.try_call("write", json!({ "text": call })).await;
    assert_eq!(upstream.received_with(&read), 3, "the first attempt and two more");
    assert_eq!(upstream.received_with(&call), 1);
}

/// Calls until a call is refused without asking the instance.
async fn until_open(gateway: &Gateway) {
    let caller = gateway.caller("fixture");
    eventually("the breaker opens", async || {
        let answer = caller.initialize(LATEST).await;
        answer.reply()["error"]["message"].as_str().is_some_and(|message| message.contains("left alone"))
    })
    .await;
}

fn fragile(url: &str) -> Setup {
    Setup::new().server_with("fixture", &[url], |server| {
        server.breaker.consecutive_failures = 3;
        server.breaker.open_ms = 1_000;
        server.queue_ms = Duration::from_secs(1).as_millis().try_into().unwrap();
    })
}
