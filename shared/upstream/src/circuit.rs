//! May this request go to this instance? What one isolate knows of an instance: its own failures, and what the breaker
//! all isolates share told it.

use mcp::Timestamp;

use crate::{
    breaker::{self, Command, Reply},
    resilience::{Tolerance, millis},
    window::{Counts, Window},
};

/// An isolate's side of a [`Breaker`](crate::Breaker).
#[derive(Clone, Debug)]
pub struct Circuit {
    tolerance: Tolerance,
    phase: Phase,
    window: Window,
    in_a_row: u32,
    failed_at: Timestamp,
    /// When the breaker was last asked anything, and what has happened since.
    asked_at: Timestamp,
    requests_since: u32,
    failures_since: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Timestamp,
    },
    /// A request of this isolate asks whether it is the probe.
    Asking {
        until: Timestamp,
    },
    /// A request of this isolate is the probe.
    Probing {
        token: u64,
        until: Timestamp,
    },
}

/// Whether a request may go to an instance.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Admit {
    /// It may. What becomes of it is told to [`Circuit::record`].
    Go(Pass),
    /// Perhaps: tell the breaker this, and its reply to [`Circuit::accept`]; if it cannot be told, call
    /// [`Circuit::unasked`].
    Ask(Command),
    /// It may not.
    Open {
        /// How long until it is worth trying again; at least 1.
        retry_after_ms: u64,
    },
}

/// Leave to send one request to an instance. Only a [`Circuit`] makes one; lost, it counts as nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Pass(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// The breaker chose it.
    Probe(u64),
    /// The breaker could not be asked.
    OwnProbe(u64),
}

/// What an instance made of a request, as far as its health goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there. What it answered may be a refusal.
    Answered,
    /// The connection broke, the first byte did not come in time, or what answered is not the server.
    Failed,
}

/// Whether a body is what an MCP server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// JSON-RPC, an event stream, or nothing where nothing is due.
    Yes,
    /// Anything else.
    No,
}

impl Outcome {
    /// What an answer with `status` and a body that is `readable` says of the instance. 502, 503 and 504 are said by
    /// whoever stands before it, or by it to be left alone (RFC 9110 §15.6); another 5xx is the server's own when it is
    /// JSON-RPC. A 4xx blames the request.
    #[must_use]
    pub const fn of_answer(status: u16, readable: Readable) -> Self {
        match (status, readable) {
            (502..=504, _) | (500..=599, Readable::No) => Self::Failed,
            _ => Self::Answered,
        }
    }
}

impl Circuit {
    pub(crate) fn new(tolerance: Tolerance) -> Self {
        Self {
            tolerance,
            phase: Phase::Closed,
            window: Window::default(),
            in_a_row: 0,
            failed_at: Timestamp::default(),
            asked_at: Timestamp::default(),
            requests_since: 0,
            failures_since: 0,
        }
    }

    /// The settings in force from now on.
    pub(crate) fn tolerate(&mut self, tolerance: Tolerance) {
        self.tolerance = tolerance;
    }

    /// Whether a request may go.
    pub fn admit(&mut self, now: Timestamp, random: u64) -> Admit {
        match self.shut_ms(now) {
            _ if self.phase == Phase::Closed => Admit::Go(Pass(Kind::Ordinary)),
            0 => {
                self.phase = Phase::Asking { until: now.plus_millis(ASKING_MS) };
                self.asked_at = now;
                Admit::Ask(Command::Probe { token: random, lease_ms: millis(self.tolerance.probe) })
            }
            _ => self.not_now(now),
        }
    }

