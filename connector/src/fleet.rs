//! Which sessions are there, and is there room for one more?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use mcp::params::Params;
use mcp::{Body, Message, Revision};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::config::{Era, Limits, ServerSettings};
use crate::ending::Ending;
use crate::modern::Modern;
use crate::router::Takes;
use crate::session::Session;
use crate::{process, pumps};

/// Every configured server and its sessions.
#[derive(Debug)]
pub struct Fleet {
    servers: HashMap<String, Served>,
    limits: Limits,
    slots: Arc<Semaphore>,
    sessions: Sessions,
    running: TaskTracker,
}

/// A session that has begun.
#[derive(Debug)]
pub struct Started {
    /// Its `Mcp-Session-Id`.
    pub id: String,
    /// The server's response to `initialize`.
    pub response: Bytes,
}

/// Why no session began.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// No such server.
    #[error("there is no server `{0}` here")]
    UnknownServer(String),
    /// A bound is reached.
    #[error("{0} has no room for another session; end one or try again later")]
    Full(String),
    /// The connector stops.
    #[error("the connector is shutting down")]
    ShuttingDown,
    /// The process did not start, or not for long.
    #[error("server `{server}` {ending}; see the connector's log")]
    Failed {
        /// The server.
        server: String,
        /// What happened.
        ending: Ending,
    },
    /// The server answered with this error response.
    #[error("the server refused `initialize`")]
    Refused(Bytes),
    /// The server has no sessions.
    #[error("server `{server}` speaks MCP 2026-07-28 only; ask for `server/discover`")]
    ModernOnly {
        /// The server.
        server: String,
        /// The revision the caller asked for.
        requested: Option<String>,
    },
}

impl Fleet {
    /// No session yet.
    #[must_use]
    pub fn new(servers: Vec<ServerSettings>, limits: Limits) -> Self {
        let running = TaskTracker::new();
        let served = |settings: ServerSettings| {
            let slots = Arc::new(Semaphore::new(settings.max_sessions));
            let settings = Arc::new(settings);
            let modern = Modern::new(Arc::clone(&settings), limits, running.clone());
            (settings.name.clone(), Served { settings, slots, modern })
        };
        Self {
            servers: servers.into_iter().map(served).collect(),
            limits,
            slots: Arc::new(Semaphore::new(limits.max_sessions)),
            sessions: Sessions::default(),
            running,
        }
    }

    /// The modern side of `server`, if that is configured.
    #[must_use]
    pub fn modern(&self, server: &str) -> Option<&Arc<Modern>> {
        self.servers.get(server).map(|served| &served.modern)
    }

    /// Which revisions `server` is configured to speak.
    #[must_use]
    pub fn era(&self, server: &str) -> Option<Era> {
        self.servers.get(server).map(|served| served.settings.era)
    }

    /// The session `id` of `server`, if it is not over.
    #[must_use]
    pub fn session(&self, server: &str, id: &str) -> Option<Arc<Session>> {
        let sessions = self.sessions.lock();
        let session = sessions.get(id)?;
        (session.server() == server && session.ending().is_none()).then(|| Arc::clone(session))
    }

    /// Starts a process of `server` and a session with it. `body` holds `message`, the `initialize` request.
    ///
    /// # Errors
    /// [`NotStarted`]; then no process stays.
    pub async fn initialize(&self, server: &str, body: &Bytes, message: Message<'_>) -> Result<Started, NotStarted> {
        let modern_only = || NotStarted::ModernOnly { server: server.to_owned(), requested: requested(&message) };
        if self.era(server) == Some(Era::Modern) {
            return Err(modern_only());
        }
        let modern_only = modern_only();
        let (id, session) = self.start(server)?;
        let unborn = Unborn(&session);
        let failed = |ending| NotStarted::Failed { server: server.to_owned(), ending };
        let posted = session.post(body, &[message], Takes::Nothing).await;
        let Ok(Some(mut exchange)) = posted else { return Err(failed(session.ending().unwrap_or(Ending::Abandoned))) };
        let Ok(answer) = timeout(self.limits.request_timeout, exchange.next()).await else {
            session.end(Ending::Unanswered);
            return Err(failed(Ending::Unanswered));
        };
        match (answer, session.ending()) {
            (Some(answer), None) => match read_initialize(&answer.message) {
                Initialized::With(revision) => {
                    session.negotiated(revision);
                    std::mem::forget(unborn);
                    Ok(Started { id, response: answer.message })
                }
                Initialized::Refused => {
                    session.end(Ending::Refused);
                    match self.has_no_sessions(server, &answer.message).await {
                        true => Err(modern_only),
                        false => Err(NotStarted::Refused(answer.message)),
                    }
                }
            },
            (_, ending) => Err(failed(ending.unwrap_or(Ending::Abandoned))),
        }
    }

