//! Does a live object hold what has to wait? A façade of each kind, in front of a real server of the other era.

use std::time::Duration;

use bytes::Bytes;
use gateway::conversation::{Behind, Face, Terms};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use mcp::sse;
use serde_json::{Value, json};
use turnpike_tests::{Gateway, Stage, fixture::Fixture, memory::Body, setup::Setup, stage::eventually};

memory_only! {
    "On workerd only the gateway's own binding leads to a live object, and Spin has none.":
    a_modern_call_reaches_a_legacy_server,
    a_question_parks_the_call_and_its_answer_continues_it,
    a_legacy_session_reaches_a_modern_server,
    a_call_whose_caller_left_is_cancelled_behind,
    the_session_behind_is_one_and_stays_at_its_instance,
    the_session_behind_is_ended_once_it_has_rested,
    a_server_that_waits_for_its_question_owes_nothing,
    a_server_that_falls_silent_is_given_up,
    what_is_mirrored_in_headers_is_looked_up,
    a_conversation_that_was_forgotten_is_made_again,
    what_the_server_says_of_itself_is_heard_on_the_callers_stream,
}

async fn a_modern_call_reaches_a_legacy_server(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let (gateway, talk) = Talk::down(stage, &fixture).await;
    let answer =
        talk.post(&gateway, &modern(1, "tools/call", json!({ "name": "echo", "arguments": { "text": "hi" } }))).await;
    assert_eq!((answer.status, &answer.last()["result"]["content"][0]["text"]), (200, &json!("hi")), "{answer:?}");
}

async fn a_question_parks_the_call_and_its_answer_continues_it(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let (gateway, talk) = Talk::down(stage, &fixture).await;
    let mut params = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let asked = talk.post(&gateway, &modern(1, "tools/call", params.clone())).await.last();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    answer(&mut params, &asked);
    let answer = talk.post(&gateway, &modern(2, "tools/call", params)).await.last();
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("ada"), "{answer}");
}

async fn a_call_whose_caller_left_is_cancelled_behind(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let (gateway, talk) = Talk::down(stage, &fixture).await;
    let direct = fixture.client().open().await;
    let is = async |fate: &str| direct.call("held", json!({ "label": "one" })).await == fate;
    let call = modern(1, "tools/call", json!({ "name": "hold", "arguments": { "label": "one", "ms": 600_000 } }));
    tokio::select! {
        answer = talk.post(&gateway, &call) => panic!("it is held: {answer:?}"),
        () = eventually("it is called", async || is("running").await) => {}
    }
    eventually("it is cancelled", async || is("cancelled").await).await;
}

