//! Is the oldest transport spoken on either side? HTTP+SSE of MCP 2024-11-05: callers that know nothing else, and servers.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use turnpike_tests::{
    Gateway, Stage,
    client::{Answer, Client, LATEST, Stream, initialize_params},
    fixture::{Fixture, Old, Shared, old_session},
    issuer::Token,
    setup::Setup,
    stage::eventually,
};

not_on_spin! {
    "HTTP+SSE takes a stream that outlives the requests which are answered on it: it is not offered.":
    an_old_client_has_a_whole_session_with_a_legacy_server,
    an_old_client_has_a_whole_session_with_a_modern_server,
    an_old_client_has_a_whole_session_with_an_old_server,
    a_streamable_client_has_a_whole_session_with_an_old_server,
    a_modern_client_reaches_an_old_server,
    every_message_of_an_old_client_is_decided_counted_and_recorded,
    an_old_clients_session_is_nobody_elses,
    a_closed_stream_ends_the_session_behind,
    a_server_that_ends_its_stream_ends_the_session,
    deleting_a_session_closes_the_servers_stream,
    an_endpoint_at_another_origin_is_not_called,
}

async fn an_old_client_has_a_whole_session_with_a_legacy_server(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let gateway = stage.open(Setup::new().server("one", &[&fixture.url])).await;
    let steps = json!([
        ["tools", "tools"],
        ["echo", "call", "echo", { "text": "hello" }],
        ["progress", "progress", "slow", { "steps": 3, "step_ms": 20 }],
        ["elicited", "call", "test_elicitation", { "message": "who?" }],
        ["sampled", "call", "test_sampling", { "prompt": "say" }],
        ["prompt", "prompt", "test_simple_prompt", {}],
        ["read", "read", "test://static-text"],
        ["subscribed", "subscribe", "test://watched-resource"],
        ["touched", "call", "touch", {}],
        ["updated", "updated"],
        ["cancelled", "cancel", "hold", { "label": "old", "ms": 60_000 }],
        ["failed", "read", "test://nothing"],
    ]);
    let seen = session(&gateway, "one", steps).await;
    assert!(seen["tools"].as_array().unwrap().len() > 3, "{seen:#}");
    assert_eq!(seen["echo"]["content"][0]["text"], "hello", "{seen:#}");
    progressed(&seen["progress"]);
    assert!(said(&seen["elicited"]).contains("ada"), "{seen:#}");
    assert!(said(&seen["sampled"]).contains("sampled"), "{seen:#}");
    assert!(seen["prompt"]["messages"].is_array(), "{seen:#}");
    assert!(seen["read"]["contents"].is_array(), "{seen:#}");
    assert_eq!(seen["updated"], "test://watched-resource", "{seen:#}");
    assert!(seen["cancelled"].as_str().unwrap().starts_with("cancelled: "), "{seen:#}");
    assert!(seen["failed"].as_str().unwrap().starts_with("failed: "), "{seen:#}");
    eventually("the session behind is ended", async || fixture.sessions().await.is_empty()).await;
    let held = fixture.client().open().await.call("held", json!({ "label": "old" })).await;
    assert_eq!(held, "cancelled");
}

async fn an_old_client_has_a_whole_session_with_a_modern_server(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let gateway = stage.open(Setup::new().server("one", &[&fixture.url])).await;
    let steps = json!([
        ["echo", "call", "echo", { "text": "hello" }],
        ["progress", "progress", "slow", { "steps": 3, "step_ms": 20 }],
        ["asked", "call", "test_input_required_result_multiple_inputs", {}],
    ]);
    let seen = session(&gateway, "one", steps).await;
    assert_eq!(seen["echo"]["content"][0]["text"], "hello", "{seen:#}");
    progressed(&seen["progress"]);
    assert!(said(&seen["asked"]).contains("sampled (ada, 1 roots)"), "{seen:#}");
}

async fn an_old_client_has_a_whole_session_with_an_old_server(stage: Stage) {
    let old = Old::start();
    let gateway = stage.open(Setup::new().server("old", &[&old.url])).await;
    whole_session_with_everything(&session(&gateway, "old", everything()).await);
}

