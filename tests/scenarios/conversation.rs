//! Does a live object hold what has to wait? A façade of each kind, in front of a real server of the other era.

use bytes::Bytes;
use gateway::conversation::{Behind, Face, Terms};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use mcp::sse;
use serde_json::{Value, json};
use turnpike_tests::{Gateway, Stage, fixture::Fixture, memory::Body, setup::Setup};

memory_only! {
    "On workerd only the gateway's own binding leads to its objects.":
    a_modern_call_reaches_a_legacy_server,
    a_question_parks_the_call_and_its_answer_continues_it,
    a_legacy_session_reaches_a_modern_server,
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
    let requests = asked["result"]["inputRequests"].as_object().expect("it asks");
    let answers = requests.keys().map(|key| {
        (key.clone(), json!({ "action": "accept", "content": { "username": "ada", "email": "ada@example.com" } }))
    });
    params["inputResponses"] = answers.collect::<serde_json::Map<_, _>>().into();
    params["requestState"] = asked["result"]["requestState"].clone();
    let answer = talk.post(&gateway, &modern(2, "tools/call", params)).await.last();
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("ada"), "{answer}");
}

async fn a_legacy_session_reaches_a_modern_server(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let setup = Setup::new().server("behind", &[&fixture.url]);
    let gateway = stage.open(setup).await;
    let mut talk =
        Talk { terms: Terms { face: Face::Up, behind: Behind::Instance("behind".to_owned()) }, session: None };
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
    let opened = talk.post(&gateway, &legacy(0, "initialize", params)).await;
    assert_eq!(opened.last()["result"]["protocolVersion"], "2025-11-25", "{opened:?}");
    talk.session = opened.session.clone();
    talk.post(&gateway, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    let params = json!({ "name": "echo", "arguments": { "text": "hi" } });
    let answer = talk.post(&gateway, &legacy(1, "tools/call", params)).await;
    assert_eq!((answer.status, &answer.last()["result"]["content"][0]["text"]), (200, &json!("hi")), "{answer:?}");
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
    async fn down(stage: Stage, fixture: &Fixture) -> (Gateway, Self) {
        let gateway = stage.open(Setup::new().server("behind", &[&fixture.url])).await;
        let down = bridge::down::Terms {
            server: "behind".to_owned(),
            capabilities: json!({ "elicitation": {} }),
            client_info: None,
        };
        let terms = Terms { face: Face::Down(down), behind: Behind::Instance("behind".to_owned()) };
        (gateway, Self { terms, session: None })
    }

    async fn post(&self, gateway: &Gateway, message: &Value) -> Told {
        Told::read(self.begin(gateway, message).await).await
    }

    async fn begin(&self, gateway: &Gateway, message: &Value) -> Response<Body> {
        let mut request = Request::new(Bytes::from(message.to_string()));
        *request.method_mut() = Method::POST;
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
