//! How are the callers of 2026-07-28 served? All of a server's by one process, found to speak it, and started anew when
//! it ends.

pub mod annotations;
pub mod exchange;
pub mod multiplex;
pub mod outbox;
pub mod probe;
pub mod request;
pub mod rest;
pub mod stateless;

use std::sync::Arc;
use std::time::Duration;

use bridge::routing::Mismatch;
use mcp::Call;
use mcp::header::Mirrors;
use tokio::sync::{Semaphore, TryAcquireError, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

pub use self::exchange::Exchange;
use self::probe::{Found, Launch};
use self::request::{Kind, Request};
use self::rest::Rest;
use self::stateless::{Answer, Life, Stateless};
use crate::config::{Era, Limits, ServerSettings};
use crate::ending::Ending;

/// The modern side of one server.
#[derive(Debug)]
pub struct Modern {
    launch: Launch,
    rest: Rest,
    phase: watch::Sender<Phase>,
    /// One for each request that waits for an answer, also for the process to start.
    requests: Arc<Semaphore>,
    /// One for each open `subscriptions/listen`.
    subscriptions: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Why a modern request is not served.
#[derive(Debug, thiserror::Error)]
pub enum NotServed {
    /// The server speaks legacy revisions only.
    #[error("server `{0}` speaks MCP 2025-11-25 and older only; begin with `initialize`")]
    Legacy(String),
    /// Its headers do not say what its arguments do.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A bound is reached.
    #[error("server `{server}` has {max} {what} in flight, the most it may have; try again later")]
    Full {
        /// The server.
        server: String,
        /// The bound.
        max: usize,
        /// Of what.
        what: &'static str,
    },
    /// Its process does not run, and is started again no sooner than this.
    #[error("server `{server}` {ending}; it is started again in {retry_after_s} s at the earliest")]
    Down {
        /// The server.
        server: String,
        /// What happened.
        ending: Ending,
        /// How long that is.
        retry_after_s: u64,
    },
    /// The connector stops.
    #[error("the connector is shutting down")]
    ShuttingDown,
}

impl Modern {
    /// Nothing runs yet. What it starts is awaited by `running`.
    #[must_use]
    pub fn new(settings: Arc<ServerSettings>, limits: Limits, running: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            requests: Arc::new(Semaphore::new(limits.max_in_flight)),
            subscriptions: Arc::new(Semaphore::new(settings.max_sessions)),
            launch: Launch { settings, limits, running },
            rest: Rest::default(),
            phase: watch::Sender::new(Phase::Unknown),
            stop: CancellationToken::new(),
        })
    }

    /// Hands a request to the server's process, which is started if it does not run.
    ///
    /// # Errors
    /// [`NotServed`]; then the server has seen nothing of it.
    pub async fn serve(self: &Arc<Self>, request: Request) -> Result<Exchange, NotServed> {
        let (slots, max, what) = match request.kind {
            Kind::Request => (&self.requests, self.launch.limits.max_in_flight, "requests"),
            Kind::Subscription => (&self.subscriptions, self.launch.settings.max_sessions, "subscriptions"),
        };
        let permit = Arc::clone(slots).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => NotServed::Full { server: self.name(), max, what },
            TryAcquireError::Closed => NotServed::ShuttingDown,
        })?;
        let answer = self.ask(&request).await?;
        Ok(Exchange::new(Arc::clone(self), answer, request, permit))
    }

    /// Whether the server speaks 2026-07-28, found out by asking it if nobody knows yet.
    ///
    /// # Errors
    /// [`NotServed`]: it does not, or that cannot be said now.
    pub async fn check(self: &Arc<Self>) -> Result<(), NotServed> {
        self.process().await.map(drop)
    }

    /// Compares the headers of a `tools/call` that repeat its arguments with these.
    ///
    /// # Errors
    /// [`NotServed`]
    pub async fn check_headers(self: &Arc<Self>, call: &Call<'_>, mirrors: &Mirrors) -> Result<(), NotServed> {
        Ok(self.process().await?.check(call, mirrors).await?)
    }

    /// Ends what runs, for good.
    pub fn shut_down(&self) {
        self.stop.cancel();
        self.phase.send_replace(Phase::Stopped);
    }

    /// Asks again after the process has ended, or has cut the subscription off; waits as long as the process has to
    /// rest, but not for one that does not start.
    pub(crate) async fn ask_again(self: &Arc<Self>, request: &Request) -> Option<Answer> {
        loop {
            match self.ask(request).await {
                Ok(answer) => {
                    debug!(server = self.name(), "a subscription begins anew");
                    return Some(answer);
                }
                Err(NotServed::Down { .. }) => {}
                Err(_) => return None,
            }
            let mut changes = self.phase.subscribe();
            let phase = changes.borrow_and_update().clone();
            match phase {
                Phase::Resting { cause: Cause::NotStarted(_), .. } => return None,
                Phase::Resting { cause: Cause::Died(_), until } => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        _ = changes.changed() => {}
                    }
                }
                _ => {}
            }
        }
    }

    async fn ask(self: &Arc<Self>, request: &Request) -> Result<Answer, NotServed> {
        loop {
            let process = self.process().await?;
            // One that ended meanwhile has seen nothing of it.
            if let Some(answer) = process.ask(request).await {
                return Ok(answer);
            }
        }
    }

    /// The process, as soon as there is one.
    async fn process(self: &Arc<Self>) -> Result<Arc<Stateless>, NotServed> {
        let mut changes = self.phase.subscribe();
        loop {
            let phase = changes.borrow_and_update().clone();
            match phase {
                Phase::Stopped => return Err(NotServed::ShuttingDown),
                Phase::Serving(process) if process.ending().is_none() => return Ok(process),
                Phase::Legacy { until } if until.is_none_or(|until| Instant::now() < until) => {
                    return Err(NotServed::Legacy(self.name()));
                }
                Phase::Resting { until, cause } if Instant::now() < until => {
                    let left = until.saturating_duration_since(Instant::now());
                    let (Cause::Died(ending) | Cause::NotStarted(ending)) = cause;
                    let retry_after_s = left.as_secs() + 1;
                    return Err(NotServed::Down { server: self.name(), ending, retry_after_s });
                }
                Phase::Unknown | Phase::Legacy { .. } | Phase::Resting { .. } => self.start(),
                // Its end is about to be noted.
                Phase::Serving(_) | Phase::Starting => {}
            }
            if changes.changed().await.is_err() {
                return Err(NotServed::ShuttingDown);
            }
        }
    }

    /// Begins to find out which era the server speaks, unless somebody else has.
    fn start(self: &Arc<Self>) {
        let begun = self.phase.send_if_modified(|phase| {
            let may = match phase {
                Phase::Unknown | Phase::Resting { .. } => true,
                Phase::Legacy { until } => until.is_some(),
                Phase::Starting | Phase::Serving(_) | Phase::Stopped => false,
            };
            if may {
                *phase = Phase::Starting;
            }
            may
        });
        if begun {
            self.launch.running.spawn(Arc::clone(self).find_and_run());
        }
    }

    /// Finds the era out and, where it is the modern one, stays until the process has ended.
    async fn find_and_run(self: Arc<Self>) {
        let name = self.name();
        let Some(found) = self.stop.run_until_cancelled(self.launch.find()).await else { return };
        let (process, started) = match found {
            Found::Modern(process) => (process, Instant::now()),
            Found::Legacy => {
                info!(server = name, "the server speaks legacy revisions only");
                let until = (self.launch.settings.era == Era::Auto).then(|| Instant::now() + LEGACY_IS_BELIEVED_FOR);
                return self.enter(Phase::Legacy { until });
            }
            Found::Nothing(ending) => {
                warn!(server = name, "which era the server speaks could not be found out: it {ending}");
                return self.rest(Duration::ZERO, Cause::NotStarted(ending));
            }
        };
        info!(server = name, "the server speaks 2026-07-28");
        self.enter(Phase::Serving(Arc::clone(&process)));
        tokio::select! {
            () = process.over() => {}
            () = self.stop.cancelled() => process.end(Ending::ShuttingDown),
        }
        match process.ending() {
            Some(Ending::Idle) | None => self.enter(Phase::Unknown),
            Some(ending) if process.life() == Life::Unproven => self.rest(started.elapsed(), Cause::NotStarted(ending)),
            Some(ending) => self.rest(started.elapsed(), Cause::Died(ending)),
        }
    }

    /// Whoever waits for a process that did not start is told so, and does not have it started again.
    fn rest(&self, lived: Duration, cause: Cause) {
        let rest = match cause {
            Cause::Died(_) => self.rest.after(lived),
            Cause::NotStarted(_) => self.rest.after(lived).max(AFTER_NO_START),
        };
        self.enter(Phase::Resting { until: Instant::now() + rest, cause });
    }

    /// Nothing follows the end of the connector.
    fn enter(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let may = !matches!(phase, Phase::Stopped);
            if may {
                *phase = next;
            }
            may
        });
    }

    fn name(&self) -> String {
        self.launch.settings.name.clone()
    }
}

#[derive(Clone, Debug)]
enum Phase {
    /// Nobody has asked, or nobody for long.
    Unknown,
    /// It is being found out.
    Starting,
    /// The process runs.
    Serving(Arc<Stateless>),
    /// It does not speak 2026-07-28; believed until then, or for good.
    Legacy { until: Option<Instant> },
    /// The process ended, or did not come to speak, and is not started again before this.
    Resting { until: Instant, cause: Cause },
    /// The connector stops.
    Stopped,
}

#[derive(Clone, Debug)]
enum Cause {
    /// A process that had served.
    Died(Ending),
    /// One that never did.
    NotStarted(Ending),
}

const AFTER_NO_START: Duration = Duration::from_millis(250);
/// A server may be replaced by one that speaks more while the connector runs.
const LEGACY_IS_BELIEVED_FOR: Duration = Duration::from_secs(600);
