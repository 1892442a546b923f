//! The platform the core runs on: outgoing HTTP, the key-value store, SQLite or Redis, variables and timers.

use std::{
    pin::pin,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::{
    Stream,
    future::{Either, select},
};
use gateway::{
    Conversation, Gateway,
    platform::{Abort, Answer, Arrived, Departure, Failed, Life, Platform, Unanswered, Unread},
    shelf::{Key, Shelf as _},
    tasks::{Polled, Tasks},
};
use http::{Request, Response};
use http_body::Body as _;
use mcp::Timestamp;
use spin_sdk::{time::sleep, wasip3};

use crate::{
    body::Body,
    outbound,
    place::{self, Place},
};

/// A request's place in the runtime.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) place: Rc<Place>,
    tasks: Tasks,
}

impl Edge {
    pub(crate) fn new(place: &Rc<Place>, tasks: &Tasks) -> Self {
        Self { place: Rc::clone(place), tasks: tasks.clone() }
    }

    /// Sends a request and brings the answer: all of it where it says that it is small.
    async fn exchange(&self, request: Request<Bytes>, deadline: Duration) -> Result<Answer<Body>, Unanswered> {
        let (head, body) = outbound::send(self, request, deadline).await?.into_parts();
        let body = Body::incoming(body);
        if body.size_hint().upper().is_none_or(|length| length > SMALL_BYTES) {
            return Ok(cuttable(Response::from_parts(head, body)));
        }
        let bytes = body.whole(usize::MAX).await.map_err(|error| Unanswered::Broken(error.to_string()))?;
        let again = bytes.clone();
        let arrived = Arrived::new(bytes.len() as u64, move || again);
        let response = Response::from_parts(head, Body::from(bytes));
        Ok(Answer { response, arrived: Some(arrived), abort: Abort::new(|| ()) })
    }
}

impl Platform for Edge {
    type Body = Body;

    /// Requests of one conversation may come to several instances, which cannot reach each other.
    const LIFE: Life = Life::Request;

    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 32] {
        place::bytes()
    }

    async fn secret(&self, name: &str) -> Option<String> {
        self.place.secret(name).await
    }

    async fn pause(&self, duration: Duration) {
        sleep(duration).await;
    }

    async fn send(&self, departure: Departure, deadline: Duration) -> Result<Answer<Body>, Unanswered> {
        within(deadline, self.exchange(departure.into(), deadline)).await
    }

    fn release(&self) {}

    async fn converse(
        &self,
        _name: &str,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Answer<Body>, Unanswered> {
        let gateway = Gateway::new(self.clone(), self.place.memory.clone());
        let conversation = Conversation::default();
        let hosted = async { Ok(gateway.host(&conversation, request.map(Body::from)).await) };
        within(deadline, hosted).await.map(cuttable)
    }

    fn body(&self, stream: impl Stream<Item = Bytes> + 'static) -> Body {
        Body::pieces(stream)
    }

    fn split(&self, body: Body) -> (Body, Body) {
        body.split()
    }

    async fn whole(&self, body: Body, max_bytes: usize) -> Result<Bytes, Unread> {
        body.whole(max_bytes).await
    }

    async fn read(&self, key: &str) -> Result<Option<String>, Failed> {
        self.place.read(key).await
    }

    async fn write(&self, key: &str, text: &str) -> Result<(), Failed> {
        self.place.write(key, text).await
    }

    async fn object(&self, kind: &str, name: &str, command: String) -> Result<String, Failed> {
        let storage = self.place.storage().await?;
        self.place.machines.tell(&*storage, Key::new(kind, name), command, now).await
    }

    async fn rows(&self, kind: &str, name: &str, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        self.place.storage().await?.rows(&Key::new(kind, name), after, limit).await
    }

    fn log(&self, text: &str) {
        eprintln!("{text}");
    }

    fn defer(&self, task: impl Future<Output = ()> + 'static) {
        if self.tasks.begin(task) == Polled::No {
            wasip3::spawn(self.tasks.clone().rest());
        }
    }
}

/// The time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What `task` brings, if that is before the deadline.
async fn within<T>(deadline: Duration, task: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
    match select(pin!(task), pin!(sleep(deadline))).await {
        Either::Left((brought, _)) => brought,
        Either::Right(_) => Err(Unanswered::Deadline(deadline)),
    }
}

fn cuttable(response: Response<Body>) -> Answer<Body> {
    let (cut, is_cut) = oneshot::channel();
    let response = response.map(|body| body.until(is_cut));
    Answer {
        response,
        arrived: None,
        abort: Abort::new(move || {
            let _ = cut.send(());
        }),
    }
}

const SMALL_BYTES: u64 = 65_536;
