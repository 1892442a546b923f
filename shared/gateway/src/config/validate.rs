//! Is this configuration one to run on? Everything that is wrong with it, at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use guard::Site;
use identity::{Anonymous, Issuer, KeySet};
use policy::Policies;
use quota::{Limit, Prices};
use registry::{Admission, Pins, Registry, Server};
use upstream::Resilience;
use url::Url;

use super::{
    endpoints::{Endpoint, joint},
    raw::{AuditMode, Raw, RawIssuer},
};

/// A configuration that holds together.
#[derive(Debug)]
pub struct Config {
    /// The SHA-256 of the bundle it came from.
    pub bundle: String,
    /// Where the gateway stands.
    pub site: Site,
    /// The tenant whose tokens may operate the gateway.
    pub operators: Option<String>,
    /// Leave to serve callers without a token, if it was given.
    pub anonymous: Option<Anonymous>,
    /// Whose tokens are accepted.
    pub issuers: Vec<ConfiguredIssuer>,
    /// What can be called.
    pub registry: Registry,
    /// The endpoints that show a part of it, by name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// How each server's trouble stays its own, by server.
    pub resilience: BTreeMap<String, Resilience>,
    /// What becomes of tools that are not pinned, by server.
    pub admission: BTreeMap<String, Admission>,
    /// Who may do what, and a candidate beside it.
    pub policies: Policies,
    /// The approved tool definitions, by server.
    pub pins: BTreeMap<String, Pins>,
    /// How much.
    pub limits: Vec<Limit>,
    /// What calls cost.
    pub prices: Prices,
    /// Whether an answer waits for its record.
    pub audit: AuditMode,
    /// The largest body a caller may send.
    pub max_body_bytes: usize,
}

/// An issuer and where its keys come from.
#[derive(Clone, Debug)]
pub struct ConfiguredIssuer {
    /// How its tokens are read.
    pub issuer: Issuer,
    /// Its keys.
    pub keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// They are fetched from there.
    Url(String),
    /// They are in the configuration.
    Given(Rc<KeySet>),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct Problem {
    /// The key, such as `servers[2].instances[0]`.
    pub at: String,
    /// What is wrong and what to do.
    pub what: String,
}

impl Config {
    /// The endpoint `/mcp/@{name}`, for whoever may use it.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.get(name)
    }

    /// How `server`'s trouble stays its own.
    #[must_use]
    pub fn resilience(&self, server: &Server) -> Resilience {
        self.resilience.get(&server.name).copied().unwrap_or_else(|| Resilience::within(server.timeout))
    }
}

impl Problem {
    /// The file, line and column (both from 1) it is at, if [`Problem::at`] names a file beside `gateway.toml`.
    #[must_use]
    pub fn place(&self) -> Option<(&str, u32, u32)> {
        let (rest, column) = self.at.rsplit_once(':')?;
        let (file, line) = rest.rsplit_once(':')?;
        Some((file, line.parse().ok()?, column.parse().ok()?))
    }
}

/// Whether a configuration was found to hold together before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    No,
    Before,
}

impl Raw {
    /// The configuration this is, as bundle `bundle`.
    ///
    /// # Errors
    /// Every [`Problem`] there is.
    pub fn validate(self, bundle: &str) -> Result<Config, Vec<Problem>> {
        self.hold(bundle, Checked::No)
    }

    /// The same of a bundle that was validated before.
    ///
    /// # Errors
    /// A [`Problem`] that is found on the way.
    pub fn reopen(self, bundle: &str) -> Result<Config, Vec<Problem>> {
        self.hold(bundle, Checked::Before)
    }

