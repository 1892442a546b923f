//! The runtime's requests and responses in the core's words, each with one crossing; see `glue.js`.

use std::{cell::RefCell, pin::pin, rc::Rc};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    future::{Either, select},
};
use gateway::{Spelled, platform::Departure};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use worker::{
    js_sys::Uint8Array,
    wasm_bindgen::{self, JsCast as _, JsValue, prelude::wasm_bindgen},
    web_sys,
};

use crate::{
    body::Body,
    crossing::{Brought, Crossing},
    numbered::Numbers,
    task,
};

#[wasm_bindgen(module = "/src/glue.js")]
extern "C" {
    fn told(request: &web_sys::Request) -> String;
    fn departure(request: &web_sys::Request, id: u32, settle: &JsValue);
    #[wasm_bindgen(catch)]
    fn respond(gate: &Gate, status: u16, number: u32, headers: Option<&str>, body: &JsValue) -> Result<(), JsValue>;
    fn send(
        number: u32,
        request: Option<&str>,
        traceparent: Option<&str>,
        body: Option<Uint8Array>,
        deadline_ms: u32,
        gate: Option<&Gate>,
        is_open: bool,
        id: u32,
        settle: &JsValue,
    );
    fn open(gate: &Gate);
    fn fail(gate: &Gate);
    fn begin(request: &str, body: Option<Uint8Array>, deadline_ms: u32, id: u32, settle: &JsValue);
    fn converse(
        env: &JsValue,
        name: &str,
        request: &str,
        body: Option<Uint8Array>,
        deadline_ms: u32,
        origin: Option<&web_sys::Request>,
        id: u32,
        settle: &JsValue,
    );
    fn cancel(id: u32);
    pub(crate) fn is_late(error: &JsValue) -> bool;
    fn whole(source: &JsValue, id: u32, settle: &JsValue);
    fn ask(env: &JsValue, machine: &str, url: &str, command: Option<Uint8Array>, id: u32, settle: &JsValue);

    /// Where the answer to a caller leaves; see `entry.mjs`.
    #[derive(Clone)]
    pub type Gate;

    /// A body that is being written.
    pub(crate) type Written;
    fn written(origin: &web_sys::Request) -> Written;
    #[wasm_bindgen(method, getter, js_name = stream)]
    pub(crate) fn readable(this: &Written) -> web_sys::ReadableStream;
    fn write(written: &Written, piece: Uint8Array, id: u32, settle: &JsValue);
    fn closed(written: &Written, id: u32, settle: &JsValue);
    fn close(written: &Written);

    /// The stream of an upstream's answer, and what cuts it off.
    pub(crate) type Streaming;
    #[wasm_bindgen(method, getter)]
    fn stream(this: &Streaming) -> Option<web_sys::ReadableStream>;
    #[wasm_bindgen(method, getter)]
    fn controller(this: &Streaming) -> web_sys::AbortController;
}

/// An upstream's answer, as it came over.
pub(crate) struct Sent {
    head: String,
    body: SentBody,
}

enum SentBody {
    Arrived(Uint8Array),
    Streaming(Streaming),
}

impl From<Brought> for Sent {
    fn from(brought: Brought) -> Self {
        let head = brought.text.unwrap_or_default();
        let body = match head.starts_with(STREAMING) {
            true => SentBody::Streaming(brought.value.unchecked_into()),
            false => SentBody::Arrived(brought.value.unchecked_into()),
        };
        Self { head, body }
    }
}

/// A caller's head, spelled by `entry.mjs`.
pub(crate) struct Head<'a> {
    method: &'a str,
    length: Option<u64>,
    pub(crate) spelled: Spelled<'a>,
}

/// The parts of a caller's head.
pub(crate) fn head(text: &str) -> Head<'_> {
    let (lasting, passing) = text.rsplit_once("\n\n").unwrap_or((text, ""));
    // What a head with it is refused for, none is remembered without.
    let lasting = if passing.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) { lasting } else { text };
    let value = |name: &str| passing.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let parent = value("traceparent").map(|parent| (parent, value("tracestate")));
    let length = value("content-length").and_then(|length| length.parse().ok());
    Head { method: text.split('\n').next().unwrap_or_default(), length, spelled: Spelled { lasting, parent } }
}

impl Head<'_> {
    /// The body that came with it: `read` is all of it, if it was read.
    pub(crate) fn body(&self, read: Option<Uint8Array>, request: web_sys::Request) -> Body {
        match (self.method, read) {
            (_, Some(read)) => Body::Bytes(read.to_vec().into()),
            ("POST" | "PUT", None) => Body::Request(request, self.length),
            _ => Body::Bytes(Bytes::new()),
        }
    }
}

