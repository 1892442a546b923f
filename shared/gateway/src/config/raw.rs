//! What stands in `gateway.toml`? Each key as it is spelled; an unknown one is an error.

use std::collections::BTreeMap;

use policy::Source;
use quota::By;
use registry::{Admission, EraSetting};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decimal::Decimal;

/// The file, and in a bundle what lies beside it.
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
    /// `[[endpoints]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<RawEndpoint>,
    /// `[[limits]]`
    #[serde(default)]
    pub limits: Vec<RawLimit>,
    /// `[[prices]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<RawPrice>,
    /// What `policies/*.cedar` held; only in a bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Source>,
    /// What `candidate/*.cedar` held, if there was any; only in a bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate: Vec<Source>,
    /// What `pins/{server}.json` held, by server; only in a bundle.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pins: BTreeMap<String, Vec<Value>>,
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
    /// The tenant whose tokens may operate the gateway; absent: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<String>,
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
    /// The longest the server may take until the first byte of an answer.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How long a session may rest before it ends.
    #[serde(default = "default_idle_ms")]
    pub idle_ms: u64,
    /// How long a call that asks its caller something waits to be answered.
    #[serde(default = "number::<QUESTION_MS>", skip_serializing_if = "is::<QUESTION_MS>")]
    pub question_ms: u32,
    /// The name of the secret it wants as bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Which era of the protocol it speaks; absent: it is asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub era: EraSetting,
    /// What becomes of tool definitions that are not pinned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pins: Admission,
    /// Requests in flight per instance and isolate.
    #[serde(default = "number::<CONCURRENCY>", skip_serializing_if = "is::<CONCURRENCY>")]
    pub concurrency: u32,
    /// Requests that may wait for one of those places.
    #[serde(default = "number::<QUEUE>", skip_serializing_if = "is::<QUEUE>")]
    pub queue: u32,
    /// How long they may wait.
    #[serde(default = "number::<QUEUE_MS>", skip_serializing_if = "is::<QUEUE_MS>")]
    pub queue_ms: u32,
    /// The longest until a connection stands, where the platform can tell.
    #[serde(default = "number::<CONNECT_TIMEOUT_MS>", skip_serializing_if = "is::<CONNECT_TIMEOUT_MS>")]
    pub connect_timeout_ms: u32,
    /// The longest silence inside an answer that has begun; absent: `timeout_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_ms: Option<u64>,
    /// How often a request that is safe to repeat is repeated.
    #[serde(default = "number::<RETRIES>", skip_serializing_if = "is::<RETRIES>")]
    pub retries: u32,
    /// `[servers.breaker]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub breaker: RawBreaker,
}

/// `[servers.breaker]`: when an instance is left alone, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBreaker {
    /// The share of failed requests in the window that opens it.
    #[serde(skip_serializing_if = "is_default_failure_rate")]
    pub failure_rate: Decimal,
    /// With fewer requests in the window the share says nothing.
    #[serde(skip_serializing_if = "is::<MIN_REQUESTS>")]
    pub min_requests: u32,
    /// So many failures in a row open it too.
    #[serde(skip_serializing_if = "is::<CONSECUTIVE_FAILURES>")]
    pub consecutive_failures: u32,
    /// How far the window reaches back.
    #[serde(skip_serializing_if = "is::<WINDOW_MS>")]
    pub window_ms: u32,
    /// How long it stays open at first; each failed probe doubles that, up to a minute.
    #[serde(skip_serializing_if = "is::<OPEN_MS>")]
    pub open_ms: u32,
}

impl Default for RawBreaker {
    fn default() -> Self {
        Self {
            failure_rate: DEFAULT_FAILURE_RATE,
            min_requests: MIN_REQUESTS,
            consecutive_failures: CONSECUTIVE_FAILURES,
            window_ms: WINDOW_MS,
            open_ms: OPEN_MS,
        }
    }
}

impl Default for RawServer {
    fn default() -> Self {
        Self {
            name: String::new(),
            instances: Vec::new(),
            tenants: None,
            scopes: Vec::new(),
            timeout_ms: default_timeout_ms(),
            idle_ms: default_idle_ms(),
            question_ms: QUESTION_MS,
            secret: None,
            era: EraSetting::default(),
            pins: Admission::default(),
            concurrency: CONCURRENCY,
            queue: QUEUE,
            queue_ms: QUEUE_MS,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            stream_idle_ms: None,
            retries: RETRIES,
            breaker: RawBreaker::default(),
        }
    }
}

/// `[[endpoints]]`: some of what the servers offer, under a name of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEndpoint {
    /// As it stands in `/mcp/@{name}`.
    pub name: String,
    /// Who may use it; absent: every tenant. Which servers a caller sees in it, they decide themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Scopes a token must have been granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// What it tells models of itself, instead of what its servers say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// The servers of which it shows everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// The servers of which it shows the prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// The servers of which it shows the resources and templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// `[[endpoints.tools]]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<RawEndpointTool>,
}

/// `[[endpoints.tools]]`: a tool it shows, or shows otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEndpointTool {
    /// The server that offers it.
    pub server: String,
    /// Its name there.
    pub tool: String,
    /// Its name here; absent: `{server}__{tool}`, as in `/mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its title here; absent: as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its description here; absent: as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `[[limits]]`: at least one of the amounts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLimit {
    /// What it tells apart: `tenant`, `agent`, `user`, `server`, `tool`.
    pub by: Vec<By>,
    /// JSON-RPC requests in any 60 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens in any 60 seconds, of requests and answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Tokens in a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Tokens in a month (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    /// Money in a day (UTC), in the currency of `[[prices]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money_per_day: Option<Decimal>,
    /// Money in a month (UTC), in the currency of `[[prices]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money_per_month: Option<Decimal>,
}

/// `[[prices]]`: at least one of the amounts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPrice {
    /// The server it is the price of.
    pub server: String,
    /// The tool; absent: every tool of the server that has no price of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What a call costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_call: Option<Decimal>,
    /// What a million tokens cost, of requests and answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_million_tokens: Option<Decimal>,
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

const fn number<const N: u32>() -> u32 {
    N
}

// What serde asks of a predicate: a reference.
fn is<const N: u32>(value: &u32) -> bool {
    *value == N
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_default_failure_rate(rate: &Decimal) -> bool {
    *rate == DEFAULT_FAILURE_RATE
}

const QUESTION_MS: u32 = 600_000;
const CONCURRENCY: u32 = 64;
const QUEUE: u32 = 16;
const QUEUE_MS: u32 = 1_000;
pub(super) const CONNECT_TIMEOUT_MS: u32 = 5_000;
const RETRIES: u32 = 2;
const DEFAULT_FAILURE_RATE: Decimal = Decimal::from_micros(500_000);
const MIN_REQUESTS: u32 = 10;
const CONSECUTIVE_FAILURES: u32 = 5;
const WINDOW_MS: u32 = 10_000;
const OPEN_MS: u32 = 5_000;
