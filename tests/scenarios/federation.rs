//! Do many servers look like one? Under names that lead back, each with what it says, and none at the cost of the others.

use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::{Era, MODERN, Stream},
    faulty::Upstream,
    fixture::{Fixture, Shared},
    issuer::{Token, fresh},
    setup::Setup,
    stage::eventually,
};

scenarios! {
    a_call_reaches_the_server_in_its_name,
    what_all_servers_can_do_is_discovered_as_one,
    prompts_resources_and_templates_have_names_that_lead_back,
    resources_in_results_can_be_read,
    completion_asks_the_right_server,
    pages_of_all_servers_are_read_to_their_end,
    names_that_are_too_long_are_shortened_and_found,
    lists_lack_what_policy_hides_and_nobody_approved,
    each_caller_is_shown_what_its_role_may_use,
    what_belongs_to_no_server_is_told_apart,
    servers_of_others_are_not_there,
    limits_and_records_name_the_server_and_its_tool,
    a_list_holds_as_long_as_its_shortest_part,
    a_session_with_all_servers_survives_a_restart,
}

not_on_spin! {
    "A façade between the eras lives for one request: nothing is asked of a caller for a server of the other era.":
    names_that_are_too_long_are_found_across_the_eras,
}

async fn a_call_reaches_the_server_in_its_name(stage: Stage) {
    let gateway = two(stage).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        let tools = caller.tools().await;
        for name in ["old__echo", "new__echo", "old__whoami", "new__whoami"] {
            assert_eq!(tools.iter().filter(|tool| *tool == name).count(), 1, "{era:?} {name}: {tools:?}");
        }
        assert!(tools.iter().all(|name| name.starts_with("old__") || name.starts_with("new__")), "{tools:?}");
        for (server, instance) in [("old", "one"), ("new", "modern")] {
            let text = caller.call(&format!("{server}__echo"), json!({ "text": server })).await;
            assert_eq!(text, server, "{era:?}");
            let seen: Value =
                serde_json::from_str(&caller.call(&format!("{server}__whoami"), json!({})).await).unwrap();
            assert_eq!(seen["instance"], instance, "{era:?}: {seen}");
            if server == "new" {
                assert_eq!(seen["headers"]["mcp-name"], "whoami", "{era:?}: {seen}");
                assert_eq!(seen["headers"].get("mcp-session-id"), None, "{era:?}: {seen}");
            }
            assert_eq!(seen["headers"].get("authorization"), None, "{era:?}: {seen}");
        }
    }
}

async fn what_all_servers_can_do_is_discovered_as_one(stage: Stage) {
    let gateway = two(stage).await;
    let discovered = gateway.caller("").modern().result("server/discover", json!({})).await;
    assert_eq!(discovered["supportedVersions"], json!([MODERN]), "{discovered}");
    for capability in ["tools", "prompts", "resources", "completions"] {
        assert!(discovered["capabilities"][capability].is_object(), "{capability}: {discovered}");
    }
    assert_eq!(discovered["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "turnpike", "{discovered}");
    assert_eq!(discovered["_meta"].get(UNAVAILABLE), None, "{discovered}");
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = gateway.caller("").open_as(revision).await;
        assert_eq!(client.request("ping", json!({})).await.reply()["result"], json!({}), "{revision}");
        assert_eq!(client.call("new__echo", json!({ "text": revision })).await, revision);
        assert_eq!(client.delete().await.status, 200, "{revision}");
        client.request("ping", json!({})).await.refuses(404, -32001);
    }
}

async fn prompts_resources_and_templates_have_names_that_lead_back(stage: Stage) {
    let gateway = two(stage).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        let prompts = caller.listed("prompts/list", "name").await;
        let resources = caller.listed("resources/list", "uri").await;
        let templates = caller.listed("resources/templates/list", "uriTemplate").await;
        for server in ["old", "new"] {
            let prompt = format!("{server}__test_simple_prompt");
            assert!(prompts.contains(&prompt), "{era:?}: {prompts:?}");
            let got = caller.result("prompts/get", json!({ "name": prompt })).await;
            assert!(got["messages"].to_string().contains("This is a simple prompt"), "{era:?}: {got}");
            let uri = format!("mcp+{server}+test://static-text");
            assert!(resources.contains(&uri), "{era:?}: {resources:?}");
            let template = format!("mcp+{server}+test://template/{{id}}/data");
            assert!(templates.contains(&template), "{era:?}: {templates:?}");
            for uri in [uri, template.replace("{id}", "7")] {
                let read = caller.result("resources/read", json!({ "uri": uri })).await;
                assert_eq!(read["contents"][0]["uri"], uri, "{era:?}: {read}");
            }
            let absent = format!("mcp+{server}+test://absent");
            let missing = caller.request("resources/read", json!({ "uri": absent })).await;
            assert!([-32602, -32002].contains(&missing.code()), "{era:?}: {missing:?}");
        }
    }
}