async fn a_streamable_client_has_a_whole_session_with_an_old_server(stage: Stage) {
    let old = Old::start();
    let gateway = stage.open(Setup::new().server("old", &[&old.url])).await;
    let client = gateway.caller("old").open().await;
    let mut own = client.listen(None).await;
    assert_eq!(own.status, 200);
    // server-everything asks once it was initialized.
    let asked = told(&mut own, |message| message["method"] == "roots/list").await;
    let roots = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "roots": [] } });
    assert_eq!(client.post(roots.to_string()).send().await.status, 202);
    assert_eq!(client.call("echo", json!({ "message": "hi" })).await, "Echo: hi");
    let refused = client.request("tools/call", json!({ "name": "no such tool" })).await.reply();
    assert!(refused["error"].is_object() || refused["result"]["isError"] == true, "{refused}");

    let params = json!({ "name": "trigger-long-running-operation", "arguments": { "duration": 0.3, "steps": 3 },
        "_meta": { "progressToken": "p" } });
    let mut stream = client.stream("tools/call", params).await;
    for step in 1..=3 {
        let told = stream.message().await.unwrap();
        assert_eq!((&told["params"]["progress"], &told["params"]["progressToken"]), (&json!(step), &json!("p")));
    }
    assert!(said(&stream.message().await.unwrap()["result"]).contains("completed"));
    assert_eq!(stream.message().await, None);

    let mut stream =
        client.stream("tools/call", json!({ "name": "trigger-elicitation-request", "arguments": {} })).await;
    let asked = stream.message().await.unwrap();
    assert_eq!(asked["method"], "elicitation/create", "{asked}");
    let declined = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "action": "decline" } });
    assert_eq!(client.post(declined.to_string()).send().await.status, 202);
    assert!(said(&stream.message().await.unwrap()["result"]).contains("decline"));

    let calls = (0..20).map(|n| {
        let client = &client;
        async move { client.call("echo", json!({ "message": n.to_string() })).await }
    });
    let texts = futures_util::future::join_all(calls).await;
    assert_eq!(texts, (0..20).map(|n| format!("Echo: {n}")).collect::<Vec<_>>());
}

async fn a_modern_client_reaches_an_old_server(stage: Stage) {
    let old = Old::start();
    let gateway = stage.open(Setup::new().server("old", &[&old.url])).await;
    let client = gateway.caller("old");
    let echoed = modern(&client, 1, "tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } })).await;
    assert_eq!(said(&echoed.reply()["result"]), "Echo: hi", "{echoed:?}");
    let mut params = json!({ "name": "trigger-elicitation-request", "arguments": {} });
    let asked = modern(&client, 2, "tools/call", params.clone()).await.reply();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let questions = asked["result"]["inputRequests"].as_object().unwrap();
    let answers = questions.keys().map(|key| (key.clone(), json!({ "action": "decline" })));
    params["inputResponses"] = answers.collect::<serde_json::Map<_, _>>().into();
    params["requestState"] = asked["result"]["requestState"].clone();
    let answered = modern(&client, 3, "tools/call", params).await.reply();
    assert!(said(&answered["result"]).contains("decline"), "{answered}");
}

async fn every_message_of_an_old_client_is_decided_counted_and_recorded(stage: Stage) {
    let policies = r#"
        @id("all") permit (principal, action, resource);
        @id("no-whoami") forbid (principal, action == Action::"json/whoami", resource);
        @id("no-secrets") forbid (principal, action == Action::"json/echo", resource)
            when { context.arguments has text && context.arguments.text like "*secret*" };
    "#;
    let tools = Shared::running().json.tools().await;
    let setup = Setup::new().server("json", &[&Shared::running().json.url]).pins("json", &tools).policies(policies);
    // `initialize`, the list, the three calls and no more: what has no answer is not counted.
    let gateway = stage.open(setup.limit_by_agent(5)).await;
    let token = gateway.token();
    let mut talk = Talk::begin(&gateway, "json", &token).await;
    talk.open().await;
    let listed = talk.ask("tools/list", json!({})).await;
    let names: Vec<&str> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"echo") && !names.contains(&"whoami"), "{names:?}");
    let echoed = talk.ask("tools/call", json!({ "name": "echo", "arguments": { "text": "hi" } })).await;
    assert_eq!(said(&echoed["result"]), "hi");
    for (tool, arguments) in [("echo", json!({ "text": "a secret" })), ("whoami", json!({}))] {
        let denied = talk.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        assert!(denied["error"].is_object(), "{denied}");
    }
    let limited = talk.post(&json!({ "jsonrpc": "2.0", "id": 99, "method": "tools/list" })).await;
    limited.refuses(429, -32000);
    let entries = gateway.audit(&token, |entries| entries.iter().filter(|one| one["kind"] == "decision").count() >= 8);
    let entries = entries.await;
    let count = |verdict: &str| entries.iter().filter(|one| one["verdict"] == verdict).count();
    // Allowed: `initialize`, `notifications/initialized`, the server's own stream, the list, a call.
    assert_eq!((count("allowed"), count("denied")), (5, 3), "{entries:#?}");
}

