//! What crosses the federated endpoint, file by file: `golden/federation/{case}.json` says what goes in and what comes out.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bridge::federation::{
    Naming, Part, Reason, Share, Shown, View,
    cache::Scope,
    cursor,
    discover::{self, About},
    list,
    listen::Listen,
    rewrite,
    route::{self, Unroutable, Way},
};
use mcp::{Body, Call, Message, Timestamp, jsonrpc, page::Kind};
use serde_json::{Map, Value, json};

#[test]
fn every_case_is_as_its_file_says() {
    let mut cases = 0;
    for path in files() {
        let case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let out = played(&case);
        assert_eq!(out, case["out"], "{}:\n{out:#}", path.display());
        cases += 1;
    }
    assert!(cases >= 20, "only {cases} files were found");
}

#[test]
fn a_list_is_walked_to_its_end_while_servers_come_and_go() {
    let server_info = r#"{"name":"g","version":"1"}"#;
    let page = |tool: &str, next: Option<&str>| {
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": [{ "name": tool }], "nextCursor": next } }).to_string()
    };
    let first = View::whole(["a", "b", "c"], Scope::Public);
    let (a, b, c) = (page("1", Some("a2")), page("1", Some("b2")), page("1", None));
    let parts = [("a", &a), ("b", &b), ("c", &c)].map(|(server, said)| Part { server, said: Ok(said) });
    let result: Value = serde_json::from_str(&list::merge(&first, Kind::Tools, &parts, server_info)).unwrap();
    let asks = |view: &View, cursor: &Value| {
        let call =
            json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": { "cursor": cursor } }).to_string();
        with_call(&call, |call| list::asks(view, Kind::Tools, call))
    };
    let next = &result["nextCursor"];
    let then = View::whole(["b", "c", "d"], Scope::Public);
    let asked = asks(&then, next).unwrap();
    assert_eq!(asked.len(), 1, "`a` is gone, `c` was at its end, `d` is new");
    assert_eq!(asked[0].server, "b");
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(body, json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": { "cursor": "b2" } }));
    assert!(asks(&View::whole(["z"], Scope::Public), next).unwrap().is_empty());
    for garbage in [json!("b2"), json!(""), json!(7), json!({})] {
        let error = asks(&then, &garbage).unwrap_err();
        assert_eq!((error.code(), error.to_string()), (-32602, cursor::Unknown.to_string()));
    }
}

#[test]
fn a_shortened_name_is_searched_among_those_the_server_lists() {
    let view = View::whole(["files"], Scope::Public);
    let long = "read".repeat(30);
    for (kind, request, expected) in [
        (Kind::Tools, json!({ "method": "tools/call", "params": {} }), json!({ "name": long })),
        (
            Kind::Prompts,
            json!({ "method": "completion/complete", "params": { "ref": { "type": "ref/prompt" }, "argument": {} } }),
            json!({ "ref": { "type": "ref/prompt", "name": long }, "argument": {} }),
        ),
    ] {
        let mut request = request.clone();
        request["jsonrpc"] = json!("2.0");
        request["id"] = json!(1);
        let called = json!(view.called(kind, "files", &long).unwrap());
        match kind {
            Kind::Tools => request["params"]["name"] = called,
            _ => request["params"]["ref"]["name"] = called,
        }
        with_call(&request.to_string(), |call| {
            let Way::Search(search) = route::route(&view, call).unwrap() else { panic!("it is short") };
            assert_eq!((search.server.as_str(), search.kind), ("files", kind));
            let other = "read".repeat(31);
            assert_eq!(search.found(&view, [other.as_str()]), None);
            let found = search.found(&view, [other.as_str(), "read", &long]);
            let routed = search.routed(call, found).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&routed.body).unwrap()["params"], expected);
            assert_eq!(search.routed(call, None).unwrap_err().code(), -32602);
        });
    }
}

fn played(case: &Value) -> Value {
    let view = view(&case["view"]);
    let given = &case["in"];
    match case["what"].as_str().unwrap() {
        "route" => with_call(&given.to_string(), |call| routed(&view, call)),
        "list" => listed(&view, given),
        "discover" => {
            let parts = parts(&given["parts"]);
            let about = About { server_info: SERVER_INFO, instructions: given["instructions"].as_str() };
            read(&discover::merge(&view, &borrowed(&parts), about))
        }
        "rewrite" => {
            let (server, method) = (given["server"].as_str().unwrap(), given["method"].as_str().unwrap());
            read(&rewrite::message(&view, server, method, &given["message"].to_string()))
        }
        "listen" => listened(&view, given),
        other => panic!("`{other}` is not known"),
    }
}

fn routed(view: &View, call: &Call<'_>) -> Value {
    match route::route(view, call) {
        Ok(Way::One(routed)) => json!({ "server": routed.server, "key": routed.key, "body": read(&routed.body) }),
        Ok(Way::List(kind)) => asks(list::asks(view, kind, call)),
        Ok(Way::Discover) => json!("discover"),
        Ok(Way::Listen) => asks(Listen::new(view, call).map(|(_, asks)| asks)),
        Ok(Way::Search(search)) => json!({ "search": search.server }),
        Err(unroutable) => read(&unroutable.response(call.id.unwrap().get())),
    }
}

