//! What does an upstream do that does not do its work? Each fault at a path of its own, on raw sockets.
//!
//! Apart from its fault it opens sessions and takes notifications like any server. It remembers what it received, so
//! that a scenario can tell that nothing was sent. What comes after a `~` in a path only tells it from others.

mod odd;
mod working;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
    time::sleep,
};

/// A running faulty upstream. It also offers documents, such as key sets.
pub struct Upstream {
    origin: String,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    received: Mutex<Vec<Received>>,
    documents: Mutex<BTreeMap<String, String>>,
    lingering: AtomicUsize,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path.
    pub path: String,
    /// The request line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Upstream {
    /// The one all scenarios share.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Upstream> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The endpoint with this fault.
    #[must_use]
    pub fn url(&self, fault: &str) -> String {
        format!("{}/{fault}", self.origin)
    }

    /// Offers `text` at `path` from now on, or nothing.
    pub fn offer(&self, path: &str, text: Option<String>) {
        let mut documents = self.known.documents.lock().unwrap();
        match text {
            Some(text) => documents.insert(path.to_owned(), text),
            None => documents.remove(path),
        };
    }

    /// What it received at `path`.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.known.received.lock().unwrap().iter().filter(|one| one.path == path).cloned().collect()
    }

    /// How many requests it received whose body holds `text`.
    #[must_use]
    pub fn received_with(&self, text: &str) -> usize {
        self.known.received.lock().unwrap().iter().filter(|one| one.body.contains(text)).count()
    }

    /// How many streams of [`LINGERS`] somebody still reads.
    #[must_use]
    pub fn lingering(&self) -> usize {
        self.known.lingering.load(Ordering::Relaxed)
    }

    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let known = Arc::new(Known::default());
        let served = Arc::clone(&known);
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept(listener, served));
        });
        Self { origin, known }
    }
}

impl Known {
    /// How often it was asked at `path` which era it speaks.
    fn probes(&self, path: &str) -> usize {
        let received = self.received.lock().unwrap();
        received.iter().filter(|one| one.path == path && one.body.contains("server/discover")).count()
    }

    fn asked(&self, path: &str, text: &str) -> usize {
        let received = self.received.lock().unwrap();
        received.iter().filter(|one| one.path == path && one.body.contains(text)).count()
    }

    fn deletes(&self, path: &str) -> usize {
        let received = self.received.lock().unwrap();
        received.iter().filter(|one| one.path == path && one.head.starts_with("DELETE")).count()
    }
}

async fn accept(listener: std::net::TcpListener, known: Arc<Known>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let known = Arc::clone(&known);
        tokio::spawn(async move {
            let _ = serve(stream, &known).await;
        });
    }
}

/// Answers one request and closes, so that each fault has a connection to itself.
async fn serve(mut stream: TcpStream, known: &Known) -> io::Result<()> {
    let Some(received) = receive(&mut stream).await? else { return Ok(()) };
    known.received.lock().unwrap().push(received.clone());
    let document = known.documents.lock().unwrap().get(&received.path).cloned();
    if let Some(document) = document {
        return answer(&mut stream, "200 OK", JSON, &document).await;
    }
    let fault = received.path.trim_start_matches('/').split('~').next().unwrap_or_default().to_owned();
    let message: Value = serde_json::from_str(&received.body).unwrap_or_default();
    if let Some((status, body)) = working::says(&fault, &received.head, &message, known.probes(&received.path)) {
        if fault == LINGERS && message["method"] == "tools/call" {
            begin_events(&mut stream).await?;
            event(&mut stream, &body).await?;
            known.lingering.fetch_add(1, Ordering::Relaxed);
            let left = hold(&mut stream).await;
            known.lingering.fetch_sub(1, Ordering::Relaxed);
            return left;
        }
        return answer(&mut stream, status, JSON, &body).await;
    }
    let lists = known.asked(&received.path, "\"tools/list\"");
    if let Some((status, body)) = odd::says(&fault, &received.head, &message, lists) {
        return answer(&mut stream, status, JSON, &body).await;
    }
    match message["method"].as_str() {
        Some("initialize") if !fault.starts_with("init-") => {
            let head = format!("{JSON}mcp-session-id: {SESSION}\r\n");
            answer(&mut stream, "200 OK", &head, &initialized(&message)).await
        }
        Some(method) if method.starts_with("notifications/") => answer(&mut stream, "202 Accepted", "", "").await,
        Some("ping") if fault.ends_with("-lives") => answer(&mut stream, "200 OK", JSON, &result(&message)).await,
        _ if fault == LINGERS && received.head.starts_with("GET") => {
            answer(&mut stream, "405 Method Not Allowed", "", "").await
        }
        _ if received.head.starts_with("DELETE") => {
            let fails = fault.starts_with("delete-fails-once") && known.deletes(&received.path) == 1;
            answer(&mut stream, if fails { "503 Service Unavailable" } else { "200 OK" }, "", "").await
        }
        _ => misbehave(&mut stream, &fault, &message).await,
    }
}

