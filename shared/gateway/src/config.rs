//! What did the operator ask for? `gateway.toml` as written, checked once and as a whole.
//!
//! [`Raw`] is the file, [`Raw::validate`] finds everything that is wrong with it, [`Config`] is what the stages run on,
//! and a [`Bundle`] is the file in the form that is stored and addressed by its SHA-256.

mod bundle;
mod decimal;
mod endpoints;
mod files;
mod policies;
mod raw;
mod servers;
mod spend;
mod validate;

pub use bundle::{Bundle, CHECKS, LIVE_KEY, checked_key, key};
pub use decimal::Decimal;
pub use endpoints::Endpoint;
pub use files::Folder;
pub use policy::Source as RawPolicy;
pub use raw::{
    AuditMode, Raw, RawBreaker, RawEndpoint, RawEndpointTool, RawGateway, RawIssuer, RawLimit, RawPrice, RawServer,
};
pub use registry::{Admission, EraSetting};
pub use validate::{Config, ConfiguredIssuer, KeySource, Problem};

#[cfg(test)]
pub(crate) mod tests;
