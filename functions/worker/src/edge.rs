//! The platform the core runs on: `fetch`, KV, Durable Objects, timers and `waitUntil`.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use gateway::platform::{Abort, Answer, Arrived, Failed, Platform, Unanswered, Unread};
use http::Request;
use mcp::Timestamp;
use worker::{
    Context, Delay, Env,
    js_sys::{Array, Date},
    wasm_bindgen::{JsCast as _, JsValue},
};

use crate::{body::Body, random, wire};

/// One request's place in the runtime.
#[derive(Clone)]
pub(crate) struct Edge(Rc<(Env, Context)>);

impl Edge {
    pub(crate) fn new(env: Env, context: Context) -> Self {
        Self(Rc::new((env, context)))
    }

    async fn ask(&self, kind: &str, name: &str, url: &str, command: Option<&str>) -> Result<String, Failed> {
        let binding = kind.to_ascii_uppercase();
        let asked = wire::object(self.0.0.as_ref(), (&binding, name), url, command).await;
        asked.map_err(|error| failed(worker::Error::from(error)))
    }
}

impl Platform for Edge {
    type Body = Body;

    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 32] {
        random::bytes()
    }

    fn secret(&self, name: &str) -> Option<String> {
        self.0.0.secret(name).ok().map(|secret| secret.to_string()).filter(|secret| !secret.is_empty())
    }

    async fn pause(&self, duration: Duration) {
        Delay::from(duration).await;
    }

    async fn send(&self, request: Request<Bytes>, deadline: Duration) -> Result<Answer<Body>, Unanswered> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let sent = wire::fetch(&request, deadline_ms).await.map_err(|error| unanswered(error, deadline))?;
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

    async fn write(&self, key: &str, text: &str) -> Result<(), Failed> {
        let documents = self.0.0.kv("DOCUMENTS").map_err(failed)?;
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

    fn defer(&self, task: impl Future<Output = ()> + 'static) {
        self.0.1.wait_until(task);
    }
}

/// The runtime's clock; it stands still between two awaits.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(Date::now() as u64)
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
