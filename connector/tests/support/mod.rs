//! A running connector and a caller of it, for the tests.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "each test binary uses a part of it"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use mcp::sse::{Event, Parser};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

pub const MODERN: &str = "2026-07-28";
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
pub const SECRET: &str = "a-secret-for-the-tests-0123456789abcdef";

/// A connector with its folder; dropping it kills it.
pub struct Connector {
    process: Child,
    stdout: BufReader<ChildStdout>,
    pub url: String,
    /// Stands in the environment of every server process and its warden.
    pub mark: String,
    pub folder: PathBuf,
}

impl Connector {
    /// A connector with the misbehaving server and the keys of `own` in `[connector]`.
    pub fn misbehaving(own: &str) -> Self {
        Self::start(own, &[("bad", "node", &[fixture("misbehaving.mjs").as_str()], "")])
    }

    /// `servers` are name, command, arguments, and further keys.
    pub fn start(own: &str, servers: &[(&str, &str, &[&str], &str)]) -> Self {
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("turnpike-connector-{mark}"));
        fs::create_dir_all(&folder).unwrap();
        let mut text = format!("[connector]\nshutdown_grace_ms = 300\n{own}\n");
        for (name, command, args, more) in servers {
            let set_env = format!("set_env = {{ TURNPIKE_TEST_MARK = \"{mark}\" }}");
            text +=
                &format!("[[servers]]\nname = {name:?}\ncommand = {command:?}\nargs = {args:?}\n{set_env}\n{more}\n");
        }
        fs::write(folder.join("connector.toml"), text).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_turnpike-connector"))
            .args(["serve", "--port", "0", "--config"])
            .arg(folder.join("connector.toml"))
            .env("TURNPIKE_CONNECTOR_SECRET", SECRET)
            .env("TURNPIKE_LOG", "debug")
            .env_remove("TURNPIKE_TEST_MARK")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut lines = (&mut stdout).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_else(|| panic!("no connector: {}", read(&folder.join("log"))));
        assert!(lines.any(|line| line == "ready"));
        let url = first.rsplitn(3, '/').last().unwrap().to_owned();
        Self { process, stdout, url, mark, folder }
    }

    pub fn log(&self) -> String {
        read(&self.folder.join("log"))
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// Waits for its end; the status it exited with.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    /// With npm's server of 2026-07-28.
    pub fn modern(own: &str) -> Self {
        Self::start(own, &[("modern", "node", &[fixture("modern.mjs").as_str()], "")])
    }

    /// Every process of its servers, the wardens too.
    pub fn processes(&self) -> Vec<i32> {
        let needle = format!("TURNPIKE_TEST_MARK={}\0", self.mark);
        pids()
            .filter(|pid| {
                String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()).contains(&needle)
            })
            .collect()
    }

    /// Waits until no process of its servers is left, not even as a zombie of the connector.
    pub async fn wait_until_gone(&self) {
        eventually("no process of a server is left", || self.processes().is_empty()).await;
        let own = self.process.id();
        eventually("no zombie is left", || pids().all(|pid| !is_zombie_of(pid, own))).await;
    }

    pub fn caller(&self, server: &str) -> Caller {
        Caller::new(&format!("{}/{server}/mcp", self.url))
    }

    pub async fn session(&self, server: &str) -> Caller {
        let mut caller = self.caller(server);
        caller.initialize(json!({})).await;
        caller
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the connector\n{}", self.log());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            for pid in self.processes() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A caller of one server.
#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    pub url: String,
    pub session: Option<String>,
}

impl Caller {
    pub fn new(url: &str) -> Self {
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap(), url: url.to_owned(), session: None }
    }

    pub fn request(&self, method: Method) -> RequestBuilder {
        let request = self.http.request(method, &self.url).bearer_auth(SECRET);
        let request = request.header("accept", "application/json, text/event-stream");
        match &self.session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        }
    }

    pub async fn post(&self, message: &Value) -> Response {
        self.request(Method::POST).json(message).send().await.unwrap()
    }

    pub async fn get(&self) -> Response {
        self.request(Method::GET).send().await.unwrap()
    }

    pub async fn delete(&self) -> StatusCode {
        self.request(Method::DELETE).send().await.unwrap().status()
    }

    /// Begins a session; `capabilities` are the client's.
    pub async fn initialize(&mut self, capabilities: Value) -> Value {
        let response = self.post(&initialize("2025-11-25", capabilities)).await;
        let status = response.status();
        self.session = response.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        let answer: Value = response.json().await.unwrap();
        assert!(status == StatusCode::OK && self.session.is_some(), "{status} {answer}");
        let notified = self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!(notified.status(), StatusCode::ACCEPTED);
        answer
    }

    /// A tool's answer, whatever came before it.
    pub async fn call(&self, id: Value, tool: &str, arguments: Value) -> Value {
        let response = self.post(&call(id, tool, arguments)).await;
        Messages::of(response).last().await
    }

    /// A call that the server has, and answers once it is told to `release` it.
    pub async fn hold(&self, id: Value) -> Messages {
        let mut message = call(id.clone(), "hold", json!({}));
        message["params"]["_meta"] = json!({"progressToken": id});
        let mut messages = Messages::of(self.post(&message).await);
        assert_eq!(messages.next().await.unwrap()["params"]["progressToken"], id);
        messages
    }

    /// The text a tool answers with.
    pub async fn text(&self, id: Value, tool: &str, arguments: Value) -> String {
        let answer = self.call(id, tool, arguments).await;
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
    }
}

