//! Is a caller of either era served by servers of either, with everything the gateway promises in between?

use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::{Answer, Caller, Era, MODERN, VERSION},
    faulty::Upstream,
    fixture::{Fixture, Shared},
    issuer::{Token, fresh},
    setup::Setup,
};

scenarios! {
    every_server_is_served_to_modern_callers,
    every_server_is_served_to_legacy_callers,
    a_modern_server_is_served_in_every_legacy_revision,
    progress_arrives_in_every_quadrant,
    a_server_that_speaks_both_eras_is_spoken_to_in_the_callers,
    a_modern_request_that_does_not_hold_together_is_refused,
    a_method_the_revision_does_not_have_is_404,
    what_only_the_arguments_are_wrong_about_is_told_in_band,
    a_modern_notification_is_taken,
    a_session_id_of_a_modern_request_is_ignored,
    what_a_modern_server_is_sent_is_written_anew,
    what_a_legacy_server_is_sent_says_nothing_modern,
    arguments_that_headers_repeat_are_repeated_anew,
    policy_holds_in_every_quadrant,
    every_quadrant_leaves_its_record,
    the_era_of_a_server_is_asked_once,
    an_era_is_never_concluded_from_a_failure,
}

not_on_spin! {
    "A façade between the eras lives for one request: it keeps nothing that a later one could need.":
    one_caller_has_one_session_at_a_legacy_server,
    a_session_id_of_a_modern_request_to_a_legacy_server_is_ignored,
}

/// The servers of the common gateway: one that speaks legacy, one that speaks modern, one that speaks both.
const SERVERS: [&str; 3] = ["one", "modern", "both"];

async fn every_server_is_served_to_modern_callers(stage: Stage) {
    let gateway = stage.common().await;
    for server in SERVERS {
        let client = gateway.caller(server).modern();
        let discovered = client.request("server/discover", json!({})).await;
        assert_eq!(discovered.header("mcp-session-id"), "", "{server}: {discovered:?}");
        let discovered = discovered.reply()["result"].clone();
        assert!(discovered["supportedVersions"].as_array().unwrap().contains(&json!(MODERN)), "{server}: {discovered}");
        assert!(discovered["capabilities"]["tools"].is_object(), "{server}: {discovered}");
        assert_eq!(discovered["resultType"], "complete", "{server}");
        assert!(discovered["_meta"]["io.modelcontextprotocol/serverInfo"].is_object(), "{server}: {discovered}");
        let listed = client.result("tools/list", json!({})).await;
        assert_eq!(listed["resultType"], "complete", "{server}");
        assert!(listed["ttlMs"].is_u64() && listed["cacheScope"].is_string(), "{server}: {listed}");
        assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "echo"), "{server}: {listed}");
        offers(&Caller::Modern(client), server).await;
    }
}

async fn every_server_is_served_to_legacy_callers(stage: Stage) {
    let gateway = stage.common().await;
    for server in SERVERS {
        let client = gateway.caller(server).open().await;
        assert!(client.session().is_some(), "{server}");
        assert_eq!(client.request("ping", json!({})).await.reply()["result"], json!({}), "{server}");
        let listed = client.request("tools/list", json!({})).await.reply()["result"].clone();
        assert_eq!(listed.get("resultType"), None, "{server}: a word of another revision");
        assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "echo"), "{server}: {listed}");
        let caller = Caller::Legacy(client);
        offers(&caller, server).await;
        let Caller::Legacy(client) = caller else { panic!("it is one") };
        assert_eq!(client.delete().await.status, 200, "{server}");
        client.request("ping", json!({})).await.refuses(404, -32001);
    }
}

/// Everything there is to be asked for.
async fn offers(caller: &Caller, server: &str) {
    assert_eq!(caller.call("echo", json!({ "text": "é\u{1f600}" })).await, "é\u{1f600}", "{server}");
    assert!(caller.listed("prompts/list", "name").await.contains(&"test_simple_prompt".to_owned()), "{server}");
    assert!(caller.listed("resources/list", "uri").await.contains(&"test://static-text".to_owned()), "{server}");
    let templates = caller.listed("resources/templates/list", "uriTemplate").await;
    assert_eq!(templates, ["test://template/{id}/data"], "{server}");
    let arguments = json!({ "arg1": "a", "arg2": "b" });
    let prompt = caller.result("prompts/get", json!({ "name": "test_prompt_with_arguments", "arguments": arguments }));
    let text = prompt.await["messages"][0]["content"]["text"].to_string();
    assert!(text.contains("arg1='a'"), "{server}: {text}");
    let read = caller.result("resources/read", json!({ "uri": "test://template/7/data" })).await;
    assert!(read["contents"][0]["text"].as_str().unwrap().contains("ID: 7"), "{server}: {read}");
    let reference = json!({ "type": "ref/prompt", "name": "test_prompt_with_arguments" });
    let argument = json!({ "name": "arg1", "value": "par" });
    let completed = caller.result("completion/complete", json!({ "ref": reference, "argument": argument })).await;
    assert_eq!(completed["completion"]["values"], json!(["paris", "park", "party"]), "{server}");
}

