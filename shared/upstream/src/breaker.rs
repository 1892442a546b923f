//! Do the isolates agree that an instance is down? One breaker for each instance: it opens for all, and lets a single
//! request through to see whether the instance is back.

use machine::{Alarm, Machine, Next, Transition};
use mcp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backoff;

/// The machine of one instance, named by its URL.
#[derive(Debug)]
pub enum Breaker {}

/// What is kept; nothing for an instance nobody complained of lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nobody complained.
    #[default]
    Untouched,
    /// It was open until `at`: complaints of before do not count.
    Closed {
        /// When it closed.
        at: Timestamp,
    },
    /// Nobody is let through, but the probe.
    Open(Open),
}

/// An open breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// How often it opened without closing in between, from 1.
    times: u32,
    /// When a probe is let through.
    until: Timestamp,
    /// The probe that was let through last.
    probe: Option<Probe>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Probe {
    token: u64,
    /// Until when it is waited for: whoever dies while probing blocks nobody for longer.
    until: Timestamp,
}

/// What a breaker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// How does it stand?
    Look,
    /// Too much failed: open.
    Report {
        /// When the newest failure was.
        failed_at: Timestamp,
        /// How long it stays open at first.
        open_ms: u64,
        /// Unpredictable, for the jitter.
        random: u64,
    },
    /// May this request be the probe?
    Probe {
        /// Unpredictable; the same again is the same question again.
        token: u64,
        /// How long it may take.
        lease_ms: u64,
    },
    /// The probe was answered: close.
    Passed {
        /// Its token.
        token: u64,
    },
    /// The probe failed: stay open for twice as long.
    Failed {
        /// Its token.
        token: u64,
        /// How long it stays open at first.
        open_ms: u64,
        /// Unpredictable, for the jitter.
        random: u64,
    },
    /// Forget what nobody asks for.
    Sweep,
}

/// What a breaker answers: how it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Everybody is let through.
    Closed,
    /// Nobody is.
    Open {
        /// When it is worth asking again; 0: a probe may be asked for now.
        retry_after_ms: u64,
    },
    /// The request that asked is the probe.
    Probe {
        /// Its token.
        token: u64,
        /// How long it is waited for.
        lease_ms: u64,
    },
}

impl Machine for Breaker {
    const KIND: &'static str = "breaker";
    type State = State;
    type Command = Command;
    type Reply = Reply;

    fn apply(stored: State, command: Command, now: Timestamp) -> Transition<State, Reply> {
        let state = stored.clone().at(now);
        match decide(state.clone(), command, now) {
            // A time that was put within reach is kept, or the next look would find it as far away as this one.
            Transition { state: Next::Keep, reply, .. } if state != stored => Transition { reply, ..keep(state, now) },
            transition => transition,
        }
    }

    fn wake() -> Option<Command> {
        Some(Command::Sweep)
    }
}

fn decide(state: State, command: Command, now: Timestamp) -> Transition<State, Reply> {
    match (state, command) {
        (state, Command::Look) => Transition::reply(state.seen(now)),
        (state, Command::Sweep) => sweep(&state, now),
        (State::Closed { at }, Command::Report { failed_at, .. }) if failed_at <= at => {
            Transition::reply(Reply::Closed)
        }
        (State::Untouched | State::Closed { .. }, Command::Report { open_ms, random, .. }) => {
            keep(State::Open(Open::new(1, pause_ms(open_ms, 1, random), now)), now)
        }
        (State::Open(open), Command::Probe { token, lease_ms }) => open.probe(token, lease_ms, now),
        (State::Open(open), Command::Passed { token }) if open.is_probed_by(token) => {
            keep(State::Closed { at: now }, now)
        }
        (State::Open(open), Command::Failed { token, open_ms, random }) if open.is_probed_by(token) => {
            let times = open.times.saturating_add(1);
            keep(State::Open(Open::new(times, pause_ms(open_ms, times, random), now)), now)
        }
        // Said before, or by somebody who is not the probe any more.
        (state, Command::Report { .. } | Command::Probe { .. } | Command::Passed { .. } | Command::Failed { .. }) => {
            Transition::reply(state.seen(now))
        }
    }
}

