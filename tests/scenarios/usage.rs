//! Is what was used counted in tokens and money, limited by them, and told to who may know?

use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    client::{Answer, Client},
    fixture::Shared,
    issuer::Token,
    setup::Setup,
    stage::{Gateway, eventually},
};

scenarios! {
    one_large_answer_uses_up_what_fifty_small_ones_do_not,
    a_streamed_answer_is_counted_too,
    a_budget_of_money_is_kept,
    usage_is_told_by_day_agent_server_and_tool,
    usage_is_told_to_its_tenant_and_to_operators,
    a_limit_by_tool_concerns_only_that_tool,
}

async fn one_large_answer_uses_up_what_fifty_small_ones_do_not(stage: Stage) {
    let gateway = stage.open(by_agent("json", &json!({ "tokens_per_minute": 20_000 }))).await;
    let small = gateway.caller("json").open().await;
    for _ in 0..50 {
        assert_eq!(small.call("echo", json!({ "text": "a few words" })).await, "a few words");
    }
    let large = gateway.caller("json").open().await;
    assert_eq!(large.call("big", json!({ "bytes": 200_000 })).await.len(), 200_000);
    let refused = used_up(&large).await;
    assert_eq!(refused.reply()["error"]["data"]["limit"], "20000 tokens per minute by agent");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&wait), "{refused:?}");
}

async fn a_streamed_answer_is_counted_too(stage: Stage) {
    let gateway = stage.open(by_agent("one", &json!({ "tokens_per_minute": 20_000 }))).await;
    let client = gateway.caller("one").open().await;
    assert_eq!(client.call("big", json!({ "bytes": 200_000 })).await.len(), 200_000);
    used_up(&client).await;
}

async fn a_budget_of_money_is_kept(stage: Stage) {
    let setup = by_agent("json", &json!({ "money_per_day": 0.5 }));
    let setup = setup.price(&json!({ "server": "json", "tool": "echo", "per_call": 0.2 }));
    let gateway = stage.open(setup).await;
    let client = gateway.caller("json").open().await;
    for _ in 0..10 {
        assert!(client.whoami().await.is_object(), "what has no price costs nothing");
    }
    let mut calls = 0;
    let refused = loop {
        let answer = client.try_call("echo", json!({ "text": "on" })).await;
        match answer.status {
            200 => calls += 1,
            _ => break answer,
        }
        assert!(calls < 10, "the budget never ends");
        // What an answer cost is known once it is there; the budget overshoots by no more than what is under way.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!((calls, refused.status), (3, 429));
    assert_eq!(refused.reply()["error"]["data"]["limit"], "0.50 of money per day by agent");
}

async fn usage_is_told_by_day_agent_server_and_tool(stage: Stage) {
    let setup = Setup::new().server("json", &[&Shared::running().json.url]);
    let setup = setup.price(&json!({ "server": "json", "per_call": 0.001 }));
    let gateway = stage.open(setup).await;
    let token = gateway.token().claim("client_id", "counted").claim("scope", "mcp usage:read");
    let client = gateway.caller_with("json", &token).open().await;
    for _ in 0..3 {
        client.call("echo", json!({ "text": "counted words" })).await;
    }
    let row = row(&gateway, &token, "echo", 3).await;
    assert_eq!((&row["agent"], &row["server"], &row["calls"]), (&json!("counted"), &json!("json"), &json!(3)));
    assert_eq!(row["money_micros"], 3_000);
    assert!(row["tokens_in"].as_u64().unwrap() >= 6 && row["tokens_out"].as_u64().unwrap() >= 6, "{row}");
}

async fn usage_is_told_to_its_tenant_and_to_operators(stage: Stage) {
    let gateway = stage.open(Setup::new().operators("ops").server("json", &[&Shared::running().json.url])).await;
    let token = gateway.token().claim("scope", "mcp usage:read");
    let client = gateway.caller_with("json", &token).open().await;
    client.call("echo", json!({ "text": "on" })).await;
    row(&gateway, &token, "echo", 1).await;
    let operator = Token::of("ops", "cli", gateway.origin()).claim("scope", "usage:read");
    assert_eq!(read(&gateway, &operator, token.tenant(), "").await.status, 200);
    assert_eq!(read(&gateway, &gateway.token().claim("scope", "usage:read"), token.tenant(), "").await.status, 404);
    assert_eq!(read(&gateway, &token.clone().claim("scope", "mcp"), token.tenant(), "").await.status, 403);
    for query in
        ["?from=yesterday", "?from=2026-02-30", "?from=2020-01-01&to=2026-01-01", "?from=2026-02-01&to=2026-01-01"]
    {
        assert_eq!(read(&gateway, &token, token.tenant(), query).await.status, 400, "{query}");
    }
}

async fn a_limit_by_tool_concerns_only_that_tool(stage: Stage) {
    let limit = json!({ "by": ["agent", "tool"], "requests_per_minute": 2 });
    let gateway = stage.open(Setup::new().server("json", &[&Shared::running().json.url]).limit(&limit)).await;
    let client = gateway.caller("json").open().await;
    for _ in 0..2 {
        client.call("echo", json!({ "text": "on" })).await;
    }
    client.try_call("echo", json!({ "text": "on" })).await.refuses(429, -32000);
    assert!(client.whoami().await.is_object());
    assert_eq!(client.request("tools/list", json!({})).await.status, 200);
}

/// The refusal that follows once what was used is counted.
async fn used_up(client: &Client) -> Answer {
    let mut last = client.try_call("echo", json!({ "text": "on" })).await;
    eventually("the limit is used up", async || {
        last = client.try_call("echo", json!({ "text": "on" })).await;
        last.status == 429
    })
    .await;
    last
}

/// The row of usage of `tool`, once it counts `calls`.
async fn row(gateway: &Gateway, token: &Token, tool: &str, calls: u64) -> Value {
    let mut found = Value::Null;
    eventually("the usage is told", async || {
        let answer = read(gateway, token, token.tenant(), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let days = answer.json()["days"].as_array().unwrap().clone();
        let mut rows = days.iter().flat_map(|day| day["rows"].as_array().unwrap().clone());
        found = rows.find(|row| row["tool"] == tool && row["calls"] == calls).unwrap_or_default();
        !found.is_null()
    })
    .await;
    found
}

async fn read(gateway: &Gateway, token: &Token, tenant: &str, query: &str) -> Answer {
    let request = gateway.client().exact("GET", &format!("/api/usage/{tenant}{query}"));
    request.header("authorization", &format!("Bearer {}", token.text())).send().await
}

fn by_agent(server: &str, amounts: &Value) -> Setup {
    let url = if server == "one" { &Shared::running().one.url } else { &Shared::running().json.url };
    let mut limit = json!({ "by": ["agent"] });
    limit.as_object_mut().unwrap().extend(amounts.as_object().unwrap().clone());
    Setup::new().server(server, &[url]).limit(&limit)
}
