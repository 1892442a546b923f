//! What do the scenarios stand on? A gateway in memory, on workerd or on Spin, an issuer, clients, and servers behind it.
//!
//! A scenario is written once and takes a [`Stage`]; it speaks HTTP to whatever that opens. Start with [`stage`], then
//! read `scenarios/`.
//!
//! `cargo test -p turnpike-tests` needs `npm ci`, the built Worker and the built Spin component, which `cargo xtask test`
//! sees to. The Worker is looked for in `functions/worker/build`, or in `TURNPIKE_WORKER_DIR`; it is started by
//! `xtask/src/host.mjs`, or by `TURNPIKE_HOST_MJS`. The component is looked for below `target/wasm32-wasip2/release`, or
//! at `TURNPIKE_SPIN_WASM`; it is started by `target/debug/turnpike-spin-host`, or by `TURNPIKE_SPIN_HOST`, which may be
//! `spin` itself.
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
pub mod redis;
pub mod setup;
pub mod spin;
pub mod stage;
pub mod workerd;

mod program;

pub use stage::{Gateway, Stage, run};