async fn a_modern_server_is_served_in_every_legacy_revision(stage: Stage) {
    let gateway = stage.common().await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = gateway.caller("modern").open_as(revision).await;
        assert_eq!(client.call("echo", json!({ "text": revision })).await, revision);
    }
}

async fn progress_arrives_in_every_quadrant(stage: Stage) {
    let gateway = stage.common().await;
    for (server, era) in quadrants() {
        let caller = era.caller(gateway.caller(server)).await;
        let arguments = json!({ "steps": 3, "step_ms": 200 });
        let params = json!({ "name": "slow", "arguments": arguments, "_meta": { "progressToken": "p" } });
        let mut stream = caller.stream("tools/call", params).await;
        for step in 1..=3 {
            let message = stream.message().await.unwrap();
            assert_eq!(message["method"], "notifications/progress", "{era:?} {server}: {message}");
            assert_eq!(message["params"]["progress"], step, "{era:?} {server}: {message}");
            assert_eq!(message["params"]["progressToken"], "p", "{era:?} {server}: {message}");
            assert_eq!(stream.waiting(), 0, "{era:?} {server}: later events were held back and came with this one");
        }
        let result = stream.message().await.unwrap();
        assert_eq!(result["result"]["content"][0]["text"], "3 steps done", "{era:?} {server}: {result}");
        assert_eq!(stream.message().await, None, "{era:?} {server}");
    }
}

async fn a_server_that_speaks_both_eras_is_spoken_to_in_the_callers(stage: Stage) {
    let gateway = stage.common().await;
    let modern = gateway.caller("both").modern().whoami().await;
    assert_eq!((&modern["session"], &modern["headers"]["mcp-protocol-version"]), (&Value::Null, &json!(MODERN)));
    let legacy = gateway.caller("both").open().await.whoami().await;
    assert!(legacy["session"].is_string(), "{legacy}");
    assert_eq!(legacy["headers"]["mcp-protocol-version"], "2025-11-25");
}

/// Each fault, and what it is refused with.
async fn a_modern_request_that_does_not_hold_together_is_refused(stage: Stage) {
    let gateway = stage.common().await;
    for server in SERVERS {
        let client = gateway.caller(server).modern();
        let good = || client.message("tools/call", json!({ "name": "echo", "arguments": { "text": "on" } }));
        let without = |key: &str| {
            let mut message = good();
            message["params"]["_meta"].as_object_mut().unwrap().remove(key);
            message
        };
        client.post(&without(VERSION)).send().await.refuses(400, -32602);
        client.post(&without("io.modelcontextprotocol/clientCapabilities")).send().await.refuses(400, -32602);
        let mut bare = good();
        bare["params"].as_object_mut().unwrap().remove("_meta");
        client.post(&bare).send().await.refuses(400, -32602);
        for (header, value) in
            [("mcp-method", "tools/list"), ("mcp-name", "whoami"), ("mcp-protocol-version", "2025-11-25")]
        {
            client.post(&good()).with(header, value).send().await.refuses(400, -32020);
            client.post(&good()).header(header, value).send().await.refuses(400, -32020);
            let message = good();
            let answer = client.post(&message).without(header).send().await;
            answer.refuses(400, -32020);
            assert_eq!(answer.reply()["id"], message["id"], "{answer:?}");
        }
        let mut newer = good();
        newer["params"]["_meta"][VERSION] = json!("2027-01-01");
        let refused = client.post(&newer).send().await;
        refused.refuses(400, -32022);
        let data = json!({ "supported": [MODERN], "requested": "2027-01-01" });
        assert_eq!(refused.reply()["error"]["data"], data, "{refused:?}");
        client.post(&json!([good()])).with("mcp-method", "tools/call").send().await.refuses(400, -32600);
        let sound = client.post(&good()).send().await;
        assert_eq!((sound.status, sound.text().as_str()), (200, "on"), "what was wrong was nothing else");
    }
}