async fn resources_in_results_can_be_read(stage: Stage) {
    let upstream = Upstream::shared();
    let setup = Setup::new()
        .server("old", &[&upstream.url("legacy")])
        .server("new", &[&upstream.url("modern")])
        .server("fixture", &[&Shared::running().one.url]);
    let gateway = stage.open(setup).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        for server in ["old", "new"] {
            let params = json!({ "name": format!("{server}__first"), "arguments": {} });
            let linked = caller.result("tools/call", params).await["content"][1]["uri"].clone();
            assert_eq!(linked, format!("mcp+{server}+file:///linked.txt"), "{era:?}");
            let read = caller.result("resources/read", json!({ "uri": linked })).await;
            assert_eq!((&read["contents"][0]["uri"], &read["contents"][0]["text"]), (&linked, &json!("linked text")));
        }
        let params = json!({ "name": "fixture__test_embedded_resource", "arguments": {} });
        let embedded = caller.result("tools/call", params).await["content"][0]["resource"].clone();
        assert_eq!(embedded["uri"], "mcp+fixture+test://embedded-resource", "{era:?}");
    }
}

async fn completion_asks_the_right_server(stage: Stage) {
    let gateway = two(stage).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        for server in ["old", "new"] {
            let reference = json!({ "type": "ref/prompt", "name": format!("{server}__test_prompt_with_arguments") });
            let params = json!({ "ref": reference, "argument": { "name": "arg1", "value": "part" } });
            let completed = caller.result("completion/complete", params).await;
            assert_eq!(completed["completion"]["values"], json!(["party"]), "{era:?} {server}");
        }
        let reference = json!({ "type": "ref/prompt", "name": "nobody__test_prompt_with_arguments" });
        let params = json!({ "ref": reference, "argument": { "name": "arg1", "value": "part" } });
        caller.request("completion/complete", params).await.refuses(200, -32602);
    }
}

async fn pages_of_all_servers_are_read_to_their_end(stage: Stage) {
    let upstream = Upstream::shared();
    let setup = Setup::new()
        .server("b", &[&upstream.url("legacy")])
        .server("a", &[&upstream.url("modern")])
        .server("c", &[&Shared::running().one.url]);
    let gateway = stage.open(setup).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        let tools = caller.tools().await;
        for name in ["a__first", "a__second", "a__third", "b__first", "b__second", "b__third", "c__echo"] {
            assert_eq!(tools.iter().filter(|tool| *tool == name).count(), 1, "{era:?} {name}: {tools:?}");
        }
        let cursor = caller.result("tools/list", json!({})).await["nextCursor"].clone();
        assert!(cursor.is_string(), "{era:?}");
        // It belongs to tools, and to nobody's pages but these.
        caller.request("prompts/list", json!({ "cursor": cursor })).await.refuses(200, -32602);
        for made_up in ["page/2", "", "é"] {
            caller.request("tools/list", json!({ "cursor": made_up })).await.refuses(200, -32602);
        }
    }
}

async fn names_that_are_too_long_are_shortened_and_found(stage: Stage) {
    let gateway = with_long_names(stage).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        let tools = caller.tools().await;
        assert!(tools.iter().all(|name| name.chars().count() <= 64), "{tools:?}");
        assert!(tools.iter().any(|name| name.chars().count() == 64), "{tools:?}");
        let absent = format!("a-server-with-a-long-name-old__{}-0123456789ab", "x".repeat(20));
        assert_eq!(absent.len(), 64);
        caller.try_call(&absent, json!({})).await.refuses(200, -32602);
    }
    found(&gateway, Era::Modern, "a-server-with-a-long-name-new").await;
}

