//! Is this configuration one to run on? Everything that is wrong with it, at once.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use guard::Site;
use identity::{Anonymous, Issuer, KeySet};
use quota::Limit;
use registry::{Registry, Server};
use url::Url;

use super::raw::{AuditMode, Raw, RawIssuer, RawLimit, RawServer};
use crate::endpoint::is_name;

/// A configuration that holds together.
#[derive(Debug)]
pub struct Config {
    /// The SHA-256 of the bundle it came from.
    pub bundle: String,
    /// Where the gateway stands.
    pub site: Site,
    /// Leave to serve callers without a token, if it was given.
    pub anonymous: Option<Anonymous>,
    /// Whose tokens are accepted.
    pub issuers: Vec<ConfiguredIssuer>,
    /// What can be called.
    pub registry: Registry,
    /// How much.
    pub limits: Vec<Limit>,
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

impl Raw {
    /// The configuration this is, as bundle `bundle`.
    ///
    /// # Errors
    /// Every [`Problem`] there is.
    pub fn validate(self, bundle: &str) -> Result<Config, Vec<Problem>> {
        let mut problems = Problems(Vec::new());
        let url = problems.origin("gateway.url", &self.gateway.url);
        for (n, origin) in self.gateway.allowed_origins.iter().enumerate() {
            problems.origin(&format!("gateway.allowed_origins[{n}]"), origin);
        }
        let anonymous = problems.anonymous(self.gateway.anonymous, url.as_ref());
        if self.issuers.is_empty() && !self.gateway.anonymous {
            problems.add("issuers", "name at least one issuer, or nobody can call");
        }
        if !(1024..=MAX_BODY_BYTES).contains(&self.gateway.max_body_bytes) {
            problems.add("gateway.max_body_bytes", "must be from 1024 to 16777216");
        }
        problems.unique("issuers", "issuer", self.issuers.iter().map(|issuer| issuer.issuer.as_str()));
        problems.unique("servers", "name", self.servers.iter().map(|server| server.name.as_str()));
        let issuers: Vec<_> =
            self.issuers.into_iter().enumerate().filter_map(|(n, raw)| problems.issuer(n, raw)).collect();
        let servers = self.servers.into_iter().enumerate().map(|(n, raw)| problems.server(n, raw)).collect();
        problems.distinct(&self.limits);
        let limits = self.limits.into_iter().enumerate().map(|(n, raw)| problems.limit(n, raw)).collect();
        let site = Site::new(&self.gateway.url, self.gateway.allowed_origins);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        Ok(Config {
            bundle: bundle.to_owned(),
            site,
            anonymous,
            issuers,
            registry: Registry::new(servers),
            limits,
            audit: self.gateway.audit,
            max_body_bytes: self.gateway.max_body_bytes,
        })
    }
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(Problem { at: at.into(), what: what.into() });
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
    fn url(&mut self, at: &str, text: &str) -> Option<Url> {
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

    fn unique<'a>(&mut self, table: &str, key: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (n, name) in names.enumerate() {
            if !seen.insert(name) {
                self.add(format!("{table}[{n}].{key}"), format!("`{name}` is there twice"));
            }
        }
    }

    /// Two limits that tell the same apart would count every request twice, in one ledger.
    fn distinct(&mut self, limits: &[RawLimit]) {
        let mut seen = BTreeSet::new();
        for (n, limit) in limits.iter().enumerate() {
            let by: BTreeSet<quota::By> = limit.by.iter().copied().collect();
            if by.len() < limit.by.len() || !seen.insert(by) {
                self.add(format!("limits[{n}].by"), "names what this or another limit tells apart already");
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

    fn server(&mut self, n: usize, raw: RawServer) -> Server {
        let at = |key: &str| format!("servers[{n}].{key}");
        if !is_name(&raw.name) {
            self.add(at("name"), format!("`{}` must be 1 to 64 of a-z, 0-9, `-` and `_`", raw.name));
        }
        if raw.instances.is_empty() {
            self.add(at("instances"), "name at least one URL");
        }
        for (m, instance) in raw.instances.iter().enumerate() {
            self.url(&at(&format!("instances[{m}]")), instance);
        }
        if !(MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS).contains(&raw.timeout_ms) {
            self.add(at("timeout_ms"), "must be from 100 to 600000");
        }
        if !(1_000..=MAX_IDLE_MS).contains(&raw.idle_ms) {
            self.add(at("idle_ms"), "must be from 1000 to 604800000 (a week)");
        }
        if raw
            .scopes
            .iter()
            .any(|scope| scope.is_empty() || scope.contains(|c: char| !c.is_ascii_graphic() || c == '"' || c == '\\'))
        {
            self.add(at("scopes"), "a scope is visible ASCII without quotes and backslashes (RFC 6749 §3.3)");
        }
        Server {
            name: raw.name,
            instances: raw.instances,
            tenants: raw.tenants.map(|tenants| tenants.into_iter().collect()),
            scopes: raw.scopes,
            timeout: Duration::from_millis(raw.timeout_ms),
            idle: Duration::from_millis(raw.idle_ms),
            secret: raw.secret,
        }
    }

    fn limit(&mut self, n: usize, raw: RawLimit) -> Limit {
        if raw.by.is_empty() {
            self.add(format!("limits[{n}].by"), "name at least one of tenant, agent, user, server");
        }
        if raw.requests_per_minute == 0 {
            self.add(format!("limits[{n}].requests_per_minute"), "must be at least 1");
        }
        Limit { by: raw.by, requests_per_minute: raw.requests_per_minute }
    }
}

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const MIN_TIMEOUT_MS: u64 = 100;
const MAX_TIMEOUT_MS: u64 = 600_000;
const MAX_IDLE_MS: u64 = 7 * 24 * 3600 * 1000;