async fn a_method_the_revision_does_not_have_is_404(stage: Stage) {
    let gateway = stage.common().await;
    for server in SERVERS {
        let client = gateway.caller(server).modern();
        for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "x/y"]
        {
            let message = client.message(method, json!({}));
            let answer = client.post(&message).send().await;
            answer.refuses(404, -32601);
            assert_eq!(answer.reply()["id"], message["id"], "{answer:?}");
        }
    }
}

async fn what_only_the_arguments_are_wrong_about_is_told_in_band(stage: Stage) {
    let gateway = stage.common().await;
    for (server, era) in quadrants() {
        let caller = era.caller(gateway.caller(server)).await;
        caller.try_call("no such tool", json!({})).await.refuses(200, -32602);
        let missing = caller.request("resources/read", json!({ "uri": "test://absent" })).await;
        assert_eq!(missing.status, 200, "{era:?} {server}: {missing:?}");
        assert!([-32602, -32002].contains(&missing.code()), "{era:?} {server}: {missing:?}");
        let failed = caller.try_call("test_error_handling", json!({})).await;
        assert_eq!(failed.reply()["result"]["isError"], true, "{era:?} {server}: {failed:?}");
    }
}

async fn a_modern_notification_is_taken(stage: Stage) {
    let gateway = stage.common().await;
    for server in SERVERS {
        let client = gateway.caller(server).modern();
        let mut message = client.message("notifications/anything", json!({}));
        message.as_object_mut().unwrap().remove("id");
        let answer = client.post(&message).send().await;
        assert_eq!((answer.status, &answer.body[..]), (202, &b""[..]), "{server}: {answer:?}");
    }
}

async fn a_session_id_of_a_modern_request_is_ignored(stage: Stage) {
    session_id_is_ignored(stage, &["modern", "both"]).await;
}

async fn a_session_id_of_a_modern_request_to_a_legacy_server_is_ignored(stage: Stage) {
    session_id_is_ignored(stage, &["one"]).await;
}

async fn session_id_is_ignored(stage: Stage, servers: &[&str]) {
    let gateway = stage.common().await;
    let session = gateway.caller("modern").open().await.session().unwrap();
    for server in servers {
        let client = gateway.caller(server).modern();
        let plain = client.whoami().await;
        for id in [session.as_str(), "made-up"] {
            let message = client.message("tools/call", json!({ "name": "whoami", "arguments": {} }));
            let request = client.post(&message).header("mcp-session-id", id).header("last-event-id", "1");
            let answer = request.send().await;
            assert_eq!(answer.header("mcp-session-id"), "", "{server}: {answer:?}");
            let seen: Value = serde_json::from_str(&answer.text()).unwrap();
            let id_of = |seen: &Value| (seen["session"].clone(), seen["headers"]["mcp-session-id"].clone());
            assert_eq!(id_of(&seen), id_of(&plain), "{server}: {seen}");
            assert_eq!(seen["headers"].get("last-event-id"), None, "{server}: {seen}");
        }
    }
}

async fn what_a_modern_server_is_sent_is_written_anew(stage: Stage) {
    let gateway = stage.common().await;
    for era in Era::BOTH {
        let token = gateway.token();
        let caller = era.caller(gateway.caller_with("modern", &token)).await;
        let params = json!({ "name": "whoami", "arguments": {}, "_meta": { "com.example/n": [1.50, "é"] } });
        let request = match &caller {
            Caller::Legacy(client) => client.post(client.message("tools/call", params).to_string()),
            Caller::Modern(client) => client.post(&client.message("tools/call", params)),
        };
        let answer = request.header("cookie", "secret=cookie").header("x-anything", "else").send().await;
        let text = answer.text();
        assert!(!text.contains(&token.text()), "{era:?}: {text}");
        if let Caller::Legacy(client) = &caller {
            assert!(!text.contains(&client.session().unwrap()), "{text}");
        }
        let seen: Value = serde_json::from_str(&text).unwrap();
        for name in ["authorization", "cookie", "x-anything", "mcp-session-id", "last-event-id"] {
            assert_eq!(seen["headers"].get(name), None, "{era:?} {name}: {seen}");
        }
        for (name, value) in [("mcp-protocol-version", MODERN), ("mcp-method", "tools/call"), ("mcp-name", "whoami")] {
            assert_eq!(seen["headers"][name], value, "{era:?}: {seen}");
        }
        assert_eq!(seen["headers"]["traceparent"].as_str().unwrap().len(), 55, "{era:?}: {seen}");
        assert_eq!(seen["_meta"]["com.example/n"], json!([1.50, "é"]), "{era:?}: {seen}");
    }
}

