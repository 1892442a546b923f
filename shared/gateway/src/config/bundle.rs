//! In which form is a configuration stored? As one immutable JSON text, addressed by its SHA-256.

use mcp::digest;

use super::raw::Raw;

/// A configuration, ready to be stored under [`key`] of its id. [`LIVE_KEY`] holds the id of the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// SHA-256 of `json`, hexadecimal.
    pub id: String,
    /// The configuration.
    pub json: String,
}

/// The document that names the bundle in force. Example: `bundle/live` holds `6b86b2…`; no expiry.
pub const LIVE_KEY: &str = "bundle/live";

/// The document that holds the bundle `id`. Example: `bundle/6b86b2…` holds `{"gateway":…}`; no expiry.
#[must_use]
pub fn key(id: &str) -> String {
    format!("bundle/{id}")
}

/// The document that says by which [`CHECKS`] the bundle `id` was found to hold together, so that no isolate has to find
/// that again. Example: `bundle/6b86b2…/checked` holds `1`; no expiry.
#[must_use]
pub fn checked_key(id: &str) -> String {
    format!("bundle/{id}/checked")
}

/// What a configuration is checked for. Whoever makes the gateway refuse more, counts it up.
pub const CHECKS: &str = "1";

impl Bundle {
    /// The bundle of `raw`, with every file it names read by `read` and put inside.
    ///
    /// # Errors
    /// What `read` says, or that a key set is not JSON, each with the file's name.
    pub fn new(mut raw: Raw, mut read: impl FnMut(&str) -> Result<String, String>) -> Result<Self, String> {
        for issuer in &mut raw.issuers {
            if let Some(file) = issuer.jwks_file.take() {
                let text = read(&file).map_err(|error| format!("jwks_file `{file}`: {error}"))?;
                let keys = serde_json::from_str(&text).map_err(|error| format!("jwks_file `{file}`: {error}"))?;
                issuer.jwks = Some(keys);
            }
        }
        Self::of(&raw).map_err(|error| error.to_string())
    }

    /// The bundle of `raw` as it is; [`Folder`](super::Folder) puts the files inside first.
    ///
    /// # Errors
    /// None of what can be read from TOML or JSON.
    pub fn of(raw: &Raw) -> Result<Self, serde_json::Error> {
        let json = serde_json::to_string(raw)?;
        Ok(Self { id: digest::hex(&digest::sha256(json.as_bytes())), json })
    }

    /// The configuration in `json`, if it is the one `id` addresses.
    ///
    /// # Errors
    /// It is another one, or no configuration.
    pub fn open(id: &str, json: &str) -> Result<Raw, String> {
        if digest::hex(&digest::sha256(json.as_bytes())) != id {
            return Err(format!("bundle `{id}` does not match its address"));
        }
        serde_json::from_str(json).map_err(|error| format!("bundle `{id}`: {error}"))
    }
}
