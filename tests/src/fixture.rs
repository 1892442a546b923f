//! Which real MCP servers stand behind the gateway? Instances of our fixture, each a process.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::{
    client::Client,
    program::{Program, root},
};

/// A running fixture.
pub struct Fixture {
    node: Program,
    name: String,
    options: Vec<String>,
    /// Its MCP endpoint.
    pub url: String,
}

/// server-everything over HTTP+SSE (MCP 2024-11-05).
pub struct Old {
    node: Program,
    /// Its stream.
    pub url: String,
}

impl Old {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let (node, url) = Program::node(&root().join("tests/fixture/everything_sse.mjs"), &[], "fixture ready ");
        Self { node, url }
    }

    /// Ends it as a crash would, and with it every session.
    pub fn kill(&mut self) {
        self.node.kill();
    }
}

/// What npm `@modelcontextprotocol/sdk` sees over HTTP+SSE at `url` when it takes `steps`: `tests/clients/old_session.mjs`.
pub async fn old_session(url: &str, token: &str, steps: Value) -> Value {
    let arguments = [url.to_owned(), token.to_owned(), steps.to_string()];
    let ended = tokio::task::spawn_blocking(move || {
        let arguments = arguments.each_ref().map(String::as_str);
        Program::node(&root().join("tests/clients/old_session.mjs"), &arguments, "seen ").1
    });
    serde_json::from_str(&ended.await.unwrap()).unwrap()
}

/// The fixtures that scenarios share when they do not harm them.
pub struct Shared {
    /// Answers in event streams.
    pub one: Fixture,
    /// Answers plain calls in JSON.
    pub json: Fixture,
    /// The two instances of one server.
    pub pair: [Fixture; 2],
    /// Knows no sessions.
    pub modern: Fixture,
    /// Serves callers with sessions and without.
    pub both: Fixture,
}

impl Fixture {
    /// Starts an instance called `name`, with further options such as `--json`.
    #[must_use]
    pub fn start(name: &str, options: &[&str]) -> Self {
        Self::start_on("0", name, options)
    }

    /// Ends it as a crash would, with everything it knew.
    pub fn kill(&mut self) {
        self.node.kill();
    }

    /// Kills it and starts it again at the same address; it knows nothing of its sessions.
    pub fn restart(&mut self) {
        self.kill();
        let port = self.authority().rsplit(':').next().unwrap().to_owned();
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        *self = Self::start_on(&port, &self.name, &options);
    }

    /// The ids of the sessions it has open.
    pub async fn sessions(&self) -> Vec<String> {
        let state = self.state().await;
        serde_json::from_value(state["sessions"].clone()).unwrap()
    }

    /// How calls of `tool` ended so far: `begun`, `asked`, `finished`, `failed`, `cancelled`; null before the first.
    pub async fn calls(&self, tool: &str) -> Value {
        self.state().await["calls"][tool].clone()
    }

    /// What became of the call of `hold` with this label: `unknown`, `running`, `finished` or `cancelled`.
    pub async fn held(&self, label: &str) -> String {
        self.call("held", json!({ "label": label })).await
    }

    /// Calls a tool of its without a gateway; the text of the result.
    pub async fn call(&self, tool: &str, arguments: Value) -> String {
        match self.is_modern() {
            true => self.client().modern().call(tool, arguments).await,
            false => {
                let client = self.client().open().await;
                let text = client.call(tool, arguments).await;
                client.delete().await;
                text
            }
        }
    }

    /// How many messages of `method` it was sent.
    pub async fn heard(&self, method: &str) -> u64 {
        self.state().await["methods"][method].as_u64().unwrap_or_default()
    }

    /// How many answers it is still writing.
    pub async fn open_responses(&self) -> u64 {
        self.state().await["open_responses"].as_u64().unwrap()
    }

    /// A client that calls it without a gateway.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::at(self.authority()).endpoint("/mcp")
    }

    /// Its tools, as it defines them now.
    pub async fn tools(&self) -> Vec<Value> {
        let answer = if self.is_modern() {
            self.client().modern().request("tools/list", json!({})).await
        } else {
            let client = self.client().open().await;
            let listed = client.request("tools/list", json!({})).await;
            client.delete().await;
            listed
        };
        answer.reply()["result"]["tools"].as_array().expect("it lists tools").clone()
    }

    /// Whether it knows no sessions.
    fn is_modern(&self) -> bool {
        self.options.iter().any(|option| option == "modern")
    }

    async fn state(&self) -> Value {
        Client::at(self.authority()).exact("GET", "/sessions").send().await.json()
    }

    fn authority(&self) -> &str {
        self.url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap()
    }

    fn start_on(port: &str, name: &str, options: &[&str]) -> Self {
        let script = root().join("tests/fixture/server.mjs");
        let arguments = [&["--port", port, "--name", name], options].concat();
        let (node, url) = Program::node(&script, &arguments, "fixture ready ");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self { node, name: name.to_owned(), options, url }
    }
}

impl Shared {
    /// The shared fixtures, started when first asked for; they end with the process.
    pub fn running() -> &'static Self {
        static SHARED: OnceLock<Shared> = OnceLock::new();
        SHARED.get_or_init(|| {
            let starts = [
                ("one", &[][..]),
                ("json", &["--json"]),
                ("pair-0", &[]),
                ("pair-1", &[]),
                ("modern", &["--era", "modern"]),
                ("both", &["--era", "both"]),
            ];
            let threads = starts.map(|(name, options)| std::thread::spawn(move || Fixture::start(name, options)));
            let started = threads.map(|thread| thread.join().expect("the fixture starts"));
            let [one, json, pair_0, pair_1, modern, both] = started;
            Self { one, json, pair: [pair_0, pair_1], modern, both }
        })
    }
}
