//! How long does it take to translate a message of 4 KiB, from one era to the other and for an endpoint of many servers?
//!
//! Under `shared/` nothing reads a clock: this program says when a batch begins and ends, and the bench (`batches.mjs`) runs
//! it as WebAssembly and keeps the time. A message is never translated alone: an exchange has a large one and a small one, and
//! all that is done for both is counted to the large one.

#![expect(clippy::panic, reason = "a program that measures, beside the core and no part of it")]

use std::hint::black_box;

use bridge::{
    down::{self, Down},
    facade::{Action, Channel, End, Event, Facade, Hop, Life, Moment},
    federation::{Part, View, cache::Scope, list, rewrite, route},
    up::Up,
};
use mcp::{Body, Call, Message, Timestamp, jsonrpc, page::Kind};
use serde_json::{Value, json};

fn main() {
    println!("# Down: a modern caller, a legacy server");
    exchanges(|| Stage::new(Down::new(terms())), Era::Modern);
    println!("# Up: a legacy caller, a modern server");
    exchanges(|| Stage::new(Up::new(Life::Conversation)).opened(), Era::Legacy);
    println!("# Federation: three servers as one");
    federation();
}

/// What a façade's caller and server say, when its caller is of the era `caller`.
fn exchanges<F: Facade>(stage: impl Fn() -> Stage<F>, caller: Era) {
    let server = caller.other();
    let (small, large) = (caller.call("read", &json!({ "path": "a" })), caller.call("read", &arguments()));
    let (brief, full) = (server.result(&json!({ "content": [] })), server.result(&content()));
    let (ask, page) = (caller.request("tools/list", json!({})), server.list());
    for (what, request, result) in
        [("a call", &large, &brief), ("its result", &small, &full), ("a list of tools", &ask, &page)]
    {
        let mut stage = stage();
        let bytes = request.len().max(result.len());
        // Whatever has to be agreed on first is over by then.
        stage.exchange(request, result);
        batches(&format!("{what} of {bytes} bytes"), 1, || stage.exchange(request, result));
    }
}

fn federation() {
    let view = View::whole(["files", "fixture", "search"], Scope::Private);
    let call = Era::Modern.call("fixture__read", &arguments());
    batches(&format!("a call of {} bytes", call.len()), 1, || {
        let way = with_call(&call, |call| route::route(&view, call).is_ok());
        black_box(way)
    });
    let result = response("7", &Era::Modern.result(&content()));
    batches(&format!("its result of {} bytes", result.len()), 1, || {
        let message = rewrite::message(&view, "fixture", "tools/call", &result);
        assert_ne!(message.len(), result.len(), "no resource was renamed");
        black_box(message).is_empty()
    });
    let page = response("7", &Era::Modern.list());
    let parts = ["files", "fixture", "search"].map(|server| Part { server, said: Ok(&page) });
    batches(&format!("a list of tools of {} bytes", page.len()), parts.len(), || {
        let merged = list::merge(&view, Kind::Tools, &parts, r#"{"name":"turnpike","version":"1"}"#);
        assert!(merged.len() > 2 * page.len(), "the lists were not merged: {merged}");
        black_box(merged).is_empty()
    });
}

fn with_call<T>(text: &str, read: impl FnOnce(&Call<'_>) -> T) -> T {
    match jsonrpc::parse(text.as_bytes()) {
        Ok(Body::Single(Message::Request(call))) => read(&call),
        other => panic!("{other:?} is no request"),
    }
}

/// A façade, between a caller and a server that answers at once.
struct Stage<F> {
    facade: F,
    channel: u64,
    session_id: Option<String>,
}

impl<F: Facade> Stage<F> {
    const fn new(facade: F) -> Self {
        Self { facade, channel: 0, session_id: None }
    }

    /// Begins a legacy caller's session.
    fn opened(mut self) -> Self {
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": { "roots": {}, "sampling": {} }, "clientInfo": info(),
        });
        self.exchange(&Era::Legacy.request("initialize", params), &discovered().to_string());
        self
    }

    /// One request of the caller, and what the server says to it; whether the caller was answered.
    fn exchange(&mut self, request: &str, result: &str) -> bool {
        self.channel += 1;
        let session_id = self.session_id.clone();
        let event = Event::Posted { channel: Channel(self.channel), body: request, session_id: session_id.as_deref() };
        let mut actions = self.facade.handle(event, &MOMENT);
        let mut is_answered = false;
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Request(request) => actions.extend(self.served(request.hop, &request.body, result)),
                    Action::Answer(answer) => {
                        self.session_id = answer.session_id.or(self.session_id.take());
                        let message = black_box(answer.message).unwrap_or_default();
                        assert!(message.contains("\"result\""), "the caller was answered {message}");
                        is_answered = true;
                    }
                    Action::Close(_) => is_answered = true,
                    Action::Say { .. } | Action::Open { .. } | Action::Abort(_) | Action::Wake(_) => {
                        black_box(action);
                    }
                }
            }
        }
        assert!(is_answered, "the caller was not answered");
        is_answered
    }

    /// What the server answers to `body`.
    fn served(&mut self, hop: Hop, body: &str, result: &str) -> Vec<Action> {
        let mut tell = |event| self.facade.handle(event, &MOMENT);
        let Some(id) = id(body) else {
            let mut actions = tell(Event::Answered { hop, status: 202, session_id: None });
            actions.extend(tell(Event::Ended { hop, end: End::Complete }));
            return actions;
        };
        let is_opening = body.contains("\"initialize\"");
        let message = if is_opening { response(id, &initialized().to_string()) } else { response(id, result) };
        let session_id = is_opening.then_some("session");
        let mut actions = tell(Event::Answered { hop, status: 200, session_id });
        actions.extend(tell(Event::Said { hop, message: &message, event_id: None, retry_ms: None }));
        actions.extend(tell(Event::Ended { hop, end: End::Complete }));
        actions
    }
}

