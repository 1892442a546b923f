//! Is whatever the federated endpoint shows also reached by what it is called, whatever servers say?

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};

use bridge::federation::{
    Naming, Part, Reason, Share, Shown, View,
    cache::Scope,
    discover::{self, About},
    list,
    listen::Listen,
    name, rewrite,
    route::{self, Way},
};
use mcp::{Body, Call, Message, Timestamp, jsonrpc, page::Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

proptest! {
    #[test]
    fn every_tool_that_is_listed_is_called_where_it_came_from(view in views(), tools in offers()) {
        for (called, server, tool) in shown(&view, Kind::Tools, &tools) {
            prop_assert!(called.chars().count() <= name::CHARS_MAX);
            prop_assert_eq!(reached(&view, "tools/call", "name", &called, &tools), Some((server, tool)));
        }
    }

    #[test]
    fn every_prompt_that_is_listed_is_got_where_it_came_from(view in views(), prompts in offers()) {
        for (called, server, prompt) in shown(&view, Kind::Prompts, &prompts) {
            prop_assert_eq!(reached(&view, "prompts/get", "name", &called, &prompts), Some((server, prompt)));
        }
    }

    #[test]
    fn every_resource_that_is_listed_is_read_where_it_came_from(view in views(), resources in offers()) {
        for (called, server, uri) in shown(&view, Kind::Resources, &resources) {
            prop_assert_eq!(reached(&view, "resources/read", "uri", &called, &resources), Some((server, uri)));
        }
    }

    #[test]
    fn nothing_is_reached_that_is_not_shown(view in views(), text in "[ab_]{0,6}|greet|mcp\\+[ab.]{1,3}\\+[ab]") {
        for (method, member) in [("tools/call", "name"), ("prompts/get", "name"), ("resources/read", "uri")] {
            if let Some((server, key)) = reached(&view, method, member, &text, &BTreeMap::new()) {
                let kind = if method == "tools/call" { Kind::Tools } else if member == "name" { Kind::Prompts } else { Kind::Resources };
                prop_assert_eq!(view.called(kind, &server, &key), Some(text.clone()));
            }
        }
    }

    #[test]
    fn what_is_merged_is_one_result_whatever_servers_say(
        view in views(),
        said in prop::collection::vec((servers(), answers()), 0..5),
    ) {
        let parts: Vec<Part<'_>> = said
            .iter()
            .map(|(server, said)| Part { server, said: said.as_deref().map_err(|reason| *reason) })
            .collect();
        for kind in Kind::ALL {
            let result: Value = serde_json::from_str(&list::merge(&view, kind, &parts, "{}")).unwrap();
            let names: Vec<&Value> = result[kind.member()].as_array().unwrap().iter().map(|item| &item[key(kind)]).collect();
            prop_assert_eq!(names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>().len(), names.len());
            prop_assert!(result["ttlMs"].is_u64() && result["cacheScope"].is_string());
            let dead = said.iter().filter(|(_, said)| said.is_err()).map(|(server, _)| server.as_str()).collect::<BTreeSet<_>>();
            let noted: BTreeSet<&str> = result["_meta"]["turnpike/unavailable"].as_array().into_iter().flatten().map(|note| note["server"].as_str().unwrap()).collect();
            let last: BTreeMap<&str, bool> = said.iter().map(|(server, said)| (server.as_str(), said.is_err())).collect();
            prop_assert!(dead.iter().all(|server| !last[server] || noted.contains(server)));
            prop_assert!(noted.is_empty() || result["ttlMs"] == 0);
        }
        let about = About { server_info: "{}", instructions: None };
        let result: Value = serde_json::from_str(&discover::merge(&view, &parts, about)).unwrap();
        prop_assert!(result["capabilities"].is_object());
    }

    #[test]
    fn what_is_rewritten_is_still_one_message(view in views(), message in messages(), method in methods()) {
        let text = message.to_string();
        let rewritten = rewrite::message(&view, "a", method, &text);
        let mut back: Value = serde_json::from_str(&rewritten).unwrap();
        unprefixed(&mut back);
        let mut before = message;
        unprefixed(&mut before);
        prop_assert_eq!(back, before, "nothing but URIs and for whom it holds has changed");
    }

    #[test]
    fn a_stream_acknowledges_once_and_first(
        view in views(),
        wanted in any::<[bool; 3]>(),
        steps in prop::collection::vec((0_u8..7, servers(), 0_u64..5_000), 0..40),
    ) {
        let filter = json!({ "toolsListChanged": wanted[0], "promptsListChanged": wanted[1], "resourcesListChanged": wanted[2], "resourceSubscriptions": ["mcp+a+x:y"] });
        let call = json!({ "jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen", "params": { "notifications": filter } }).to_string();
        let (mut listen, _) = with_call(&call, |call| Listen::new(&view, call).unwrap());
        let mut now = Timestamp::default();
        let mut heard = listen.opened(now);
        for (step, server, pause_ms) in steps {
            now = now.plus_millis(pause_ms);
            let note = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string();
            heard.extend(match step {
                0 | 1 => listen.heard(&server, &note("notifications/subscriptions/acknowledged", json!({ "notifications": filter_of_server(&wanted) })), now),
                2 => listen.heard(&server, &note("notifications/tools/list_changed", json!({})), now),
                3 => listen.heard(&server, &note("notifications/resources/updated", json!({ "uri": "x:y" })), now),
                4 => listen.ended(&server, now),
                5 => listen.woken(now),
                _ => listen.heard(&server, &note("notifications/prompts/list_changed", json!({})), now),
            });
        }
        heard.extend(listen.settle(now));
        let heard: Vec<Value> = heard.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let acknowledgements = heard.iter().filter(|one| one["method"] == "notifications/subscriptions/acknowledged").count();
        prop_assert_eq!((&heard[0]["method"], acknowledgements), (&json!("notifications/subscriptions/acknowledged"), 1));
        let honoured = &heard[0]["params"]["notifications"];
        for one in &heard {
            prop_assert_eq!(&one["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], &json!("l"));
            match one["method"].as_str().unwrap() {
                "notifications/tools/list_changed" => prop_assert!(wanted[0] && honoured["toolsListChanged"] == true),
                "notifications/prompts/list_changed" => prop_assert!(wanted[1] && honoured["promptsListChanged"] == true),
                "notifications/resources/list_changed" => prop_assert!(wanted[2] && honoured["resourcesListChanged"] == true),
                "notifications/resources/updated" => prop_assert_eq!(&one["params"]["uri"], &json!("mcp+a+x:y")),
                _ => {}
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), method in methods(), view in views()) {
        let _ = rewrite::message(&view, "a", method, &text);
        let part = Part { server: "a", said: Ok(&text) };
        let _ = list::merge(&view, Kind::Tools, &[part], "{}");
        let (mut listen, _) = with_call(LISTEN, |call| Listen::new(&view, call).unwrap());
        let _ = listen.heard("a", &text, Timestamp::default());
    }

    #[test]
    fn arbitrary_parameters_never_panic(params in values(), method in methods(), view in views()) {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "name": params, "uri": params, "ref": params, "notifications": params, "cursor": params } });
        with_call(&message.to_string(), |call| {
            let _ = (route::route(&view, call), list::asks(&view, Kind::Tools, call), Listen::new(&view, call).map(drop));
        });
    }
}

#[test]
fn what_is_not_touched_keeps_its_bytes() {
    let view = View::whole(["a"], Scope::Public);
    let text = r#"{"params":{"arguments":{"n":1.50,"big":12345678901234567890123,"e":"\u00e9"},"name":"a__x","z":{ }},"method":"tools/call","id":"\u0031","jsonrpc":"2.0"}"#;
    let Way::One(routed) = with_call(text, |call| route::route(&view, call).unwrap()) else { panic!("it is whole") };
    assert_eq!(routed.body, text.replace("a__x", "x"));
    let said = r#"{"id":1,"result":{"content":[{"type":"text","text":"\"uri\""},{"uri":"x:y","type":"resource_link","n":1.50}],"q":1e2},"jsonrpc":"2.0"}"#;
    assert_eq!(rewrite::message(&view, "a", "tools/call", said), said.replace("x:y", "mcp+a+x:y"));
    let plain = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a uri"}]}}"#;
    assert!(matches!(rewrite::message(&view, "a", "tools/call", plain), std::borrow::Cow::Borrowed(_)));
}

/// What a listing of `offers` shows: what each is called, where it is from and what it is there.
fn shown(view: &View, kind: Kind, offers: &BTreeMap<String, Vec<String>>) -> Vec<(String, String, String)> {
    let answers: Vec<(&str, String)> = offers
        .iter()
        .filter(|(server, _)| view.listing(kind).any(|one| one == server.as_str()))
        .map(|(server, keys)| {
            let items: Vec<Value> = keys.iter().map(|own| json!({ key(kind): own, "from": [server, own] })).collect();
            let mut result = json!({});
            result[kind.member()] = json!(items);
            (server.as_str(), json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string())
        })
        .collect();
    let parts: Vec<Part<'_>> = answers.iter().map(|(server, said)| Part { server, said: Ok(said) }).collect();
    let result: Value = serde_json::from_str(&list::merge(view, kind, &parts, "{}")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = result[kind.member()].as_array().unwrap();
    items.iter().map(|item| (text(&item[key(kind)]), text(&item["from"][0]), text(&item["from"][1]))).collect()
}

/// The server a request for `called` reaches, and what it is there.
fn reached(
    view: &View,
    method: &str,
    member: &str,
    called: &str,
    offers: &BTreeMap<String, Vec<String>>,
) -> Option<(String, String)> {
    let mut message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
    message["params"][member] = json!(called);
    with_call(&message.to_string(), |call| {
        let routed = match route::route(view, call).ok()? {
            Way::One(routed) => routed,
            Way::Search(search) => {
                let names = offers.get(&search.server)?.iter().map(String::as_str);
                search.routed(call, search.found(view, names)).ok()?
            }
            other => panic!("{other:?}"),
        };
        let body: Value = serde_json::from_str(&routed.body).unwrap();
        assert_eq!(body["params"][member], json!(routed.key));
        Some((routed.server, routed.key))
    })
}

fn views() -> impl Strategy<Value = View> {
    let shown = prop_oneof![Just(Shown::Yes), Just(Shown::No)];
    let naming = prop::option::of("greet|open|a__b|[ab_]{1,4}").prop_map(|name| Naming { name, ..Naming::default() });
    let named = prop::collection::btree_map("[ab_]{0,4}|[ab]{66}", naming, 0..3);
    let share = (named, shown.clone(), shown.clone(), shown).prop_map(|(named, others, prompts, resources)| {
        let mut share = Share { prompts, resources, ..Share::empty() };
        (share.tools.named, share.tools.others) = (named, others);
        share
    });
    let share = prop_oneof![Just(Share::whole()), share];
    prop::collection::btree_map(servers(), share, 0..4).prop_map(|shares| View::new(shares, Scope::Private))
}

/// Names of servers that are hard to tell apart.
fn servers() -> impl Strategy<Value = String> {
    let long = ["a".repeat(33), "a".repeat(32)];
    let names = ["a", "a_", "a__", "a__b", "_", "b", &long[0], &long[1]].map(str::to_owned);
    prop::sample::select(names.to_vec())
}

/// What servers offer, by their names; each thing once.
fn offers() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let keys = prop::collection::btree_set("[ab_]{0,4}|[ab]{66}|[ab]{30}-[0-9a-f]{12}", 0..6);
    prop::collection::btree_map(servers(), keys.prop_map(|keys| keys.into_iter().collect()), 0..4)
}

fn answers() -> impl Strategy<Value = Result<String, Reason>> {
    let result = messages().prop_map(|message| Ok(message.to_string()));
    prop_oneof![result, any::<String>().prop_map(Ok), Just(Err(Reason::Timeout)), Just(Err(Reason::Unreachable))]
}

fn messages() -> impl Strategy<Value = Value> {
    let members = [
        "content",
        "messages",
        "contents",
        "tools",
        "prompts",
        "resources",
        "capabilities",
        "ttlMs",
        "nextCursor",
        "instructions",
        "resultType",
    ];
    let result = prop::collection::btree_map(prop::sample::select(members.to_vec()), values(), 0..6);
    let error = values().prop_map(|data| json!({ "error": { "code": -32602, "message": "m", "data": data } }));
    prop_oneof![result.prop_map(|result| json!({ "result": result })), error].prop_map(|mut message| {
        message["jsonrpc"] = json!("2.0");
        message["id"] = json!(1);
        message
    })
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(
            &["x:y", "resource", "resource_link", "complete", "a", "ref/prompt", "ref/resource", "mcp+a+b:c"][..]
        )
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop::sample::select(
            &["uri", "type", "resource", "content", "name", "uriTemplate", "toolsListChanged", "resourceSubscriptions"]
                [..],
        );
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &["tools/call", "prompts/get", "resources/read", "completion/complete", "tools/list", "subscriptions/listen"][..],
    )
}

/// A value with each URI as its server has it, and without for whom it holds.
fn unprefixed(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("cacheScope");
            if let Some(Value::String(uri)) = members.get_mut("uri") {
                while let Some(rest) = uri.strip_prefix("mcp+a+") {
                    *uri = rest.to_owned();
                }
            }
            members.values_mut().for_each(unprefixed);
        }
        Value::Array(items) => items.iter_mut().for_each(unprefixed),
        _ => {}
    }
}

fn filter_of_server(wanted: &[bool; 3]) -> Value {
    json!({ "toolsListChanged": wanted[0], "promptsListChanged": wanted[1], "resourceSubscriptions": ["x:y"] })
}

const fn key(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools | Kind::Prompts => "name",
        Kind::Resources => "uri",
        Kind::Templates => "uriTemplate",
    }
}

fn with_call<T>(text: &str, run: impl FnOnce(&Call<'_>) -> T) -> T {
    match jsonrpc::parse(text.as_bytes()).unwrap() {
        Body::Single(Message::Request(call)) => run(&call),
        other => panic!("no request: {other:?}"),
    }
}

const LISTEN: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}"#;
