//! The rules are golden files in `tests/golden/claim`; here is what no row of a table says.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NO_MIRRORS: Mirrors = Mirrors { versions: vec![], methods: vec![], names: vec![], params: vec![] };

fn classified(text: &str) -> Result<bool, Refused> {
    let body = mcp::jsonrpc::parse(text.as_bytes()).unwrap();
    classify(&body, &NO_MIRRORS).map(|claim| matches!(claim, Claim::Modern(_)))
}

fn terms() -> Terms<'static> {
    Terms {
        revision: Revision::V2026_07_28,
        capabilities: r#"{"sampling":{}}"#,
        client_info: Some(r#"{"name":"c","version":"1"}"#),
        log_level: Some(Level::Info),
    }
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol/protocolVersion":"b"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":7}}"#,
    ] {
        assert!(matches!(classified(text), Err(Refused::Params(_))), "{text}");
    }
}

#[test]
fn an_escaped_key_is_a_claim_like_any_other() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_m\u0065ta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28"}}}"#;
    assert!(matches!(classified(text), Err(Refused::Missing(CAPABILITIES))));
}

#[test]
fn what_a_caller_wrote_is_repeated_in_part_only() {
    let text = "v".repeat(1000);
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list",
        "params": { "_meta": { VERSION: text, CAPABILITIES: {} } } });
    let mirrors = Mirrors { versions: vec![text], methods: vec!["tools/list".to_owned()], ..NO_MIRRORS };
    let spelled = call.to_string();
    let refused = classify(&mcp::jsonrpc::parse(spelled.as_bytes()).unwrap(), &mirrors).unwrap_err();
    assert_eq!(refused.code(), -32022);
    assert!(refused.to_string().len() < 200);
    assert_eq!(refused.data().unwrap()["requested"], "v".repeat(64));
}

#[test]
fn modern_revisions_are_dates_from_2026_07_28_on() {
    for version in ["2026-07-28", "2026-07-29", "2027-01-01", "9999-12-31"] {
        assert!(is_modern(version), "{version}");
    }
    for version in [
        "2025-11-25",
        "2026-07-27",
        "v999.0.0",
        "",
        "2026-07-28 ",
        "DRAFT-2026",
        "2027/01/01",
        "20270101",
        "２026-07-28",
    ] {
        assert!(!is_modern(version), "{version}");
    }
}

#[test]
fn levels_have_an_order_and_one_spelling() {
    assert!(Level::Debug < Level::Info && Level::Alert < Level::Emergency);
    for level in Level::ALL {
        assert_eq!(Level::parse(level.as_str()), Some(level));
        assert_eq!(json!(level), level.as_str());
    }
    assert_eq!(Level::parse("Info"), None);
}

#[test]
fn an_envelope_replaces_what_was_said_before_and_nothing_else() {
    let body = r#"{"jsonrpc":"2.0", "id":"a","method":"tools/call","params":{"n":1.0,"_meta":{"io.modelcontextprotocol/protocolVersion":"1","io.modelcontextprotocol/logLevel":"debug","progressToken":7,"traceparent":"00-x","com.example/a":[1, 2]},"name":"t"}}"#;
    let text = envelope(body, &Terms { log_level: None, ..terms() }).unwrap();
    assert_eq!(
        text,
        r#"{"jsonrpc":"2.0", "id":"a","method":"tools/call","params":{"n":1.0,"_meta":{"progressToken":7,"traceparent":"00-x","com.example/a":[1, 2],"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}},"name":"t"}}"#
    );
}

/// MCP reference 1.4.2, row 3.
#[test]
fn what_the_protocol_reserved_is_stripped_and_the_rest_is_kept() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/subscriptionId":1,"progressToken":"p","traceparent":"00-x","tracestate":"a=b","baggage":"c=d","com.example/a": 1},"name":"t"}}"#;
    assert_eq!(
        without_envelope(body).unwrap(),
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"p","traceparent":"00-x","tracestate":"a=b","baggage":"c=d","com.example/a":1},"name":"t"}}"#
    );
    let bare = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"} "#;
    assert_eq!(without_envelope(bare).unwrap(), bare);
    let without = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{ "cursor":"a" }}"#;
    assert_eq!(without_envelope(without).unwrap(), without);
}

