//! Which conversation is this, and on which instance? Session ids that cannot be guessed or borrowed, and the row each
//! of them stands for.

mod row;
mod ticket;

pub use row::{Command, Reply, Route, Row, Session, State, Upstream};
pub use ticket::{Sealer, Ticket, Unknown};
