//! What do we send on, to whom, and what does the answer tell?

mod answer;
mod health;
mod outbound;

pub use answer::{Negotiated, lost_session, negotiated};
pub use health::Health;
pub use outbound::{Outbound, request};
