//! Is a server that says how long its answers hold spared being asked again, and nobody given what is not for them?

use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    client::{Client, Era, Stream},
    fixture::Fixture,
    issuer::fresh,
    setup::Setup,
    stage::{Gateway, eventually},
};

scenarios! {
    what_holds_for_everybody_is_asked_once,
    what_holds_for_one_caller_is_asked_once_for_each,
    what_holds_for_no_time_is_asked_each_time,
    what_is_remembered_is_still_filtered,
    a_change_that_is_heard_of_outdates_what_is_remembered,
    legacy_callers_are_answered_out_of_it_too,
}

async fn what_holds_for_everybody_is_asked_once(stage: Stage) {
    let fixture = Fixture::start("public", &holds("public"));
    let gateway = one(stage, &fixture).await;
    for method in LISTS {
        let asked = fixture.heard(method).await;
        for n in 0..3 {
            let listed = gateway.caller("kept").modern().result(method, json!({})).await;
            let ttl_ms = listed["ttlMs"].as_u64().unwrap();
            assert!((1..=HOLDS_MS).contains(&ttl_ms), "{method}: {listed}");
            assert_eq!(listed["cacheScope"], "public", "{method}: {listed}");
            // An answer is kept once all of it was seen; that takes its time beside the caller.
            if n == 0 {
                kept(&gateway, &fixture, method).await;
            }
        }
        assert!(fixture.heard(method).await > asked, "{method}");
    }
    let asked = fixture.heard("tools/list").await;
    for _ in 0..5 {
        gateway.caller("kept").modern().result("tools/list", json!({})).await;
        gateway.caller("").modern().result("tools/list", json!({})).await;
    }
    assert_eq!(fixture.heard("tools/list").await, asked);
    let token = gateway.token();
    gateway.caller_with("kept", &token).modern().result("tools/list", json!({})).await;
    let is_cached = |entry: &Value| entry["end"].as_str().is_some_and(|end| end.contains("cached"));
    gateway.audit(&token, |entries| entries.iter().any(is_cached)).await;
    let read = async |id: u32| {
        let uri = format!("test://template/{id}/data");
        gateway.caller("kept").modern().result("resources/read", json!({ "uri": uri })).await.to_string()
    };
    assert!(read(1).await.contains("ID: 1") && read(2).await.contains("ID: 2") && read(1).await.contains("ID: 1"));
}

async fn what_holds_for_one_caller_is_asked_once_for_each(stage: Stage) {
    let fixture = Fixture::start("private", &holds("private"));
    let gateway = one(stage, &fixture).await;
    let [one, other] = [gateway.token(), gateway.token()];
    for token in [&one, &other] {
        let before = fixture.heard("prompts/list").await;
        let ask = async || gateway.caller_with("kept", token).modern().result("prompts/list", json!({})).await;
        ask().await;
        assert_eq!(fixture.heard("prompts/list").await, before + 1, "nobody is given another's");
        let mut heard = before + 1;
        eventually("it is remembered", async || {
            ask().await;
            let asked = fixture.heard("prompts/list").await;
            std::mem::replace(&mut heard, asked) == asked
        })
        .await;
    }
}

async fn what_holds_for_no_time_is_asked_each_time(stage: Stage) {
    let fixture = Fixture::start("fleeting", &["--era", "modern"]);
    let gateway = one(stage, &fixture).await;
    let client = gateway.caller("kept").modern();
    for asked in 1..=3 {
        client.result("prompts/list", json!({})).await;
        assert_eq!(fixture.heard("prompts/list").await, asked);
    }
}

async fn what_is_remembered_is_still_filtered(stage: Stage) {
    let policies = r#"
        permit (principal in Role::"reader", action, resource);
        permit (principal, action in Action::"discover", resource);
        permit (principal, action == Action::"kept/echo", resource);
    "#;
    let fixture = Fixture::start("public", &holds("public"));
    let setup = Setup::new().server("kept", &[&fixture.url]).pins("kept", &fixture.tools().await).policies(policies);
    let gateway = stage.open(setup).await;
    let reader = gateway.token().claim("roles", json!(["reader"]));
    for endpoint in ["kept", ""] {
        let prefix = if endpoint.is_empty() { "kept__" } else { "" };
        for _ in 0..3 {
            let all = Era::Modern.caller(gateway.caller_with(endpoint, &reader)).await.tools().await;
            assert!(all.contains(&format!("{prefix}whoami")), "{all:?}");
            let few = Era::Modern.caller(gateway.caller(endpoint)).await.tools().await;
            assert_eq!(few, [format!("{prefix}echo")]);
        }
    }
}

async fn a_change_that_is_heard_of_outdates_what_is_remembered(stage: Stage) {
    let fixture = Fixture::start("public", &holds("public"));
    let gateway = one(stage, &fixture).await;
    for endpoint in ["kept", ""] {
        let client = gateway.caller(endpoint).modern();
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        let mut stream = client.stream("subscriptions/listen", wanted).await;
        heard(&mut stream, "notifications/subscriptions/acknowledged").await;
        kept(&gateway, &fixture, "tools/list").await;
        let description = fresh("It says what time it may be");
        fixture.call("redescribe", json!({ "description": description })).await;
        heard(&mut stream, "notifications/tools/list_changed").await;
        let listed = client.result("tools/list", json!({})).await;
        assert!(listed.to_string().contains(&description), "{endpoint}: {listed}");
    }
}

async fn legacy_callers_are_answered_out_of_it_too(stage: Stage) {
    let fixture = Fixture::start("public", &holds("public"));
    let gateway = one(stage, &fixture).await;
    kept(&gateway, &fixture, "tools/list").await;
    let asked = fixture.heard("tools/list").await;
    let client: Client = gateway.caller("").open().await;
    let listed = client.request("tools/list", json!({})).await.reply()["result"].clone();
    assert!(listed["tools"].as_array().unwrap().len() > 5, "{listed}");
    assert_eq!(listed.get("ttlMs"), None, "a word of another revision: {listed}");
    assert_eq!(fixture.heard("tools/list").await, asked);
}

/// Asks until an answer of `method` is remembered.
async fn kept(gateway: &Gateway, fixture: &Fixture, method: &str) {
    let client = gateway.caller("kept").modern();
    eventually("an answer is remembered", async || {
        let asked = fixture.heard(method).await;
        client.result(method, json!({})).await;
        fixture.heard(method).await == asked
    })
    .await;
}

/// The next notification of `method` on a stream.
async fn heard(stream: &mut Stream, method: &str) -> Value {
    while let Some(message) = stream.message().await {
        if message["method"] == method {
            return message;
        }
    }
    panic!("the stream ended before `{method}`");
}

/// A gateway in front of `fixture`, which is called `kept` there.
async fn one(stage: Stage, fixture: &Fixture) -> Gateway {
    stage.open(Setup::new().server("kept", &[&fixture.url])).await
}

/// A modern server whose answers hold for a minute, for whom `scope` says.
fn holds(scope: &'static str) -> [&'static str; 6] {
    ["--era", "modern", "--ttl-ms", "60000", "--cache-scope", scope]
}

const LISTS: [&str; 5] =
    ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"];
const HOLDS_MS: u64 = 60_000;
