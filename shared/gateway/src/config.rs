//! What did the operator ask for? `gateway.toml` as written, checked once and as a whole.
//!
//! [`Raw`] is the file, [`Raw::validate`] finds everything that is wrong with it, [`Config`] is what the stages run on,
//! and a [`Bundle`] is the file in the form that is stored and addressed by its SHA-256.

mod bundle;
mod raw;
mod validate;

pub use bundle::{Bundle, LIVE_KEY, key};
pub use raw::{AuditMode, Raw, RawGateway, RawIssuer, RawLimit, RawServer};
pub use validate::{Config, ConfiguredIssuer, KeySource, Problem};

#[cfg(test)]
pub(crate) mod tests;
