//! What must never be wrong under concurrency? A named machine decides it, one command at a time.
//!
//! A machine is a pure function from state and command to a [`Transition`]. One host per platform runs every machine:
//! it loads the state, applies the command, commits what the transition asks for in one step, and only then answers.
//! [`run`] is that step; what a platform adds is a [`Store`].

use mcp::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Strongly consistent state behind a name: a session, a ledger, a chain.
pub trait Machine {
    /// The kind, as it names the host's class or table: lower case, `[a-z]+`.
    const KIND: &'static str;
    /// What is kept. A name that was never used has the default.
    type State: Default + Serialize + DeserializeOwned;
    /// What it is told.
    type Command: Serialize + DeserializeOwned;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;

    /// Decides what `command` does to `state` at `now`. Never blocks, never fails: a refusal is a reply.
    fn apply(state: Self::State, command: Self::Command, now: Timestamp) -> Transition<Self::State, Self::Reply>;

    /// The command an alarm delivers, for a machine that sets one.
    fn wake() -> Option<Self::Command> {
        None
    }
}

/// What a command did. The host commits all of it, or nothing.
#[derive(Debug)]
pub struct Transition<S, R> {
    /// What becomes of the state.
    pub state: Next<S>,
    /// The answer, given once the rest is durable.
    pub reply: R,
    /// Rows to append, each a JSON text; rows are never rewritten.
    pub rows: Vec<String>,
    /// Requests to deliver at least once, after the commit.
    pub outbox: Vec<Outgoing>,
    /// When to be woken.
    pub alarm: Alarm,
}

/// What becomes of a machine's state.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<S> {
    /// It stays as it was.
    Keep,
    /// It becomes this.
    Put(S),
    /// It is forgotten: the name is as if never used.
    Clear,
}

/// When a machine is woken next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// As before.
    Keep,
    /// At this time, instead of any earlier wish.
    At(Timestamp),
    /// Not at all.
    Off,
}

/// A request a machine wants delivered at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The HTTP method.
    pub method: String,
    /// A configured upstream's URL.
    pub url: String,
    /// Header names and values, none of them secret.
    pub headers: Vec<(String, String)>,
    /// The name of the secret to send as bearer token; the host looks it up when it delivers.
    pub secret: Option<String>,
}

impl<S, R> Transition<S, R> {
    /// Only an answer: nothing changes.
    pub fn reply(reply: R) -> Self {
        Self { state: Next::Keep, reply, rows: Vec::new(), outbox: Vec::new(), alarm: Alarm::Keep }
    }

    /// An answer and a new state.
    pub fn put(state: S, reply: R) -> Self {
        Self { state: Next::Put(state), ..Self::reply(reply) }
    }
}

/// Where one machine's state, rows, outbox and alarm are kept. The second implementation of many: a Durable Object's
/// SQLite, a map in tests.
pub trait Store {
    /// What went wrong.
    type Failure: std::fmt::Display;

    /// The state as it was last committed, as JSON.
    ///
    /// # Errors
    /// The platform's own.
    fn load(&mut self) -> Result<Option<String>, Self::Failure>;

    /// Makes all of `commit` durable, or none of it.
    ///
    /// # Errors
    /// The platform's own; then nothing was committed.
    fn commit(&mut self, commit: Commit) -> Result<(), Self::Failure>;
}

/// A transition, ready to be stored.
#[derive(Debug)]
pub struct Commit {
    /// What becomes of the state, as JSON.
    pub state: Next<String>,
    /// Rows to append.
    pub rows: Vec<String>,
    /// Requests to deliver after the commit.
    pub outbox: Vec<Outgoing>,
    /// When to wake the machine.
    pub alarm: Alarm,
}

impl Commit {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state == Next::Keep && self.rows.is_empty() && self.outbox.is_empty() && self.alarm == Alarm::Keep
    }
}

/// Why a command was not applied.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The command is not one of this machine's.
    #[error("the command does not fit the machine: {0}")]
    Command(String),
    /// What is stored is not this machine's state.
    #[error("the stored state does not fit the machine: {0}")]
    State(String),
    /// The platform could not load or commit.
    #[error("the store failed: {0}")]
    Store(String),
}

/// Applies one JSON command to the machine behind `store` and gives its reply as JSON. A host must not let two run at
/// once on one store.
///
/// # Errors
/// [`Fault`]; the state is then as it was.
pub fn run<M: Machine>(store: &mut impl Store, command: &str, now: Timestamp) -> Result<String, Fault> {
    let command = serde_json::from_str(command).map_err(|error| Fault::Command(error.to_string()))?;
    step::<M>(store, command, now)
}

/// Delivers the alarm to the machine behind `store`.
///
/// # Errors
/// [`Fault`]; the state is then as it was.
pub fn wake<M: Machine>(store: &mut impl Store, now: Timestamp) -> Result<(), Fault> {
    M::wake().map_or(Ok(()), |command| step::<M>(store, command, now).map(drop))
}

fn step<M: Machine>(store: &mut impl Store, command: M::Command, now: Timestamp) -> Result<String, Fault> {
    let state = match store.load().map_err(|error| Fault::Store(error.to_string()))? {
        Some(text) => serde_json::from_str(&text).map_err(|error| Fault::State(error.to_string()))?,
        None => M::State::default(),
    };
    let Transition { state, reply, rows, outbox, alarm } = M::apply(state, command, now);
    let state = match state {
        Next::Keep => Next::Keep,
        Next::Clear => Next::Clear,
        Next::Put(state) => Next::Put(json(&state)?),
    };
    let commit = Commit { state, rows, outbox, alarm };
    if !commit.is_empty() {
        store.commit(commit).map_err(|error| Fault::Store(error.to_string()))?;
    }
    json(&reply)
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::State(error.to_string()))
}