async fn names_that_are_too_long_are_found_across_the_eras(stage: Stage) {
    let gateway = with_long_names(stage).await;
    for (era, server) in [(Era::Legacy, "new"), (Era::Legacy, "old"), (Era::Modern, "old")] {
        found(&gateway, era, &format!("a-server-with-a-long-name-{server}")).await;
    }
}

async fn with_long_names(stage: Stage) -> Gateway {
    let Shared { one, modern, .. } = Shared::running();
    let setup = Setup::new().server("a-server-with-a-long-name-old", &[&one.url]);
    stage.open(setup.server("a-server-with-a-long-name-new", &[&modern.url])).await
}

/// One of the tools whose names begin alike and are too long is the one that asks for roots.
async fn found(gateway: &Gateway, era: Era, server: &str) {
    let caller = era.caller(gateway.caller("")).await;
    let tools = caller.tools().await;
    let begins = format!("{server}__test_input_required_result_list");
    let candidates: Vec<&String> = tools.iter().filter(|tool| tool.starts_with(&begins[..48])).collect();
    assert!(candidates.len() > 1 && candidates[0].len() == 64, "{era:?}: {tools:?}");
    let mut said = Vec::new();
    for name in candidates {
        let params = json!({ "name": name, "arguments": {} });
        let (reply, _) = caller.answering("tools/call", &params, &content(), "said").await;
        said.push(reply["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned());
    }
    assert!(said.contains(&"Roots: file:///home/ada".to_owned()), "{era:?}: {said:?}");
}

async fn lists_lack_what_policy_hides_and_nobody_approved(stage: Stage) {
    let policies = r#"
        permit (principal, action, resource);
        forbid (principal, action == Action::"new/whoami", resource);
        forbid (principal, action == Action::"old/big", resource);
    "#;
    let [old, new] = [Fixture::start("old", &[]), Fixture::start("new", &["--era", "modern"])];
    let quarantine = |server: &mut gateway::config::RawServer| server.pins = registry::Admission::Quarantine;
    let setup = Setup::new()
        .server_with("old", &[&old.url], quarantine)
        .server_with("new", &[&new.url], quarantine)
        .pins("old", &old.tools().await)
        .pins("new", &new.tools().await)
        .policies(policies);
    let gateway = stage.open(setup).await;
    redescribe(&old).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        let tools = caller.tools().await;
        for hidden in ["new__whoami", "old__big", "old__clock"] {
            assert!(!tools.contains(&hidden.to_owned()), "{era:?} {hidden}: {tools:?}");
            caller.try_call(hidden, json!({})).await.refuses(200, -32602);
        }
        for shown in ["old__whoami", "new__big", "new__clock"] {
            assert!(tools.contains(&shown.to_owned()), "{era:?} {shown}: {tools:?}");
        }
        assert_eq!(caller.call("new__clock", json!({})).await, "noon", "{era:?}");
    }
}

async fn each_caller_is_shown_what_its_role_may_use(stage: Stage) {
    let policies = r#"
        permit (principal, action in Action::"discover", resource);
        permit (principal in Role::"reader", action, resource in Server::"old");
        permit (principal, action == Action::"new/echo", resource);
    "#;
    let Shared { one, modern, .. } = Shared::running();
    let setup = Setup::new()
        .server("old", &[&one.url])
        .server("new", &[&modern.url])
        .pins("old", &one.tools().await)
        .pins("new", &modern.tools().await)
        .policies(policies);
    let gateway = stage.open(setup).await;
    for era in Era::BOTH {
        let reader = gateway.token().claim("roles", json!(["reader"]));
        let caller = era.caller(gateway.caller_with("", &reader)).await;
        let tools = caller.tools().await;
        let of_old = tools.iter().filter(|name| name.starts_with("old__")).count();
        assert!(
            of_old > 5 && tools.len() == of_old + 1 && tools.contains(&"new__echo".to_owned()),
            "{era:?}: {tools:?}"
        );
        let caller = era.caller(gateway.caller("")).await;
        assert_eq!(caller.tools().await, ["new__echo"], "{era:?}");
        assert_eq!(caller.call("new__echo", json!({ "text": "on" })).await, "on", "{era:?}");
        for hidden in ["old__echo", "new__whoami"] {
            caller.try_call(hidden, json!({ "text": "on" })).await.refuses(200, -32602);
        }
    }
}

async fn what_belongs_to_no_server_is_told_apart(stage: Stage) {
    let gateway = two(stage).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        for name in ["nobody__echo", "echo", "old_echo", "__echo", "old__no such tool", "new__no such tool", ""] {
            caller.try_call(name, json!({ "text": "on" })).await.refuses(200, -32602);
        }
        for name in ["nobody__test_simple_prompt", "test_simple_prompt", "new__no such prompt"] {
            caller.request("prompts/get", json!({ "name": name })).await.refuses(200, -32602);
        }
        for uri in ["test://static-text", "mcp+nobody+test://static-text", "mcp+old+"] {
            let answer = caller.request("resources/read", json!({ "uri": uri })).await;
            assert!([-32602, -32002].contains(&answer.code()), "{era:?} {uri}: {answer:?}");
        }
    }
    gateway.caller("").modern().request("tools/imagine", json!({})).await.refuses(404, -32601);
    gateway.caller("").open().await.request("tools/imagine", json!({})).await.refuses(200, -32601);
}