#[test]
fn only_single_requests_and_notifications_have_an_envelope() {
    for body in [r#"[{"jsonrpc":"2.0","id":1,"method":"a"}]"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#] {
        assert!(matches!(envelope(body, &terms()), Err(Unfit::Kind)), "{body}");
        assert!(matches!(without_envelope(body), Err(Unfit::Kind)), "{body}");
    }
    assert!(matches!(envelope("{", &terms()), Err(Unfit::Malformed(_))));
    assert!(matches!(
        envelope(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":1}}"#, &terms()),
        Err(Unfit::Params(_))
    ));
}

fn member() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof![
        Just(VERSION.to_owned()),
        Just(CAPABILITIES.to_owned()),
        Just(CLIENT_INFO.to_owned()),
        Just(LOG_LEVEL.to_owned()),
        Just("progressToken".to_owned()),
        "[a-z]{1,3}",
    ];
    let value = prop_oneof![
        Just(r#""2026-07-28""#.to_owned()),
        Just(r#""2025-11-25""#.to_owned()),
        Just("{}".to_owned()),
        Just(r#"{"name":"c","version":"1"}"#.to_owned()),
        Just(r#""info""#.to_owned()),
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("[1.50]".to_owned()),
    ];
    (key, value)
}

fn message() -> impl Strategy<Value = String> {
    let method =
        prop::sample::select(vec!["tools/call", "tools/list", "initialize", "ping", "notifications/cancelled"]);
    let id = prop::sample::select(vec![r#""id":1,"#, r#""id":"a","#, ""]);
    (prop::collection::vec(member(), 0..6), method, id, any::<bool>()).prop_map(|(members, method, id, meta)| {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let meta = if meta { format!("\"_meta\":{{{}}},", members.join(",")) } else { String::new() };
        format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}","params":{{{meta}"name":"t","x":1.0}}}}"#)
    })
}

fn mirrors() -> impl Strategy<Value = Mirrors> {
    let values =
        || prop::collection::vec(prop_oneof!["2026-07-28|2025-11-25|tools/call|tools/list|t", any::<String>()], 0..3);
    (values(), values(), values()).prop_map(|(versions, methods, names)| Mirrors {
        versions,
        methods,
        names,
        params: vec![],
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..256), mirrors in mirrors()) {
        if let Ok(body) = mcp::jsonrpc::parse(&body) {
            let _ = classify(&body, &mirrors);
        }
        let text = String::from_utf8_lossy(&body);
        let _ = (envelope(&text, &terms()), without_envelope(&text));
    }

    /// A message is modern, or refused, wherever its body claims a version: never is it taken for a legacy one.
    #[test]
    fn a_claim_is_never_lost(text in message(), mirrors in mirrors()) {
        let body = mcp::jsonrpc::parse(text.as_bytes()).unwrap();
        let claims = serde_json::from_str::<Value>(&text).unwrap()["params"]["_meta"].get(VERSION).is_some();
        match classify(&body, &mirrors) {
            Ok(Claim::Legacy) => prop_assert!(!claims, "{}", text),
            Ok(Claim::Modern(envelope)) => {
                prop_assert!(claims || envelope.kind == Kind::Notification);
                prop_assert!(serde_json::from_str::<Value>(envelope.capabilities).unwrap().is_object());
            }
            Err(refused) => prop_assert!(matches!(refused.status(), 200 | 400 | 404)),
        }
    }

    /// What is put into an envelope is a request the ladder accepts, and loses nothing but the envelope when it is taken out.
    #[test]
    fn an_envelope_is_put_on_and_taken_off(text in message()) {
        let Ok(put) = envelope(&text, &terms()) else { return Ok(()) };
        let body = mcp::jsonrpc::parse(put.as_bytes()).unwrap();
        let Body::Single(Message::Request(call) | Message::Notification(call)) = &body else { panic!("{put}") };
        let headers = routing::standard(call).unwrap();
        let value = |name: http::HeaderName| headers.iter().filter(|(it, _)| *it == name).map(|(_, value)| value.clone()).collect();
        let mirrors = Mirrors {
            versions: value(header::MCP_PROTOCOL_VERSION),
            methods: value(header::MCP_METHOD),
            names: value(header::MCP_NAME),
            params: vec![],
        };
        match classify(&body, &mirrors) {
            Ok(Claim::Modern(envelope)) => {
                prop_assert_eq!(envelope.capabilities, terms().capabilities);
                prop_assert_eq!(envelope.log_level, Some(Level::Info));
            }
            Err(Refused::Method(_)) => prop_assert!(["initialize", "ping", "notifications/cancelled"].contains(&call.method.as_ref())),
            Err(Refused::Malformed { key, .. }) => prop_assert_eq!(key, "progressToken"),
            other => prop_assert!(false, "{:?} of {}", other, put),
        }
        prop_assert_eq!(without_envelope(&put).map(|text| has_reserved(&text)).unwrap(), false);
        if text.contains("_meta") && !has_reserved(&text) {
            prop_assert_eq!(without_envelope(&put).unwrap(), text);
        }
    }
}

fn has_reserved(text: &str) -> bool {
    text.contains("io.modelcontextprotocol/")
}
