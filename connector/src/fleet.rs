//! Which sessions are there, and is there room for one more?

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use mcp::{Body, Message, Revision};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::config::{Limits, ServerSettings};
use crate::process;
use crate::router::Takes;
use crate::session::{Ending, Session};

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
}

impl Fleet {
    /// No session yet.
    #[must_use]
    pub fn new(servers: Vec<ServerSettings>, limits: Limits) -> Self {
        let served = |settings: ServerSettings| {
            let slots = Arc::new(Semaphore::new(settings.max_sessions));
            (settings.name.clone(), Served { settings, slots })
        };
        Self {
            servers: servers.into_iter().map(served).collect(),
            limits,
            slots: Arc::new(Semaphore::new(limits.max_sessions)),
            sessions: Sessions::default(),
            running: TaskTracker::new(),
        }
    }

    /// Whether `server` is configured.
    #[must_use]
    pub fn has(&self, server: &str) -> bool {
        self.servers.contains_key(server)
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
                    Err(NotStarted::Refused(answer.message))
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
        self.running.close();
        self.running.wait().await;
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
        let run = Arc::clone(&session).run(process, told);
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
    settings: ServerSettings,
    slots: Arc<Semaphore>,
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

fn take(slots: &Arc<Semaphore>, whose: impl Fn() -> String) -> Result<OwnedSemaphorePermit, NotStarted> {
    Arc::clone(slots).try_acquire_owned().map_err(|error| match error {
        TryAcquireError::NoPermits => NotStarted::Full(whose()),
        TryAcquireError::Closed => NotStarted::ShuttingDown,
    })
}