    /// The breaker answered `command` with `reply`. The result matters to whoever was told to [`Admit::Ask`].
    pub fn accept(&mut self, command: &Command, reply: Reply, now: Timestamp) -> Admit {
        match (command, reply) {
            // Said of a time before this isolate had found out more.
            (Command::Look, Reply::Closed) if self.phase != Phase::Closed => self.not_now(now),
            (_, Reply::Closed) => {
                self.close();
                Admit::Go(Pass(Kind::Ordinary))
            }
            (_, Reply::Open { retry_after_ms }) => {
                // What was asked while the probe of this isolate is on its way does not end it.
                if !matches!(self.phase, Phase::Probing { .. }) || !is_look(command) {
                    let open_ms = retry_after_ms.min(breaker::OPEN_MAX_MS);
                    self.phase = Phase::Open { until: now.plus_millis(open_ms) };
                }
                self.not_now(now)
            }
            (_, Reply::Probe { token, lease_ms }) => {
                self.phase = Phase::Probing { token, until: now.plus_millis(lease_ms) };
                Admit::Go(Pass(Kind::Probe(token)))
            }
        }
    }

    /// The breaker could not be asked. The isolate probes on its own, one request at a time: an instance must not stay
    /// shut because storage is.
    pub fn unasked(&mut self, now: Timestamp, random: u64) -> Admit {
        let shut_ms = self.shut_ms(now);
        match self.phase {
            Phase::Closed => Admit::Go(Pass(Kind::Ordinary)),
            Phase::Probing { .. } | Phase::Open { .. } if shut_ms > 0 => self.not_now(now),
            Phase::Probing { .. } | Phase::Open { .. } | Phase::Asking { .. } => {
                let lease_ms = millis(self.tolerance.probe).min(breaker::LEASE_MAX_MS);
                self.phase = Phase::Probing { token: random, until: now.plus_millis(lease_ms) };
                Admit::Go(Pass(Kind::OwnProbe(random)))
            }
        }
    }

    /// What became of a request, as far as its first byte; and what to tell the breaker of it, beside the answer.
    pub fn record(&mut self, pass: Pass, outcome: Outcome, now: Timestamp, random: u64) -> Option<Command> {
        let open_ms = millis(self.tolerance.open);
        match (pass.0, outcome) {
            (Kind::Ordinary, outcome) => self.count(outcome, now, random),
            (Kind::Probe(token) | Kind::OwnProbe(token), Outcome::Answered) => {
                let own = matches!(self.phase, Phase::Probing { token: current, .. } if current == token);
                if own {
                    self.close();
                }
                (pass.0 == Kind::Probe(token)).then_some(Command::Passed { token })
            }
            (Kind::Probe(token), Outcome::Failed) => {
                self.shut(token, now, random);
                Some(Command::Failed { token, open_ms, random })
            }
            (Kind::OwnProbe(token), Outcome::Failed) => {
                self.shut(token, now, random);
                Some(Command::Report { failed_at: now, open_ms, random })
            }
        }
    }

    /// An answer that had begun, and was recorded as one, broke off: a failure after all.
    pub fn broke_off(&mut self, now: Timestamp, random: u64) -> Option<Command> {
        self.count(Outcome::Failed, now, random)
    }

    /// What to ask the breaker of a closed circuit, beside a request: have others found out more? At once after a
    /// failure, and now and then if it is much used. Ask it after each request that was recorded.
    pub fn due(&mut self, now: Timestamp) -> Option<Command> {
        self.asked_at = self.asked_at.min(now);
        let since_ms = now.millis_since(self.asked_at);
        let in_doubt = self.failures_since > 0 && since_ms >= LOOK_IN_DOUBT_MS;
        let is_time = self.requests_since >= LOOK_REQUESTS && since_ms >= LOOK_MS;
        let is_due = self.phase == Phase::Closed && (in_doubt || is_time);
        is_due.then(|| {
            (self.asked_at, self.requests_since, self.failures_since) = (now, 0, 0);
            Command::Look
        })
    }

    /// How it stands, for choosing an instance.
    pub(crate) fn standing(&mut self, now: Timestamp) -> Standing {
        let counts = self.window.counts(millis(self.tolerance.window), now);
        match (self.phase, self.shut_ms(now)) {
            (Phase::Closed, _) if counts.failures == 0 => Standing::Sound,
            (Phase::Closed, _) => Standing::Suspect { failure_permille: counts.permille() },
            (_, 0) => Standing::Due,
            _ => Standing::Shut,
        }
    }

