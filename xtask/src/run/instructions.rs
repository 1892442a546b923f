//! What can the reader do now, by copying lines?

use std::path::Path;

use serde_json::json;

use crate::{
    client::REVISION,
    stack::{FirstCall, Server, Stack},
};

/// The text that says that the gateway is ready, where, and how to call it.
pub(crate) fn ready(stack: &Stack, env: &Path) -> String {
    let Stack { origin, servers, token, .. } = stack;
    let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
    let server = names.first().unwrap_or(&"NAME");
    let env = env.display();
    let call = call(servers.first());
    let bearer = match token {
        Some(_) => r#"-H "Authorization: Bearer $TURNPIKE_TOKEN""#,
        None => r#"-H "Authorization: Bearer …""#,
    };
    let inspector = bearer.replacen("-H", "--header", 1);
    format!(
        r#"
Turnpike is ready at {origin}/mcp/...  ({names})

With curl (a session, then a call):

  . {env}
  mcp() {{ curl -sS $TURNPIKE_URL/mcp/{server} {bearer} -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -H 'MCP-Protocol-Version: {REVISION}' "$@"; }}
  SESSION=$(mcp -D - -o /dev/null -d '{INITIALIZE}' | tr -d '\r' | awk 'tolower($1) == "mcp-session-id:" {{ print $2 }}')
  mcp -H "Mcp-Session-Id: $SESSION" -d '{INITIALIZED}'
  mcp -H "Mcp-Session-Id: $SESSION" -d '{call}'

With the MCP Inspector:

  . {env}
  npx mcp-inspector --cli $TURNPIKE_URL/mcp/{server} --transport http {inspector} --method tools/list

{operator}{env} holds TURNPIKE_URL, TURNPIKE_TOKEN, TURNPIKE_OPERATOR_TOKEN (good for 12 hours) and TURNPIKE_PID. Ctrl-C ends it all."#,
        operator = stack.operator.as_ref().map_or_else(String::new, |_| operate(&env.to_string())),
        names = names.join(", "),
    )
}

/// What an operator can do, with a copy of the configuration that runs.
fn operate(env: &str) -> String {
    let folder = env.strip_suffix("/env").map_or_else(|| "infra".to_owned(), |state| format!("{state}/infra"));
    format!(
        r#"As its operator ({folder} is the configuration that runs; change something in it first):

  . {env}; export TURNPIKE_URL TURNPIKE_TOKEN=$TURNPIKE_OPERATOR_TOKEN
  cargo run -q -p turnpike -- plan {folder}
  cargo run -q -p turnpike -- push {folder}
  cargo run -q -p turnpike -- rollback
  cargo run -q -p turnpike -- usage acme

As another agent:

  TURNPIKE_TOKEN=$(cargo xtask token --tenant globex --agent reporter --audience $TURNPIKE_URL)

"#
    )
}

fn call(server: Option<&Server>) -> String {
    let (method, parameters) = match server.and_then(|server| server.first_call.as_ref()) {
        Some(FirstCall { tool, arguments }) => ("tools/call", json!({ "name": tool, "arguments": arguments })),
        None => ("tools/list", json!({})),
    };
    json!({ "jsonrpc": "2.0", "id": 2, "method": method, "params": parameters }).to_string()
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"8"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
