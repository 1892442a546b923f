//! Do the headers that repeat a tool's arguments say what the arguments do? The server's list of tools tells which there
//! have to be (MCP 2026-07-28 basic/transports/streamable-http, Custom Headers from Tool Parameters); the server itself
//! never sees a header.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bridge::routing::{self, Mismatch, ParamHeader, params_of};
use mcp::header::Mirrors;
use mcp::{Body, Call, Message};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::request::Request;
use super::stateless::Stateless;

/// The annotated parameters of a process's tools, as far as they have been read.
#[derive(Debug, Default)]
pub struct Annotations(Mutex<Option<Tools>>);

impl Annotations {
    /// Compares the headers of `call` with its arguments.
    ///
    /// # Errors
    /// [`Mismatch`]
    pub async fn check(&self, process: &Arc<Stateless>, call: &Call<'_>, mirrors: &Mirrors) -> Result<(), Mismatch> {
        let tools = self.no_older_than(READ_AGAIN_AFTER, process).await;
        match tools.check(call, mirrors) {
            // The tool may be another one by now.
            Err(_) if tools.read.elapsed() > FRESH => self.no_older_than(FRESH, process).await.check(call, mirrors),
            checked => checked,
        }
    }

    /// Whoever comes while they are read waits for it.
    async fn no_older_than(&self, max_age: Duration, process: &Arc<Stateless>) -> Tools {
        let mut known = self.0.lock().await;
        if let Some(tools) = known.as_ref().filter(|tools| tools.read.elapsed() <= max_age) {
            return tools.clone();
        }
        let mut annotated = HashMap::new();
        // A server whose tools cannot be listed has none whose headers could be checked.
        let _ = timeout(LIST_TIMEOUT, list(process, &mut annotated)).await;
        known.insert(Tools { annotated: Arc::new(annotated), read: Instant::now() }).clone()
    }
}

#[derive(Clone, Debug)]
struct Tools {
    annotated: Arc<HashMap<String, Vec<ParamHeader>>>,
    read: Instant,
}

impl Tools {
    fn check(&self, call: &Call<'_>, mirrors: &Mirrors) -> Result<(), Mismatch> {
        let params = routing::name(call).and_then(|tool| self.annotated.get(tool.as_ref()));
        routing::check(call, params.map_or(&[], Vec::as_slice), mirrors)
    }
}

async fn list(process: &Arc<Stateless>, annotated: &mut HashMap<String, Vec<ParamHeader>>) -> Option<()> {
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let params = cursor.map_or_else(|| json!({}), |cursor: String| json!({ "cursor": cursor }));
        let answer = process.ask(&Request::own_modern("tools/list", params)).await?.next().await?;
        let Ok(Body::Single(Message::Response(reply))) = mcp::jsonrpc::parse(&answer.message) else { return None };
        let page: Page = serde_json::from_str(reply.result?.get()).ok()?;
        // One whose annotations are wrong is for its callers to leave out.
        let params = page.tools.into_iter().filter_map(|tool| Some((tool.name, params_of(&tool.input_schema).ok()?)));
        annotated.extend(params.filter(|(_, params)| !params.is_empty()).take(TOOLS_MAX));
        cursor = Some(page.next_cursor?);
    }
    Some(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    tools: Vec<Tool>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    #[serde(default)]
    input_schema: Value,
}

const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// They are not read more often than this, whatever callers send.
const FRESH: Duration = Duration::from_secs(1);
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
const PAGES_MAX: usize = 64;
/// Of one page.
const TOOLS_MAX: usize = 256;