    fn hold(self, bundle: &str, checked: Checked) -> Result<Config, Vec<Problem>> {
        let mut problems = Problems::default();
        let anonymous = problems.gateway(&self);
        problems.unique("issuers", "issuer", self.issuers.iter().map(|issuer| issuer.issuer.as_str()));
        problems.unique("servers", "name", self.servers.iter().map(|server| server.name.as_str()));
        let endpoints = problems.endpoints(&self);
        let (limits, prices) = problems.spend(&self);
        let pins = problems.pinned(&self);
        let policies = problems.policies(&self, checked);
        let issuers: Vec<_> =
            self.issuers.into_iter().enumerate().filter_map(|(n, raw)| problems.issuer(n, raw)).collect();
        let (mut resilience, mut admission) = (BTreeMap::new(), BTreeMap::new());
        let mut servers = Vec::new();
        for (n, raw) in self.servers.into_iter().enumerate() {
            resilience.insert(raw.name.clone(), problems.resilience(n, &raw));
            admission.insert(raw.name.clone(), raw.pins);
            servers.push(problems.server(n, raw));
        }
        problems.none()?;
        Ok(Config {
            bundle: bundle.to_owned(),
            site: Site::new(&self.gateway.url, self.gateway.allowed_origins),
            operators: self.gateway.operators,
            anonymous,
            issuers,
            registry: Registry::new(servers).with_endpoints(joint(&endpoints)),
            endpoints,
            resilience,
            admission,
            policies,
            pins,
            limits,
            prices,
            audit: self.gateway.audit,
            max_body_bytes: self.gateway.max_body_bytes,
        })
    }
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(Problem { at: at.into(), what: what.into() });
    }

    /// All is well, unless something was found.
    pub(super) fn none(self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }

    fn gateway(&mut self, raw: &Raw) -> Option<Anonymous> {
        let gateway = &raw.gateway;
        let url = self.origin("gateway.url", &gateway.url);
        for (n, origin) in gateway.allowed_origins.iter().enumerate() {
            self.origin(&format!("gateway.allowed_origins[{n}]"), origin);
        }
        if raw.issuers.is_empty() && !gateway.anonymous {
            self.add("issuers", "name at least one issuer, or nobody can call");
        }
        if !(1024..=MAX_BODY_BYTES).contains(&gateway.max_body_bytes) {
            self.add("gateway.max_body_bytes", "must be from 1024 to 16777216");
        }
        if gateway.operators.as_ref().is_some_and(|tenant| tenant.trim().is_empty()) {
            self.add("gateway.operators", "name a tenant, or leave it out: then nobody operates over the API");
        }
        self.anonymous(gateway.anonymous, url.as_ref())
    }

    /// An origin: https, or http on loopback, without path, query or credentials.
    fn origin(&mut self, at: &str, text: &str) -> Option<Url> {
        let url = self.url(at, text)?;
        if url.origin().ascii_serialization() != text.trim_end_matches('/') {
            self.add(
                at,
                format!("`{text}` must be an origin, such as https://mcp.example.com, in lower case and without path"),
            );
        }
        Some(url)
    }

    /// A URL the gateway may name or fetch: no credentials in it, and plain http only to loopback (RFC 8252 §8.3).
    pub(super) fn url(&mut self, at: &str, text: &str) -> Option<Url> {
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.add(at, format!("`{text}` is not a URL: {error}"));
                return None;
            }
        };
        let loopback = url.host_str().is_some_and(|host| Anonymous::on_loopback(host).is_some());
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => self.add(at, format!("`{text}` must be https; plain http is for loopback only")),
            scheme => self.add(at, format!("`{scheme}` is not a scheme for here; use https")),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            self.add(at, "must hold no credentials and no fragment; name a secret instead");
        }
        Some(url)
    }

    fn anonymous(&mut self, wanted: bool, url: Option<&Url>) -> Option<Anonymous> {
        let leave = url.and_then(Url::host_str).and_then(Anonymous::on_loopback);
        if wanted && leave.is_none() {
            self.add(
                "gateway.anonymous",
                "callers without a token are only served on a loopback `url`; set it to false",
            );
        }
        leave.filter(|_| wanted)
    }

    pub(super) fn unique<'a>(&mut self, table: &str, key: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (n, name) in names.enumerate() {
            if !seen.insert(name) {
                self.add(format!("{table}[{n}].{key}"), format!("`{name}` is there twice"));
            }
        }
    }

    fn issuer(&mut self, n: usize, raw: RawIssuer) -> Option<ConfiguredIssuer> {
        let at = |key: &str| format!("issuers[{n}].{key}");
        self.url(&at("issuer"), &raw.issuer);
        let keys = match (raw.jwks_url, raw.jwks, raw.jwks_file) {
            (Some(url), None, None) => self.url(&at("jwks_url"), &url).map(|_| KeySource::Url(url)),
            (None, Some(keys), None) => match KeySet::parse(&keys.to_string()) {
                Ok(keys) => Some(KeySource::Given(Rc::new(keys))),
                Err(error) => {
                    self.add(at("jwks"), error.to_string());
                    None
                }
            },
            (None, None, Some(_)) => {
                self.add(at("jwks_file"), "is read when the bundle is made; a bundle holds the keys themselves");
                None
            }
            _ => {
                self.add(at("jwks_url"), "name exactly one of `jwks_url` and `jwks_file`");
                None
            }
        };
        let issuer = Issuer { issuer: raw.issuer, tenant_claim: raw.tenant_claim, roles_claim: raw.roles_claim };
        keys.map(|keys| ConfiguredIssuer { issuer, keys })
    }
}

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
