//! Annotations and arguments are golden files in `tests/golden`; here is the spelling of values, and what no row says.

use mcp::{Body, Message, jsonrpc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The examples of the revision's page.
#[test]
fn values_are_spelled_as_the_page_shows() {
    for (value, spelled) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ] {
        assert_eq!(encode(value), spelled);
        assert_eq!(decode(spelled).unwrap(), value);
    }
    for value in ["=?base64?YQ", "YQ==?=", "a\tb", "a b", "=?BASE64?YQ==?="] {
        assert_eq!((encode(value).as_ref(), decode(value).unwrap().as_ref()), (value, value), "it is no wrapper");
    }
    for value in
        ["=?base64?YQ?=", "=?base64?YR==?=", "=?base64?Y Q=?=", "=?base64?=", "=?base64?/w==?=", "é", "\u{7f}", "a\rb"]
    {
        assert_eq!(decode(value), None, "{value}");
    }
}

fn headers(text: &str) -> Vec<(String, String)> {
    let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!("{text}") };
    standard(&call).unwrap().into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

#[test]
fn every_request_says_its_version_and_method_and_some_what_they_are_about() {
    let request = |method: &str, params: Value| {
        let mut params = params;
        params["_meta"] = json!({ crate::claim::VERSION: "2026-07-28" });
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    };
    let mut expected = vec![
        ("mcp-protocol-version".to_owned(), "2026-07-28".to_owned()),
        ("mcp-method".to_owned(), "tools/list".to_owned()),
    ];
    assert_eq!(headers(&request("tools/list", json!({ "name": "ignored" }))), expected);
    for (method, params, name) in [
        ("tools/call", json!({ "name": "a", "uri": "b" }), "a"),
        ("prompts/get", json!({ "name": "é" }), "=?base64?w6k=?="),
        ("resources/read", json!({ "uri": "file:///a b", "name": "b" }), "file:///a b"),
        ("tasks/get", json!({ "taskId": "t" }), "t"),
        ("tasks/update", json!({ "taskId": "t" }), "t"),
        ("tasks/cancel", json!({ "taskId": " t" }), "=?base64?IHQ=?="),
    ] {
        expected.truncate(1);
        expected.extend([("mcp-method".to_owned(), method.to_owned()), ("mcp-name".to_owned(), name.to_owned())]);
        assert_eq!(headers(&request(method, params)), expected);
    }
}

#[test]
fn headers_of_a_request_without_a_claim_are_not_made_up() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!() };
    assert!(standard(&call).unwrap_err().to_string().contains("claims no revision"));
}

/// Without a schema nothing is recognized: everything is carried on as it came, for the server to compare.
#[test]
fn without_a_schema_every_header_is_carried_on() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"region":"us"}}}"#;
    let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!() };
    let mirrors = Mirrors { params: vec![("region".to_owned(), " =?base64?dXM=?= ".to_owned())], ..Mirrors::default() };
    assert_eq!(check(&call, &[], &mirrors), Ok(()));
    assert_eq!(mirror(&call, &[]), Ok(vec![]));
    let [(name, value)] = unrecognized(&mirrors, &[]).try_into().unwrap();
    assert_eq!((name.as_str(), value.as_str()), ("mcp-param-region", "=?base64?dXM=?="));
    let unreadable = Mirrors { params: vec![("region".to_owned(), "é".to_owned())], ..Mirrors::default() };
    assert_eq!(check(&call, &[], &unreadable), Err(Mismatch::Unreadable("mcp-param-region".to_owned())));
    assert_eq!(unrecognized(&unreadable, &[]), [], "nor is it sent by who forgot to check");
}

#[test]
fn arguments_that_mean_two_things_are_refused() {
    let params = params_of(&json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } })).unwrap();
    for params_text in [r#"{"arguments":{"a":"x","a":"y"}}"#, r#"{"arguments":{},"Arguments":{"a":"x"}}"#] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params_text}}}"#);
        let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!() };
        assert!(matches!(check(&call, &params, &Mirrors::default()), Err(Mismatch::Arguments(_))), "{text}");
        assert!(matches!(mirror(&call, &params), Err(Unmirrored::Arguments(_))), "{text}");
    }
}

