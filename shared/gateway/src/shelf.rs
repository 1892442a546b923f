//! Where do machines live on a platform that has no objects? On a shelf many processes reach into: a database.
//!
//! A step is made by compare-and-swap on the state it began with, in one statement or script of the database. So there
//! is no transaction that a request could leave open when its caller goes, and no lock that outlives its holder.

mod bell;
mod due;
mod telling;

use std::convert::Infallible;

use machine::{Alarm, Commit, Next, Outgoing, Store};
use mcp::Timestamp;

use crate::platform::Failed;

pub use bell::Bell;
pub use due::{Done, spelled};
pub use telling::{Machines, TOGETHER_MAX};

/// A database of machines.
pub trait Shelf {
    /// Keeps others from making steps until it is used or dropped.
    type Hold;

    /// A hold of the shelf, for a step that others were faster than again and again; `None` where there is none.
    fn hold(&self) -> impl Future<Output = Result<Option<Self::Hold>, Failed>>;

    /// The machine as it is.
    fn find(&self, key: &Key, hold: Option<&Self::Hold>) -> impl Future<Output = Result<Found, Failed>>;

    /// Makes all of `step`, or nothing of it where the machine's state is not the one it begins with. That ends `hold`.
    fn make(&self, key: &Key, step: &Step, hold: Option<&Self::Hold>) -> impl Future<Output = Result<Made, Failed>>;

    /// At most `limit` of its rows after the first `after`.
    fn rows(&self, key: &Key, after: u64, limit: u32) -> impl Future<Output = Result<Vec<String>, Failed>>;

    /// Some machines whose alarm is due, the most overdue first.
    fn due(&self, now: Timestamp) -> impl Future<Output = Result<Vec<Key>, Failed>>;

    /// Takes some requests of the outbox that are due. Each is due again after a pause that doubles, unless it is settled
    /// before.
    fn take(&self, now: Timestamp) -> impl Future<Output = Result<Vec<Waiting>, Failed>>;

    /// Takes a request out of the outbox for good.
    fn settle(&self, id: i64) -> impl Future<Output = Result<(), Failed>>;
}

/// Which machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// [`machine::Machine::KIND`]
    pub kind: String,
    /// Its name among those of its kind.
    pub name: String,
}

/// A machine as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// JSON; none of a name that is not in use.
    pub state: Option<String>,
    /// When it wants to be woken.
    pub alarm: Option<Timestamp>,
}

/// What is to be made of a machine: the sum of what one or more commands did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state it begins with.
    pub was: Option<String>,
    /// The state it ends with; without one the machine is forgotten, its alarm too.
    pub state: Option<String>,
    /// When to wake it.
    pub alarm: Alarm,
    /// Rows to append.
    pub rows: Vec<String>,
    /// Requests to deliver.
    pub outbox: Vec<Outgoing>,
    /// When it is made.
    pub now: Timestamp,
}

/// Whether a step was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was.
    Yes,
    /// The machine has moved on.
    No,
}

/// A request of the outbox that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// By which it is settled.
    pub id: i64,
    /// A [`machine::Outgoing`] as JSON.
    pub outgoing: String,
    /// How often it was taken, this time included.
    pub attempts: u32,
}

impl Key {
    /// The machine of this kind and name.
    #[must_use]
    pub fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned() }
    }
}

impl Step {
    /// One that changes nothing yet.
    #[must_use]
    pub fn from(was: Option<String>, now: Timestamp) -> Self {
        Self { state: was.clone(), was, alarm: Alarm::Keep, rows: Vec::new(), outbox: Vec::new(), now }
    }

    /// Whether there is nothing to make.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state == self.was && self.rows.is_empty() && self.outbox.is_empty() && self.alarm == Alarm::Keep
    }

    /// Rows and outbox as a database unpacks them: JSON arrays of texts.
    ///
    /// # Errors
    /// [`Failed`], which never happens to what a machine made.
    pub fn arrays(&self) -> Result<[String; 2], Failed> {
        let failed = |error: serde_json::Error| Failed(error.to_string());
        let outbox: Result<Vec<_>, _> = self.outbox.iter().map(serde_json::to_string).collect();
        let rows = serde_json::to_string(&self.rows).map_err(failed)?;
        Ok([rows, serde_json::to_string(&outbox.map_err(failed)?).map_err(failed)?])
    }
}

/// One command after the other sees what the ones before it did.
impl Store for Step {
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
        if commit.alarm != Alarm::Keep {
            self.alarm = commit.alarm;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
