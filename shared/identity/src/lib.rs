//! Who is calling? A bearer token becomes a [`Principal`], or nothing does.
//!
//! `claimed` says which issuer and key a token names, so that the gateway can bring the right key set; `verify` checks
//! the signature and the claims; `Verified::principal` checks, on every request, that the token is still valid and was
//! issued for the endpoint that is called. A token's algorithm is never taken from the token: the key decides.

mod challenge;
mod keys;
mod metadata;
#[cfg(test)]
mod mint;
mod principal;
mod token;

pub use challenge::{bearer, challenge};
pub use keys::{KeySet, UnusableKeys};
pub use metadata::metadata;
pub use principal::{Anonymous, Principal, Verified};
pub use token::{Claimed, Issuer, Refused, claimed, verify};