impl State {
    /// This state, with no time in it that a clock that stepped back has put out of reach.
    fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Untouched => Self::Untouched,
            Self::Closed { at } => Self::Closed { at: at.min(now) },
            Self::Open(Open { times, until, probe }) => {
                let until = until.min(now.plus_millis(OPEN_MAX_MS));
                let lease = |probe: Probe| Probe { until: probe.until.min(now.plus_millis(LEASE_MAX_MS)), ..probe };
                Self::Open(Open { times, until, probe: probe.map(lease) })
            }
        }
    }

    fn seen(&self, now: Timestamp) -> Reply {
        match self {
            Self::Untouched | Self::Closed { .. } => Reply::Closed,
            Self::Open(open) => Reply::Open { retry_after_ms: open.shut_ms(now) },
        }
    }

    /// When it may be forgotten, if nobody says anything until then.
    fn forgotten_at(&self) -> Option<Timestamp> {
        match self {
            Self::Untouched => None,
            Self::Closed { at } => Some(at.plus_millis(CLOSED_KEPT_MS)),
            Self::Open(Open { until, probe, .. }) => {
                let last = probe.as_ref().map_or(*until, |probe| probe.until.max(*until));
                Some(last.plus_millis(OPEN_KEPT_MS))
            }
        }
    }
}

impl Open {
    fn new(times: u32, pause_ms: u64, now: Timestamp) -> Self {
        Self { times, until: now.plus_millis(pause_ms), probe: None }
    }

    fn is_probed_by(&self, token: u64) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.token == token)
    }

    /// For how long no probe can be had. While one is under way it is worth asking again soon: it may close.
    fn shut_ms(&self, now: Timestamp) -> u64 {
        let probing_ms = self.probe.as_ref().map_or(0, |probe| probe.until.millis_since(now));
        match self.until.millis_since(now) {
            0 => probing_ms.min(ASK_AGAIN_MS),
            until_ms => until_ms,
        }
    }

    fn probe(self, token: u64, lease_ms: u64, now: Timestamp) -> Transition<State, Reply> {
        if !self.is_probed_by(token) && self.shut_ms(now) > 0 {
            return Transition::reply(State::Open(self).seen(now));
        }
        let lease_ms = lease_ms.clamp(1, LEASE_MAX_MS);
        let probe = Some(Probe { token, until: now.plus_millis(lease_ms) });
        Transition { reply: Reply::Probe { token, lease_ms }, ..keep(State::Open(Self { probe, ..self }), now) }
    }
}

/// Between three quarters and all of the doubled time.
pub(crate) fn pause_ms(open_ms: u64, times: u32, random: u64) -> u64 {
    let whole_ms = backoff::doubled(open_ms.max(1), times.saturating_sub(1), OPEN_MAX_MS);
    whole_ms - backoff::up_to(whole_ms / 4, random)
}

fn keep(state: State, now: Timestamp) -> Transition<State, Reply> {
    let (reply, alarm) = (state.seen(now), state.forgotten_at().map_or(Alarm::Off, Alarm::At));
    Transition { alarm, ..Transition::put(state, reply) }
}

fn sweep(state: &State, now: Timestamp) -> Transition<State, Reply> {
    match state.forgotten_at() {
        Some(at) if now < at => Transition { alarm: Alarm::At(at), ..Transition::reply(state.seen(now)) },
        _ => Transition { state: Next::Clear, alarm: Alarm::Off, ..Transition::reply(Reply::Closed) },
    }
}

/// The longest a breaker stays open before it lets a probe through.
pub(crate) const OPEN_MAX_MS: u64 = 60_000;
/// When to ask again while somebody else is the probe, or asks to be.
pub(crate) const ASK_AGAIN_MS: u64 = 1_000;
/// The longest a probe is waited for.
pub(crate) const LEASE_MAX_MS: u64 = 330_000;
/// How long a breaker that closed remembers when: longer than a complaint may be under way.
const CLOSED_KEPT_MS: u64 = 60_000;
/// How long an open breaker that nobody asks for remembers how often it opened.
const OPEN_KEPT_MS: u64 = 600_000;

#[cfg(test)]
#[path = "breaker/tests.rs"]
mod tests;
