//! How does one call an MCP server over Streamable HTTP with as little as possible?
//!
//! Enough for a first call and for the bench's sessions; the tests use real clients.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{RequestBuilder, Response, header::CONTENT_TYPE};
use serde_json::{Value, json};

/// A session with one server.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    session: Option<String>,
    next_id: u64,
}

impl Client {
    /// Begins a session: `initialize` and `notifications/initialized`.
    ///
    /// # Errors
    /// With the answer's text, if it is no success.
    pub(crate) async fn initialize(url: &str, token: Option<&str>) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        let token = token.map(str::to_owned);
        let mut client = Self { http, url: url.to_owned(), token, session: None, next_id: 1 };
        let parameters = json!({
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": "xtask", "version": env!("CARGO_PKG_VERSION") },
        });
        let (id, response) = client.send("initialize", &parameters).await?;
        let session = response.headers().get("mcp-session-id").map(|id| id.to_str().map(str::to_owned));
        client.session = session.transpose()?;
        answer(response, id).await?;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        succeeded(client.post().json(&initialized).send().await?).await?;
        Ok(client)
    }

    /// The result of a request.
    ///
    /// # Errors
    /// If the answer is an HTTP or JSON-RPC error, with its text.
    pub(crate) async fn request(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        let (id, response) = self.send(method, parameters).await?;
        answer(response, id).await
    }

    /// Calls a tool; gives the text of its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<String> {
        let result = self.request("tools/call", &json!({ "name": tool, "arguments": arguments })).await?;
        if result.get("isError") == Some(&Value::Bool(true)) {
            bail!("the tool `{tool}` failed: {result}");
        }
        let content = result.get("content").and_then(Value::as_array);
        let content = content.with_context(|| format!("no content in {result}"))?;
        let texts: Vec<&str> = content.iter().filter_map(|part| part.get("text")?.as_str()).collect();
        Ok(texts.join(" "))
    }

    /// The session's id, if the server gave one.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Ends the session.
    pub(crate) async fn close(self) -> Result<()> {
        if let Some(session) = &self.session {
            let request = self.http.delete(&self.url).header("mcp-session-id", session);
            self.authorized(request).send().await?;
        }
        Ok(())
    }

    async fn send(&mut self, method: &str, parameters: &Value) -> Result<(u64, Response)> {
        let id = self.next_id;
        self.next_id += 1;
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters });
        let sent = self.post().json(&body).send().await;
        let response = sent.with_context(|| format!("`{}` does not answer", self.url))?;
        Ok((id, succeeded(response).await?))
    }

    fn post(&self) -> RequestBuilder {
        let mut request = self.http.post(&self.url).header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", REVISION);
        }
        self.authorized(request)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn succeeded(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    bail!("the answer is {status}: {}", response.text().await.unwrap_or_default())
}

/// The message with our id, out of a JSON body or an event stream, which is read no further.
async fn answer(mut response: Response, id: u64) -> Result<Value> {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_stream = content_type.is_some_and(|value| value.starts_with("text/event-stream"));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES {
            bail!("the answer is larger than {ANSWER_BYTES} bytes");
        }
        if is_stream && let Some(message) = event_with(&body, id) {
            return result_of(message);
        }
    }
    if is_stream {
        bail!("the stream ended without an answer to request {id}");
    }
    result_of(serde_json::from_slice(&body).context("the answer is not JSON")?)
}

fn event_with(body: &[u8], id: u64) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let messages = text.lines().filter_map(|line| line.strip_prefix("data:"));
    messages
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .find(|message| message.get("id").and_then(Value::as_u64) == Some(id))
}

fn result_of(mut message: Value) -> Result<Value> {
    match message.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => bail!("the answer is an error: {message}"),
    }
}

/// The newest of the revisions with sessions.
pub(crate) const REVISION: &str = "2025-11-25";
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES: usize = 4 << 20;