async fn an_old_clients_session_is_nobody_elses(stage: Stage) {
    let gateway = stage
        .open(Setup::new().server("one", &[&Shared::running().one.url]).server("two", &[&Shared::running().one.url]))
        .await;
    let (mine, theirs) = (gateway.token(), gateway.token());
    let mut talk = Talk::begin(&gateway, "one", &mine).await;
    talk.open().await;
    let ping = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" });
    talk.post_with(&theirs.text(), &talk.endpoint, &ping).await.refuses(404, -32001);
    talk.post_with(&mine.text(), &talk.endpoint.replace("/one/", "/two/"), &ping).await.refuses(404, -32001);
    talk.post_with("", &talk.endpoint, &ping).await.refuses(401, -32000);
    let id = talk.endpoint.split('=').next_back().unwrap();
    for wrong in
        ["", "?session=", "?session=x", &format!("?session={id}&session={id}"), &format!("?session={}", "A".repeat(43))]
    {
        let path = format!("/mcp/one/messages{wrong}");
        talk.post_with(&mine.text(), &path, &ping).await.refuses(404, -32001);
    }
    let bearer = format!("Bearer {}", mine.text());
    let request = |method: &str, path: &str| {
        gateway.client().exact(method, path).header("authorization", &bearer).header("accept", "text/event-stream")
    };
    assert_eq!(request("GET", &talk.endpoint).send().await.status, 405);
    assert_eq!(request("DELETE", "/mcp/one/sse").send().await.status, 405);
    assert_eq!(request("GET", "/mcp/absent/sse").send().await.status, 404);
    assert_eq!(
        gateway.client().exact("GET", "/mcp/one/sse").header("accept", "text/event-stream").send().await.status,
        401
    );
    assert_eq!(talk.ask("ping", json!({})).await["result"], json!({}), "it is still mine");
}

async fn a_closed_stream_ends_the_session_behind(stage: Stage) {
    let fixture = Fixture::start("left", &[]);
    let gateway = stage.open(Setup::new().server("one", &[&fixture.url])).await;
    let mut talk = Talk::begin(&gateway, "one", &gateway.token()).await;
    talk.open().await;
    eventually("the server's own stream is open", async || fixture.open_responses().await == 1).await;
    let Talk { client, stream, token, endpoint, .. } = talk;
    drop(stream);
    eventually("the session is ended", async || fixture.sessions().await.is_empty()).await;
    eventually("the streams are closed", async || fixture.open_responses().await == 0).await;
    let ping = json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" });
    post(&client, &token, &endpoint, &ping).await.refuses(404, -32001);
}

async fn a_server_that_ends_its_stream_ends_the_session(stage: Stage) {
    let mut old = Old::start();
    let gateway = stage.open(Setup::new().server("old", &[&old.url])).await;
    let client = gateway.caller("old").open().await;
    let params = json!({ "name": "trigger-long-running-operation", "arguments": { "duration": 60, "steps": 600 },
        "_meta": { "progressToken": 1 } });
    let mut stream = client.stream("tools/call", params).await;
    told(&mut stream, |message| message["method"] == "notifications/progress").await;
    old.kill();
    let failed = told(&mut stream, |message| message.get("id").is_some()).await;
    assert!(failed["error"]["message"].as_str().unwrap().contains("session has ended"), "{failed}");
    client.try_call("echo", json!({ "message": "?" })).await.refuses(404, -32001);
}

async fn deleting_a_session_closes_the_servers_stream(stage: Stage) {
    let old = Old::start();
    let gateway = stage.open(Setup::new().server("old", &[&old.url])).await;
    let client = gateway.caller("old").open().await;
    let own = client.listen(None).await;
    assert_eq!(client.delete().await.status, 200);
    client.request("ping", json!({})).await.refuses(404, -32001);
    drop(own);
    let again = gateway.caller("old").open().await;
    assert_eq!(again.call("echo", json!({ "message": "anew" })).await, "Echo: anew");
}

async fn an_endpoint_at_another_origin_is_not_called(stage: Stage) {
    let victim = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/latest/meta-data", victim.local_addr().unwrap());
    let (url, server) = pointing(endpoint).await;
    let gateway = stage.open(Setup::new().server("old", &[&url])).await;
    let answer = gateway.caller("old").initialize(LATEST).await;
    assert!(answer.status >= 500, "{answer:?}");
    assert!(!String::from_utf8_lossy(&answer.body).contains("meta-data"), "{answer:?}");
    let called = tokio::time::timeout(std::time::Duration::from_millis(200), victim.accept()).await;
    assert!(called.is_err(), "it was called");
    server.abort();
}

