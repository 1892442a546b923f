//! What do we send on, to whom, and what does the answer tell?

mod answer;
mod backoff;
mod breaker;
mod circuit;
mod circuits;
mod outbound;
mod resilience;
mod retry;
mod slots;
mod window;

pub use answer::{Negotiated, lost_session, negotiated};
pub use breaker::{Breaker, Command, Reply};
pub use circuit::{Admit, Circuit, Outcome, Pass, Readable};
pub use circuits::Circuits;
pub use outbound::{Departure, Outbound};
pub use resilience::{Resilience, Tolerance};
pub use retry::{Failure, Repeatable, Retry, repeatable, retry_after_ms};
pub use slots::{Place, Room, Slots, Ticket};
