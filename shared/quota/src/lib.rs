//! Have they calls, tokens and money left? Limits, the ledgers and leases that keep them exactly, and the [`Grant`] it takes
//! to go on; what calls cost, and who used how much.

pub mod answer;
pub mod lease;
mod price;
pub mod tokens;
pub mod usage;

pub use lease::{
    ACCOUNTS_MAX, Amount, Ask, By, Caller, Caps, Command, Dimension, Draw, Errand, Exceeded, Grant, Leases, Ledger,
    Limit, Refused, Reply, Settled, Spend, Toll, Verdict, Wallet,
};
pub use price::{Price, Prices};
pub use usage::Usage;
