//! How does a scenario speak to a gateway? As an MCP client over HTTP, or with exactly the bytes it chooses.

mod answer;
mod caller;
mod modern;

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub use answer::{Answer, Stream};
pub use caller::{Caller, Era};
pub use modern::{MODERN, Modern, VERSION, answer_to, answers, retried};

/// A client of one MCP endpoint.
pub struct Client {
    /// Where it connects to.
    authority: String,
    /// What it says in `Host`.
    host: String,
    path: String,
    token: Option<String>,
    session: RefCell<Option<String>>,
    revision: Cell<Option<&'static str>>,
    ids: Cell<u64>,
}

/// A request as it is put on the wire, header by header.
pub struct Exact {
    authority: String,
    request: Request<UnsyncBoxBody<Bytes, std::convert::Infallible>>,
}

impl Client {
    /// A client of whatever listens at `authority`, which it calls by that name.
    #[must_use]
    pub fn at(authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            host: authority.to_owned(),
            path: "/".to_owned(),
            token: None,
            session: RefCell::default(),
            revision: Cell::default(),
            ids: Cell::new(0),
        }
    }

    /// Calls the server `name`; nothing is all of them.
    #[must_use]
    pub fn server(mut self, name: &str) -> Self {
        self.path = if name.is_empty() { "/mcp".to_owned() } else { format!("/mcp/{name}") };
        self
    }

    /// The same caller, without a session.
    #[must_use]
    pub fn modern(self) -> Modern {
        Modern::new(self)
    }

    /// Calls an MCP endpoint at `path` that is no gateway's.
    #[must_use]
    pub fn endpoint(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Bears `token`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The same client, session and all, that connects to `authority` and still says the same `Host`.
    #[must_use]
    pub fn through(&self, authority: &str) -> Self {
        Self {
            authority: authority.to_owned(),
            host: self.host.clone(),
            path: self.path.clone(),
            token: self.token.clone(),
            session: self.session.clone(),
            revision: self.revision.clone(),
            ids: self.ids.clone(),
        }
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> Option<String> {
        self.session.borrow().clone()
    }

    /// Uses `id` as its session's.
    #[must_use]
    pub fn with_session(self, id: &str) -> Self {
        self.revision.set(Some(LATEST));
        self.session.replace(Some(id.to_owned()));
        self
    }

    /// Begins a session of the newest revision that has any, and fails if it cannot.
    pub async fn open(self) -> Self {
        self.open_as(LATEST).await
    }

    /// Begins a session of `revision`, and fails if it cannot.
    pub async fn open_as(self, revision: &'static str) -> Self {
        let answer = self.initialize(revision).await;
        assert_eq!(answer.status, 200, "initialize: {answer:?}");
        assert_eq!(answer.reply()["result"]["protocolVersion"], revision, "{answer:?}");
        let initialized = self.notify("notifications/initialized").await;
        assert_eq!(initialized.status, 202, "notifications/initialized: {initialized:?}");
        self
    }

    /// Sends `initialize` for `revision` and keeps the session it is given.
    pub async fn initialize(&self, revision: &'static str) -> Answer {
        self.session.replace(None);
        self.revision.set(None);
        let answer = self.request("initialize", initialize_params(revision)).await;
        let session = answer.headers.get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        if session.is_some() {
            self.session.replace(session);
            // The header is younger than the first two revisions.
            self.revision.set(Some(revision).filter(|revision| *revision >= "2025-06-18"));
        }
        answer
    }

    /// Calls `tool` and gives the text of its result; fails if there is none.
    pub async fn call(&self, tool: &str, arguments: Value) -> String {
        let answer = self.try_call(tool, arguments).await;
        assert_eq!(answer.status, 200, "{tool}: {answer:?}");
        answer.text()
    }

    /// Calls `tool`.
    pub async fn try_call(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// What the fixture's `whoami` says.
    pub async fn whoami(&self) -> Value {
        serde_json::from_str(&self.call("whoami", json!({})).await).unwrap()
    }

    /// Sends a request and reads the answer.
    pub async fn request(&self, method: &str, params: Value) -> Answer {
        self.post(self.message(method, params).to_string()).send().await
    }

    /// Sends a request and reads the answer's head.
    pub async fn stream(&self, method: &str, params: Value) -> Stream {
        self.post(self.message(method, params).to_string()).stream().await
    }

    /// Sends a notification.
    pub async fn notify(&self, method: &str) -> Answer {
        self.post(json!({ "jsonrpc": "2.0", "method": method }).to_string()).send().await
    }

    /// Ends the session.
    pub async fn delete(&self) -> Answer {
        self.with_session_headers(self.exact("DELETE", &self.path)).send().await
    }

    /// Opens the stream of the server's own messages, after the event `last` if there is one.
    pub async fn listen(&self, last: Option<&str>) -> Stream {
        let request = self.with_session_headers(self.exact("GET", &self.path)).header("accept", "text/event-stream");
        let request = match last {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        request.stream().await
    }

    /// A POST of `body` with all the headers a good client sends.
    pub fn post(&self, body: impl AsRef<[u8]>) -> Exact {
        self.with_session_headers(self.posted()).body(body)
    }

    /// A POST of `body` that says nothing of a session.
    fn bare(&self, body: impl AsRef<[u8]>) -> Exact {
        self.with_token(self.posted()).body(body)
    }

    fn posted(&self) -> Exact {
        let request = self.exact("POST", &self.path).header("content-type", "application/json");
        request.header("accept", "application/json, text/event-stream")
    }

    /// A request with no more than `Host`.
    pub fn exact(&self, method: &str, path: &str) -> Exact {
        let request = Request::builder().method(method).uri(path).header("host", &self.host);
        let request = request.body(Full::new(Bytes::new()).boxed_unsync()).unwrap();
        Exact { authority: self.authority.clone(), request }
    }

    /// The next request of `method`, with an id of its own.
    pub fn message(&self, method: &str, params: Value) -> Value {
        self.ids.set(self.ids.get() + 1);
        json!({ "jsonrpc": "2.0", "id": self.ids.get(), "method": method, "params": params })
    }

    /// The head of the answer that comes back for `bytes`.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let head = async {
            while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
                if matches!(stream.read_buf(&mut answer).await, Ok(0) | Err(_)) {
                    break;
                }
            }
        };
        timeout(PATIENCE, head).await.expect("an answer comes in time");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends `bytes` and closes without waiting for an answer.
    pub async fn send_and_leave(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    }

    fn with_session_headers(&self, request: Exact) -> Exact {
        let request = self.with_token(request);
        let request = request.header_if("mcp-session-id", self.session());
        request.header_if("mcp-protocol-version", self.revision.get().map(str::to_owned))
    }

    fn with_token(&self, request: Exact) -> Exact {
        request.header_if("authorization", self.token.as_ref().map(|token| format!("Bearer {token}")))
    }
}

impl Exact {
    /// Adds a header, also one that is there already.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.request.headers_mut().append(HeaderName::from_static(name), value);
        self
    }

    fn header_if(self, name: &'static str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.header(name, &value),
            None => self,
        }
    }

    /// Takes a header away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.request.headers_mut().remove(name);
        self
    }

    /// Sets a header in the place of any that is there.
    #[must_use]
    pub fn with(self, name: &'static str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    /// Sets the path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        *self.request.uri_mut() = path.parse().unwrap();
        self
    }

    /// Sets the body; its length is said.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let body = Full::new(Bytes::copy_from_slice(body.as_ref())).boxed_unsync();
        Self { authority: self.authority, request: self.request.map(|_| body) }
    }

    /// Sets a body that is sent in `pieces`, whose length is not said.
    #[must_use]
    pub fn chunked(self, pieces: Vec<Bytes>) -> Self {
        let frames = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
        let body = StreamBody::new(frames).boxed_unsync();
        Self { authority: self.authority, request: self.request.map(|_| body) }
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Answer {
        timeout(PATIENCE, async { self.answered().await.read().await }).await.expect("an answer comes in time")
    }

    /// Sends it and reads the answer's head.
    pub async fn stream(self) -> Stream {
        timeout(PATIENCE, self.answered()).await.expect("an answer's head comes in time")
    }

    /// Sends it and reads the answer; none if the gateway dies over it, or is dead.
    pub async fn send_if_it_lives(self) -> Option<Answer> {
        let answer = async { Some(self.try_answered().await.ok()?.read().await) };
        timeout(PATIENCE, answer).await.expect("an answer comes in time")
    }

    async fn answered(self) -> Stream {
        self.try_answered().await.unwrap_or_else(|error| panic!("the gateway does not answer: {error}"))
    }

    async fn try_answered(self) -> Result<Stream, Box<dyn std::error::Error>> {
        let connection = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Stream::new(sender.send_request(self.request).await?))
    }
}

/// The parameters of an `initialize` for `revision`, by a client that can do everything.
#[must_use]
pub fn initialize_params(revision: &str) -> Value {
    json!({
        "protocolVersion": revision,
        "capabilities": { "sampling": {}, "elicitation": {}, "roots": {} },
        "clientInfo": { "name": "turnpike-tests", "version": "0" }
    })
}

/// The newest revision with sessions.
pub const LATEST: &str = "2025-11-25";
/// How long anything may take before a scenario fails.
const PATIENCE: Duration = Duration::from_secs(45);
