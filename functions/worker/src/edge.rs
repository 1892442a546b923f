//! The platform the core runs on: `fetch`, KV, Durable Objects, timers and `waitUntil`.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use gateway::platform::{Abort, Answer, Failed, Platform, Unanswered, Unread};
use http::Request;
use mcp::Timestamp;
use worker::{
    Context, Delay, Env, Method, RequestInit,
    js_sys::{Array, Uint8Array},
    wasm_bindgen::{JsCast as _, JsValue},
    wasm_bindgen_futures::JsFuture,
};

use crate::{body::Body, wire};

/// One request's place in the runtime.
#[derive(Clone)]
pub(crate) struct Edge(Rc<(Env, Context)>);

impl Edge {
    pub(crate) fn new(env: Env, context: Context) -> Self {
        Self(Rc::new((env, context)))
    }

    async fn ask(&self, kind: &str, name: &str, request: worker::Request) -> worker::Result<String> {
        let namespace = self.0.0.durable_object(&kind.to_ascii_uppercase())?;
        let stub = namespace.id_from_name(name)?.get_stub()?;
        let mut response = stub.fetch_with_request(request).await?;
        let text = response.text().await?;
        match response.status_code() {
            200 => Ok(text),
            status => Err(worker::Error::RustError(format!("{kind} answered {status}: {text}"))),
        }
    }
}

impl Platform for Edge {
    type Body = Body;

    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        // `crypto.getRandomValues` does not fail for 32 bytes; were it to, zeros must not pass for random.
        match getrandom::getrandom(&mut bytes) {
            Ok(()) => bytes,
            Err(_) => std::process::abort(),
        }
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.0.0.secret(name).ok().map(|secret| secret.to_string()).filter(|secret| !secret.is_empty())
    }

    async fn pause(&self, duration: Duration) {
        Delay::from(duration).await;
    }

    async fn send(&self, request: Request<Bytes>, deadline: Duration) -> Result<Answer<Body>, Unanswered> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let sent = JsFuture::from(wire::fetch(&request, deadline_ms)).await;
        let sent: wire::Sent = sent.map_err(|error| unanswered(error, deadline))?.unchecked_into();
        let response = wire::answer(&sent).map_err(|error| Unanswered::Broken(error.to_string()))?;
        let arrived = match response.body() {
            Body::Arrived(bytes) => Some(u64::from(bytes.length())),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            _ => None,
        };
        Ok(Answer { response, arrived, abort: Abort::new(move || sent.abort()) })
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
        let documents = self.0.0.kv("DOCUMENTS").map_err(failed)?;
        documents.get(key).cache_ttl(KV_CACHE_SECS).text().await.map_err(failed)
    }

    async fn object(&self, kind: &str, name: &str, command: String) -> Result<String, Failed> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(Uint8Array::from(command.as_bytes()).into()));
        let request = worker::Request::new_with_init("https://machine/", &init).map_err(failed)?;
        self.ask(kind, name, request).await.map_err(failed)
    }

    async fn rows(&self, kind: &str, name: &str, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        let url = format!("https://machine/?after={after}&limit={limit}");
        let request = worker::Request::new(&url, Method::Get).map_err(failed)?;
        let rows = self.ask(kind, name, request).await.map_err(failed)?;
        serde_json::from_str(&rows).map_err(failed)
    }

    fn log(&self, text: &str) {
        worker::console_error!("{text}");
    }

    fn defer(&self, task: impl Future<Output = ()> + 'static) {
        self.0.1.wait_until(task);
    }
}

/// The runtime's clock; it stands still between two awaits.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(worker::Date::now().as_millis())
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
