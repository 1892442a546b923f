//! What does a process that many callers share hold, and what ends it? Stateless requests, in any order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge::routing::Mismatch;
use bytes::Bytes;
use mcp::header::Mirrors;
use mcp::jsonrpc::code;
use mcp::{Body, Call};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::annotations::Annotations;
use super::multiplex::{Multiplex, Number, Route, Unanswered, end_of_subscription};
use super::outbox::{Full, Inbox, Outbox, outbox};
use super::request::{Kind, Request};
use crate::config::Limits;
use crate::ending::Ending;
use crate::pumps::Conversation;
use crate::router::Part;
use crate::session::{Outbound, as_ms};
use crate::wire;

/// One server process and everybody who talks to it.
#[derive(Debug)]
pub struct Stateless {
    server: String,
    limits: Limits,
    started: Instant,
    state: Mutex<State>,
    stdin: mpsc::Sender<Bytes>,
    ended: CancellationToken,
    annotations: Annotations,
}

/// Whether a process has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nothing yet: it may not have come to run.
    Unproven,
    /// It has.
    Proven,
}

/// The answer to a request. Dropping it before its last part means that the caller left, and cancels the request.
#[derive(Debug)]
pub struct Answer {
    process: Arc<Stateless>,
    number: Number,
    inbox: Inbox,
    progress: Progress,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Open,
    Complete,
}