    /// Counts an ordinary request; what was under way when the circuit opened says nothing new.
    fn count(&mut self, outcome: Outcome, now: Timestamp, random: u64) -> Option<Command> {
        if self.phase != Phase::Closed {
            return None;
        }
        let failures = u32::from(outcome == Outcome::Failed);
        self.window.add(Counts { requests: 1, failures }, millis(self.tolerance.window), now);
        self.requests_since = self.requests_since.saturating_add(1);
        self.failures_since = self.failures_since.saturating_add(failures);
        if outcome == Outcome::Answered {
            self.in_a_row = 0;
            return None;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed_at = now;
        let open_ms = millis(self.tolerance.open);
        self.is_too_much(now).then(|| {
            self.phase = Phase::Open { until: now.plus_millis(breaker::pause_ms(open_ms, 1, random)) };
            self.asked_at = now;
            Command::Report { failed_at: self.failed_at, open_ms, random }
        })
    }

    fn is_too_much(&self, now: Timestamp) -> bool {
        let counts = self.window.counts(millis(self.tolerance.window), now);
        let by_share =
            counts.requests >= self.tolerance.min_requests && counts.permille() >= self.tolerance.failure_permille;
        by_share || self.in_a_row >= self.tolerance.consecutive_failures
    }

    fn close(&mut self) {
        if self.phase != Phase::Closed {
            (self.phase, self.window, self.in_a_row) = (Phase::Closed, Window::default(), 0);
            (self.requests_since, self.failures_since) = (0, 0);
        }
    }

    /// The probe `token` failed: shut until the breaker says for how long.
    fn shut(&mut self, token: u64, now: Timestamp, random: u64) {
        if matches!(self.phase, Phase::Probing { token: current, .. } if current == token) {
            let open_ms = breaker::pause_ms(millis(self.tolerance.open), 1, random);
            self.phase = Phase::Open { until: now.plus_millis(open_ms) };
        }
    }

    /// For how long nothing is let through; 0 also where it is closed. A clock that stepped back cannot put it out of
    /// reach.
    fn shut_ms(&mut self, now: Timestamp) -> u64 {
        let (until, longest_ms) = match &mut self.phase {
            Phase::Closed => return 0,
            Phase::Open { until } | Phase::Asking { until } => (until, breaker::OPEN_MAX_MS),
            Phase::Probing { until, .. } => (until, breaker::LEASE_MAX_MS),
        };
        *until = (*until).min(now.plus_millis(longest_ms));
        until.millis_since(now)
    }

    fn not_now(&mut self, now: Timestamp) -> Admit {
        let left_ms = self.shut_ms(now);
        let retry_after_ms = match self.phase {
            Phase::Asking { .. } | Phase::Probing { .. } => left_ms.min(breaker::ASK_AGAIN_MS),
            Phase::Closed | Phase::Open { .. } => left_ms,
        };
        Admit::Open { retry_after_ms: retry_after_ms.max(1) }
    }
}

/// How a circuit stands, for choosing an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Closed, and nothing failed lately.
    Sound,
    /// Closed, but something failed.
    Suspect { failure_permille: u32 },
    /// Open for long enough: the next request may be the probe.
    Due,
    /// Nothing is let through.
    Shut,
}

const fn is_look(command: &Command) -> bool {
    matches!(command, Command::Look)
}

/// How long a request that asks whether it is the probe keeps others from asking.
const ASKING_MS: u64 = 2_000;
/// After a failure the breaker is asked at most so often.
const LOOK_IN_DOUBT_MS: u64 = 1_000;
/// Without one it is asked at most so often, and only after so many requests: a rarely used instance costs nothing.
const LOOK_MS: u64 = 5_000;
const LOOK_REQUESTS: u32 = 20;

#[cfg(test)]
#[path = "circuit/tests.rs"]
mod tests;