async fn misbehave(stream: &mut TcpStream, fault: &str, message: &Value) -> io::Result<()> {
    match fault {
        "no-http" | "init-no-http" => stream.write_all(b"\x00\x01 this is not HTTP\r\n\r\n").await,
        "no-json" | "init-no-json" => answer(stream, "200 OK", JSON, "this is not JSON").await,
        "html" | "init-html" => answer(stream, "200 OK", HTML, "<h1>Welcome</h1>").await,
        "status-500" | "init-status-500" => answer(stream, "500 Internal Server Error", HTML, "<h1>oops</h1>").await,
        "redirect" => answer(stream, "302 Found", "location: /followed\r\n", "").await,
        "unauthorized" => answer(stream, "401 Unauthorized", CHALLENGE, "{}").await,
        "not-found" => answer(stream, "404 Not Found", HTML, "nothing here").await,
        "no-valid-session" => answer(stream, "400 Bad Request", JSON, NO_SESSION).await,
        "init-error" => answer(stream, "200 OK", JSON, &refused(message)).await,
        "init-huge" => answer(stream, "200 OK", JSON, &format!("\"{}\"", "x".repeat(2 * 1024 * 1024))).await,
        "huge" => huge(stream, message).await,
        "packed" => packed(stream).await,
        "close" | "close-lives" => Ok(()),
        "hang-body" => begin_and_hold(stream, 1_000_000).await,
        "hang-small-body" => begin_and_hold(stream, 1_000).await,
        "close-stream" => {
            begin_events(stream).await?;
            event(stream, &progress(1)).await
        }
        "slow-stream" => {
            begin_events(stream).await?;
            for n in 0..SLOW_STEPS {
                event(stream, &progress(n)).await?;
                sleep(SLOW_STEP).await;
            }
            event(stream, &result(message)).await?;
            stream.write_all(b"0\r\n\r\n").await
        }
        // "hang" and "init-hang"
        _ => hold(stream).await,
    }
}

/// An answer of [`HUGE_BYTES`] of text.
async fn huge(stream: &mut TcpStream, message: &Value) -> io::Result<()> {
    let before = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":""#, message["id"]);
    let after = r#""}]}}"#;
    let length = before.len() + HUGE_BYTES + after.len();
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}content-length: {length}\r\n\r\n{before}").as_bytes()).await?;
    stream.write_all(&vec![b'x'; HUGE_BYTES]).await?;
    stream.write_all(after.as_bytes()).await?;
    stream.flush().await
}

/// An answer packed with gzip, though nobody asked for that; see [`PACKED_BYTES`].
async fn packed(stream: &mut TcpStream) -> io::Result<()> {
    let bytes = STANDARD.decode(PACKED).unwrap();
    let length = bytes.len();
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}content-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Begins an answer of `length` bytes, and never goes on.
async fn begin_and_hold(stream: &mut TcpStream, length: usize) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\n{JSON}content-length: {length}\r\n\r\n{{\"json");
    stream.write_all(head.as_bytes()).await?;
    hold(stream).await
}

/// Waits until the other side gives up.
async fn hold(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn begin_events(stream: &mut TcpStream) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await
}

async fn event(stream: &mut TcpStream, message: &str) -> io::Result<()> {
    let event = format!("event: message\ndata: {message}\n\n");
    stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    stream.flush().await
}

async fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await
}

async fn receive(stream: &mut TcpStream) -> io::Result<Option<Received>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let body_from = end + 4;
            if bytes.len() >= body_from + length.unwrap_or(0) {
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = String::from_utf8_lossy(&bytes[body_from..]).into_owned();
                return Ok(Some(Received { path, head, body }));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

fn initialized(message: &Value) -> String {
    let revision = &message["params"]["protocolVersion"];
    let server = json!({ "name": "faulty", "version": "0" });
    let result = json!({ "protocolVersion": revision, "capabilities": { "tools": {} }, "serverInfo": server });
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string()
}

fn result(message: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": {} }).to_string()
}

fn refused(message: &Value) -> String {
    let error = json!({ "code": -32602, "message": "unsupported protocol version" });
    json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }).to_string()
}

fn progress(n: u32) -> String {
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": 1, "progress": n } })
        .to_string()
}

/// Whether `fault` is a silence, so that a short deadline is wanted.
#[must_use]
pub fn is_silent(fault: &str) -> bool {
    ["hang", "hang-body", "hang-small-body", "slow-stream", "init-hang"].contains(&fault)
}

/// Every fault there is. Those that begin with `init-` break `initialize`, the others what comes after it; those that
/// end with `-lives` answer `ping`.
pub const FAULTS: [&str; 24] = [
    "no-http",
    "no-json",
    "html",
    "status-500",
    "redirect",
    "unauthorized",
    "not-found",
    "no-valid-session",
    "huge",
    "packed",
    "close",
    "close-lives",
    "hang",
    "hang-body",
    "hang-small-body",
    "close-stream",
    "slow-stream",
    "init-no-http",
    "init-no-json",
    "init-html",
    "init-status-500",
    "init-error",
    "init-huge",
    "init-hang",
];

/// A legacy server that works, but does not end the stream of a call it has answered.
pub const LINGERS: &str = "legacy-lingers";
const SESSION: &str = "the-faulty-upstreams-own-session";
const JSON: &str = "content-type: application/json\r\n";
const HTML: &str = "content-type: text/html\r\n";
const CHALLENGE: &str = "content-type: application/json\r\nwww-authenticate: Bearer realm=\"upstream\"\r\n";
const NO_SESSION: &str =
    r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#;
/// The size of a huge answer's text.
pub const HUGE_BYTES: usize = 24 * 1024 * 1024;
/// The size of a packed answer's text; its request's id is 2.
pub const PACKED_BYTES: usize = 200_000;
const PACKED: &str = "H4sIAAAAAAACA+3KMQrCQBRF0b38OoiknK1IqjiFIpOQjBAZZu8Gd2B/TvNecVs896Vs6xwpxss1hnjcI41DbHl/v2qkFvNSai7nvbWonzWfZc1HPdPfpDgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgL9Fn3r/ArPSfJaJDQMA";
// Together they take longer than any one silence may.
const SLOW_STEPS: u32 = 10;
const SLOW_STEP: Duration = Duration::from_millis(200);