async fn servers_of_others_are_not_there(stage: Stage) {
    let Shared { one, modern, .. } = Shared::running();
    let setup = Setup::new()
        .server("open", &[&one.url])
        .server_with("theirs", &[&modern.url], |server| server.tenants = Some(vec!["somebody-else".to_owned()]))
        .server_with("scoped", &[&modern.url], |server| server.scopes = vec!["tools:call".to_owned()]);
    let gateway = stage.open(setup).await;
    let servers = |tools: &[String]| {
        let mut servers: Vec<_> = tools.iter().map(|name| name.split("__").next().unwrap().to_owned()).collect();
        servers.dedup();
        servers
    };
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        assert_eq!(servers(&caller.tools().await), ["open"], "{era:?}");
        for server in ["theirs", "scoped"] {
            let refused = caller.try_call(&format!("{server}__echo"), json!({ "text": "on" })).await;
            refused.refuses(200, -32602);
            let absent = caller.try_call("nobody__echo", json!({ "text": "on" })).await;
            let spelled = |text: String, name: &str| text.replace(name, "_");
            assert_eq!(
                spelled(refused.reply()["error"].to_string(), server),
                spelled(absent.reply()["error"].to_string(), "nobody"),
                "{era:?}"
            );
            let uri = format!("mcp+{server}+test://static-text");
            assert!([-32602, -32002].contains(&caller.request("resources/read", json!({ "uri": uri })).await.code()));
        }
        let granted = gateway.token().claim("scope", "mcp tools:call");
        let caller = era.caller(gateway.caller_with("", &granted)).await;
        assert_eq!(servers(&caller.tools().await), ["open", "scoped"], "{era:?}");
        let other = Token::of("somebody-else", &fresh("agent"), gateway.origin());
        let caller = era.caller(gateway.caller_with("", &other)).await;
        assert_eq!(servers(&caller.tools().await), ["open", "theirs"], "{era:?}");
        assert_eq!(caller.call("theirs__echo", json!({ "text": "on" })).await, "on", "{era:?}");
    }
}

async fn limits_and_records_name_the_server_and_its_tool(stage: Stage) {
    let Shared { one, modern, .. } = Shared::running();
    let limit = json!({ "by": ["agent", "server", "tool"], "requests_per_minute": 2 });
    let setup = Setup::new().server("old", &[&one.url]).server("new", &[&modern.url]).limit(&limit);
    let gateway = stage.open(setup).await;
    for era in Era::BOTH {
        let token = gateway.token();
        let caller = era.caller(gateway.caller_with("", &token)).await;
        for _ in 0..2 {
            caller.call("new__echo", json!({ "text": "on" })).await;
        }
        caller.try_call("new__echo", json!({ "text": "on" })).await.refuses(429, -32000);
        caller.call("old__echo", json!({ "text": "on" })).await;
        let is_call = |entry: &&Value| entry["kind"] == "decision" && entry["calls"][0]["method"] == "tools/call";
        let entries = gateway.audit(&token, |entries| entries.iter().filter(is_call).count() == 4).await;
        let named = |entry: &Value| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&entry["server"]), text(&entry["calls"][0]["target"]), text(&entry["verdict"]))
        };
        let calls: Vec<_> = entries.iter().filter(is_call).map(named).collect();
        let expected = [("new", "allowed"), ("new", "allowed"), ("new", "denied"), ("old", "allowed")];
        let expected = expected.map(|(server, verdict)| (server.to_owned(), "echo".to_owned(), verdict.to_owned()));
        assert_eq!(calls, expected, "{era:?}");
        counted(&gateway, &token, 2).await;
    }
}