fn asks(asks: Result<Vec<list::Ask>, Unroutable>) -> Value {
    match asks {
        Ok(asks) => asks.into_iter().map(|ask| json!({ "server": ask.server, "body": read(&ask.body) })).collect(),
        Err(unroutable) => read(&unroutable.response("1")),
    }
}

/// A merged list, its cursor opened.
fn listed(view: &View, given: &Value) -> Value {
    let kind = Kind::of_method(given["method"].as_str().unwrap()).unwrap();
    let parts = parts(&given["parts"]);
    let mut result = read(&list::merge(view, kind, &borrowed(&parts), SERVER_INFO));
    if let Some(next) = result.get("nextCursor").and_then(Value::as_str) {
        result["nextCursor"] = json!(cursor::read(kind, next).unwrap());
    }
    result
}

/// A stream, step by step: what the caller hears at each.
fn listened(view: &View, given: &Value) -> Value {
    let call = given["call"].to_string();
    let (mut listen, asked) = with_call(&call, |call| Listen::new(view, call).unwrap());
    let mut out = vec![json!({ "asks": asks(Ok(asked)), "heard": messages(listen.opened(Timestamp::default())) })];
    for step in given["steps"].as_array().unwrap() {
        let now = Timestamp::from_millis(step["at"].as_u64().unwrap_or_default());
        let server = step["server"].as_str().unwrap_or_default();
        let heard = match step["does"].as_str().unwrap() {
            "says" => listen.heard(server, &step["message"].to_string(), now),
            "ends" => listen.ended(server, now),
            "settle" => listen.settle(now),
            "wake" => listen.woken(now),
            "end" => vec![listen.end()],
            other => panic!("`{other}` is not known"),
        };
        let wake = listen.wake().map(Timestamp::as_millis);
        out.push(json!({ "heard": messages(heard), "wake": wake, "live": listen.is_live() }));
    }
    json!(out)
}

fn messages(texts: Vec<String>) -> Vec<Value> {
    texts.iter().map(|text| read(text)).collect()
}

/// What servers said: their results, `{"error": …}`, or a reason for silence.
fn parts(given: &Value) -> Vec<(String, Result<String, Reason>)> {
    let said = |(server, said): (&String, &Value)| {
        let said = match said {
            Value::String(reason) => Err(REASONS.into_iter().find(|one| one.as_str() == reason).unwrap()),
            Value::Object(members) if members.contains_key("error") => {
                Ok(json!({ "jsonrpc": "2.0", "id": 1, "error": said["error"] }).to_string())
            }
            result => Ok(json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string()),
        };
        (server.clone(), said)
    };
    // In an order that is not the servers'.
    given.as_object().unwrap().iter().map(said).rev().collect()
}

fn borrowed(parts: &[(String, Result<String, Reason>)]) -> Vec<Part<'_>> {
    parts.iter().map(|(server, said)| Part { server, said: said.as_deref().map_err(|reason| *reason) }).collect()
}

/// `{server: "whole" | {"others", "prompts", "resources": bool, "tools": {tool: {name, title, description}}}}`
fn view(given: &Value) -> View {
    let empty = Map::new();
    let share = |given: &Value| {
        if given == "whole" {
            return Share::whole();
        }
        let shown = |key: &str| if given[key] == true { Shown::Yes } else { Shown::No };
        let text = |naming: &Value, key: &str| naming[key].as_str().map(str::to_owned);
        let mut share = Share { prompts: shown("prompts"), resources: shown("resources"), ..Share::empty() };
        share.tools.others = shown("others");
        for (tool, naming) in given["tools"].as_object().unwrap_or(&empty) {
            let [name, title, description] = ["name", "title", "description"].map(|key| text(naming, key));
            share.tools.named.insert(tool.clone(), Naming { name, title, description });
        }
        share
    };
    let shares: BTreeMap<String, Share> =
        given["servers"].as_object().unwrap().iter().map(|(server, given)| (server.clone(), share(given))).collect();
    View::new(shares, if given["public"] == true { Scope::Public } else { Scope::Private })
}

fn with_call<T>(text: &str, run: impl FnOnce(&Call<'_>) -> T) -> T {
    match jsonrpc::parse(text.as_bytes()).unwrap() {
        Body::Single(Message::Request(call)) => run(&call),
        other => panic!("no request: {other:?}"),
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new("tests/golden/federation");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

const SERVER_INFO: &str = r#"{"name":"turnpike","version":"1.0.0"}"#;
const REASONS: [Reason; 6] =
    [Reason::Unreachable, Reason::Timeout, Reason::Unauthorized, Reason::Error, Reason::Unreadable, Reason::TooLarge];