async fn what_a_legacy_server_is_sent_says_nothing_modern(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("one", &token).modern();
    let message = client.message("tools/call", json!({ "name": "whoami", "arguments": {} }));
    let request = client.post(&message).header("cookie", "secret=cookie").header("mcp-param-region", "here");
    let answer = request.send().await;
    assert_eq!(answer.header("mcp-session-id"), "", "{answer:?}");
    let text = answer.text();
    assert!(!text.contains(&token.text()) && !text.contains("io.modelcontextprotocol/"), "{text}");
    let seen: Value = serde_json::from_str(&text).unwrap();
    for name in ["authorization", "cookie", "mcp-method", "mcp-name", "mcp-param-region"] {
        assert_eq!(seen["headers"].get(name), None, "{name}: {seen}");
    }
    assert_eq!(seen["headers"]["mcp-protocol-version"], "2025-11-25", "{seen}");
    assert_eq!(seen["headers"]["mcp-session-id"], seen["session"], "{seen}");
    let other = gateway.caller("one").modern().whoami().await;
    assert_ne!(other["session"], seen["session"], "it is nobody else's");
}

async fn one_caller_has_one_session_at_a_legacy_server(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").modern();
    let [first, again] = [client.whoami().await, client.whoami().await];
    assert!(first["session"].is_string(), "{first}");
    assert_eq!(again["session"], first["session"]);
}

async fn arguments_that_headers_repeat_are_repeated_anew(stage: Stage) {
    let gateway = stage.common().await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("modern")).await;
        assert!(caller.tools().await.contains(&"route".to_owned()));
        let arguments = json!({ "region": "é west", "shard": 7, "dry": true });
        let params = json!({ "name": "route", "arguments": arguments });
        let answer = match &caller {
            Caller::Legacy(client) => client.request("tools/call", params).await,
            Caller::Modern(client) => {
                let message = client.message("tools/call", params.clone());
                let repeated = |region: &str| {
                    let request = client.post(&message).header("mcp-param-region", region);
                    request.header("mcp-param-shard", "7").header("mcp-param-dry", "true")
                };
                repeated("=?base64?ZWxzZXdoZXJl?=").send().await.refuses(400, -32020);
                client.post(&message).send().await.refuses(400, -32020);
                repeated("=?base64?w6kgd2VzdA==?=").header("mcp-param-unknown", "carried").send().await
            }
        };
        let seen: Value = serde_json::from_str(&answer.text()).unwrap();
        let headers = &seen["headers"];
        assert_eq!(headers["mcp-param-region"], "=?base64?w6kgd2VzdA==?=", "{era:?}: {seen}");
        assert_eq!((&headers["mcp-param-shard"], &headers["mcp-param-dry"]), (&json!("7"), &json!("true")), "{era:?}");
        if era == Era::Modern {
            assert_eq!(headers["mcp-param-unknown"], "carried", "{seen}");
        }
    }
}

const READERS: &str = r#"
    @id("look") permit (principal, action in Action::"discover", resource);
    @id("call") permit (principal, action in Action::"call_tool", resource);
    @id("no-secrets") forbid (principal, action == Action::"json/echo", resource)
        when { context.arguments has text && context.arguments.text like "*secret*" };
    @id("no-whoami") forbid (principal, action == Action::"json/whoami", resource);
"#;

async fn policy_holds_in_every_quadrant(stage: Stage) {
    for fixture in [&Shared::running().one, &Shared::running().modern] {
        let gateway = stage.open(watched(fixture).await).await;
        for era in Era::BOTH {
            let caller = era.caller(gateway.caller("json")).await;
            let tools = caller.tools().await;
            assert!(tools.contains(&"echo".to_owned()), "{era:?}: {tools:?}");
            assert!(!tools.contains(&"whoami".to_owned()), "{era:?}: {tools:?}");
            assert_eq!(caller.call("echo", json!({ "text": "plain" })).await, "plain", "{era:?}");
            let denied = caller.try_call("echo", json!({ "text": "a secret" })).await;
            denied.refuses(200, -32000);
            let hidden = caller.try_call("whoami", json!({})).await;
            hidden.refuses(200, -32602);
            let absent = caller.try_call("nobody", json!({})).await;
            let spelled = |answer: &Answer, name: &str| answer.reply()["error"].to_string().replace(name, "_");
            assert_eq!(spelled(&hidden, "whoami"), spelled(&absent, "nobody"), "{era:?}");
        }
    }
}

