//! What does one conversation with one server process hold, and what ends it?

mod delivery;
mod streams;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mcp::jsonrpc::code;
use mcp::{Message, Revision};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::streams::{Exchange, Listening};
use crate::backlog::Backlog;
use crate::config::Limits;
use crate::ending::Ending;
use crate::router::{ExchangeId, Listener, NotTaken, Part, Router, Takes, Unanswered};
use crate::wire;

/// One server process and whoever talks to it.
#[derive(Debug)]
pub struct Session {
    server: String,
    limits: Limits,
    started: Instant,
    state: Mutex<State>,
    stdin: mpsc::Sender<Bytes>,
    /// There is something new in the backlog.
    said: Notify,
    ended: CancellationToken,
}

/// A message on its way to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The message as the server spelled it.
    pub message: Bytes,
    /// What it is to the exchange.
    pub part: Part,
}

/// Why a session does not take a POST or a GET.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// It is over.
    #[error("the session has ended: {0}")]
    Ended(Ending),
    /// Its requests were refused.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// Its GET stream is taken.
    #[error("the session already has a GET stream; close that one first")]
    Listened,
}

impl Session {
    /// A session with the process of `server`, and what the process is to be told; [`pumps::run`](crate::pumps::run) connects the two.
    #[must_use]
    pub fn new(server: &str, limits: Limits) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (stdin, told) = mpsc::channel(STDIN_QUEUE);
        let state = State {
            router: Router::new(limits.max_in_flight, as_ms(limits.request_timeout)),
            backlog: Backlog::new(limits.max_message_bytes),
            posts: HashMap::new(),
            listener: Listener::Absent,
            lost: HashMap::new(),
            ending: None,
            revision: None,
            last_used_ms: 0,
        };
        let session = Self {
            server: server.to_owned(),
            limits,
            started: Instant::now(),
            state: Mutex::new(state),
            stdin,
            said: Notify::new(),
            ended: CancellationToken::new(),
        };
        (Arc::new(session), told)
    }

    /// Hands `body`, which holds `messages`, to the server; `None` where nothing in it wants an answer.
    ///
    /// Waits while the server is slow to read.
    ///
    /// # Errors
    /// [`NotServed`]; then the server has seen nothing of it.
    pub async fn post(
        self: &Arc<Self>,
        body: &Bytes,
        messages: &[Message<'_>],
        takes: Takes,
    ) -> Result<Option<Exchange>, NotServed> {
        let lines = wire::to_lines(&wire::messages(body));
        let room = tokio::select! {
            room = self.stdin.reserve() => room.ok(),
            () = self.ended.cancelled() => None,
        };
        let now_ms = self.now_ms();
        let mut state = self.state();
        let (Some(room), None) = (room, &state.ending) else { return Err(state.not_served()) };
        state.last_used_ms = now_ms;
        let opened = state.router.open(messages, takes, now_ms)?;
        room.send(lines);
        let Some(id) = opened else { return Ok(None) };
        let (sender, outbound) = mpsc::channel(STREAM_QUEUE);
        state.posts.insert(id, sender);
        Ok(Some(Exchange::new(Arc::clone(self), id, outbound)))
    }

    /// The stream of what the server says by itself, beginning with what it has said while nobody listened.
    ///
    /// # Errors
    /// [`NotServed`]
    pub fn listen(self: &Arc<Self>) -> Result<Listening, NotServed> {
        let now_ms = self.now_ms();
        let mut state = self.state();
        if state.ending.is_some() {
            return Err(state.not_served());
        }
        if state.listener == Listener::Present {
            return Err(NotServed::Listened);
        }
        state.listener = Listener::Present;
        state.last_used_ms = now_ms;
        Ok(Listening::new(Arc::clone(self)))
    }

    /// Ends the session: whoever waits is told why, and the process begins to end.
    pub fn end(&self, ending: Ending) {
        let mut state = self.state();
        if state.ending.is_some() {
            return;
        }
        info!(server = self.server, in_flight = state.router.in_flight(), "session over: {ending}");
        let message = format!("server `{}` {ending}; see the connector's log", self.server);
        for Unanswered { exchange, id, part } in state.router.end() {
            let message = wire::error(&id, code::INTERNAL_ERROR, &message);
            state.lost.entry(exchange).or_default().push(Outbound { message, part });
        }
        state.posts.clear();
        state.ending = Some(ending);
        drop(state);
        self.ended.cancel();
    }

    /// The server it is with.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The revision that was negotiated, once it is known.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.state().revision
    }

    /// Keeps the revision that was negotiated.
    pub fn negotiated(&self, revision: Option<Revision>) {
        self.state().revision = revision;
    }

    /// Why it is over, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Returns once it is over.
    pub async fn over(&self) {
        self.ended.cancelled().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        as_ms(self.started.elapsed())
    }
}

#[derive(Debug)]
struct State {
    router: Router,
    backlog: Backlog,
    posts: HashMap<ExchangeId, mpsc::Sender<Outbound>>,
    listener: Listener,
    /// What the exchanges that were open at the end are still to be told.
    lost: HashMap<ExchangeId, Vec<Outbound>>,
    ending: Option<Ending>,
    revision: Option<Revision>,
    last_used_ms: u64,
}

impl State {
    fn not_served(&self) -> NotServed {
        NotServed::Ended(self.ending.clone().unwrap_or(Ending::ShuttingDown))
    }
}

pub(crate) fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// POST bodies that wait for a server that is slow to read; the next POST waits before it is taken.
const STDIN_QUEUE: usize = 8;
/// Messages that wait for a caller who is slow to read; the server's next message waits.
const STREAM_QUEUE: usize = 8;