async fn the_session_behind_is_one_and_stays_at_its_instance(stage: Stage) {
    let pair = ["one", "two"].map(|name| Fixture::start(name, &["--era", "legacy"]));
    let setup = Setup::new().server("behind", &[&pair[0].url, &pair[1].url]);
    let (gateway, talk) = (stage.open(setup).await, Talk::new_down());
    let call = |id| modern(id, "tools/call", json!({ "name": "whoami", "arguments": {} }));
    let mut seen = Vec::new();
    for id in 0..8 {
        let answer = talk.post(&gateway, &call(id)).await.last();
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        let whoami: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{answer}"));
        seen.push((whoami["instance"].to_string(), whoami["session"].to_string()));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
}

async fn the_session_behind_is_ended_once_it_has_rested(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let setup = Setup::new().server("behind", &[&fixture.url]).clock_stands();
    let (gateway, talk) = (stage.open(setup).await, Talk::new_down());
    talk.post(&gateway, &modern(1, "tools/list", json!({}))).await;
    assert_eq!(fixture.sessions().await.len(), 1);
    let open = || gateway.memory().conversations().open();
    assert_eq!(open(), 1);
    gateway.memory().advance(Duration::from_secs(59));
    talk.post(&gateway, &modern(2, "tools/list", json!({}))).await;
    gateway.memory().advance(Duration::from_secs(59));
    assert_eq!((open(), fixture.sessions().await.len()), (1, 1), "it was used a minute ago");
    gateway.memory().advance(Duration::from_secs(60));
    eventually("it is ended", async || open() == 0 && fixture.sessions().await.is_empty()).await;
    assert_eq!(talk.post(&gateway, &modern(3, "tools/list", json!({}))).await.status, 200);
}

async fn a_server_that_waits_for_its_question_owes_nothing(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let setup = Setup::new().server_with("behind", &[&fixture.url], |server| server.timeout_ms = 5_000);
    let (gateway, talk) = (stage.open(setup.clock_stands()).await, Talk::new_down());
    let mut params = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let call = modern(1, "tools/call", params.clone());
    let asked = tokio::select! {
        asked = talk.post(&gateway, &call) => asked.last(),
        () = passing(&gateway, Duration::from_millis(10)) => unreachable!("time passes without an end"),
    };
    for _ in 0..6 {
        gateway.memory().advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    answer(&mut params, &asked);
    let told = talk.post(&gateway, &modern(2, "tools/call", params)).await.last();
    assert!(told["result"]["content"][0]["text"].as_str().unwrap_or_default().contains("ada"), "{told}");
}

async fn a_server_that_falls_silent_is_given_up(stage: Stage) {
    let fixture = Fixture::start("legacy", &["--era", "legacy"]);
    let setup = Setup::new().server_with("behind", &[&fixture.url], |server| server.timeout_ms = 5_000);
    let (gateway, talk) = (stage.open(setup.clock_stands()).await, Talk::new_down());
    let direct = fixture.client().open().await;
    let call = modern(1, "tools/call", json!({ "name": "hold", "arguments": { "label": "two", "ms": 600_000 } }));
    let silence = async {
        let running = async || direct.call("held", json!({ "label": "two" })).await == "running";
        eventually("it is called", running).await;
        eventually("time passes", async || {
            gateway.memory().advance(Duration::from_secs(1));
            direct.call("held", json!({ "label": "two" })).await != "running"
        })
        .await;
    };
    let (told, ()) = tokio::join!(talk.post(&gateway, &call), silence);
    assert!(told.last()["error"]["code"].is_i64(), "{told:?}");
}

async fn what_is_mirrored_in_headers_is_looked_up(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let (gateway, talk) = Talk::up(stage, &fixture).await;
    let params = json!({ "name": "route", "arguments": { "region": "zürich", "shard": 7 } });
    let told = talk.post(&gateway, &legacy(1, "tools/call", params)).await.last();
    let text = told["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{told}"));
    let headers = serde_json::from_str::<Value>(text).unwrap()["headers"].clone();
    assert_eq!(headers, json!({ "mcp-param-region": "=?base64?esO8cmljaA==?=", "mcp-param-shard": "7" }));
}

async fn a_conversation_that_was_forgotten_is_made_again(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let (gateway, talk) = Talk::up(stage, &fixture).await;
    gateway.restart();
    let params = json!({ "name": "echo", "arguments": { "text": "again" } });
    let told = talk.post(&gateway, &legacy(1, "tools/call", params)).await;
    assert_eq!(told.last()["result"]["content"][0]["text"], "again", "{told:?}");
}

async fn what_the_server_says_of_itself_is_heard_on_the_callers_stream(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let (gateway, talk) = Talk::up(stage, &fixture).await;
    let mut stream = talk.request(&gateway, Method::GET, Bytes::new()).await;
    assert_eq!(stream.status(), 200);
    let mut parser = sse::Parser::new(1 << 20);
    let mut calls = 1..;
    let heard = async {
        loop {
            let frame = stream.body_mut().frame().await.expect("it goes on").unwrap();
            let events = parser.push(&frame.into_data().unwrap()).unwrap();
            if events.iter().any(|event| event.data.contains("notifications/tools/list_changed")) {
                return;
            }
        }
    };
    let changes = async {
        loop {
            let params = json!({ "name": "test_trigger_tool_change", "arguments": {} });
            talk.post(&gateway, &legacy(calls.next().unwrap(), "tools/call", params)).await;
        }
    };
    tokio::select! {
        () = heard => {}
        () = changes => {}
    }
}

async fn a_legacy_session_reaches_a_modern_server(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let (gateway, talk) = Talk::up(stage, &fixture).await;
    let params = json!({ "name": "echo", "arguments": { "text": "hi" } });
    let told = talk.post(&gateway, &legacy(1, "tools/call", params)).await;
    assert_eq!((told.status, &told.last()["result"]["content"][0]["text"]), (200, &json!("hi")), "{told:?}");
}

/// Lets time pass, a `step` each time all is still.
async fn passing(gateway: &Gateway, step: Duration) {
    eventually("time passes without an end", async || {
        gateway.memory().advance(step);
        false
    })
    .await;
}

/// Answers what is asked.
fn answer(params: &mut Value, asked: &Value) {
    let requests = asked["result"]["inputRequests"].as_object().unwrap_or_else(|| panic!("it asks: {asked}"));
    let content = json!({ "action": "accept", "content": { "username": "ada", "email": "ada@example.com" } });
    params["inputResponses"] = requests.keys().map(|key| (key.clone(), content.clone())).collect();
    params["requestState"] = asked["result"]["requestState"].clone();
}

/// What is said to one object.
struct Talk {
    terms: Terms,
    session: Option<String>,
}

/// What it answered.
#[derive(Debug)]
struct Told {
    status: u16,
    session: Option<String>,
    messages: Vec<Value>,
}

impl Talk {
    fn new_down() -> Self {
        let down = bridge::down::Terms {
            server: "behind".to_owned(),
            capabilities: json!({ "elicitation": {} }),
            client_info: None,
            parked_ms: 600_000,
        };
        let terms = Terms { face: Face::Down(down), behind: Behind::Instance("behind".to_owned()) };
        Self { terms, session: None }
    }

    /// One that began a session.
    async fn up(stage: Stage, fixture: &Fixture) -> (Gateway, Self) {
        let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
        let terms = Terms { face: Face::Up, behind: Behind::Instance("behind".to_owned()) };
        let talk = Self { terms, session: None };
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let opened = talk.post(&gateway, &legacy(0, "initialize", params)).await;
        assert_eq!(opened.last()["result"]["protocolVersion"], "2025-11-25", "{opened:?}");
        let talk = Self { session: opened.session, ..talk };
        talk.post(&gateway, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        (gateway, talk)
    }

    async fn down(stage: Stage, fixture: &Fixture) -> (Gateway, Self) {
        let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
        (gateway, Self::new_down())
    }

    async fn post(&self, gateway: &Gateway, message: &Value) -> Told {
        Told::read(self.request(gateway, Method::POST, message.to_string().into()).await).await
    }

    async fn request(&self, gateway: &Gateway, method: Method, body: Bytes) -> Response<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        self.terms.tell(&mut request).unwrap();
        if let Some(session) = &self.session {
            request.headers_mut().insert("mcp-session-id", session.parse().unwrap());
        }
        gateway.memory().converse("object", request).await
    }
}

impl Told {
    async fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let bytes = body.collect().await.unwrap().to_bytes();
        let messages = match header("content-type").as_deref() {
            Some("text/event-stream") => {
                let events = sse::Parser::new(1 << 20).push(&bytes).unwrap();
                let data = events.into_iter().filter(|event| !event.data.is_empty());
                data.map(|event| serde_json::from_str(&event.data).unwrap()).collect()
            }
            Some(_) => vec![serde_json::from_slice(&bytes).unwrap()],
            None => Vec::new(),
        };
        Self { status: head.status.as_u16(), session: header("mcp-session-id"), messages }
    }

    fn last(&self) -> Value {
        self.messages.last().cloned().unwrap_or_default()
    }
}

fn modern(id: u64, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} },
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    legacy(id, method, params)
}

fn legacy(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}
