//! Does the gateway do what it promises, on every platform? Each scenario is written once and named by where it runs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

/// A test of each scenario, in a module of their own.
macro_rules! tests {
    (mod $module:ident on $stage:ident: $($name:ident)+) => {
        mod $module {
            $(#[test] fn $name() { turnpike_tests::run(turnpike_tests::Stage::$stage, super::$name); })+
        }
    };
}

/// Runs each scenario on every platform.
///
/// What a platform does not offer, or cannot be made to show, stands in one of the macros below with the reason, which
/// `tests/layering` puts into the table of `README.md`.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        tests! { mod memory on Memory: $($name)+ }
        tests! { mod workerd on Workerd: $($name)+ }
        tests! { mod spin on Spin: $($name)+ }
    };
}

/// Runs each scenario in memory and on workerd; the reason says what Spin does not offer.
macro_rules! not_on_spin {
    ($($reason:literal: $($name:ident),+ $(,)?);+ $(;)?) => {
        mod not_on_spin {
            use super::*;
            tests! { mod memory on Memory: $($($name)+)+ }
            tests! { mod workerd on Workerd: $($($name)+)+ }
        }
    };
}

/// Runs each scenario in memory and on Spin; the reason says what workerd does not have.
macro_rules! not_on_workerd {
    ($($reason:literal: $($name:ident),+ $(,)?);+ $(;)?) => {
        mod not_on_workerd {
            use super::*;
            tests! { mod memory on Memory: $($($name)+)+ }
            tests! { mod spin on Spin: $($($name)+)+ }
        }
    };
}

/// Runs each scenario on workerd and on Spin; the reason says what memory does not have.
macro_rules! not_in_memory {
    ($($reason:literal: $($name:ident),+ $(,)?);+ $(;)?) => {
        mod not_in_memory {
            use super::*;
            tests! { mod workerd on Workerd: $($($name)+)+ }
            tests! { mod spin on Spin: $($($name)+)+ }
        }
    };
}

/// Runs each scenario in memory only; the reason says what the others cannot be made to do.
macro_rules! memory_only {
    ($($reason:literal: $($name:ident),+ $(,)?);+ $(;)?) => {
        tests! { mod memory_only on Memory: $($($name)+)+ }
    };
}

/// Runs each scenario on workerd only; the reason says what the others do not have.
macro_rules! workerd_only {
    ($($reason:literal: $($name:ident),+ $(,)?);+ $(;)?) => {
        tests! { mod workerd_only on Workerd: $($($name)+)+ }
    };
}

/// Runs each scenario on Spin only; the reason says what the others do not have.
macro_rules! spin_only {
    ($($reason:literal: $($name:ident),+ $(,)?);+ $(;)?) => {
        tests! { mod spin_only on Spin: $($($name)+)+ }
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
mod federated_asking;
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
mod spin;
mod usage;
