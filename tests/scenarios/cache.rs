//! Is a modern server spared what it said a moment ago, and is nobody told what was said to another?

use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::Modern,
    faulty::Upstream,
    fixture::Fixture,
    issuer::{Token, fresh},
    setup::Setup,
};

scenarios! {
    what_still_holds_is_not_asked_again,
    what_holds_for_no_time_is_asked_again,
    nobody_is_told_what_was_said_to_another,
    what_is_public_is_told_everybody_policy_lets_know,
    what_changed_is_asked_again,
    what_an_endpoint_of_many_servers_merges_is_kept_by_server,
    a_retry_is_neither_told_from_memory_nor_kept,
    what_a_server_refuses_of_the_gateway_is_told_only_where_it_is_true,
    a_verdict_on_an_era_gives_way_to_evidence,
    headers_are_repeated_as_the_tools_say_now,
    a_tool_whose_headers_nobody_can_follow_is_not_offered,
    nobody_is_asked_what_it_did_not_declare,
}

async fn what_still_holds_is_not_asked_again(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern", "--ttl-ms", "60000"]);
    let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
    let token = gateway.token();
    let alice = caller(&gateway, &token, "behind");
    for (method, params) in [
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "test://static-text" })),
    ] {
        let before = fixture.heard(method).await;
        let mut first = alice.result(method, params.clone()).await;
        let mut again = alice.result(method, params).await;
        let left = again["ttlMs"].take().as_u64().unwrap();
        assert!(left <= first["ttlMs"].take().as_u64().unwrap() && left > 0, "{method}");
        assert_eq!(first, again, "{method}");
        assert_eq!(fixture.heard(method).await, before + 1, "{method}");
    }
    assert_eq!(fixture.heard("resources/read").await, 1);
    alice.result("resources/read", json!({ "uri": "test://static-binary" })).await;
    assert_eq!(fixture.heard("resources/read").await, 2, "another resource is another question");
    let ends = |entries: &[Value]| entries.iter().filter(|entry| entry["end"] == "complete (cached)").count();
    let entries = gateway.audit(&token, |entries| ends(entries) == 5).await;
    let decisions = entries.iter().filter(|entry| entry["kind"] == "decision").count();
    assert_eq!(decisions, 11, "who is told from memory is recorded like everybody");
}

async fn what_holds_for_no_time_is_asked_again(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
    let alice = caller(&gateway, &gateway.token(), "behind");
    for asked in 1..4 {
        alice.result("prompts/list", json!({})).await;
        assert_eq!(fixture.heard("prompts/list").await, asked);
    }
}

async fn nobody_is_told_what_was_said_to_another(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern", "--ttl-ms", "60000"]);
    let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
    let (alice, bob) = (gateway.token(), gateway.token());
    let mut asked = 0;
    for server in ["behind", ""] {
        for (token, capabilities) in
            [(&alice, json!({})), (&bob, json!({})), (&alice, json!({ "roots": {} })), (&bob, json!({ "roots": {} }))]
        {
            let caller = caller(&gateway, token, server).able(capabilities.clone());
            caller.result("prompts/list", json!({})).await;
            // What was said to it at one endpoint may be told at the other.
            asked += u64::from(!server.is_empty());
            assert_eq!(fixture.heard("prompts/list").await, asked, "{server} {capabilities}");
        }
    }
}

async fn what_is_public_is_told_everybody_policy_lets_know(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern", "--ttl-ms", "60000", "--cache-scope", "public"]);
    let policies = r#"
        @id("look") permit (principal, action in Action::"discover", resource);
        @id("writers") permit (principal in Role::"writer", action in Action::"call_tool", resource in Server::"behind");
    "#;
    let setup = Setup::new().server("behind", &[&fixture.url]).policies(policies);
    let gateway = stage.open(setup).await;
    let before = fixture.heard("tools/list").await;
    let role = |role: &str| gateway.token().claim("roles", json!([role]));
    for (role_name, sees) in [("writer", true), ("reader", false), ("writer", true)] {
        let caller = caller(&gateway, &role(role_name), "behind");
        let listed = caller.result("tools/list", json!({})).await;
        assert_eq!(listed["tools"].as_array().unwrap().is_empty(), !sees, "{role_name}: {listed}");
    }
    assert_eq!(fixture.heard("tools/list").await, before + 1);
}

