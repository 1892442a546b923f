//! What stands behind the gateway in the bench? A server that does as little as MCP allows.
//!
//! It answers `initialize` with a session id, or `server/discover`, `tools/list` with one tool and every call with the same
//! 300 bytes, after a delay that its path names. It runs in a thread of its own.

use std::{convert::Infallible, io, net::SocketAddr, thread, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::client::REVISION;

/// How the upstream answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream {
    /// JSON with a content length.
    Json { delay_ms: u64 },
    /// A stream of one event.
    Sse,
    /// JSON at once, from a server that speaks 2026-07-28 only; the others do not.
    Modern,
}

impl Upstream {
    pub(super) const ALL: [Self; 5] =
        [Self::Json { delay_ms: 0 }, Self::Json { delay_ms: 5 }, Self::Json { delay_ms: 50 }, Self::Sse, Self::Modern];

    /// The name of the server in the gateway, and the folder of its path.
    pub(super) fn name(self) -> String {
        match self {
            Self::Json { delay_ms } => format!("json{delay_ms}"),
            Self::Sse => "sse".to_owned(),
            Self::Modern => "modern".to_owned(),
        }
    }

    /// Whether it answers at once, so that calls cost little but processor time.
    pub(super) fn is_prompt(self) -> bool {
        !matches!(self, Self::Json { delay_ms: 1.. })
    }

    fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|upstream| path.strip_suffix("/mcp") == Some(&format!("/{}", upstream.name())))
    }
}

/// Serves all upstreams on a free port until the process ends; gives the address.
pub(super) fn start() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("the bench's upstream cannot listen")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(SLEEPERS).build()?;
    thread::spawn(move || runtime.block_on(serve(listener)));
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(upstream) = Upstream::of_path(request.uri().path()) else {
        return Ok(empty(StatusCode::NOT_FOUND));
    };
    match *request.method() {
        Method::POST => {}
        Method::DELETE => return Ok(empty(StatusCode::OK)),
        _ => return Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
    }
    let Ok(body) = Limited::new(request.into_body(), REQUEST_BYTES).collect().await else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let body = body.to_bytes();
    let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let Some(id) = message.id else {
        return Ok(empty(StatusCode::ACCEPTED));
    };
    let id = id.get();
    Ok(match (message.method, upstream) {
        ("tools/call", _) => called(upstream, id).await,
        // Holds for no time: each list is asked for anew.
        ("tools/list", Upstream::Modern) => json(id, &format!(r#"{{"tools":[{TOOL}],"ttlMs":0,{PRIVATE}}}"#)),
        ("tools/list", _) => json(id, &format!(r#"{{"tools":[{TOOL}]}}"#)),
        ("server/discover", Upstream::Modern) => json(id, &discovered()),
        ("initialize", Upstream::Json { .. } | Upstream::Sse) => initialized(id),
        _ => unknown(upstream, id),
    })
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
}

fn initialized(id: &str) -> Response<Full<Bytes>> {
    let result = format!(
        r#"{{"protocolVersion":"{REVISION}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench","version":"1"}}}}"#
    );
    let mut response = json(id, &result);
    let session = format!("{:032x}", rand::random::<u128>());
    if let Ok(session) = HeaderValue::from_str(&session) {
        response.headers_mut().insert("mcp-session-id", session);
    }
    response
}

fn discovered() -> String {
    format!(
        r#"{{"supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{}}}},"ttlMs":0,{PRIVATE},"_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"bench","version":"1"}}}}}}"#
    )
}

/// No such method: a modern server says so with the status too.
fn unknown(upstream: Upstream, id: &str) -> Response<Full<Bytes>> {
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"there is no such method"}}}}"#);
    let mut response = with_type(Response::new(Full::from(body)), "application/json");
    if upstream == Upstream::Modern {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

async fn called(upstream: Upstream, id: &str) -> Response<Full<Bytes>> {
    match upstream {
        Upstream::Json { delay_ms } => {
            if delay_ms > 0 {
                // Tokio's timers count whole milliseconds and would round away what is measured.
                let _ = tokio::task::spawn_blocking(move || thread::sleep(Duration::from_millis(delay_ms))).await;
            }
            json(id, &result(""))
        }
        Upstream::Modern => json(id, &result(r#","resultType":"complete""#)),
        Upstream::Sse => {
            let event =
                format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{}}}\n\n", result(""));
            with_type(Response::new(Full::from(event)), "text/event-stream")
        }
    }
}

fn result(more: &str) -> String {
    format!(r#"{{"content":[{{"type":"text","text":"{}"}}],"isError":false{more}}}"#, "x".repeat(TEXT_BYTES))
}

fn json(id: &str, result: &str) -> Response<Full<Bytes>> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    with_type(Response::new(Full::from(body)), "application/json")
}

fn with_type(mut response: Response<Full<Bytes>>, content_type: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The definition of the tool that is called.
pub(super) const TOOL: &str = r#"{"name":"echo","description":"Answers with 210 bytes.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]},"annotations":{"readOnlyHint":true}}"#;
/// The revision the modern server speaks.
pub(super) const MODERN: &str = "2026-07-28";
/// What its results say of themselves, besides what was asked.
const PRIVATE: &str = r#""cacheScope":"private","resultType":"complete""#;
const REQUEST_BYTES: usize = 64 << 10;
/// So that an answer has about 300 bytes.
const TEXT_BYTES: usize = 210;
/// As many delays at once as the widest round has connections, and some.
const SLEEPERS: usize = 128;
