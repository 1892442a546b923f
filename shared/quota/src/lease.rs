//! How is a limit exact although hundreds of isolates admit without asking? They draw leases from its ledger.
//!
//! The [`Ledger`] holds the truth about one limit and one of those it counts; an isolate's [`Wallet`] holds the leases
//! it drew. What is leased counts as spent from the moment it is granted, so that however many isolates spend at once,
//! the sum stays below the limit. What is settled counts when it was spent; what is never settled counts as spent at
//! the last moment its lease allowed.

mod account;
mod amount;
mod calendar;
mod clock;
mod counts;
mod demand;
mod ledger;
mod limit;
mod wallet;

pub use amount::{Amount, Caps, Dimension};
pub use counts::{Counts, LEASE_MS, Lease};
pub use ledger::{Command, Draw, Exchange, Ledger, Reply, Settled, Undo};
pub use limit::{By, Caller, Exceeded, Limit};
pub use wallet::{ACCOUNTS_MAX, Ask, Errand, Errands, Grant, Leases, Refused, Spend, Toll, Verdict, Wallet};

#[cfg(test)]
mod tests;
