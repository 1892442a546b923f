//! How are calls made, and how long does each take?

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::REVISION;

use super::{
    rows::{Asked, Era},
    upstream::MODERN,
};

/// Where to call, and as whom.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) path: String,
    pub(super) token: String,
    pub(super) trace: Trace,
    pub(super) caller: Era,
    pub(super) asked: Asked,
    /// What the tool is called there.
    pub(super) tool: String,
}

/// Whether a call names a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    Unnamed,
    /// Each its own.
    Named,
}

/// One agent: a session, if it is of the era that has them, and a connection that is kept alive from round to round.
pub(super) struct Caller {
    session: Option<String>,
    calls: u64,
    /// With the time of its last call.
    connection: Option<(SendRequest<Full<Bytes>>, Instant)>,
}

impl Caller {
    pub(super) fn new(session: Option<String>) -> Self {
        Self { session, calls: 0, connection: None }
    }

    /// Makes `calls` calls, one after the other; gives their times.
    async fn call(&mut self, target: &Target, calls: u64) -> Result<Histogram<u64>> {
        let mut connection = match self.connection.take() {
            Some((connection, used)) if used.elapsed() < KEPT => connection,
            _ => connect(target.address).await?,
        };
        let mut latency = empty_histogram()?;
        for _ in 0..calls {
            self.calls += 1;
            let request = request(target, self.session.as_deref(), self.calls)?;
            let began = Instant::now();
            let response = connection.send_request(request).await.context("a call got no answer")?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            latency.saturating_record(u64::try_from(began.elapsed().as_nanos())?);
            check(status, &body)?;
            connection.ready().await?;
        }
        self.connection = Some((connection, Instant::now()));
        Ok(latency)
    }
}

/// The times of a round's calls.
pub(super) struct Sample {
    /// In nanoseconds, from the first byte sent to the last received.
    pub(super) latency: Histogram<u64>,
    /// From the start of the first to the end of the last.
    pub(super) elapsed: Duration,
}

/// Makes `calls` calls, shared among the callers, who call at the same time.
///
/// # Errors
/// If a connection fails, or an answer is not the result it should be.
pub(super) async fn round<'a>(
    target: &Target,
    callers: impl ExactSizeIterator<Item = &'a mut Caller>,
    calls: u64,
) -> Result<Sample> {
    let each = calls.div_ceil(u64::try_from(callers.len())?.max(1));
    let began = Instant::now();
    let histograms = try_join_all(callers.map(|caller| caller.call(target, each))).await?;
    let elapsed = began.elapsed();
    let mut latency = empty_histogram()?;
    for histogram in histograms {
        latency.add(histogram)?;
    }
    Ok(Sample { latency, elapsed })
}

/// One microsecond to a minute, three digits.
pub(super) fn empty_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn request(target: &Target, session: Option<&str>, id: u64) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::post(&target.path)
        .header("host", target.address.to_string())
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("authorization", format!("Bearer {}", target.token));
    let (method, mut params) = target.said();
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request = match target.caller {
        Era::Legacy => request.header("mcp-protocol-version", REVISION),
        Era::Modern => {
            if !params.is_empty() {
                params.push(',');
            }
            params += ENVELOPE;
            let request = request.header("mcp-protocol-version", MODERN).header("mcp-method", method);
            if method == CALL { request.header("mcp-name", &target.tool) } else { request }
        }
    };
    if target.trace == Trace::Named {
        request = request.header("traceparent", format!("00-{:032x}-{id:016x}-01", rand::random::<u128>()));
    }
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#);
    Ok(request.body(Full::from(body))?)
}

impl Target {
    /// The method, and the members of its parameters.
    fn said(&self) -> (&'static str, String) {
        match self.asked {
            Asked::Call | Asked::CallOfAll => {
                (CALL, format!(r#""name":"{}","arguments":{{"text":"hello from the bench"}}"#, self.tool))
            }
            Asked::List | Asked::ListOfAll => ("tools/list", String::new()),
        }
    }
}

fn check(status: StatusCode, body: &[u8]) -> Result<()> {
    let is_result = body.windows(RESULT.len()).any(|window| window == RESULT);
    if status == StatusCode::OK && is_result {
        return Ok(());
    }
    bail!("a call was answered with {status}: {}", String::from_utf8_lossy(body))
}

/// Workerd closes a connection that rested for five seconds.
const KEPT: Duration = Duration::from_secs(3);
const RESULT: &[u8] = b"\"result\"";
const CALL: &str = "tools/call";
/// What a modern request says of its caller.
const ENVELOPE: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"xtask","version":"1"}}"#;
