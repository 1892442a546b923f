//! What do the scenarios stand on? A gateway in memory or on workerd, an issuer, clients, and servers behind it.
//!
//! A scenario is written once and takes a [`Stage`]; it speaks HTTP to whatever that opens. Start with [`stage`], then
//! read `scenarios/`.
//!
//! `cargo test -p turnpike-tests` needs `npm ci` and the built Worker, which `cargo xtask test` sees to. The Worker is
//! looked for in `functions/worker/build`, or in `TURNPIKE_WORKER_DIR`; it is started by `xtask/src/host.mjs`, or by
//! `TURNPIKE_HOST_MJS`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

pub mod client;
pub mod faulty;
pub mod fixture;
pub mod issuer;
pub mod memory;
pub mod setup;
pub mod stage;
pub mod workerd;

mod node;

pub use stage::{Gateway, Stage, run};
