//! Where do machines live in memory? In a map, one command at a time, with faults on demand.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use audit::Chain;
use gateway::platform::Failed;
use machine::{Alarm, Commit, Machine, Next, Outgoing, Store};
use mcp::Timestamp;
use quota::{Ledger, Usage};
use registry::Release;
use session::Session;
use tokio::sync::Notify;
use upstream::Breaker;

/// Every machine there is, by kind and name. It outlives isolates.
#[derive(Default)]
pub struct Objects {
    kept: RefCell<BTreeMap<(String, String), Kept>>,
    failing: RefCell<BTreeSet<String>>,
    held: RefCell<BTreeSet<String>>,
    calls: RefCell<BTreeMap<String, u64>>,
    released: Notify,
    changed: Notify,
}

/// What is kept of one machine.
#[derive(Default)]
struct Kept {
    state: Option<String>,
    rows: Vec<String>,
    outbox: Vec<Outgoing>,
    alarm: Option<Timestamp>,
}

impl Objects {
    /// From now on no machine of `kind` can be reached.
    pub fn fail(&self, kind: &str) {
        self.failing.borrow_mut().insert(kind.to_owned());
    }

    /// From now on commands to machines of `kind` wait until [`Objects::heal`].
    pub fn hold(&self, kind: &str) {
        self.held.borrow_mut().insert(kind.to_owned());
    }

    /// All machines can be reached again.
    pub fn heal(&self) {
        self.failing.borrow_mut().clear();
        self.held.borrow_mut().clear();
        self.released.notify_waiters();
    }

    /// How many commands were told to machines of `kind`.
    pub fn calls(&self, kind: &str) -> u64 {
        self.calls.borrow().get(kind).copied().unwrap_or_default()
    }

    /// How many commands were told to any machine.
    pub fn all_calls(&self) -> u64 {
        self.calls.borrow().values().sum()
    }

    /// How many machines of `kind` keep a state.
    pub fn states(&self, kind: &str) -> usize {
        self.kept.borrow().iter().filter(|((one, _), kept)| one == kind && kept.state.is_some()).count()
    }

    /// Everything that is stored, as one text: what must not be in it can be looked for.
    pub fn dump(&self) -> String {
        let kept = self.kept.borrow();
        let texts = kept.iter().flat_map(|((_, name), kept)| {
            std::iter::once(name).chain(&kept.state).chain(&kept.rows).map(String::as_str)
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Tells a machine a command.
    pub(super) async fn tell(
        &self,
        (kind, name): (&str, &str),
        command: &str,
        now: impl Fn() -> Timestamp,
    ) -> Result<(String, Vec<Outgoing>), Failed> {
        *self.calls.borrow_mut().entry(kind.to_owned()).or_default() += 1;
        tokio::task::yield_now().await;
        self.reached(kind).await?;
        let (reply, outbox) = self.with(kind, name, |kept| {
            let reply = match kind {
                Session::KIND => machine::run::<Session>(kept, command, now()),
                Ledger::KIND => machine::run::<Ledger>(kept, command, now()),
                Usage::KIND => machine::run::<Usage>(kept, command, now()),
                Breaker::KIND => machine::run::<Breaker>(kept, command, now()),
                Release::KIND => machine::run::<Release>(kept, command, now()),
                Chain::KIND => machine::run::<Chain>(kept, command, now()),
                kind => return Err(Failed(format!("there is no machine `{kind}`"))),
            };
            let reply = reply.map_err(|fault| Failed(fault.to_string()))?;
            Ok((reply, std::mem::take(&mut kept.outbox)))
        })?;
        self.changed.notify_one();
        tokio::task::yield_now().await;
        Ok((reply, outbox))
    }

    /// At most `limit` rows of a machine after the first `after`.
    pub(super) async fn rows(&self, kind: &str, name: &str, after: u64, limit: u32) -> Result<Vec<String>, Failed> {
        self.reached(kind).await?;
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(self.with(kind, name, |kept| kept.rows.iter().skip(after).take(limit as usize).cloned().collect()))
    }

    /// Wakes every machine whose alarm is due at `now`, and gives what is to be delivered.
    pub(super) fn wake(&self, now: Timestamp) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        for ((kind, _), kept) in self.kept.borrow_mut().iter_mut() {
            if kept.alarm.is_none_or(|alarm| alarm > now) {
                continue;
            }
            kept.alarm = None;
            let woken = match kind.as_str() {
                Session::KIND => machine::wake::<Session>(kept, now),
                Ledger::KIND => machine::wake::<Ledger>(kept, now),
                Usage::KIND => machine::wake::<Usage>(kept, now),
                Breaker::KIND => machine::wake::<Breaker>(kept, now),
                Release::KIND => machine::wake::<Release>(kept, now),
                _ => machine::wake::<Chain>(kept, now),
            };
            woken.unwrap();
            outgoing.append(&mut kept.outbox);
        }
        outgoing
    }

    /// When the next machine is to be woken.
    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.kept.borrow().values().filter_map(|kept| kept.alarm).min()
    }

    /// Resolves when a machine was told something.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn reached(&self, kind: &str) -> Result<(), Failed> {
        loop {
            let released = self.released.notified();
            if !self.held.borrow().contains(kind) {
                break;
            }
            released.await;
        }
        if self.failing.borrow().contains(kind) { Err(Failed(format!("`{kind}` fails on demand"))) } else { Ok(()) }
    }

    fn with<T>(&self, kind: &str, name: &str, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(self.kept.borrow_mut().entry((kind.to_owned(), name.to_owned())).or_default())
    }
}

impl Store for Kept {
    type Failure = Infallible;

    fn load(&mut self) -> Result<Option<String>, Infallible> {
        Ok(self.state.clone())
    }

    fn commit(&mut self, commit: Commit) -> Result<(), Infallible> {
        match commit.state {
            Next::Keep => {}
            Next::Put(state) => self.state = Some(state),
            Next::Clear => self.state = None,
        }
        self.rows.extend(commit.rows);
        self.outbox.extend(commit.outbox);
        match commit.alarm {
            Alarm::Keep => {}
            Alarm::At(time) => self.alarm = Some(time),
            Alarm::Off => self.alarm = None,
        }
        Ok(())
    }
}