async fn what_changed_is_asked_again(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern", "--ttl-ms", "60000"]);
    let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
    for (server, prefix) in [("behind", ""), ("", "behind__")] {
        let alice = caller(&gateway, &gateway.token(), server);
        let clock = async || {
            let listed = alice.result("tools/list", json!({})).await;
            let name = format!("{prefix}clock");
            let tool = listed["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name.as_str());
            tool.unwrap_or_else(|| panic!("no `{name}`: {listed}"))["description"].as_str().unwrap().to_owned()
        };
        let before = clock().await;
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        let mut stream = alice.stream("subscriptions/listen", wanted).await;
        let acknowledged = stream.message().await.unwrap();
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
        let description = fresh("the time");
        fixture.client().modern().call("redescribe", json!({ "description": description })).await;
        let told = stream.message().await.unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
        assert_ne!(before, description);
        assert_eq!(clock().await, description, "{server}");
    }
}

async fn what_an_endpoint_of_many_servers_merges_is_kept_by_server(stage: Stage) {
    let options = |ttl| ["--era", "modern", "--ttl-ms", ttl];
    let (kept, not_kept) = (Fixture::start("kept", &options("60000")), Fixture::start("not", &options("0")));
    let setup = Setup::new().server("kept", &[&kept.url]).server("not", &[&not_kept.url]);
    let gateway = stage.open(setup).await;
    let token = gateway.token();
    let alice = caller(&gateway, &token, "");
    let first = alice.result("prompts/list", json!({})).await;
    assert_eq!(alice.result("prompts/list", json!({})).await, first);
    assert_eq!((kept.heard("prompts/list").await, not_kept.heard("prompts/list").await), (1, 2));
    let uri = first_uri(&alice, "mcp+kept+").await;
    let read = alice.result("resources/read", json!({ "uri": uri })).await;
    let again = alice.result("resources/read", json!({ "uri": uri })).await;
    assert_eq!(read["contents"], again["contents"]);
    assert_eq!(read["contents"][0]["uri"], uri.as_str(), "it is called as it is here, from memory too");
    assert_eq!(kept.heard("resources/read").await, 1);
    gateway
        .audit(&token, |entries| {
            let has = |end: &str| entries.iter().any(|entry| entry["end"] == end);
            has("complete (1 of 2 cached)") && has("complete (cached)")
        })
        .await;
}

async fn a_retry_is_neither_told_from_memory_nor_kept(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern", "--ttl-ms", "60000"]);
    let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
    let alice = caller(&gateway, &gateway.token(), "behind");
    let params = json!({ "uri": "test://locked" });
    for round in 1..3 {
        let asked = alice.result("resources/read", params.clone()).await;
        assert_eq!(asked["resultType"], "input_required", "round {round}: {asked}");
        let answers = json!({ "word": { "action": "accept", "content": { "word": format!("word {round}") } } });
        let read = alice.retry("resources/read", &params, &asked, answers).await.reply();
        let text = read["result"]["contents"][0]["text"].to_string();
        assert!(text.contains(&format!("word {round}")), "{read}");
        assert_eq!(fixture.heard("resources/read").await, 2 * round);
    }
}

async fn what_a_server_refuses_of_the_gateway_is_told_only_where_it_is_true(stage: Stage) {
    let (able, unable) = (json!({ "sampling": {} }), json!({}));
    for (kind, capabilities, status, code) in
        [("capability", &unable, 400, -32021), ("capability", &able, 200, -32603), ("version", &unable, 200, -32603)]
    {
        let gateway = stage.open(odd(kind).0).await;
        let token = gateway.token();
        let alice = caller(&gateway, &token, "odd").able(capabilities.clone());
        let answer = alice.try_call("call", json!({})).await;
        answer.refuses(status, code);
        if code == -32021 {
            assert_eq!(answer.json()["error"]["data"]["requiredCapabilities"], json!({ "sampling": {} }));
        } else {
            let is_told = |entry: &Value| entry["end"].as_str().is_some_and(|end| end.contains("it answered -3202"));
            gateway.audit(&token, |entries| entries.iter().any(is_told)).await;
        }
    }
}

async fn a_verdict_on_an_era_gives_way_to_evidence(stage: Stage) {
    for (kind, probes) in [("session", 2), ("version", 2), ("capability", 1)] {
        let (setup, path) = odd(kind);
        let gateway = stage.open(setup).await;
        let alice = caller(&gateway, &gateway.token(), "odd").able(json!({}));
        for _ in 0..3 {
            alice.try_call("call", json!({})).await;
        }
        let received = Upstream::shared().received(&path);
        let asked = received.iter().filter(|one| one.body.contains("server/discover")).count();
        assert_eq!(asked, probes, "{kind}: once more, and not again for a while");
    }
}

async fn headers_are_repeated_as_the_tools_say_now(stage: Stage) {
    let (setup, _) = odd("header");
    let gateway = stage.open(setup).await;
    let alice = caller(&gateway, &gateway.token(), "odd");
    // The gateway never saw the tool: whether the caller repeats its argument is found out where the server complains.
    let arguments = json!({ "region": "north" });
    alice.try_call("call", arguments.clone()).await.refuses(400, -32020);
    let message = alice.message("tools/call", json!({ "name": "call", "arguments": arguments.clone() }));
    let answer = alice.post(&message).header("mcp-param-region", "north").send().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    for (server, kind) in [("odd", "later"), ("", "header")] {
        // Here the gateway repeats it, and learns late that it has to.
        let (setup, path) = odd(kind);
        let gateway = stage.open(setup).await;
        let path_of = if server.is_empty() { "/mcp" } else { "/mcp/odd" };
        let legacy = gateway.caller(server).endpoint(path_of).open().await;
        let tool = if server.is_empty() { "odd__call" } else { "call" };
        assert_eq!(legacy.call(tool, arguments.clone()).await, "done", "{server}");
        let received = Upstream::shared().received(&path);
        let calls = received.iter().filter(|one| one.body.contains("tools/call")).count();
        assert_eq!(calls, 2, "{server}");
    }
}

async fn a_tool_whose_headers_nobody_can_follow_is_not_offered(stage: Stage) {
    for policies in [None, Some("permit (principal, action, resource);")] {
        let (setup, _) = odd("unfit");
        let setup = policies.into_iter().fold(setup, Setup::policies);
        let gateway = stage.open(setup).await;
        for (server, fit) in [("odd", "fit"), ("", "odd__fit")] {
            let alice = caller(&gateway, &gateway.token(), server);
            let listed = alice.result("tools/list", json!({})).await;
            let names: Vec<&Value> = listed["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
            assert_eq!(names, [fit], "{policies:?}");
        }
        let alice = caller(&gateway, &gateway.token(), "odd");
        if policies.is_some() {
            alice.try_call("unfit", json!({ "region": "north" })).await.refuses(200, -32602);
        }
    }
}

async fn nobody_is_asked_what_it_did_not_declare(stage: Stage) {
    let gateway = stage.open(odd("asks").0).await;
    for server in ["odd", ""] {
        let tool = if server.is_empty() { "odd__call" } else { "call" };
        let unable = caller(&gateway, &gateway.token(), server).able(json!({ "elicitation": {} }));
        let answer = unable.try_call(tool, json!({})).await;
        answer.refuses(400, -32021);
        assert_eq!(answer.json()["error"]["data"]["requiredCapabilities"], json!({ "sampling": {} }));
        let able = caller(&gateway, &gateway.token(), server).able(json!({ "sampling": {} }));
        let asked = able.try_call(tool, json!({})).await.reply();
        assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
        assert_ne!(asked["result"]["requestState"], "mine", "it is sealed");
    }
}

fn caller(gateway: &Gateway, token: &Token, server: &str) -> Modern {
    match server {
        "" => gateway.client().endpoint("/mcp").token(token.text()).modern(),
        server => gateway.caller_with(server, token).modern(),
    }
}

/// A gateway with a server that is odd in one way, and the path of that.
fn odd(kind: &str) -> (Setup, String) {
    let path = fresh(&format!("odd-{kind}~"));
    (Setup::new().server("odd", &[&Upstream::shared().url(&path)]), format!("/{path}"))
}

async fn first_uri(caller: &Modern, prefix: &str) -> String {
    let listed = caller.result("resources/list", json!({})).await;
    let mut uris = listed["resources"].as_array().unwrap().iter().filter_map(|resource| resource["uri"].as_str());
    uris.find(|uri| uri.starts_with(prefix)).unwrap_or_else(|| panic!("{listed}")).to_owned()
}
