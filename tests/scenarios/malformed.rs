//! Is there anything a caller can send that makes the gateway fall over? Ten thousand tries say no.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::json;
use turnpike_tests::{Gateway, Stage, memory::Body};

memory_only! {
    "They are handed over in one process; the others are sent some hundreds.":
    ten_thousand_malformed_requests_are_each_answered,
}

not_in_memory! {
    "Memory is handed ten thousand.":
    hundreds_of_malformed_requests_are_each_answered,
}

async fn ten_thousand_malformed_requests_are_each_answered(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    // This server answers whatever reaches it.
    let client = gateway.caller_with("no-json", &token).open().await;
    let session = client.session().unwrap();
    for attempt in attempts(10_000, &token.text(), &session) {
        let Some(request) = attempt.request(&gateway) else { continue };
        let response = gateway.memory().answer(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        assert!(status < 500, "{status} for {attempt:?}");
        assert!(body.is_ok(), "the answer broke off for {attempt:?}");
    }
    still_works(&gateway).await;
}

async fn hundreds_of_malformed_requests_are_each_answered(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    // This server answers whatever reaches it.
    let client = gateway.caller_with("no-json", &token).open().await;
    let session = client.session().unwrap();
    for attempt in attempts(500, &token.text(), &session) {
        let answer = client.raw(&attempt.bytes(&gateway, stage)).await;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)?.parse::<u16>().ok());
        assert!(status.is_some_and(|status| status < 500), "{status:?} for {attempt:?}");
    }
    still_works(&gateway).await;
}

async fn still_works(gateway: &Gateway) {
    let client = gateway.caller("json").open().await;
    assert_eq!(client.call("echo", json!({ "text": "unshaken" })).await, "unshaken");
}

/// A request somebody should not have sent.
#[derive(Clone, Debug)]
struct Attempt {
    method: String,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Attempt {
    /// As hyper would hand it over; none for what hyper would not.
    fn request(&self, gateway: &Gateway) -> Option<Request<Body>> {
        let host = gateway.origin().strip_prefix("http://").unwrap();
        let method = Method::from_bytes(self.method.as_bytes()).ok()?;
        let mut request = Request::builder().method(method).uri(&self.path).header("host", host);
        for (name, value) in &self.headers {
            request = request.header(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
        }
        request.body(Body::from(Bytes::from(self.body.clone()))).ok()
    }

    /// As it is put on the wire.
    fn bytes(&self, gateway: &Gateway, stage: Stage) -> Vec<u8> {
        let host = gateway.origin().strip_prefix("http://").unwrap();
        // workerd itself answers 501 to methods it does not know.
        let method = if self.method == "post" { "PATCH" } else { &self.method };
        let mut bytes = format!("{method} {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", self.path);
        bytes.push_str(&format!("content-length: {}\r\n", self.body.len()));
        let mut bytes = bytes.into_bytes();
        for (name, value) in &self.headers {
            // Spin itself answers 500 to a header that is not text.
            if stage == Stage::Spin && std::str::from_utf8(value).is_err() {
                continue;
            }
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend(value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }));
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// `cases` attempts, half of them with a good head so that they come as far as the body.
fn attempts(cases: u32, token: &str, session: &str) -> Vec<Attempt> {
    let all = RefCell::new(Vec::new());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let known = (token.to_owned(), session.to_owned());
    let run = runner.run(&attempt(known), |attempt| {
        all.borrow_mut().push(attempt);
        Ok::<(), TestCaseError>(())
    });
    run.unwrap();
    all.into_inner()
}

fn attempt((token, session): (String, String)) -> impl Strategy<Value = Attempt> {
    let good: Vec<(&'static str, Vec<u8>)> = vec![
        ("content-type", b"application/json".to_vec()),
        ("accept", b"application/json, text/event-stream".to_vec()),
        ("authorization", format!("Bearer {token}").into_bytes()),
        ("mcp-session-id", session.into_bytes()),
        ("mcp-protocol-version", b"2025-11-25".to_vec()),
    ];
    let kept = good.clone();
    let headers = prop_oneof![
        3 => Just(good),
        3 => (vec(header(), 1..3), any::<Index>()).prop_map(move |(bad, at)| {
            let mut headers = kept.clone();
            headers.remove(at.index(headers.len()));
            headers.extend(bad);
            headers
        }),
        1 => vec(header(), 0..6),
    ];
    let method = prop_oneof![8 => Just("POST"), 1 => select(vec!["HEAD", "PUT", "OPTIONS", "PROPFIND", "post"])];
    let path = prop_oneof![8 => Just("/mcp/no-json".to_owned()), 1 => "/[a-z%./?&=_-]{0,30}", 1 => "/[!-~]{0,30}"];
    (method, path, headers, body()).prop_map(|(method, path, headers, body)| Attempt {
        method: method.to_owned(),
        path,
        headers,
        body,
    })
}

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..60).prop_map(visible),
        vec(any::<u8>(), 0..10),
        "[ -~]{0,80}".prop_map(String::into_bytes),
        "Bearer [A-Za-z0-9_.=-]{0,200}".prop_map(String::into_bytes),
        "[0-9a-f]{2}-[0-9a-f]{0,40}-[0-9a-f]{0,20}-[0-9a-f]{0,3}".prop_map(String::into_bytes),
    ];
    (select(NAMES.to_vec()), value)
}

