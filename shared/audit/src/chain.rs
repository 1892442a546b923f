//! In which order did it happen, and can that be changed unseen? Each entry seals the one before it.

use machine::{Machine, Transition};
use mcp::{Timestamp, digest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The machine that appends to one tenant's record.
#[derive(Debug)]
pub enum Chain {}

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many entries there are.
    pub length: u64,
    /// The hash of the newest, hexadecimal.
    pub hash: String,
}

/// An entry as it is stored: its text, its place, and a hash over both and the entry before.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// From 1, without gaps.
    pub seq: u64,
    /// `hash` of the entry before, or [`Head::default`]'s.
    pub prev: String,
    /// SHA-256 over `prev`, `seq` and the bytes of `entry`, hexadecimal.
    pub hash: String,
    /// The entry as it was written.
    pub entry: Box<RawValue>,
}

/// What a chain is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// These happened, in this order: the JSON of an [`Entry`](crate::Entry) each.
    Append(Vec<Box<RawValue>>),
}

/// What a chain answers: where it ends now.
pub type Reply = Head;

impl Default for Head {
    fn default() -> Self {
        Self { length: 0, hash: "0".repeat(64) }
    }
}

impl Machine for Chain {
    const KIND: &'static str = "chain";
    type State = Head;
    type Command = Command;
    type Reply = Reply;

    fn apply(mut head: Head, Command::Append(entries): Command, _: Timestamp) -> Transition<Head, Head> {
        let rows: Vec<String> = entries.into_iter().filter_map(|entry| head.append(entry)).collect();
        Transition { rows, ..Transition::put(head.clone(), head) }
    }
}

impl Head {
    /// The row of the next entry; this becomes the end it leads to.
    fn append(&mut self, entry: Box<RawValue>) -> Option<String> {
        let (seq, prev) = (self.length + 1, self.hash.clone());
        let hash = seal(&prev, seq, entry.get());
        *self = Self { length: seq, hash: hash.clone() };
        serde_json::to_string(&Row { seq, prev, hash, entry }).ok()
    }
}

/// The hash of an entry in its place.
pub(crate) fn seal(prev: &str, seq: u64, entry: &str) -> String {
    digest::hex(&digest::sha256(format!("{prev}\n{seq}\n{entry}").as_bytes()))
}
