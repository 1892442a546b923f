//! What happened, provably? Entries, the chain that holds them, and the proof that nothing was changed since.

mod chain;
mod entry;
mod verify;

pub use chain::{Chain, Command, Head, Reply, Row};
pub use entry::{Called, Decision, Entry, Finding, Found, Outcome, Shadow, Treatment, Verdict, Who};
pub use verify::{Broken, verify};
