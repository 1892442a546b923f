//! Which real MCP servers stand behind the gateway? Instances of our fixture, each a process.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::{
    client::Client,
    node::{Node, root},
};

/// A running fixture.
pub struct Fixture {
    node: Node,
    name: String,
    /// Its MCP endpoint.
    pub url: String,
}

/// server-everything over HTTP+SSE (MCP 2024-11-05).
pub struct Old {
    node: Node,
    /// Its stream.
    pub url: String,
}

impl Old {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let (node, url) = Node::start(&root().join("tests/fixture/everything_sse.mjs"), &[], "fixture ready ");
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
        Node::start(&root().join("tests/clients/old_session.mjs"), &arguments, "seen ").1
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
        *self = Self::start_on(&port, &self.name, &[]);
    }

    /// The ids of the sessions it has open.
    pub async fn sessions(&self) -> Vec<String> {
        let state = self.state().await;
        serde_json::from_value(state["sessions"].clone()).unwrap()
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
        let client = self.client().open().await;
        let listed = client.request("tools/list", json!({})).await.reply()["result"]["tools"].clone();
        client.delete().await;
        listed.as_array().expect("it lists tools").clone()
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
        let (node, url) = Node::start(&script, &arguments, "fixture ready ");
        Self { node, name: name.to_owned(), url }
    }
}

impl Shared {
    /// The shared fixtures, started when first asked for; they end with the process.
    pub fn running() -> &'static Self {
        static SHARED: OnceLock<Shared> = OnceLock::new();
        SHARED.get_or_init(|| {
            let starts = [("one", &[][..]), ("json", &["--json"]), ("pair-0", &[]), ("pair-1", &[])];
            let threads = starts.map(|(name, options)| std::thread::spawn(move || Fixture::start(name, options)));
            let [one, json, pair_0, pair_1] = threads.map(|thread| thread.join().expect("the fixture starts"));
            Self { one, json, pair: [pair_0, pair_1] }
        })
    }
}