impl Stateless {
    /// A process of `server`, and what it is to be told; [`pumps::run`](crate::pumps::run) connects the two.
    #[must_use]
    pub fn new(server: &str, limits: Limits) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (stdin, told) = mpsc::channel(STDIN_QUEUE);
        let multiplex = Multiplex::new(as_ms(limits.request_timeout));
        let state = State { multiplex, outboxes: HashMap::new(), life: Life::Unproven, ending: None, last_used_ms: 0 };
        let process = Self {
            server: server.to_owned(),
            limits,
            started: Instant::now(),
            state: Mutex::new(state),
            stdin,
            ended: CancellationToken::new(),
            annotations: Annotations::default(),
        };
        (Arc::new(process), told)
    }

    /// Hands a request to the process; `None` if it has ended, and then it has seen nothing of it.
    ///
    /// Waits while the process is slow to read.
    pub async fn ask(self: &Arc<Self>, request: &Request) -> Option<Answer> {
        let room = self.ended.run_until_cancelled(self.stdin.reserve()).await?.ok()?;
        let now_ms = self.now_ms();
        let mut state = self.state();
        if state.ending.is_some() {
            return None;
        }
        state.last_used_ms = now_ms;
        let (number, line) = state.multiplex.open(request, now_ms);
        room.send(wire::to_lines(&[line.into()]));
        let (outbox, inbox) = outbox(self.limits.max_message_bytes);
        state.outboxes.insert(number, outbox);
        Some(Answer { process: Arc::clone(self), number, inbox, progress: Progress::Open })
    }

    /// Compares the headers of a `tools/call` that repeat its arguments with these.
    ///
    /// # Errors
    /// [`Mismatch`]
    pub async fn check(self: &Arc<Self>, call: &Call<'_>, mirrors: &Mirrors) -> Result<(), Mismatch> {
        self.annotations.check(self, call, mirrors).await
    }

    /// Ends it: whoever waits is told why, subscriptions are cut off, and the process begins to end.
    pub fn end(&self, ending: Ending) {
        let mut state = self.state();
        if state.ending.is_some() {
            return;
        }
        info!(server = self.server, in_flight = state.multiplex.in_flight(), "process over: {ending}");
        let message = format!("server `{}` {ending}; see the connector's log", self.server);
        for Unanswered { number, id, kind } in state.multiplex.end() {
            let Some(outbox) = state.outboxes.remove(&number) else { continue };
            match (kind, &ending) {
                (Kind::Request, _) => outbox.finish(wire::error(&id, code::INTERNAL_ERROR, &message)),
                (Kind::Subscription, Ending::ShuttingDown) => outbox.finish(end_of_subscription(&id).into()),
                (Kind::Subscription, _) => drop(outbox),
            }
        }
        state.ending = Some(ending);
        drop(state);
        self.ended.cancel();
    }

    /// Why it is over, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Whether it has said anything.
    #[must_use]
    pub fn life(&self) -> Life {
        self.state().life
    }

    /// Returns once it is over.
    pub async fn over(&self) {
        self.ended.cancelled().await;
    }

    fn leave(&self, number: Number) {
        let mut state = self.state();
        state.outboxes.remove(&number);
        let cancelled = state.multiplex.leave(number);
        drop(state);
        if let Some(line) = cancelled {
            debug!(server = self.server, number = number.0, "a caller left; its request is cancelled");
            self.cancel(line);
        }
    }

    /// Tells the process of a cancellation, later if it is slow to read. No more of them wait than requests did.
    fn cancel(&self, line: String) {
        let Err(TrySendError::Full(line)) = self.stdin.try_send(wire::to_lines(&[line.into()])) else { return };
        let (stdin, ended) = (self.stdin.clone(), self.ended.clone());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { ended.run_until_cancelled(stdin.send(line)).await.is_some() });
        }
    }

    /// Refuses a question of the process, unless it is too slow to be told.
    fn refuse(&self, line: String) {
        if self.stdin.try_send(wire::to_lines(&[line.into()])).is_err() {
            debug!(server = self.server, "the server is too slow to be told of a refusal");
        }
    }

    fn hand_on(&self, route: Route) {
        match route {
            Route::Related(number, text) => {
                if self.offer(number, text) == Err(Full) {
                    debug!(server = self.server, "dropped progress or a log message: its caller reads too slowly");
                }
            }
            Route::Subscribed(number, text) => {
                if self.offer(number, text) == Err(Full) {
                    warn!(server = self.server, "cut a subscription off: its caller reads too slowly");
                    self.leave(number);
                }
            }
            Route::Answer(number, text) => {
                if let Some(outbox) = self.state().outboxes.remove(&number) {
                    outbox.finish(text.into());
                }
            }
            Route::Refused(line) => self.refuse(line),
            Route::Nowhere(why) => debug!(server = self.server, "dropped {why}"),
        }
    }

    fn offer(&self, number: Number, text: String) -> Result<(), Full> {
        self.state().outboxes.get(&number).map_or(Ok(()), |outbox| outbox.offer(text.into()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        as_ms(self.started.elapsed())
    }
}

impl Conversation for Stateless {
    fn server(&self) -> &str {
        &self.server
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    fn end(&self, ending: Ending) {
        Self::end(self, ending);
    }

    async fn deliver(&self, line: &Bytes) {
        match mcp::jsonrpc::parse(line) {
            Ok(Body::Single(message)) => {
                let route = {
                    let mut state = self.state();
                    state.life = Life::Proven;
                    state.multiplex.route(&message)
                };
                self.hand_on(route);
            }
            Ok(Body::Batch(_)) => warn!(server = self.server, "dropped a batch: MCP 2026-07-28 has none"),
            Err(malformed) => crate::lines::dropped(&self.server, line, &malformed),
        }
    }

    async fn look_at_clock(&self) {
        let now_ms = self.now_ms();
        let mut state = self.state();
        let expired = state.multiplex.expire(now_ms);
        if state.multiplex.in_flight() > 0 {
            state.last_used_ms = now_ms;
        }
        let idle_ms = now_ms.saturating_sub(state.last_used_ms);
        let timeout_ms = self.limits.request_timeout.as_millis();
        let message = format!("server `{}` did not answer within {timeout_ms} ms", self.server);
        let mut lines = Vec::new();
        for (Unanswered { number, id, .. }, line) in expired {
            warn!(server = self.server, id = &*id, timeout_ms, "gave up a request");
            if let Some(outbox) = state.outboxes.remove(&number) {
                outbox.finish(wire::error(&id, code::INTERNAL_ERROR, &message));
            }
            lines.push(line);
        }
        drop(state);
        lines.into_iter().for_each(|line| self.cancel(line));
        if idle_ms >= as_ms(self.limits.idle_timeout) {
            self.end(Ending::Idle);
        }
    }
}

impl Answer {
    /// The next message; `None` after the last one, and where a subscription was cut off.
    pub async fn next(&mut self) -> Option<Outbound> {
        if self.progress == Progress::Complete {
            return None;
        }
        let next = self.inbox.next().await;
        if next.as_ref().is_none_or(|outbound| outbound.part == Part::Last) {
            self.progress = Progress::Complete;
        }
        next
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.progress == Progress::Open {
            self.process.leave(self.number);
        }
    }
}

#[derive(Debug)]
struct State {
    multiplex: Multiplex,
    outboxes: HashMap<Number, Outbox>,
    life: Life,
    ending: Option<Ending>,
    last_used_ms: u64,
}

/// Requests that wait for a process that is slow to read; the next one waits before it is taken.
const STDIN_QUEUE: usize = 8;
