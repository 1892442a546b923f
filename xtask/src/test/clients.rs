//! Do clients that nobody here wrote reach real servers through the gateway?

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    command::Command,
    host::Busy,
    stack::{Plan, Stack, Subject},
    workspace::Workspace,
};

use super::scorecard::Scorecard;

/// Each client lists and calls at the remote fixture and at a stdio server behind the connector.
pub(crate) async fn run(workspace: &Workspace, card: &mut Scorecard) {
    let mut stack = None;
    card.stage("gateway, connector and servers for the clients", async {
        stack = Some(start(workspace).await?);
        Ok(())
    })
    .await;
    for (client, script) in CLIENTS {
        for (server, arguments) in SERVERS {
            let name = format!("client {client}, server {server}");
            let call = call(workspace, stack.as_ref(), script, (server, arguments));
            card.stage(&name, call).await;
        }
    }
}

async fn start(workspace: &Workspace) -> Result<Stack> {
    let state = workspace.folder("test")?;
    fs::remove_dir_all(&state)?;
    let plan = Plan { state, port: None, busy: Busy::Elsewhere };
    Stack::start(workspace, &plan, Subject::example(workspace)?).await
}

async fn call(
    workspace: &Workspace,
    stack: Option<&Stack>,
    script: &str,
    (server, arguments): (&str, &str),
) -> Result<()> {
    let stack = stack.context("the gateway did not start")?;
    let token = stack.token.as_deref().context("there is no token")?;
    let program = if script.ends_with(".py") { workspace.python() } else { PathBuf::from("node") };
    let said = Command::new(workspace, &format!("{script} {server}"), program)
        .arg(format!("tests/clients/{script}"))
        .args(["echo", arguments])
        .env("TURNPIKE_URL", format!("{}/mcp/{server}", stack.origin))
        .env("TURNPIKE_TOKEN", token)
        .output()
        .await?
        .success()?;
    let answer: Value = serde_json::from_str(said.trim()).with_context(|| format!("no JSON in `{said}`"))?;
    let text = answer.get("result_text").and_then(Value::as_str).unwrap_or_default();
    if !text.contains(GREETING) {
        bail!("the answer is `{text}`, without `{GREETING}`");
    }
    let tools = answer.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
    println!("   {tools} tools; echo → {text}");
    Ok(())
}

const GREETING: &str = "through the gateway";
const SERVERS: [(&str, &str); 2] =
    [("fixture", r#"{"text":"through the gateway"}"#), ("everything", r#"{"message":"through the gateway"}"#)];
const CLIENTS: [(&str, &str); 4] = [
    ("PyPI mcp", "python_sdk.py"),
    ("npm @modelcontextprotocol/sdk", "npm_sdk.mjs"),
    ("MCP Inspector", "inspector.mjs"),
    ("mcp-remote", "mcp_remote.mjs"),
];
