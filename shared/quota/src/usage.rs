//! Who used how much, of what? One machine for each tenant and UTC day adds it up.
//!
//! It is for reading, not for deciding: a batch whose reply is lost is not told again, and may be missing.

mod day;
mod tally;

use std::collections::BTreeMap;

use machine::{Alarm, Machine, Next, Transition};
use mcp::Timestamp;
use serde::{Deserialize, Serialize};

pub use day::Day;
pub use tally::Tally;

/// The machine that adds up a tenant's day.
#[derive(Debug)]
pub enum Usage {}

/// What was used so far. As JSON at most about 700 KiB, most of it names: see [`ROWS_MAX`] and [`NAMES_MAX_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    #[serde(with = "rows")]
    rows: BTreeMap<Key, Counts>,
    /// What did not fit.
    #[serde(default)]
    other: Counts,
    names_bytes: usize,
}

/// Who used what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The program.
    pub agent: String,
    /// The person.
    pub user: String,
    /// The server.
    pub server: String,
    /// The tool, if one was called.
    pub tool: Option<String>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were sent on.
    pub calls: u64,
    /// Requests that were refused.
    pub denied: u64,
    /// Requests the candidate policies would have decided otherwise.
    #[serde(default)]
    pub shadowed: u64,
    /// Tokens of requests.
    pub tokens_in: u64,
    /// Tokens of answers.
    pub tokens_out: u64,
    /// Money, in millionths.
    pub money_micros: u64,
}

/// A line of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Who used what.
    #[serde(flatten)]
    pub key: Key,
    /// How much.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Add what was used.
    Add {
        /// By whom.
        rows: Vec<Row>,
        /// By whomever.
        #[serde(default)]
        other: Counts,
    },
    /// Tell all.
    Read,
    /// It was kept long enough.
    Forget,
}

/// What the machine answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is added, or forgotten.
    Done,
    /// All there is.
    Account {
        /// In the order of their keys.
        rows: Vec<Row>,
        /// What was used beyond them: there were more than [`ROWS_MAX`].
        other: Counts,
    },
}

impl Machine for Usage {
    const KIND: &'static str = "usage";
    type State = Used;
    type Command = Command;
    type Reply = Reply;

    fn apply(mut state: Used, command: Command, now: Timestamp) -> Transition<Used, Reply> {
        match command {
            Command::Add { rows, other } => {
                let is_new = state == Used::default();
                state.other.add(&other);
                rows.into_iter().for_each(|row| state.add(row));
                let alarm = if is_new { Alarm::At(now.plus_millis(KEPT_MS)) } else { Alarm::Keep };
                Transition { alarm, ..Transition::put(state, Reply::Done) }
            }
            Command::Read => {
                let row = |(key, counts): (&Key, &Counts)| Row { key: key.clone(), counts: *counts };
                let rows = state.rows.iter().map(row).collect();
                Transition::reply(Reply::Account { rows, other: state.other })
            }
            Command::Forget => Transition { state: Next::Clear, alarm: Alarm::Off, ..Transition::reply(Reply::Done) },
        }
    }

    fn wake() -> Option<Command> {
        Some(Command::Forget)
    }
}

/// The name of the machine for a tenant's day: `2026-11-20/acme`.
#[must_use]
pub fn name(tenant: &str, day: Day) -> String {
    format!("{day}/{tenant}")
}

impl Used {
    fn add(&mut self, Row { key, counts }: Row) {
        if let Some(known) = self.rows.get_mut(&key) {
            known.add(&counts);
            return;
        }
        let bytes = key.written_bytes();
        if self.rows.len() >= ROWS_MAX || self.names_bytes.saturating_add(bytes) > NAMES_MAX_BYTES {
            self.other.add(&counts);
            return;
        }
        self.names_bytes += bytes;
        self.rows.insert(key, counts);
    }
}

impl Key {
    /// How many bytes its names are in JSON, at the most.
    fn written_bytes(&self) -> usize {
        let written =
            |name: &str| name.chars().map(|c| if c.is_control() { 6 } else { c.len_utf8() * 2 }).sum::<usize>();
        let names = [&self.agent, &self.user, &self.server].map(|name| written(name));
        names.iter().sum::<usize>() + self.tool.as_deref().map_or(0, written)
    }
}

impl Counts {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.denied = self.denied.saturating_add(other.denied);
        self.shadowed = self.shadowed.saturating_add(other.shadowed);
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.money_micros = self.money_micros.saturating_add(other.money_micros);
    }
}

/// Rows are written as a list: keys of a JSON object are strings.
mod rows {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Counts, Key};

    type Names = (String, String, String, Option<String>);

    pub(super) fn serialize<S: Serializer>(rows: &BTreeMap<Key, Counts>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(rows.iter().map(|(key, counts)| {
            let names = (&key.agent, &key.user, &key.server, &key.tool);
            let Counts { calls, denied, shadowed, tokens_in, tokens_out, money_micros } = *counts;
            (names, [calls, denied, shadowed, tokens_in, tokens_out, money_micros])
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Key, Counts>, D::Error> {
        let rows: Vec<(Names, [u64; 6])> = Vec::deserialize(deserializer)?;
        let row = |((agent, user, server, tool), counts): (Names, [u64; 6])| {
            let [calls, denied, shadowed, tokens_in, tokens_out, money_micros] = counts;
            let counts = Counts { calls, denied, shadowed, tokens_in, tokens_out, money_micros };
            (Key { agent, user, server, tool }, counts)
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// At most so many rows are kept apart; the rest is added up in one.
pub const ROWS_MAX: usize = 2_000;
/// At most so many bytes of names, as they are written.
pub const NAMES_MAX_BYTES: usize = 400 * 1024;
/// A day is kept for 400 days.
const KEPT_MS: u64 = 400 * 86_400_000;

#[cfg(test)]
mod tests;
