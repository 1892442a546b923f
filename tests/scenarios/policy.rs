//! Does policy decide every call, and does discovery show exactly what may be called?

use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    client::{Answer, Client, LATEST},
    fixture::Shared,
    issuer::Token,
    setup::Setup,
    stage::Gateway,
};

scenarios! {
    two_agents_see_different_tools,
    what_is_not_permitted_is_denied,
    a_call_to_an_invisible_tool_reads_like_one_to_none,
    arguments_decide,
    scopes_decide,
    a_denied_call_is_recorded_with_the_policy,
    a_candidate_decides_nothing_and_is_recorded,
    prompts_and_resources_are_filtered_too,
    a_policy_that_fails_denies,
    arguments_policy_cannot_read_are_refused,
    lists_in_a_batch_are_filtered,
    a_filtered_list_cannot_be_resumed_unfiltered,
    what_some_servers_read_otherwise_is_refused,
}

const READERS: &str = r#"
    @id("look") permit (principal, action in Action::"discover", resource);
    @id("readers-echo") permit (principal in Role::"reader", action == Action::"json/echo", resource);
    @id("writers-all") permit (principal in Role::"writer", action in Action::"call_tool", resource in Server::"json");
    @id("short-only") forbid (principal, action == Action::"json/echo", resource)
        when { context.arguments has text && context.arguments.text like "*secret*" };
"#;

async fn two_agents_see_different_tools(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let reader = session(&gateway, "reader").await;
    let writer = session(&gateway, "writer").await;
    assert_eq!(tools(&reader).await, ["echo"]);
    let all = tools(&writer).await;
    assert!(all.len() > 5 && all.contains(&"whoami".to_owned()), "{all:?}");
    assert_eq!(reader.call("echo", json!({ "text": "on" })).await, "on");
    assert!(writer.whoami().await.is_object());
}

