//! What does a modern server say that is odd in one way? It tells who calls its tools something no caller should hear as it
//! is, or offers what cannot be called.
//!
//! `odd-capability`, `odd-version` and `odd-session` refuse each call with an error of that kind, `odd-header` one that does not
//! repeat its argument in a header, which `odd-later` says from the second list on; `odd-asks` asks back for a sampling; `odd-unfit` offers a tool with an annotation nobody
//! can follow.

use serde_json::{Value, json};

/// The answer of the server `kind` to `message`, status and body; none if it is not one of these. `lists` is how often it was
/// asked for its tools, this time included.
pub(super) fn says(kind: &str, head: &str, message: &Value, lists: usize) -> Option<(&'static str, String)> {
    let oddity = kind.strip_prefix("odd-")?;
    let method = message["method"].as_str()?;
    let repeats = head.to_ascii_lowercase().contains("mcp-param-region:");
    let (status, said) = match (method, oddity) {
        ("initialize", _) => (NOT_FOUND, error(-32601, Value::Null)),
        ("server/discover", _) => {
            (OK, result(json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } })))
        }
        ("tools/list", _) => (OK, result(json!({ "tools": tools(oddity, lists) }))),
        ("tools/call", "capability") => (BAD, error(-32021, json!({ "requiredCapabilities": { "sampling": {} } }))),
        ("tools/call", "version") => {
            (BAD, error(-32022, json!({ "supported": ["2027-01-01"], "requested": "2026-07-28" })))
        }
        ("tools/call", "session") => (BAD, error(-32000, Value::Null)),
        ("tools/call", "header" | "later") if !repeats => (BAD, error(-32020, Value::Null)),
        ("tools/call", "asks") => (
            OK,
            json!({ "result": {
            "resultType": "input_required",
            "inputRequests": { "one": { "method": "sampling/createMessage", "params": { "messages": [], "maxTokens": 1 } } },
            "requestState": "mine",
        } }),
        ),
        ("tools/call", _) => (OK, result(json!({ "content": [{ "type": "text", "text": "done" }] }))),
        _ => (NOT_FOUND, error(-32601, Value::Null)),
    };
    let mut said = said;
    said["jsonrpc"] = json!("2.0");
    said["id"] = message["id"].clone();
    Some((status, said.to_string()))
}

fn tools(oddity: &str, lists: usize) -> Vec<Value> {
    let tool = |name: &str, region: Value| {
        let schema = json!({ "type": "object", "properties": { "region": region } });
        json!({ "name": name, "description": name, "inputSchema": schema })
    };
    let annotated = |name: &str| tool(name, json!({ "type": "string", "x-mcp-header": "Region" }));
    match oddity {
        "unfit" => vec![annotated("fit"), tool("unfit", json!({ "type": "object", "x-mcp-header": "Region" }))],
        "later" if lists == 1 => vec![tool("call", json!({ "type": "string" }))],
        _ => vec![annotated("call")],
    }
}

fn result(mut result: Value) -> Value {
    result["resultType"] = json!("complete");
    json!({ "result": result })
}

fn error(code: i64, data: Value) -> Value {
    let mut error = json!({ "code": code, "message": "odd" });
    if !data.is_null() {
        error["data"] = data;
    }
    json!({ "error": error })
}

const OK: &str = "200 OK";
const BAD: &str = "400 Bad Request";
const NOT_FOUND: &str = "404 Not Found";