/// Bytes that may stand in a header, obsolete ones included.
fn visible(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().filter(|byte| *byte >= b' ' && *byte != 0x7f).collect()
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let mutated = (select(BODIES.to_vec()), vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..6))
        .prop_map(|(body, changes)| changes.iter().fold(body.as_bytes().to_vec(), mutate));
    prop_oneof![
        1 => vec(any::<u8>(), 0..300),
        1 => "[\\[\\]{}\",:0-9a-z\\\\ ]{0,200}".prop_map(String::into_bytes),
        4 => mutated,
        2 => message().prop_map(|value| value.to_string().into_bytes()),
        1 => (select(vec!["[", "{\"a\":", "[[{\"b\":["]), 1..20_000_usize).prop_map(|(open, n)| open.repeat(n).into_bytes()),
    ]
}

fn mutate(mut body: Vec<u8>, (at, byte, how): &(Index, u8, u8)) -> Vec<u8> {
    if body.is_empty() {
        return body;
    }
    let at = at.index(body.len());
    match how {
        0 => body[at] = *byte,
        1 => body.truncate(at),
        2 => body.insert(at, *byte),
        _ => drop(body.remove(at)),
    }
    body
}

/// Something like a message, with members of any type. Its method is none that a server would know.
fn message() -> impl Strategy<Value = serde_json::Value> {
    let members = vec((select(MEMBERS.to_vec()), value()), 0..6);
    members.prop_map(|members| {
        let mut message = json!({ "jsonrpc": "2.0" });
        for (name, value) in members {
            message[name] = value;
        }
        message
    })
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[ -~é\u{0}]{0,40}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            vec((select(MEMBERS.to_vec()), inner), 0..4)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

const NAMES: [&str; 12] = [
    "content-type",
    "accept",
    "authorization",
    "mcp-session-id",
    "mcp-protocol-version",
    "last-event-id",
    "traceparent",
    "tracestate",
    "origin",
    "mcp-method",
    "cookie",
    "content-encoding",
];
const MEMBERS: [&str; 9] = ["jsonrpc", "id", "method", "params", "result", "error", "_meta", "arguments", "name"];
const BODIES: [&str; 5] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"a"},"_meta":{"progressToken":1}}}"#,
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"0"}}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"x","progress":1e3}}"#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":"2","result":{}}]"#,
    r#"{"jsonrpc":"2.0","id":"é","method":"resources/read","params":{"uri":"file:///etc/passwd"}}"#,
];
