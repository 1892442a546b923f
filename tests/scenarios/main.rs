//! Does the gateway do what it promises, on every platform? Each scenario is written once and named by where it runs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

/// Runs each scenario in memory and on workerd.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $name() { turnpike_tests::run(turnpike_tests::Stage::Memory, super::$name); })+
        }
        mod workerd {
            $(#[test] fn $name() { turnpike_tests::run(turnpike_tests::Stage::Workerd, super::$name); })+
        }
    };
}

/// Runs each scenario in memory only; `$reason` says what workerd cannot be made to do.
macro_rules! memory_only {
    ($reason:literal: $($name:ident),+ $(,)?) => {
        mod memory_only {
            #![doc = $reason]
            $(#[test] fn $name() { turnpike_tests::run(turnpike_tests::Stage::Memory, super::$name); })+
        }
    };
}

/// Runs each scenario on workerd only; `$reason` says what memory does not have.
macro_rules! workerd_only {
    ($reason:literal: $($name:ident),+ $(,)?) => {
        mod workerd_only {
            #![doc = $reason]
            $(#[test] fn $name() { turnpike_tests::run(turnpike_tests::Stage::Workerd, super::$name); })+
        }
    };
}

mod asking;
mod audit;
mod breaker;
mod bundle;
mod cache;
mod cancelling;
mod conversation;
mod endpoints;
mod eras;
mod faults;
mod federated_streams;
mod federation;
mod guard;
mod identity;
mod malformed;
mod old;
mod operate;
mod panic;
mod path;
mod pins;
mod policy;
mod quota;
mod session;
mod usage;