/// A server that refuses every POST, and points to `endpoint` on every stream.
async fn pointing(endpoint: String) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sse", listener.local_addr().unwrap());
    let server = tokio::task::spawn_local(async move {
        let mut streams = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 16 * 1024];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let answer = match head[..read].starts_with(b"GET") {
                true => format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: endpoint\ndata: {endpoint}\n\n"
                ),
                false => "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            streams.push(stream);
        }
    });
    (url, server)
}

/// What server-everything is asked.
fn everything() -> Value {
    json!([
        ["tools", "tools"],
        ["echo", "call", "echo", { "message": "hello" }],
        ["progress", "progress", "trigger-long-running-operation", { "duration": 0.3, "steps": 3 }],
        ["elicited", "call", "trigger-elicitation-request", {}],
        ["sampled", "call", "trigger-sampling-request", { "prompt": "say" }],
        ["prompt", "prompt", "simple-prompt", {}],
        ["read", "read", "demo://resource/static/document/architecture.md"],
    ])
}

fn whole_session_with_everything(seen: &Value) {
    assert!(seen["tools"].as_array().unwrap().len() > 8, "{seen:#}");
    assert_eq!(said(&seen["echo"]), "Echo: hello", "{seen:#}");
    progressed(&seen["progress"]);
    assert!(seen["elicited"].to_string().contains("ada"), "{seen:#}");
    assert!(seen["sampled"].to_string().contains("sampled"), "{seen:#}");
    assert!(seen["prompt"]["messages"].is_array(), "{seen:#}");
    assert!(seen["read"]["contents"].is_array(), "{seen:#}");
}

/// The SDK forgets whom to tell once the response came; what comes with it is told to nobody.
fn progressed(seen: &Value) {
    assert!(seen == &json!([1, 2, 3]) || seen == &json!([1, 2]), "{seen}");
}

/// What npm's SDK sees at `server`, over HTTP+SSE.
async fn session(gateway: &Gateway, server: &str, steps: Value) -> Value {
    let url = format!("{}/mcp/{server}/sse", gateway.origin());
    old_session(&url, &gateway.token().text(), steps).await
}

/// The next message that is `wanted`.
async fn told(stream: &mut Stream, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = stream.message().await.expect("it comes before the stream ends");
        if wanted(&message) {
            return message;
        }
    }
}

fn said(result: &Value) -> String {
    result["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

async fn modern(client: &Client, id: u64, method: &str, mut params: Value) -> Answer {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    let name = params["name"].as_str().unwrap().to_owned();
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let request = client.post(message.to_string()).header("mcp-protocol-version", "2026-07-28");
    request.header("mcp-method", method).header("mcp-name", &name).send().await
}

/// An old client, message by message.
struct Talk {
    client: Client,
    token: String,
    stream: Stream,
    endpoint: String,
    ids: u64,
}

impl Talk {
    async fn begin(gateway: &Gateway, server: &str, token: &Token) -> Self {
        let (client, token) = (gateway.client(), token.text());
        let request = client.exact("GET", &format!("/mcp/{server}/sse")).header("accept", "text/event-stream");
        let mut stream = request.header("authorization", &format!("Bearer {token}")).stream().await;
        assert_eq!((stream.status, &stream.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        let first = stream.next().await.unwrap();
        assert_eq!(first.name, "endpoint");
        assert!(first.data.starts_with(&format!("/mcp/{server}/messages?session=")), "{first:?}");
        Self { client, token, stream, endpoint: first.data, ids: 0 }
    }

    async fn open(&mut self) {
        let opened = self.ask("initialize", initialize_params("2024-11-05")).await;
        assert_eq!(opened["result"]["protocolVersion"], "2024-11-05", "{opened}");
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.post(&initialized).await.status, 202);
    }

    /// The response that comes on the stream.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.ids += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.ids, "method": method, "params": params });
        let answer = self.post(&request).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
        let id = self.ids;
        told(&mut self.stream, |message| message["id"] == id && message.get("method").is_none()).await
    }

    async fn post(&self, message: &Value) -> Answer {
        self.post_with(&self.token, &self.endpoint, message).await
    }

    async fn post_with(&self, token: &str, path: &str, message: &Value) -> Answer {
        post(&self.client, token, path, message).await
    }
}

async fn post(client: &Client, token: &str, path: &str, message: &Value) -> Answer {
    let request = client.exact("POST", path).header("content-type", "application/json").body(message.to_string());
    let request = if token.is_empty() { request } else { request.header("authorization", &format!("Bearer {token}")) };
    request.send().await
}
