//! How does the gateway run in this process? On maps, real sockets, and a clock that tests move.

mod body;
mod clock;
mod conversations;
mod deployment;
mod objects;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::{
    Stream,
    future::{Either, select},
};
use gateway::{
    platform::{Abort, Answer, Arrived, Departure, Failed, Life, Platform, Unanswered, Unread},
    shelf::spelled,
};
use http::{Method, Request, Response, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use machine::Outgoing;
use mcp::Timestamp;
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

pub use body::Body;
pub use clock::Clock;
pub use conversations::Conversations;
pub use deployment::Deployment;
pub use objects::Objects;

/// The platform of one isolate. What is stored is shared by all isolates of a deployment.
#[derive(Clone)]
pub struct Memory {
    stored: Rc<Stored>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Cancelled when the isolate dies; what it deferred dies with it.
    life: CancellationToken,
}

/// What a deployment keeps when its isolates die.
pub struct Stored {
    /// The clock.
    pub clock: Clock,
    /// The machines.
    pub objects: Objects,
    /// The live objects.
    pub conversations: Conversations,
    /// The documents (KV).
    pub documents: RefCell<BTreeMap<String, String>>,
    secrets: BTreeMap<String, String>,
}

impl Memory {
    /// A platform for a new isolate.
    fn new(stored: &Rc<Stored>) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { stored: Rc::clone(stored), client, life: CancellationToken::new() }
    }

    /// Sends a request and brings the answer: all of it where it says that it is small, as on workerd.
    async fn exchange(&self, request: Request<Bytes>) -> Result<Answer<Body>, String> {
        let has_body = request.method() == Method::POST;
        let request = request.map(|body| if has_body { Full::new(body) } else { Full::default() });
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let cut = CancellationToken::new();
        let (body, arrived) = match length {
            Some(0..=SMALL_BYTES) => {
                let bytes = Body::new(body).whole(usize::MAX).await.map_err(|error| error.to_string())?;
                let again = bytes.clone();
                let arrived = Arrived::new(bytes.len() as u64, move || again);
                (Body::from(bytes), Some(arrived))
            }
            _ => (Body::new(body).until(cut.clone()), None),
        };
        Ok(Answer { response: Response::from_parts(head, body), arrived, abort: Abort::new(move || cut.cancel()) })
    }

    /// Delivers what a machine wants sent, as a durable host does: again until it arrives, without end.
    fn deliver(&self, outgoing: Vec<Outgoing>) {
        for one in outgoing {
            let memory = Self { life: CancellationToken::new(), ..self.clone() };
            spawn_local(async move {
                let mut wait_ms = 10;
                while !memory.delivered(&one).await {
                    memory.stored.clock.pause(Duration::from_millis(wait_ms)).await;
                    wait_ms = (wait_ms * 2).min(60_000);
                }
            });
        }
    }

    async fn delivered(&self, outgoing: &Outgoing) -> bool {
        let secret = match &outgoing.secret {
            Some(name) => self.secret(name).await,
            None => None,
        };
        let request = spelled(outgoing, secret.as_deref()).expect("a machine asks for a request that can be spelled");
        let answer = self.send(request.into(), DELIVERY_DEADLINE).await;
        answer.is_ok_and(|answer| !answer.response.status().is_server_error())
    }
}

impl Platform for Memory {
    type Body = Body;

    const LIFE: Life = Life::Conversation;

    fn now(&self) -> Timestamp {
        self.stored.clock.now()
    }

    fn random(&self) -> [u8; 32] {
        rand::random()
    }

    async fn secret(&self, name: &str) -> Option<String> {
        self.stored.secrets.get(name).cloned()
    }

    async fn pause(&self, duration: Duration) {
        self.stored.clock.pause(duration).await;
    }

    async fn send(&self, departure: Departure, deadline: Duration) -> Result<Answer<Body>, Unanswered> {
        let exchange = std::pin::pin!(self.exchange(departure.into()));
        let late = std::pin::pin!(self.stored.clock.pause(deadline));
        match select(exchange, late).await {
            Either::Left((answer, _)) => answer.map_err(Unanswered::Broken),
            Either::Right(_) => Err(Unanswered::Deadline(deadline)),
        }
    }

    fn release(&self) {}

    async fn converse(
        &self,
        name: &str,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Answer<Body>, Unanswered> {
        self.ask(name, request, deadline).await
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
        tokio::task::yield_now().await;
        Ok(self.stored.documents.borrow().get(key).cloned())
    }

    async fn write(&self, key: &str, text: &str) -> Result<(), Failed> {
        tokio::task::yield_now().await;
        self.stored.documents.borrow_mut().insert(key.to_owned(), text.to_owned());
        Ok(())
    }

    async fn object(&self, kind: &str, name: &str, command: String) -> Result<String, Failed> {
        let (reply, outgoing) = self.stored.objects.tell((kind, name), &command, || self.now()).await?;
        self.deliver(outgoing);
        Ok(reply)
    }

    async fn rows(&self, kind: &str, name: &str, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        self.stored.objects.rows(kind, name, after, limit).await
    }

    fn log(&self, text: &str) {
        eprintln!("{text}");
    }

    fn defer(&self, task: impl Future<Output = ()> + 'static) {
        let life = self.life.clone();
        spawn_local(async move {
            life.run_until_cancelled(task).await;
        });
    }
}

const SMALL_BYTES: u64 = 65_536;
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);
