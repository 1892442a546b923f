//! What does a server say that works, and whose every word can be looked at? One of each era, without surprises.
//!
//! `modern` and `legacy` offer three tools on two pages, and a resource that each call links to. `modern-401` and the like
//! answer the first question for their era with that status.

use serde_json::{Value, json};

/// The answer of the server `kind` to `message`, status and body; none if it is not one of these. `probes` is how often
/// it was asked for its era, this time included.
pub(super) fn says(kind: &str, head: &str, message: &Value, probes: usize) -> Option<(&'static str, String)> {
    let (era, failure) = kind.split_once('-').unwrap_or((kind, ""));
    let method = message["method"].as_str()?;
    let in_session = head.to_ascii_lowercase().contains("mcp-session-id:");
    let said = match (era, method) {
        ("modern", "server/discover") if probes == 1 && !failure.is_empty() => {
            return Some((status(failure), "{}".to_owned()));
        }
        ("modern", "server/discover") => discovered(),
        ("modern", "initialize") => return Some(("404 Not Found", error(message, -32601))),
        ("legacy", "initialize") => return None,
        ("modern" | "legacy", method) if method.starts_with("notifications/") => return None,
        ("legacy", _) if !in_session => return Some(("400 Bad Request", super::NO_SESSION.to_owned())),
        ("modern" | "legacy", method) => result(method, &message["params"]),
        _ => return None,
    };
    let mut said = said;
    if era == "modern" {
        said["resultType"] = json!("complete");
    }
    Some(("200 OK", json!({ "jsonrpc": "2.0", "id": message["id"], "result": said }).to_string()))
}

fn result(method: &str, params: &Value) -> Value {
    match method {
        "tools/list" => match params["cursor"].as_str() {
            None => json!({ "tools": [tool("first"), tool("second")], "nextCursor": SECOND_PAGE }),
            Some(SECOND_PAGE) => json!({ "tools": [tool("third")] }),
            Some(_) => json!({ "tools": [] }),
        },
        "tools/call" => {
            let link = json!({ "type": "resource_link", "uri": LINKED, "name": "linked" });
            json!({ "content": [{ "type": "text", "text": params["name"] }, link] })
        }
        "resources/list" => json!({ "resources": [{ "uri": LINKED, "name": "linked" }] }),
        "resources/read" => json!({ "contents": [{ "uri": params["uri"], "text": "linked text" }] }),
        _ => json!({}),
    }
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "description": format!("The {name} tool"), "inputSchema": { "type": "object" } })
}

fn discovered() -> Value {
    json!({
        "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": {}, "resources": {} },
        "serverInfo": { "name": "working", "version": "0" },
    })
}

fn error(message: &Value, code: i64) -> String {
    json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": code, "message": "not here" } }).to_string()
}

fn status(code: &str) -> &'static str {
    match code {
        "401" => "401 Unauthorized",
        "403" => "403 Forbidden",
        "500" => "500 Internal Server Error",
        "503" => "503 Service Unavailable",
        other => panic!("`{other}` is no status such a server fails with"),
    }
}

const SECOND_PAGE: &str = "page/2";
const LINKED: &str = "file:///linked.txt";