/// A caller's request.
pub(crate) fn request(head: &str, body: Body) -> worker::Result<Request<Body>> {
    Ok(read(head)?.map(|()| body))
}

/// A request to a live object.
pub(crate) fn request_of_the_gateway(request: web_sys::Request) -> worker::Result<Request<Body>> {
    let head = read(&told(&request))?;
    let body = match *head.method() {
        Method::POST => Body::Request(request, declared_length(head.headers())),
        _ => Body::Bytes(Bytes::new()),
    };
    Ok(head.map(|()| body))
}

fn read(text: &str) -> worker::Result<Request<()>> {
    let mut lines = text.split('\n');
    let method = Method::from_bytes(lines.next().unwrap_or_default().as_bytes()).map_err(unusable)?;
    // The runtime hands on characters that no URI may have; nothing of ours is at such a one, nor at `/`.
    let uri = lines.next().unwrap_or_default().parse::<Uri>().unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(HEADERS);
    read_headers(lines, &mut headers)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

impl Gate {
    /// The decision stands: what is held here leaves.
    pub(crate) fn open(&self) {
        open(self);
    }

    /// No answer can be made.
    pub(crate) fn fail(&self) {
        fail(self);
    }
}

/// Answers a caller, unless an answer has left already.
pub(crate) fn answer(gate: &Gate, response: Response<Body>) -> worker::Result<()> {
    let (head, body) = response.into_parts();
    let without_body = matches!(head.status.as_u16(), 204 | 205 | 304);
    let body = match body.into_native() {
        Ok((stream, _)) => stream.into(),
        Err(Body::Arrived(bytes)) => bytes.into(),
        Err(Body::Bytes(bytes)) if !without_body => Uint8Array::from(&*bytes).into(),
        Err(_) => JsValue::NULL,
    };
    let headers = spell(&head.headers);
    let (number, headers) = ANSWERS.with_borrow_mut(|answers| answers.of_text(headers));
    Ok(respond(gate, head.status.as_u16(), number, headers.as_deref(), &body)?)
}

/// Sends a request to an upstream; redirects come back as answers. An answer that may pass on leaves through `gate`, at
/// once if that is open.
pub(crate) async fn fetch(
    Departure { mut head, trace, body: bytes, .. }: Departure,
    (gate, is_open): (Option<&Gate>, bool),
    deadline_ms: u32,
) -> Result<Sent, JsValue> {
    let (traceparent, tracestate) = trace.unzip();
    if let Some(state) = tracestate.flatten() {
        // What few say goes over with the head.
        let state = HeaderValue::try_from(state).map_err(|error| error.to_string())?;
        Rc::make_mut(&mut head).headers_mut().insert(TRACESTATE, state);
    }
    let traceparent = traceparent.as_deref();
    let (number, text) = REQUESTS.with_borrow_mut(|requests| requests.of_head(&head, head_text));
    let body = body(&bytes);
    let begin = |id, settle: &JsValue| {
        send(number, text.as_deref(), traceparent, body, deadline_ms, gate, is_open, id, settle);
    };
    Crossing::new(begin).await.map(Sent::from)
}

/// Sends a request to an upstream, and cuts it off when it is dropped before it is answered.
pub(crate) async fn fetch_or_cancel(request: Request<Bytes>, deadline_ms: u32) -> Result<Sent, JsValue> {
    let (text, body) = (head_text(&request), body(request.body()));
    cancelled_when_dropped(|id, settle| begin(&text, body, deadline_ms, id, settle)).await
}

/// Sends a request to the live object `name`, for `origin`; cuts it off when it is dropped before it is answered.
pub(crate) async fn ask_live(
    env: &JsValue,
    name: &str,
    request: &Request<Bytes>,
    deadline_ms: u32,
    origin: Option<&web_sys::Request>,
) -> Result<Sent, JsValue> {
    let (text, body) = (head_text(request), body(request.body()));
    cancelled_when_dropped(|id, settle| converse(env, name, &text, body, deadline_ms, origin, id, settle)).await
}

async fn cancelled_when_dropped(what: impl FnOnce(u32, &JsValue)) -> Result<Sent, JsValue> {
    struct Begun(u32);
    impl Drop for Begun {
        fn drop(&mut self) {
            cancel(self.0);
        }
    }
    let mut begun = Begun(0);
    let crossing = Crossing::new(|id, settle| {
        begun.0 = id;
        what(id, settle);
    });
    crossing.await.map(Sent::from)
}

fn head_text<B>(request: &Request<B>) -> String {
    [request.method().as_str(), "\n", &request.uri().to_string(), "\n", &spell(request.headers())].concat()
}

fn body(bytes: &Bytes) -> Option<Uint8Array> {
    (!bytes.is_empty()).then(|| Uint8Array::from(&**bytes))
}

/// Resolves when whoever made `request` went away.
pub(crate) fn departed(request: &web_sys::Request) -> Crossing {
    Crossing::new(|id, settle| departure(request, id, settle))
}

/// What `pieces` brings, as the answer to `origin`. Each piece is asked for once the one before was read; when the
/// reader leaves, `pieces` is dropped.
pub(crate) fn stream(
    origin: &web_sys::Request,
    pieces: impl Stream<Item = Bytes> + 'static,
) -> web_sys::ReadableStream {
    let written = written(origin);
    let readable = written.readable();
    task::start(async move {
        let mut pieces = pin!(pieces);
        let mut gone = Crossing::new(|id, settle| closed(&written, id, settle));
        while let Either::Left((Some(piece), _)) = select(pieces.next(), &mut gone).await {
            let piece = Uint8Array::from(&*piece);
            let passed = Crossing::new(|id, settle| write(&written, piece, id, settle));
            if !matches!(select(passed, &mut gone).await, Either::Left((Ok(_), _))) {
                return;
            }
        }
        close(&written);
    });
    readable
}

/// All bytes of a request or a stream, which the caller knows to be few.
pub(crate) async fn all(source: &JsValue) -> Result<Bytes, JsValue> {
    let bytes = Crossing::new(|id, settle| whole(source, id, settle)).await?;
    Ok(Uint8Array::unchecked_from_js(bytes.value).to_vec().into())
}

/// What the Durable Object `name` of the binding `kind` answers: to a command, or else to a question that `url` holds.
pub(crate) async fn object(
    env: &JsValue,
    (kind, name): (&str, &str),
    url: &str,
    command: Option<&str>,
) -> Result<String, JsValue> {
    let machine = format!("{kind}\n{name}");
    let command = command.map(|command| Uint8Array::from(command.as_bytes()));
    let answer = Crossing::new(|id, settle| ask(env, &machine, url, command, id, settle)).await?;
    Ok(answer.text.unwrap_or_default())
}

impl Sent {
    /// Cuts off what is still on its way.
    pub(crate) fn abort(&self) {
        if let SentBody::Streaming(streaming) = &self.body {
            streaming.controller().abort();
        }
    }
}

/// An upstream's answer.
pub(crate) fn answered(sent: &Sent) -> worker::Result<Response<Body>> {
    let mut lines = sent.head.strip_prefix(STREAMING).unwrap_or(&sent.head).split('\n');
    let status = StatusCode::from_bytes(lines.next().unwrap_or_default().as_bytes()).map_err(unusable)?;
    let mut headers = HeaderMap::with_capacity(FEW_HEADERS);
    read_headers(lines, &mut headers)?;
    let body = match &sent.body {
        SentBody::Arrived(bytes) => Body::Arrived(bytes.clone()),
        SentBody::Streaming(streaming) => {
            let native = |stream| Body::Native(stream, declared_length(&headers));
            streaming.stream().map_or_else(|| Body::Bytes(Bytes::new()), native)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn read_headers<'a>(lines: impl Iterator<Item = &'a str>, headers: &mut HeaderMap) -> worker::Result<()> {
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_lowercase(name.as_bytes()).map_err(unusable)?;
        headers.append(name, spelled(value.trim_start())?);
    }
    Ok(())
}

/// `name: value` for each header, a line feed between two.
fn spell(headers: &HeaderMap) -> String {
    let mut text = String::with_capacity(256);
    for (name, value) in headers {
        let separator = if text.is_empty() { "" } else { "\n" };
        text.extend([separator, name.as_str(), ": "]);
        text.extend(value.as_bytes().iter().map(|byte| char::from(*byte)));
    }
    text
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A header's value; JavaScript gives its bytes as Latin-1 (Fetch Standard, byte strings). Control characters, which the
/// runtime lets pass, become a byte that nobody takes for text.
fn spelled(value: &str) -> worker::Result<HeaderValue> {
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let byte = |c: char| u8::try_from(c).ok().filter(allowed).unwrap_or(UNREADABLE);
    let bytes = || value.chars().map(byte).collect::<Vec<u8>>();
    HeaderValue::from_str(value).or_else(|_| HeaderValue::from_bytes(&bytes())).map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> worker::Error {
    worker::Error::RustError(error.to_string())
}

thread_local! {
    static REQUESTS: RefCell<Numbers> = RefCell::default();
    static ANSWERS: RefCell<Numbers> = RefCell::default();
}

const UNREADABLE: u8 = 0xff;

const TRACESTATE: &str = "tracestate";

/// How the head of an answer begins whose body is still on its way.
const STREAMING: &str = "streaming ";
/// Room for the headers that are read of a request.
const HEADERS: usize = 16;
/// Room for those that are read of an answer.
const FEW_HEADERS: usize = 3;