    /// Ends every session, and returns when no process is left.
    pub async fn shut_down(&self) {
        self.slots.close();
        let sessions: Vec<_> = self.sessions.lock().values().map(Arc::clone).collect();
        for session in sessions {
            session.end(Ending::ShuttingDown);
        }
        self.servers.values().for_each(|served| served.modern.shut_down());
        self.running.close();
        self.running.wait().await;
    }

    /// Whether a server refused a session because it has none, and not because of what the caller asked for.
    async fn has_no_sessions(&self, server: &str, answer: &Bytes) -> bool {
        let may_be_modern = bridge::probe::refuses_initialize(ANSWERED, &String::from_utf8_lossy(answer));
        match self.modern(server) {
            Some(modern) if may_be_modern => modern.check().await.is_ok(),
            _ => false,
        }
    }

    fn start(&self, server: &str) -> Result<(String, Arc<Session>), NotStarted> {
        let served = self.servers.get(server).ok_or_else(|| NotStarted::UnknownServer(server.to_owned()))?;
        let slots =
            (take(&self.slots, || "the connector".to_owned())?, take(&served.slots, || format!("server `{server}`"))?);
        let process = process::spawn(&served.settings, self.limits.shutdown_grace).map_err(|problem| {
            error!(server, %problem, "cannot start the server's warden");
            let ending = Ending::Exited(process::Exit::Failed(problem.to_string()));
            NotStarted::Failed { server: server.to_owned(), ending }
        })?;
        let (session, told) = Session::new(server, self.limits);
        let id = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        self.sessions.lock().insert(id.clone(), Arc::clone(&session));
        let run = pumps::run(Arc::clone(&session), process, told);
        self.running.spawn(forget_when_over(self.sessions.clone(), id.clone(), Arc::clone(&session)));
        self.running.spawn(async move {
            run.await;
            // A slot is free again when the process is gone, not when the session is over.
            drop(slots);
        });
        if self.slots.is_closed() {
            session.end(Ending::ShuttingDown);
        }
        Ok((id, session))
    }
}

#[derive(Debug)]
struct Served {
    settings: Arc<ServerSettings>,
    slots: Arc<Semaphore>,
    modern: Arc<Modern>,
}

/// Sessions by id.
#[derive(Clone, Debug, Default)]
struct Sessions(Arc<Mutex<HashMap<String, Arc<Session>>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn forget_when_over(sessions: Sessions, id: String, session: Arc<Session>) {
    session.over().await;
    sessions.lock().remove(&id);
}

/// A session whose id nobody knows yet; it ends if its caller leaves before that.
struct Unborn<'a>(&'a Session);

impl Drop for Unborn<'_> {
    fn drop(&mut self) {
        self.0.end(Ending::Abandoned);
    }
}

enum Initialized {
    With(Option<Revision>),
    Refused,
}

fn read_initialize(response: &Bytes) -> Initialized {
    #[derive(Deserialize)]
    struct InitializeResult {
        #[serde(rename = "protocolVersion")]
        protocol_version: String,
    }
    match mcp::jsonrpc::parse(response) {
        Ok(Body::Single(Message::Response(reply))) => reply.result.map_or(Initialized::Refused, |result| {
            let result = serde_json::from_str::<InitializeResult>(result.get()).ok();
            Initialized::With(result.and_then(|result| Revision::parse(&result.protocol_version)))
        }),
        _ => Initialized::Refused,
    }
}

/// The revision an `initialize` asks for.
fn requested(message: &Message<'_>) -> Option<String> {
    let Message::Request(call) = message else { return None };
    Some(Params::of(call).ok()?.protocol_version?.into_owned())
}

fn take(slots: &Arc<Semaphore>, whose: impl Fn() -> String) -> Result<OwnedSemaphorePermit, NotStarted> {
    Arc::clone(slots).try_acquire_owned().map_err(|error| match error {
        TryAcquireError::NoPermits => NotStarted::Full(whose()),
        TryAcquireError::Closed => NotStarted::ShuttingDown,
    })
}

/// The HTTP status an answer would have come with: there is none on stdio.
const ANSWERED: u16 = 200;
