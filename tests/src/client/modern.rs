//! How does a caller speak that has no session? Each request says for itself what it is (MCP 2026-07-28).

use serde_json::{Value, json};

use super::{Answer, Client, Exact, Stream};

/// A client that needs no session, of one MCP endpoint.
pub struct Modern {
    client: Client,
    capabilities: Value,
    log_level: Option<&'static str>,
}

impl Modern {
    pub(super) fn new(client: Client) -> Self {
        let capabilities = json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} });
        Self { client, capabilities, log_level: None }
    }

    /// Declares `capabilities` instead of everything there is to be asked.
    #[must_use]
    pub fn able(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Wants to hear what a server logs, from `level` on.
    #[must_use]
    pub fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = Some(level);
        self
    }

    /// Whom it speaks for, and to whom.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The next request of `method`, with an id and an envelope of its own.
    pub fn message(&self, method: &str, params: Value) -> Value {
        let mut message = self.client.message(method, params);
        let meta = message["params"]["_meta"].take();
        message["params"]["_meta"] = self.envelope(meta);
        message
    }

    /// A POST of `message`, which may be no good one, with the headers that repeat it.
    pub fn post(&self, message: &Value) -> Exact {
        let method = message["method"].as_str().unwrap_or_default();
        let version = message["params"]["_meta"][VERSION].as_str().unwrap_or(MODERN);
        let request = self.client.bare(message.to_string());
        let request = request.header("mcp-protocol-version", version).header("mcp-method", method);
        let name = match method {
            "tools/call" | "prompts/get" => &message["params"]["name"],
            "resources/read" => &message["params"]["uri"],
            _ => &Value::Null,
        };
        request.header_if("mcp-name", name.as_str().map(str::to_owned))
    }

    /// Sends a request and reads the answer.
    pub async fn request(&self, method: &str, params: Value) -> Answer {
        self.post(&self.message(method, params)).send().await
    }

    /// Sends a request and reads the answer's head.
    pub async fn stream(&self, method: &str, params: Value) -> Stream {
        self.post(&self.message(method, params)).stream().await
    }

    /// The result of a request; fails if there is none.
    pub async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        let result = answer.reply()["result"].clone();
        assert!(result.is_object(), "{method}: {answer:?}");
        result
    }

    /// Calls `tool`.
    pub async fn try_call(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Calls `tool` and gives the text of its result; fails if there is none.
    pub async fn call(&self, tool: &str, arguments: Value) -> String {
        let answer = self.try_call(tool, arguments).await;
        assert_eq!(answer.status, 200, "{tool}: {answer:?}");
        answer.text()
    }

    /// What the fixture's `whoami` says.
    pub async fn whoami(&self) -> Value {
        serde_json::from_str(&self.call("whoami", json!({})).await).unwrap()
    }

    /// Sends `params` once more, with answers to what `asked`, a result, asks for.
    pub async fn retry(&self, method: &str, params: &Value, asked: &Value, answers: Value) -> Answer {
        self.request(method, retried(params, asked, answers)).await
    }

    fn envelope(&self, more: Value) -> Value {
        let mut meta = json!({
            VERSION: MODERN,
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            "io.modelcontextprotocol/clientInfo": { "name": "turnpike-tests", "version": "0" },
        });
        if let Some(level) = self.log_level {
            meta["io.modelcontextprotocol/logLevel"] = json!(level);
        }
        if let Value::Object(more) = more {
            meta.as_object_mut().unwrap().extend(more);
        }
        meta
    }
}

/// `params` of a request once more, with `answers` to what `asked`, a result, asks for.
#[must_use]
pub fn retried(params: &Value, asked: &Value, answers: Value) -> Value {
    let mut params = params.clone();
    params["inputResponses"] = answers;
    if asked["requestState"].is_string() {
        params["requestState"] = asked["requestState"].clone();
    }
    params
}

/// An answer to everything that `asked`, a result, asks for: `content` to each form, a sampling that says `word`, one root.
#[must_use]
pub fn answers(asked: &Value, content: &Value, word: &str) -> Value {
    let requests = asked["inputRequests"].as_object().unwrap_or_else(|| panic!("nothing is asked: {asked}"));
    let answers = requests.iter().map(|(key, request)| (key.clone(), answer_to(&request["method"], content, word)));
    Value::Object(answers.collect())
}

/// An answer to one request of `method`, as in [`answers`].
#[must_use]
pub fn answer_to(method: &Value, content: &Value, word: &str) -> Value {
    match method.as_str() {
        Some("elicitation/create") => json!({ "action": "accept", "content": content }),
        Some("sampling/createMessage") => {
            json!({ "role": "assistant", "model": "none", "content": { "type": "text", "text": word } })
        }
        Some("roots/list") => json!({ "roots": [{ "uri": "file:///home/ada" }] }),
        _ => panic!("`{method}` is nothing a client is asked"),
    }
}

/// The revision without sessions.
pub const MODERN: &str = "2026-07-28";
/// Where a request says its revision.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
