//! The platform the core runs on: `fetch`, KV, Durable Objects, timers and `waitUntil`.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use gateway::platform::{Abort, Answer, Arrived, Departure, Failed, Life, Platform, Unanswered, Unread};
use http::Request;
use mcp::Timestamp;
use worker::{
    Context, Delay, Env,
    js_sys::{Array, Date},
    wasm_bindgen::{JsCast as _, JsValue},
    web_sys,
};

use crate::{
    body::Body,
    random, task,
    wire::{self, Gate, Sent},
};

/// One request's place in the runtime.
#[derive(Clone)]
pub(crate) struct Edge(Rc<Place>);

struct Place {
    env: Env,
    request: web_sys::Request,
    /// None in a live object: what was begun there goes on for as long as the object lives.
    context: Option<Context>,
    /// Where its answer leaves; none in a live object, which looks at each.
    gate: Option<Gate>,
    /// Whether the decision on it stands.
    is_released: Cell<bool>,
    /// Whether something was sent whose answer may leave by itself.
    is_gate_used: Cell<bool>,
}

impl Edge {
    /// The place of a caller's request.
    pub(crate) fn new(env: Env, request: web_sys::Request, context: Context, gate: Gate) -> Self {
        Self::at(env, request, Some((context, gate)))
    }

    /// The place of a request to a live object.
    pub(crate) fn within_object(env: Env, request: web_sys::Request) -> Self {
        Self::at(env, request, None)
    }

    fn at(env: Env, request: web_sys::Request, caller: Option<(Context, Gate)>) -> Self {
        let (context, gate) = caller.unzip();
        let (is_released, is_gate_used) = (Cell::new(false), Cell::new(false));
        Self(Rc::new(Place { env, request, context, gate, is_released, is_gate_used }))
    }

    async fn ask(&self, kind: &str, name: &str, url: &str, command: Option<&str>) -> Result<String, Failed> {
        let binding = kind.to_ascii_uppercase();
        let asked = wire::object(self.0.env.as_ref(), (&binding, name), url, command).await;
        asked.map_err(|error| failed(worker::Error::from(error)))
    }
}

impl Platform for Edge {
    type Body = Body;

    const LIFE: Life = Life::Conversation;

    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 32] {
        random::bytes()
    }

    async fn secret(&self, name: &str) -> Option<String> {
        self.0.env.secret(name).ok().map(|secret| secret.to_string()).filter(|secret| !secret.is_empty())
    }

    async fn pause(&self, duration: Duration) {
        Delay::from(duration).await;
    }

    async fn send(&self, departure: Departure, deadline: Duration) -> Result<Answer<Body>, Unanswered> {
        let sent = match self.0.context {
            Some(_) => {
                let gate = self.0.gate.as_ref().filter(|_| departure.may_pass_on);
                self.0.is_gate_used.set(gate.is_some());
                wire::fetch(departure, (gate, self.0.is_released.get()), millis(deadline)).await
            }
            None => gateway::apart(wire::fetch_or_cancel(departure.into(), millis(deadline))).await,
        };
        answer(sent.map_err(|error| unanswered(error, deadline))?)
    }

    fn release(&self) {
        self.0.is_released.set(true);
        if let Some(gate) = self.0.gate.as_ref().filter(|_| self.0.is_gate_used.get()) {
            gate.open();
        }
    }

    async fn converse(
        &self,
        name: &str,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Answer<Body>, Unanswered> {
        // An object that asks another one is told by its façade when to stop.
        let origin = self.0.context.as_ref().map(|_| &self.0.request);
        let sent = wire::ask_live(self.0.env.as_ref(), name, &request, millis(deadline), origin).await;
        answer(sent.map_err(|error| unanswered(error, deadline))?)
    }

    fn body(&self, stream: impl Stream<Item = Bytes> + 'static) -> Body {
        Body::Native(wire::stream(&self.0.request, stream), None)
    }

    fn split(&self, body: Body) -> (Body, Body) {
        let empty = || Body::Bytes(Bytes::new());
        match body.into_native() {
            Ok((stream, length)) => {
                let halves: Array = stream.tee();
                let half = |n| halves.get(n).dyn_into().map_or_else(|_| empty(), |half| Body::Native(half, length));
                (half(0), half(1))
            }
            Err(Body::Bytes(bytes)) => (Body::Bytes(bytes.clone()), Body::Bytes(bytes)),
            Err(Body::Arrived(bytes)) => (Body::Arrived(bytes.clone()), Body::Arrived(bytes)),
            Err(other) => (other, empty()),
        }
    }

    async fn whole(&self, body: Body, max_bytes: usize) -> Result<Bytes, Unread> {
        body.whole(max_bytes).await
    }

    async fn read(&self, key: &str) -> Result<Option<String>, Failed> {
        let documents = self.0.env.kv("DOCUMENTS").map_err(failed)?;
        documents.get(key).cache_ttl(KV_CACHE_SECS).text().await.map_err(failed)
    }

    async fn write(&self, key: &str, text: &str) -> Result<(), Failed> {
        let documents = self.0.env.kv("DOCUMENTS").map_err(failed)?;
        documents.put(key, text).map_err(failed)?.execute().await.map_err(failed)
    }

    async fn object(&self, kind: &str, name: &str, command: String) -> Result<String, Failed> {
        self.ask(kind, name, "https://machine/", Some(&command)).await
    }

    async fn rows(&self, kind: &str, name: &str, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        let url = format!("https://machine/?after={after}&limit={limit}");
        let rows = self.ask(kind, name, &url, None).await?;
        serde_json::from_str(&rows).map_err(failed)
    }

    fn log(&self, text: &str) {
        worker::console_error!("{text}");
    }

    #[inline(never)]
    fn defer(&self, task: impl Future<Output = ()> + 'static) {
        match &self.0.context {
            Some(context) => context.wait_until(task),
            None => task::start(task),
        }
    }
}

/// The runtime's clock; it stands still between two awaits.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(Date::now() as u64)
}

fn answer(sent: Sent) -> Result<Answer<Body>, Unanswered> {
    let response = wire::answered(&sent).map_err(|error| Unanswered::Broken(error.to_string()))?;
    let arrived = match response.body() {
        Body::Arrived(bytes) => {
            let bytes = bytes.clone();
            Some(Arrived::new(bytes.length().into(), move || bytes.to_vec().into()))
        }
        Body::Bytes(bytes) => {
            let bytes = bytes.clone();
            Some(Arrived::new(bytes.len() as u64, move || bytes))
        }
        _ => None,
    };
    Ok(Answer { response, arrived, abort: Abort::new(move || sent.abort()) })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn unanswered(error: JsValue, deadline: Duration) -> Unanswered {
    match wire::is_late(&error) {
        true => Unanswered::Deadline(deadline),
        false => Unanswered::Broken(worker::Error::from(error).to_string()),
    }
}

fn failed(error: impl std::fmt::Display) -> Failed {
    Failed(error.to_string())
}

/// How old a document may be: the least KV allows.
const KV_CACHE_SECS: u64 = 30;
