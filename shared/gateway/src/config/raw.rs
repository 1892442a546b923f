//! What stands in `gateway.toml`? Each key as it is spelled; an unknown one is an error.

use serde::{Deserialize, Serialize};

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// `[gateway]`
    pub gateway: RawGateway,
    /// `[[issuers]]`
    #[serde(default)]
    pub issuers: Vec<RawIssuer>,
    /// `[[servers]]`
    #[serde(default)]
    pub servers: Vec<RawServer>,
    /// `[[limits]]`
    #[serde(default)]
    pub limits: Vec<RawLimit>,
}

/// `[gateway]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGateway {
    /// The public origin; audiences and metadata derive from it.
    pub url: String,
    /// Whether callers without a token are served; only with a loopback `url`.
    #[serde(default)]
    pub anonymous: bool,
    /// Origins of web pages that may call.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Whether an answer waits for its decision to be durable.
    #[serde(default)]
    pub audit: AuditMode,
    /// The largest body a caller may send.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: usize,
}

/// Whether an answer waits for its decision to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditMode {
    /// It does: no answer without a record.
    #[default]
    Strict,
    /// It does not: an isolate that dies loses at most a second of records.
    Relaxed,
}

/// `[[issuers]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawIssuer {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Or the file they are read from when the bundle is made, relative to `gateway.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<String>,
    /// What that file held; only in a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    /// The claim that names the tenant.
    #[serde(default = "default_tenant_claim")]
    pub tenant_claim: String,
    /// The claim that lists roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles_claim: Option<String>,
}

/// `[[servers]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawServer {
    /// As it stands in `/mcp/{name}`.
    pub name: String,
    /// The URL of each instance's MCP endpoint.
    pub instances: Vec<String>,
    /// Who may use it; absent: every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Scopes a token must have been granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The longest the server may stay silent while it owes an answer.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How long a session may rest before it ends.
    #[serde(default = "default_idle_ms")]
    pub idle_ms: u64,
    /// The name of the secret it wants as bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// `[[limits]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLimit {
    /// What it tells apart: `tenant`, `agent`, `user`, `server`.
    pub by: Vec<quota::By>,
    /// JSON-RPC requests in any 60 seconds.
    pub requests_per_minute: u32,
}

const fn default_max_body_bytes() -> usize {
    4 * 1024 * 1024
}

fn default_tenant_claim() -> String {
    "tenant".to_owned()
}

const fn default_timeout_ms() -> u64 {
    30_000
}

const fn default_idle_ms() -> u64 {
    30 * 60 * 1000
}
