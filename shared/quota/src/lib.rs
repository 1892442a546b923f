//! Have they calls left? Limits, the ledger that counts against one, and the [`Grant`] it takes to go on.

mod ledger;
mod limit;

pub use ledger::{Command, Counts, Ledger, Reply};
pub use limit::{By, Caller, Exceeded, Grant, Limit, grant};
