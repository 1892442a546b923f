//! What is a gateway told? A configuration, secrets, and how it is to be run.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway::config::{self, Bundle, Raw, RawIssuer, RawPolicy, RawServer};
use serde_json::{Value, json};

use crate::issuer::{self, Issuer};

/// What a gateway is opened with.
#[derive(Clone)]
pub struct Setup {
    /// The configuration; its `url` is filled in once the port is known.
    pub raw: Raw,
    /// The secrets, by name.
    pub secrets: BTreeMap<String, String>,
    /// How many isolates serve it. workerd has one, whatever this says; on Spin these are processes that share a Redis,
    /// and one alone keeps its state in its own SQLite.
    pub isolates: usize,
    /// Whether time only passes when the test says so; only in memory.
    pub clock_stands: bool,
    /// Which Worker serves it; only on workerd.
    pub worker: Worker,
    stored: Stored,
}

/// A built Worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// The one that is deployed.
    Gateway,
    /// The one that panics on `/faults/panic`.
    Faults,
}

/// What is left when a gateway's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing: it is never restarted.
    Nothing,
    /// All that was stored, for as long as the gateway's handle lives.
    Everything,
}

/// What is stored as configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Bundle,
    Nothing,
    Nonsense,
}

impl Setup {
    /// A gateway that trusts the test issuer and has no servers.
    #[must_use]
    pub fn new() -> Self {
        let gateway = json!({ "url": "", "allowed_origins": [ALLOWED_ORIGIN], "max_body_bytes": MAX_BODY_BYTES });
        let raw = json!({ "gateway": gateway, "issuers": [trusted(Issuer::shared())] });
        let raw: Raw = serde_json::from_value(raw).unwrap();
        let key = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let secrets = BTreeMap::from([("TURNPIKE_KEY".to_owned(), key)]);
        Self { raw, secrets, isolates: 1, clock_stands: false, worker: Worker::Gateway, stored: Stored::Bundle }
    }

    /// With a server at `instances`.
    #[must_use]
    pub fn server(self, name: &str, instances: &[&str]) -> Self {
        self.server_with(name, instances, |_| {})
    }

    /// With a server at `instances` that `change` sees to.
    #[must_use]
    pub fn server_with(mut self, name: &str, instances: &[&str], change: impl FnOnce(&mut RawServer)) -> Self {
        let server = json!({ "name": name, "instances": instances, "timeout_ms": 20_000, "idle_ms": 600_000 });
        let mut server: RawServer = serde_json::from_value(server).unwrap();
        change(&mut server);
        self.raw.servers.push(server);
        self
    }

    /// With a limit for each agent.
    #[must_use]
    pub fn limit_by_agent(self, requests_per_minute: u32) -> Self {
        self.limit(&json!({ "by": ["agent"], "requests_per_minute": requests_per_minute }))
    }

    /// With a limit, as it stands in `gateway.toml`.
    #[must_use]
    pub fn limit(mut self, limit: &Value) -> Self {
        self.raw.limits.push(serde_json::from_value(limit.clone()).unwrap());
        self
    }

    /// With a price, as it stands in `gateway.toml`.
    #[must_use]
    pub fn price(mut self, price: &Value) -> Self {
        self.raw.prices.push(serde_json::from_value(price.clone()).unwrap());
        self
    }

    /// With an endpoint of some servers, as it stands in `gateway.toml`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &Value) -> Self {
        self.raw.endpoints.push(serde_json::from_value(endpoint.clone()).unwrap());
        self
    }

    /// With live policies.
    #[must_use]
    pub fn policies(mut self, text: &str) -> Self {
        self.raw.policies.push(policy("test.cedar", text));
        self
    }

    /// With candidate policies.
    #[must_use]
    pub fn candidate(mut self, text: &str) -> Self {
        self.raw.candidate.push(policy("test.cedar", text));
        self
    }

    /// With approved tool definitions of `server`.
    #[must_use]
    pub fn pins(mut self, server: &str, definitions: &[Value]) -> Self {
        self.raw.pins.insert(server.to_owned(), definitions.to_vec());
        self
    }

    /// With `tenant` as the one whose tokens may operate.
    #[must_use]
    pub fn operators(mut self, tenant: &str) -> Self {
        self.raw.gateway.operators = Some(tenant.to_owned());
        self
    }

    /// With a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With `isolates` isolates, where the platform can have several.
    #[must_use]
    pub fn isolates(mut self, isolates: usize) -> Self {
        self.isolates = isolates;
        self
    }

    /// With a clock that only tests move; only in memory.
    #[must_use]
    pub fn clock_stands(mut self) -> Self {
        self.clock_stands = true;
        self
    }

    /// Served by the Worker that panics on `/faults/panic`; only on workerd.
    #[must_use]
    pub fn that_panics(mut self) -> Self {
        self.worker = Worker::Faults;
        self
    }

    /// Without any configuration.
    #[must_use]
    pub fn without_bundle(mut self) -> Self {
        self.stored = Stored::Nothing;
        self
    }

    /// With a configuration that cannot be used.
    #[must_use]
    pub fn with_bad_bundle(mut self) -> Self {
        self.stored = Stored::Nonsense;
        self
    }

    /// The bundle of a gateway at `origin`.
    #[must_use]
    pub fn bundle(&self, origin: &str) -> Bundle {
        let mut raw = self.raw.clone();
        origin.clone_into(&mut raw.gateway.url);
        Bundle::new(raw, |file| Err(format!("`{file}` is not to be read"))).unwrap()
    }

    /// The documents of a gateway at `origin`.
    #[must_use]
    pub fn documents(&self, origin: &str) -> BTreeMap<String, String> {
        let Bundle { id, json } = self.bundle(origin);
        match self.stored {
            Stored::Nothing => BTreeMap::new(),
            Stored::Bundle => documents(id, json),
            Stored::Nonsense => documents(id, json.replace("gateway", "gate")),
        }
    }
}

fn policy(name: &str, text: &str) -> RawPolicy {
    RawPolicy { name: name.to_owned(), text: text.to_owned() }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// The documents that make `json` the configuration in force.
#[must_use]
pub fn documents(id: String, json: String) -> BTreeMap<String, String> {
    BTreeMap::from([(config::key(&id), json), (config::LIVE_KEY.to_owned(), id)])
}

/// How the configuration trusts `issuer`, with its keys inside.
#[must_use]
pub fn trusted(issuer: &Issuer) -> RawIssuer {
    trusted_with(&issuer.url, Some(issuer.key_set()), None)
}

/// How the configuration trusts the issuer `url` whose keys are fetched from `jwks_url`.
#[must_use]
pub fn trusted_at(url: &str, jwks_url: &str) -> RawIssuer {
    trusted_with(url, None, Some(jwks_url.to_owned()))
}

fn trusted_with(url: &str, jwks: Option<Value>, jwks_url: Option<String>) -> RawIssuer {
    RawIssuer {
        issuer: url.to_owned(),
        jwks_url,
        jwks_file: None,
        jwks,
        tenant_claim: issuer::TENANT_CLAIM.to_owned(),
        roles_claim: Some("roles".to_owned()),
    }
}

/// The one web page that may call besides those on loopback.
pub const ALLOWED_ORIGIN: &str = "https://console.example.com";
/// The largest body a caller may send to a gateway in the tests.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
