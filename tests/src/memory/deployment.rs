//! Who serves HTTP in memory? Isolates that share what is stored, each on a port of its own.

use std::{cell::RefCell, collections::BTreeMap, convert::Infallible, rc::Rc, time::Duration};

use bytes::Bytes;
use gateway::{Gateway, Platform as _, Spelled};
use http::{Request, Response, request::Parts};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn_local},
};

use super::{Body, Clock, Conversations, Memory, Objects, Stored};
use crate::setup::Setup;

/// A gateway in this process.
pub struct Deployment {
    origin: String,
    stored: Rc<Stored>,
    isolates: Vec<Rc<Isolate>>,
    tasks: Vec<AbortHandle>,
}

/// What dies when an isolate does.
struct Isolate {
    authority: String,
    living: RefCell<Living>,
}

#[derive(Clone)]
struct Living {
    platform: Memory,
    memory: gateway::Memory,
}

impl Deployment {
    /// Serves `setup` from `setup.isolates` isolates on free ports. The first one's is the public origin.
    pub async fn open(setup: &Setup) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..setup.isolates {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let authorities: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        let origin = format!("http://{}", authorities[0]);
        let clock = if setup.clock_stands { Clock::standing() } else { Clock::running() };
        let stored = Rc::new(Stored {
            clock,
            objects: Objects::default(),
            conversations: Conversations::default(),
            documents: RefCell::new(setup.documents(&origin)),
            secrets: setup.secrets.clone(),
        });
        let isolates: Vec<_> = authorities.into_iter().map(|authority| Isolate::new(authority, &stored)).collect();
        let mut tasks = vec![spawn_local(wake(Rc::clone(&stored))).abort_handle()];
        for (listener, isolate) in listeners.into_iter().zip(&isolates) {
            tasks.push(spawn_local(accept(listener, Rc::clone(isolate))).abort_handle());
        }
        Self { origin, stored, isolates, tasks }
    }

    /// The public origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where each isolate listens, as `host:port`.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.isolates.iter().map(|isolate| isolate.authority.as_str())
    }

    /// The machines.
    #[must_use]
    pub fn objects(&self) -> &Objects {
        &self.stored.objects
    }

    /// The live objects.
    #[must_use]
    pub fn conversations(&self) -> &Conversations {
        &self.stored.conversations
    }

    /// The documents.
    #[must_use]
    pub fn documents(&self) -> &RefCell<BTreeMap<String, String>> {
        &self.stored.documents
    }

    /// Every isolate dies, with what it was working on, and is replaced by a new one that remembers nothing.
    pub fn restart(&self) {
        self.stored.conversations.restart();
        for isolate in &self.isolates {
            let dead = isolate.living.replace(Living::new(&self.stored));
            dead.platform.life.cancel();
        }
    }

    /// Moves the clock on and wakes every machine whose alarm is due.
    pub fn advance(&self, by: Duration) {
        self.stored.clock.advance(by);
        self.stored.wake();
    }

    /// Answers `request` without a socket, in the first isolate.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let living = self.isolates[0].living.borrow().clone();
        answer(living, request).await
    }

    /// What the live object `name` answers.
    pub async fn converse(&self, name: &str, request: Request<Bytes>) -> Response<Body> {
        let platform = self.isolates[0].living.borrow().platform.clone();
        platform.converse(name, request, CONVERSE_MAX).await.expect("the object answers").response
    }

    /// How many commands were told to any machine.
    #[must_use]
    pub fn object_calls(&self) -> u64 {
        self.objects().all_calls()
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Isolate {
    fn new(authority: String, stored: &Rc<Stored>) -> Rc<Self> {
        Rc::new(Self { authority, living: RefCell::new(Living::new(stored)) })
    }
}

impl Living {
    fn new(stored: &Rc<Stored>) -> Self {
        Self { platform: Memory::new(stored), memory: gateway::Memory::default() }
    }
}

impl Stored {
    fn wake(self: &Rc<Self>) {
        let outgoing = self.objects.wake(self.clock.now());
        Memory::new(self).deliver(outgoing);
    }
}

async fn wake(stored: Rc<Stored>) {
    loop {
        match stored.objects.next_alarm() {
            Some(time) => {
                tokio::select! {
                    () = stored.clock.until(time) => stored.wake(),
                    () = stored.objects.changed() => {}
                }
            }
            None => stored.objects.changed().await,
        }
    }
}

async fn accept(listener: TcpListener, isolate: Rc<Isolate>) {
    while let Ok((stream, _)) = listener.accept().await {
        let living = isolate.living.borrow().clone();
        spawn_local(async move {
            let life = living.platform.life.clone();
            life.run_until_cancelled(serve(stream, living)).await;
        });
    }
}

async fn serve(stream: TcpStream, living: Living) {
    let service = service_fn(move |request: Request<Incoming>| {
        let living = living.clone();
        async move { Ok::<_, Infallible>(answer(living, request.map(Body::new)).await) }
    });
    // A caller that leaves in the middle is not an error of the gateway.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Answers a request whose head is spelled, as the Worker does it.
async fn answer(Living { platform, memory }: Living, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let lasting = lasting(&head);
    let passing = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let parent = passing("traceparent").map(|parent| (parent, passing("tracestate")));
    let spelled = Spelled { lasting: &lasting, parent };
    let read = |body| Ok::<_, Infallible>(Request::from_parts(head.clone(), body));
    let Ok(response) = Gateway::new(platform, memory).serve_spelled(spelled, body, read).await;
    response
}

/// All of a head but what differs from request to request, and that too where it is no text that comes once.
fn lasting(head: &Parts) -> String {
    let is_plain = |name: &str| {
        let mut values = head.headers.get_all(name).iter();
        values.all(|value| value.to_str().is_ok()) && head.headers.get_all(name).iter().count() < 2
    };
    let all_plain = PASSING.into_iter().all(is_plain);
    let kept = head.headers.iter().filter(|(name, _)| !all_plain || !PASSING.contains(&name.as_str()));
    let lines = kept.map(|(name, value)| format!("\n{name}: {value:?}"));
    format!("{} {}{}", head.method, head.uri, lines.collect::<String>())
}

const PASSING: [&str; 3] = ["content-length", "traceparent", "tracestate"];
const CONVERSE_MAX: Duration = Duration::from_secs(60);