/// Which revision somebody speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

impl Era {
    const fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Modern,
            Self::Modern => Self::Legacy,
        }
    }

    fn call(self, tool: &str, arguments: &Value) -> String {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    fn request(self, method: &str, mut params: Value) -> String {
        if self == Self::Modern
            && let Some(params) = params.as_object_mut()
        {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": info(),
            });
            params.insert("_meta".to_owned(), meta);
        }
        json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
    }

    fn result(self, result: &Value) -> String {
        let mut result = result.clone();
        if self == Self::Modern
            && let Some(result) = result.as_object_mut()
        {
            result.insert("resultType".to_owned(), "complete".into());
        }
        result.to_string()
    }

    fn list(self) -> String {
        let tool = |index: usize| {
            json!({
                "name": format!("read_{index}"),
                "title": "Reads a file",
                "description": "Reads a file, or a part of it, and says how much of it there is.",
                "inputSchema": { "type": "object", "required": ["path"], "properties": {
                    "path": { "type": "string" }, "from": { "type": "integer", "minimum": 0 },
                } },
                "outputSchema": { "type": "object", "properties": { "text": { "type": "string" } } },
                "annotations": { "readOnlyHint": true },
            })
        };
        let tools: Vec<_> = grown((0..).map(tool));
        let mut list = json!({ "tools": tools });
        if self == Self::Modern
            && let Some(members) = list.as_object_mut()
        {
            members.extend([("ttlMs".to_owned(), 60_000.into()), ("cacheScope".to_owned(), "public".into())]);
        }
        self.result(&list)
    }
}

/// 4 KiB of small values: what costs is not the bytes, it is how many members there are.
fn arguments() -> Value {
    let edit = |line: usize| json!({ "line": line, "old": "let a = 1;", "new": "let \"a\" = 2;\n", "sure": true });
    json!({ "path": "/src/main.rs", "edits": grown((0..).map(edit)) })
}

/// 4 KiB of a tool's result: texts, links to resources, and structured content.
fn content() -> Value {
    let block = |index: usize| match index % 2 {
        0 => json!({ "type": "text", "text": format!("{index}: what stands in the \"file\",\nline by line") }),
        _ => {
            json!({ "type": "resource_link", "uri": format!("file:///src/{index}.rs"), "name": format!("{index}.rs") })
        }
    };
    json!({ "content": grown((0..).map(block)), "structuredContent": { "lines": 20, "sizes": [1, 2.5, 3e3] }, "isError": false })
}

/// As many of `values` as have 4 KiB together, less what is around them.
fn grown(values: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut bytes = 0;
    let fits = |value: &Value| {
        bytes += value.to_string().len() + 1;
        bytes <= 3_900
    };
    values.take_while(fits).collect()
}

fn terms() -> down::Terms {
    down::Terms { server: "files".to_owned(), capabilities: json!({}), client_info: Some(info()), parked_ms: 600_000 }
}

fn info() -> Value {
    json!({ "name": "bench", "version": "1" })
}

fn initialized() -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": info() })
}

fn discovered() -> Value {
    json!({
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "ttlMs": 0,
        "cacheScope": "public", "_meta": { "io.modelcontextprotocol/serverInfo": info() },
    })
}

fn response(id: &str, result: &str) -> String {
    ["{\"jsonrpc\":\"2.0\",\"id\":", id, ",\"result\":", result, "}"].concat()
}

/// The id of a request of a façade's, which stands near its beginning; a notification has none.
fn id(body: &str) -> Option<&str> {
    let (_, rest) = body.get(..64).unwrap_or(body).split_once("\"id\":")?;
    rest.split(',').next()
}

/// Says when each of many batches begins and ends. Each run translates `messages`.
fn batches(name: &str, messages: usize, mut run: impl FnMut() -> bool) {
    for _ in 0..BATCHES {
        println!("> {} {name}", RUNS * messages);
        for _ in 0..RUNS {
            black_box(run());
        }
        println!("<");
    }
}

const MOMENT: Moment = Moment { now: Timestamp::from_millis(1_800_000_000_000), random: [7; 32] };
const BATCHES: usize = 31;
const RUNS: usize = 200;