impl Caller {
    /// A request of 2026-07-28: its headers say what its body does.
    pub fn modern(&self, id: Value, method: &str, params: Value) -> RequestBuilder {
        let message = modern(id, method, params);
        let params = &message["params"];
        let name = params["name"].as_str().or(params["uri"].as_str());
        let request = self.request(Method::POST).header("mcp-protocol-version", MODERN).header("mcp-method", method);
        let request = request.headers(name.map(|name| ("mcp-name", name)).into_iter().map(header).collect());
        request.json(&message)
    }

    /// The answer to a modern request, whatever came before it, and its status.
    pub async fn ask(&self, id: Value, method: &str, params: Value) -> (u16, Value) {
        let messages = Messages::of(self.modern(id, method, params).send().await.unwrap());
        (messages.status.as_u16(), messages.last().await)
    }

    /// The text a tool answers a modern call with.
    pub async fn told(&self, tool: &str, arguments: Value) -> String {
        let (_, answer) = self.ask(json!(0), "tools/call", json!({"name": tool, "arguments": arguments})).await;
        answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
    }

    /// A modern call of `hold` with this key, which the server has, and answers once it is told to `release` it.
    pub async fn hold_modern(&self, id: Value, key: &str) -> Messages {
        let meta = json!({"progressToken": id});
        let params = json!({"name": "hold", "arguments": {"key": key}, "_meta": meta});
        let mut messages = Messages::of(self.modern(id.clone(), "tools/call", params).send().await.unwrap());
        assert_eq!(messages.next().await.unwrap()["params"]["progressToken"], id);
        messages
    }

    /// A subscription, acknowledged.
    pub async fn listen(&self, id: Value, notifications: Value) -> Messages {
        let params = json!({"notifications": notifications});
        let mut messages = Messages::of(self.modern(id.clone(), "subscriptions/listen", params).send().await.unwrap());
        let acknowledged = messages.next().await.unwrap();
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
        assert_eq!(acknowledged["params"]["_meta"][SUBSCRIPTION_ID], id);
        messages
    }
}

/// The messages of an answer, JSON or a stream.
pub struct Messages {
    pub status: StatusCode,
    pub content_type: String,
    body: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: Parser,
    events: std::collections::VecDeque<Event>,
}

impl Messages {
    pub fn of(response: Response) -> Self {
        Self {
            status: response.status(),
            content_type: response.headers()["content-type"].to_str().unwrap().to_owned(),
            body: response.bytes_stream().boxed(),
            parser: Parser::new(1 << 26),
            events: Default::default(),
        }
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        if self.content_type == "application/json" {
            let mut whole = Vec::new();
            while let Some(piece) = self.body.next().await {
                whole.extend_from_slice(&piece.unwrap());
            }
            return (!whole.is_empty()).then(|| serde_json::from_slice(&whole).unwrap());
        }
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(serde_json::from_str(&event.data).unwrap());
            }
            let piece = self.body.next().await?.ok()?;
            self.events.extend(self.parser.push(&piece).unwrap());
        }
    }

    pub async fn all(mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(message) = self.next().await {
            all.push(message);
        }
        all
    }

    pub async fn last(self) -> Value {
        self.all().await.pop().unwrap()
    }
}

pub fn initialize(revision: &str, capabilities: Value) -> Value {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": revision, "capabilities": capabilities, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
}

/// A request of 2026-07-28; `_meta` of `params` is added to what it needs.
pub fn modern(id: Value, method: &str, mut params: Value) -> Value {
    let mut meta = json!({VERSION: MODERN, CAPABILITIES: {}});
    if let Some(more) = params["_meta"].as_object() {
        meta.as_object_mut().unwrap().extend(more.clone());
    }
    params["_meta"] = meta;
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn header((name, value): (&'static str, &str)) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), value.parse().unwrap())
}

pub fn call(id: Value, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// Looks until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture").join(name).to_str().unwrap().to_owned()
}

/// A server out of the repository's node_modules.
pub fn npm(command: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node_modules/.bin").join(command);
    assert!(path.exists(), "`{}` is missing: run `npm ci` at the root of the repository", path.display());
    path.to_str().unwrap().to_owned()
}

/// A server out of the tests' Python environment.
pub fn pypi(command: &str) -> String {
    let target = Path::new(env!("CARGO_BIN_EXE_turnpike-connector")).ancestors().nth(2).unwrap();
    let path = target.join("venv/bin").join(command);
    assert!(path.exists(), "`{}` is missing: `cargo xtask test` sets it up", path.display());
    path.to_str().unwrap().to_owned()
}

pub fn is_alive(pid: i32) -> bool {
    let state = stat(pid, 0);
    state.is_some_and(|state| state != "Z" && state != "X")
}

fn is_zombie_of(pid: i32, parent: u32) -> bool {
    stat(pid, 0).as_deref() == Some("Z") && stat(pid, 1) == Some(parent.to_string())
}

/// A field of /proc/[pid]/stat, counted from the state.
fn stat(pid: i32, field: usize) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    stat.rsplit_once(')')?.1.split_whitespace().nth(field).map(str::to_owned)
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

static NEXT: AtomicU32 = AtomicU32::new(0);
