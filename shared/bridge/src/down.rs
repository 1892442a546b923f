//! How does a modern caller use a legacy server?

use serde::{Deserialize, Serialize};

/// What a `Down` is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The server.
    pub server: String,
    /// The caller's `clientCapabilities`.
    pub capabilities: serde_json::Value,
    /// The caller's `clientInfo`.
    pub client_info: Option<serde_json::Value>,
}