/// The usage of `token`'s tenant tells `calls` of `echo` at the server `new`.
async fn counted(gateway: &Gateway, token: &Token, calls: u64) {
    let reader = token.clone().claim("scope", "usage:read");
    eventually("the usage is told", async || {
        let request = gateway.client().exact("GET", &format!("/api/usage/{}", token.tenant()));
        let answer = request.header("authorization", &format!("Bearer {}", reader.text())).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let days = answer.json()["days"].as_array().unwrap().clone();
        let mut rows = days.iter().flat_map(|day| day["rows"].as_array().unwrap().clone());
        rows.any(|row| row["server"] == "new" && row["tool"] == "echo" && row["calls"] == calls)
    })
    .await;
}

async fn a_list_holds_as_long_as_its_shortest_part(stage: Stage) {
    let hints = |ttl_ms: &'static str| ["--era", "modern", "--ttl-ms", ttl_ms, "--cache-scope", "public"];
    let [long, short] = [Fixture::start("long", &hints("60000")), Fixture::start("short", &hints("5000"))];
    let gateway = stage.open(Setup::new().server("long", &[&long.url]).server("short", &[&short.url])).await;
    let client = gateway.caller("").modern();
    for method in ["tools/list", "prompts/list", "resources/list", "server/discover"] {
        let listed = client.result(method, json!({})).await;
        let ttl_ms = listed["ttlMs"].as_u64().unwrap();
        assert!((1..=5_000).contains(&ttl_ms), "{method}: {listed}");
        assert_eq!(listed["cacheScope"], "private", "{method}: what a caller sees is its own: {listed}");
    }
}

async fn a_session_with_all_servers_survives_a_restart(stage: Stage) {
    let gateway = two(stage).await;
    let client = gateway.caller("").open().await;
    assert_eq!(client.call("old__echo", json!({ "text": "before" })).await, "before");
    gateway.restart();
    for server in ["old", "new"] {
        assert_eq!(client.call(&format!("{server}__echo"), json!({ "text": "after" })).await, "after");
    }
    assert_eq!(client.delete().await.status, 200);
    gateway.restart();
    client.try_call("old__echo", json!({ "text": "?" })).await.refuses(404, -32001);
}

/// A gateway with a server of each era, `old` and `new`.
pub(crate) async fn two(stage: Stage) -> Gateway {
    let Shared { one, modern, .. } = Shared::running();
    stage.open(Setup::new().server("old", &[&one.url]).server("new", &[&modern.url])).await
}

/// Changes the list of tools of `fixture`.
pub(crate) async fn redescribe(fixture: &Fixture) {
    fixture.call("redescribe", json!({ "description": fresh("It says what time it may be") })).await;
}

/// Everything a stream says.
pub(crate) async fn messages(mut stream: Stream) -> Vec<Value> {
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await {
        messages.push(message);
    }
    messages
}

/// The next notification of `method` on a stream.
pub(crate) async fn heard(stream: &mut Stream, method: &str) -> Value {
    while let Some(message) = stream.message().await {
        if message["method"] == method {
            return message;
        }
    }
    panic!("the stream ended before `{method}`");
}

/// What every form in these scenarios is filled in with.
pub(crate) fn content() -> Value {
    json!({
        "username": "ada", "email": "ada@example.com", "name": "Ada", "color": "blue", "ok": true,
        "context": "tests", "word": "sesame"
    })
}

/// Where a list says whose entries it lacks.
pub(crate) const UNAVAILABLE: &str = bridge::federation::part::UNAVAILABLE;
/// How long the gateway itself would wait for the server that hangs.
pub(crate) const HANGS_MS: u64 = 40_000;