async fn what_is_not_permitted_is_denied(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let stranger = session(&gateway, "stranger").await;
    assert_eq!(tools(&stranger).await, [""; 0]);
    denied(&stranger.try_call("echo", json!({ "text": "on" })).await);
    let gateway = stage.open(setup(r#"permit (principal in Role::"reader", action, resource);"#).await).await;
    let stranger = gateway.caller_with("json", &token(&gateway, "stranger"));
    stranger.initialize(LATEST).await.refuses(403, -32000);
}

async fn a_call_to_an_invisible_tool_reads_like_one_to_none(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let reader = session(&gateway, "reader").await;
    let invisible = reader.try_call("whoami", json!({})).await;
    let absent = reader.try_call("whoareyou", json!({})).await;
    let message = |answer: &Answer| answer.reply()["error"].clone();
    assert_eq!((invisible.status, invisible.code()), (200, -32602));
    assert_eq!(
        message(&invisible).to_string().replace("whoami", "_"),
        message(&absent).to_string().replace("whoareyou", "_")
    );
    assert_eq!(invisible.headers.keys().collect::<Vec<_>>(), absent.headers.keys().collect::<Vec<_>>());
}

async fn arguments_decide(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let writer = session(&gateway, "writer").await;
    assert_eq!(writer.call("echo", json!({ "text": "plain" })).await, "plain");
    let refused = writer.try_call("echo", json!({ "text": "the secret is" })).await;
    denied(&refused);
    assert!(tools(&writer).await.contains(&"echo".to_owned()), "other arguments are allowed");
}

async fn scopes_decide(stage: Stage) {
    let policies = r#"
        permit (principal, action in Action::"discover", resource);
        permit (principal, action in Action::"call_tool", resource) when { principal.scopes.contains("tools:call") };
    "#;
    let gateway = stage.open(setup(policies).await).await;
    let with = token(&gateway, "any").claim("scope", "mcp tools:call");
    let with = gateway.caller_with("json", &with).open().await;
    assert_eq!(with.call("echo", json!({ "text": "on" })).await, "on");
    denied(&session(&gateway, "any").await.try_call("echo", json!({ "text": "on" })).await);
}

async fn a_denied_call_is_recorded_with_the_policy(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let token = token(&gateway, "writer");
    let writer = gateway.caller_with("json", &token).open().await;
    denied(&writer.try_call("echo", json!({ "text": "a secret" })).await);
    writer.call("echo", json!({ "text": "fine" })).await;
    let is_call = |entry: &&Value| entry["calls"][0]["method"] == "tools/call" && entry["kind"] == "decision";
    let calls = gateway.audit(&token, |entries| entries.iter().filter(is_call).count() == 2).await;
    let calls: Vec<&Value> = calls.iter().filter(is_call).collect();
    assert_eq!((&calls[0]["verdict"], &calls[0]["policies"]), (&json!("denied"), &json!(["short-only"])));
    assert_eq!((&calls[1]["verdict"], &calls[1]["policies"]), (&json!("allowed"), &json!(["writers-all"])));
    assert_eq!(calls[0]["who"]["roles"], json!(["writer"]));
    assert!(!calls[0].to_string().contains("a secret"));
}

async fn a_candidate_decides_nothing_and_is_recorded(stage: Stage) {
    let setup = setup("@id(\"all\") permit (principal, action, resource);").await.candidate(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"no-echo\") forbid (principal, action == Action::\"json/echo\", resource);",
    );
    let gateway = stage.open(setup).await;
    let token = token(&gateway, "any");
    let client = gateway.caller_with("json", &token).open().await;
    assert!(tools(&client).await.contains(&"echo".to_owned()));
    assert_eq!(client.call("echo", json!({ "text": "on" })).await, "on");
    let shadowed = |entry: &Value| entry["shadow"] == json!({ "verdict": "denied", "policies": ["no-echo"] });
    let entries = gateway.audit(&token, |entries| entries.iter().any(shadowed)).await;
    assert_eq!(entries.iter().filter(|entry| entry.get("shadow").is_some()).count(), 1, "only where they differ");
}

async fn prompts_and_resources_are_filtered_too(stage: Stage) {
    let policies = r#"
        permit (principal, action in Action::"discover", resource);
        permit (principal, action == Action::"get_prompt", resource == Prompt::"json/test_simple_prompt");
        permit (principal, action == Action::"read_resource", resource == Resource::"json/test://static-text");
    "#;
    let gateway = stage.open(setup(policies).await).await;
    let client = session(&gateway, "any").await;
    let names = async |method: &str, list: &str, key: &str| -> Vec<String> {
        let listed = client.request(method, json!({})).await.reply()["result"][list].clone();
        let items = listed.as_array().unwrap_or_else(|| panic!("{listed}")).iter();
        items.map(|item| item[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("prompts/list", "prompts", "name").await, ["test_simple_prompt"]);
    assert_eq!(names("resources/list", "resources", "uri").await, ["test://static-text"]);
    let read = client.request("resources/read", json!({ "uri": "test://static-text" })).await;
    assert!(read.reply()["result"]["contents"].is_array(), "{read:?}");
    denied(&client.request("resources/read", json!({ "uri": "test://static-binary" })).await);
    denied(&client.request("prompts/get", json!({ "name": "test_prompt_with_image" })).await);
}

async fn a_policy_that_fails_denies(stage: Stage) {
    // 2^62 * 4 overflows, which no validation can foresee.
    let policies = r#"
        permit (principal, action in Action::"discover", resource);
        @id("all") permit (principal, action in Action::"call_tool", resource);
        @id("breaks") forbid (principal, action == Action::"json/echo", resource)
            when { context.arguments has size && context.arguments.size * 4611686018427387904 > 0 };
    "#;
    let gateway = stage.open(setup(policies).await).await;
    let token = token(&gateway, "any");
    let client = gateway.caller_with("json", &token).open().await;
    denied(&client.try_call("echo", json!({ "text": "x", "size": 4 })).await);
    let failed = |entry: &Value| entry["verdict"] == "denied" && entry["policies"] == json!(["breaks"]);
    gateway.audit(&token, |entries| entries.iter().any(failed)).await;
}

async fn arguments_policy_cannot_read_are_refused(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let writer = session(&gateway, "writer").await;
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let long = format!("\"{}\"", "x".repeat(200_000));
    for arguments in [
        format!(r#"{{"text":{deep}}}"#),
        r#"{"text":"x","size":99999999999999999999}"#.to_owned(),
        r#"{"text":"x","size":1e400}"#.to_owned(),
        r#"{"text":"x","text":"y"}"#.to_owned(),
        format!(r#"{{"text":{long},"text":1}}"#),
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
        );
        let answer = writer.post(body).send().await;
        assert_eq!(answer.code(), -32602, "{answer:?}");
    }
    assert_eq!(writer.call("echo", json!({ "text": "still here" })).await, "still here");
}

async fn lists_in_a_batch_are_filtered(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let reader = gateway.caller_with("json", &token(&gateway, "reader")).open_as("2025-03-26").await;
    let list = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list" });
    let answer = reader.post(json!([list(1), list(2)]).to_string()).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("\"echo\"") && !text.contains("whoami"), "{text}");
}

async fn a_filtered_list_cannot_be_resumed_unfiltered(stage: Stage) {
    let one = &Shared::running().one;
    let policies = READERS.replace("json", "one");
    let setup = Setup::new().server("one", &[&one.url]).policies(&policies).pins("one", &one.tools().await);
    let gateway = stage.open(setup).await;
    let reader = gateway.caller_with("one", &token(&gateway, "reader")).open().await;
    let listed = reader.request("tools/list", json!({})).await;
    let text = String::from_utf8(listed.body.to_vec()).unwrap();
    assert!(listed.header("content-type").starts_with("text/event-stream"), "{listed:?}");
    assert!(text.contains("\"echo\"") && !text.contains("whoami") && !text.contains("id: "), "{text}");
}

async fn what_some_servers_read_otherwise_is_refused(stage: Stage) {
    let gateway = stage.open(setup(READERS).await).await;
    let writer = session(&gateway, "writer").await;
    let call = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{params}}}"#);
    for params in [
        r#"{"name":"echo","Name":"whoami","arguments":{"text":"x"}}"#,
        r#"{"name":"echo","arguments":{"text":"x"},"Arguments":{"text":"a secret"}}"#,
        r#"{"name":"echo","arguments":{"text":"x","Text":"a secret"}}"#,
    ] {
        let answer = writer.post(call(params)).send().await;
        assert_eq!((answer.status, answer.code()), (400, -32602), "{params}: {answer:?}");
    }
    let message = r#"{"jsonrpc":"2.0","id":9,"method":"ping","Method":"tools/call"}"#;
    writer.post(message).send().await.refuses(400, -32600);
}

/// A gateway before a server whose tools are approved, so that policies may speak of their arguments.
async fn setup(policies: &str) -> Setup {
    let json = &Shared::running().json;
    Setup::new().server("json", &[&json.url]).policies(policies).pins("json", &json.tools().await)
}

fn token(gateway: &Gateway, role: &str) -> Token {
    gateway.token().claim("roles", json!([role]))
}

async fn session(gateway: &Gateway, role: &str) -> Client {
    gateway.caller_with("json", &token(gateway, role)).open().await
}

async fn tools(client: &Client) -> Vec<String> {
    let answer = client.request("tools/list", json!({})).await;
    let reply = answer.reply();
    let listed = reply["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    listed.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// Refused in a way that leaves the session as it is: an error for the one request.
fn denied(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!([-32000, -32602].contains(&answer.code()), "{answer:?}");
}