#[test]
fn an_argument_longer_than_a_header_is_not_cut() {
    let params = params_of(&json!({ "properties": { "a": { "type": "string", "x-mcp-header": "A" } } })).unwrap();
    let mirrored = |bytes: usize| {
        let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "arguments": { "a": "x".repeat(bytes) } } });
        let text = text.to_string();
        let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!() };
        mirror(&call, &params)
    };
    assert_eq!(mirrored(8192).unwrap().len(), 1);
    assert_eq!(mirrored(8193), Err(Unmirrored::TooLong("a".to_owned())));
}

#[test]
fn a_schema_nested_without_end_is_refused_without_recursing_to_its_end() {
    let nested = |levels: usize| (0..levels).fold(json!({}), |schema, _| json!({ "not": schema }));
    assert_eq!(params_of(&nested(100)), Ok(vec![]));
    assert_eq!(params_of(&nested(200)), Err(Invalid::Excess));
    let many = |count: usize| {
        let property = |at: usize| (format!("p{at}"), json!({ "type": "string", "x-mcp-header": format!("P{at}") }));
        json!({ "properties": (0..count).map(property).collect::<serde_json::Map<_, _>>() })
    };
    assert_eq!(params_of(&many(64)).unwrap().len(), 64);
    assert_eq!(params_of(&many(65)), Err(Invalid::Excess));
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({ "type": "string", "x-mcp-header": "A" })),
        Just(json!({ "type": "integer", "x-mcp-header": "B" })),
        Just(json!({ "x-mcp-header": "C" })),
        Just(json!({ "type": "string" })),
        Just(json!(true)),
        Just(json!(7)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keyword = prop::sample::select(vec!["properties", "items", "anyOf", "$defs", "default", "a"]);
        prop::collection::vec((keyword, inner), 0..4).prop_map(|members| {
            Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        })
    })
}

proptest! {
    #[test]
    fn every_value_survives_its_header(value in any::<String>()) {
        let spelled = encode(&value);
        prop_assert!(http::HeaderValue::from_str(&spelled).is_ok());
        prop_assert_eq!(trimmed(&spelled), spelled.as_ref());
        prop_assert_eq!(decode(&spelled).unwrap(), value.as_str());
    }

    #[test]
    fn arbitrary_header_values_never_panic(value in any::<String>(), wrapped in any::<bool>()) {
        let value = if wrapped { format!("=?base64?{value}?=") } else { value };
        let _ = (decode(&value), decode(trimmed(&value)));
    }

    #[test]
    fn arbitrary_schemas_never_panic(schema in schema()) {
        if let Ok(params) = params_of(&schema) {
            for param in params {
                let path = param.path.iter().map(|key| format!("/properties/{}", key.replace('~', "~0").replace('/', "~1")));
                let found = schema.pointer(&path.collect::<String>()).unwrap();
                prop_assert_eq!(&found["x-mcp-header"], &json!(param.name), "reached through `properties` alone");
            }
        }
    }

    #[test]
    fn integers_compare_as_numbers(integer in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, zeros in 0_usize..4, other in any::<i64>()) {
        let spelled = match zeros {
            0 => integer.to_string(),
            _ => format!("{integer}.{}", "0".repeat(zeros)),
        };
        prop_assert!(value::is_integer(&spelled, integer));
        prop_assert_eq!(value::is_integer(&spelled, other), integer == other);
    }

    #[test]
    fn what_is_written_from_arguments_agrees_with_them(
        text in any::<String>(), integer in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, fraction in any::<f64>(), flag in any::<bool>(),
    ) {
        prop_assume!(fraction.is_finite() && fraction.abs() < 1e15);
        let property = |kind: &str, name: &str| json!({ "type": kind, "x-mcp-header": name });
        let schema = json!({ "properties": {
            "text": property("string", "Text"), "integer": property("integer", "Integer"),
            "fraction": property("integer", "Fraction"), "flag": property("boolean", "Flag"),
        } });
        let params = params_of(&schema).unwrap();
        let arguments = json!({ "text": text, "integer": integer, "fraction": fraction, "flag": flag });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "arguments": arguments } }).to_string();
        let Body::Single(Message::Request(call)) = jsonrpc::parse(body.as_bytes()).unwrap() else { panic!() };
        let Ok(headers) = mirror(&call, &params) else { return Ok(()) };
        let short = |name: HeaderName| name.as_str().strip_prefix("mcp-param-").unwrap().to_owned();
        let mirrors = Mirrors { params: headers.into_iter().map(|(name, value)| (short(name), value)).collect(), ..Mirrors::default() };
        prop_assert_eq!(check(&call, &params, &mirrors), Ok(()));
    }
}
