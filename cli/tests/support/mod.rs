//! What do the program's tests stand on? A folder to change, and a gateway to speak with.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests are tests, and each test uses its part"
)]

pub(crate) mod deployment;
pub(crate) mod gateway;