async fn every_quadrant_leaves_its_record(stage: Stage) {
    for fixture in [&Shared::running().one, &Shared::running().modern] {
        let gateway = stage.open(watched(fixture).await).await;
        for era in Era::BOTH {
            let token = gateway.token();
            let caller = era.caller(gateway.caller_with("json", &token)).await;
            caller.call("echo", json!({ "text": "plain" })).await;
            caller.try_call("echo", json!({ "text": "a secret" })).await.refuses(200, -32000);
            recorded(&gateway, &token, era).await;
        }
    }
}

/// Both calls of `echo` stand in the chain, one with its outcome.
async fn recorded(gateway: &Gateway, token: &Token, era: Era) {
    let is_call = |entry: &&Value| entry["kind"] == "decision" && entry["calls"][0]["method"] == "tools/call";
    let has_outcome = |entries: &[Value], decision: &Value| {
        entries.iter().any(|entry| entry["kind"] == "outcome" && entry["request"] == decision["request"])
    };
    let is_complete = |entries: &[Value]| {
        let calls: Vec<_> = entries.iter().filter(is_call).collect();
        calls.len() == 2 && has_outcome(entries, calls[0])
    };
    let entries = gateway.audit(token, is_complete).await;
    let calls: Vec<&Value> = entries.iter().filter(is_call).collect();
    for call in &calls {
        assert_eq!((&call["server"], &call["calls"][0]["target"]), (&json!("json"), &json!("echo")), "{era:?}: {call}");
    }
    assert_eq!((&calls[0]["verdict"], &calls[0]["policies"]), (&json!("allowed"), &json!(["call"])), "{era:?}");
    assert_eq!((&calls[1]["verdict"], &calls[1]["policies"]), (&json!("denied"), &json!(["no-secrets"])), "{era:?}");
    assert!(!has_outcome(&entries, calls[1]), "{era:?}: what is denied is not sent");
}

async fn the_era_of_a_server_is_asked_once(stage: Stage) {
    let upstream = Upstream::shared();
    let [modern, legacy] = ["modern", "legacy"].map(|kind| format!("{kind}~{}", fresh("path")));
    let setup = Setup::new().server("modern", &[&upstream.url(&modern)]).server("legacy", &[&upstream.url(&legacy)]);
    let gateway = stage.open(setup).await;
    let probes = |path: &str| {
        let received = upstream.received(&format!("/{path}"));
        received.iter().filter(|one| one.body.contains("server/discover")).count()
    };
    for _ in 0..5 {
        for server in ["modern", "legacy"] {
            let caller = gateway.caller(server).modern();
            assert_eq!(caller.call("first", json!({})).await, "first", "{server}");
        }
    }
    assert_eq!((probes(&modern), probes(&legacy)), (1, 1));
    gateway.restart();
    for server in ["modern", "legacy"] {
        assert_eq!(gateway.caller(server).modern().call("first", json!({})).await, "first", "{server}");
    }
    assert_eq!((probes(&modern), probes(&legacy)), (1, 1), "it is remembered by more than one isolate");
}

async fn an_era_is_never_concluded_from_a_failure(stage: Stage) {
    let upstream = Upstream::shared();
    for failure in ["401", "403", "500", "503"] {
        let path = format!("modern-{failure}~{}", fresh("path"));
        let setup = Setup::new().server_with("new", &[&upstream.url(&path)], |server| server.retries = 0);
        let gateway = stage.open(setup).await;
        let client = gateway.caller("new").modern();
        let refused = client.try_call("first", json!({})).await;
        assert!(refused.status >= 500 && refused.code() == -32603, "{failure}: {refused:?}");
        assert_eq!(refused.header("www-authenticate"), "", "{refused:?}");
        assert_eq!(client.call("first", json!({})).await, "first", "{failure}");
        let received = upstream.received(&format!("/{path}"));
        assert!(received.iter().all(|one| !one.body.contains("\"initialize\"")), "{failure}: {received:?}");
    }
}

/// Every server with a caller of each era.
fn quadrants() -> impl Iterator<Item = (&'static str, Era)> {
    SERVERS.into_iter().flat_map(|server| Era::BOTH.map(|era| (server, era)))
}

/// A gateway's set-up whose policies know the tools of `fixture`, which is called `json` there.
async fn watched(fixture: &Fixture) -> Setup {
    let tools = fixture.tools().await;
    Setup::new().server("json", &[&fixture.url]).policies(READERS).pins("json", &tools)
}
