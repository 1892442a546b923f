//! Do the headers mirror the arguments (MCP 2026-07-28 basic/transports/streamable-http)? One golden file for each rule.

use bridge::routing::{self, Type};
use http::HeaderName;
use mcp::{Body, Message, jsonrpc};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotation {
    #[serde(rename = "rule")]
    _rule: String,
    schema: Value,
    expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mirror {
    #[serde(rename = "rule")]
    _rule: String,
    schema: Value,
    arguments: Value,
    headers: Vec<(String, String)>,
    check: String,
    mirror: Value,
    forward: Vec<(String, String)>,
}

#[test]
fn every_rule_of_annotations_holds() {
    for (name, row) in crate::rows::<Annotation>("annotation") {
        let found = match routing::params_of(&row.schema) {
            Ok(params) => {
                let param = |param: &routing::ParamHeader| {
                    let kind = match param.kind {
                        Type::Text => "string",
                        Type::Integer => "integer",
                        Type::Flag => "boolean",
                    };
                    json!({ "path": param.path, "name": param.name, "type": kind })
                };
                json!({ "params": params.iter().map(param).collect::<Vec<_>>() })
            }
            Err(invalid) => json!({ "invalid": invalid.to_string() }),
        };
        assert_eq!(found, row.expect, "{name}");
    }
}

#[test]
fn every_rule_of_mirrors_holds() {
    for (name, row) in crate::rows::<Mirror>("mirror") {
        let params = routing::params_of(&row.schema).unwrap();
        let arguments = match &row.arguments {
            Value::Null => json!({ "name": "a" }),
            arguments => json!({ "name": "a", "arguments": arguments }),
        };
        let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments }).to_string();
        let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!("{name}") };

        let mirrors = crate::mirrors(&row.headers);
        let checked = routing::check(&call, &params, &mirrors);
        assert_eq!(
            checked.clone().map_or_else(|mismatch| mismatch.to_string(), |()| "agrees".to_owned()),
            row.check,
            "{name}"
        );

        let mirrored = match routing::mirror(&call, &params) {
            Ok(headers) => json!(pairs(headers)),
            Err(error) => json!({ "error": error.to_string() }),
        };
        // A map of arguments has no order, so neither have the headers.
        assert_eq!(sorted(mirrored), sorted(row.mirror), "{name}");
        if checked.is_ok() {
            assert_eq!(pairs(routing::unrecognized(&mirrors, &params)), row.forward, "{name}");
        }
    }
}

/// What is written from a body is what is accepted with it.
#[test]
fn what_is_mirrored_agrees() {
    for (name, row) in crate::rows::<Mirror>("mirror") {
        let params = routing::params_of(&row.schema).unwrap();
        let call =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "arguments": row.arguments } });
        let text = call.to_string();
        let Body::Single(Message::Request(call)) = jsonrpc::parse(text.as_bytes()).unwrap() else { panic!("{name}") };
        let Ok(headers) = routing::mirror(&call, &params) else { continue };
        assert_eq!(routing::check(&call, &params, &crate::mirrors(&pairs(headers))), Ok(()), "{name}");
    }
}

fn pairs(headers: Vec<(HeaderName, String)>) -> Vec<(String, String)> {
    headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn sorted(mut value: Value) -> Value {
    if let Some(items) = value.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
    value
}
