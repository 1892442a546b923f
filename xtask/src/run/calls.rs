//! Does every server answer through the gateway?

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{
    client::Client,
    stack::{FirstCall, Server, Stack},
};

/// Makes a first call to each server and prints the answers.
///
/// # Errors
/// With the number of servers that did not answer; each reason is printed.
pub(crate) async fn make(stack: &Stack) -> Result<()> {
    println!();
    let mut failed = 0;
    for server in &stack.servers {
        match call(stack, server).await {
            Ok(answer) => println!("   {:<12} {answer}", server.name),
            Err(error) => {
                failed += 1;
                println!("   {:<12} no answer: {error:#}", server.name);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} servers did not answer through the gateway", stack.servers.len());
    }
    Ok(())
}

/// Where no tool is known, the tools are listed.
async fn call(stack: &Stack, server: &Server) -> Result<String> {
    let url = format!("{}/mcp/{}", stack.origin, server.name);
    let mut client = Client::initialize(&url, stack.token.as_deref()).await?;
    let answer = match &server.first_call {
        Some(FirstCall { tool, arguments }) => {
            let text = client.call(tool, arguments).await?;
            format!("tools/call {tool:<11} → {}", shortened(&text))
        }
        None => {
            let listed = client.request("tools/list", &json!({})).await?;
            let count = listed.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
            format!("tools/list → {count} tools")
        }
    };
    client.close().await?;
    Ok(answer)
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(100).collect()
}
