//! Do the endpoints hold together? Each shows a part of what the servers offer, some of its tools under other names.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bridge::federation::{
    Naming, Share, Shown, View,
    cache::Scope,
    name::{self, CHARS_MAX},
};

use registry::{EraSetting, Server};

use super::{
    raw::{Raw, RawEndpoint, RawEndpointTool},
    validate::Problems,
};
use crate::endpoint::is_name;

/// An endpoint that shows a part of what the servers offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As it stands in `/mcp/@{name}`.
    pub name: String,
    /// Who may use it; `None` is every tenant.
    pub tenants: Option<BTreeSet<String>>,
    /// What a token must be granted to use it.
    pub scopes: Vec<String>,
    /// What it tells models of itself, instead of what its servers say.
    pub instructions: Option<String>,
    /// What it shows of each server.
    pub shares: BTreeMap<String, Share>,
}

impl Endpoint {
    /// What it shows a caller to whom the servers `visible` exist. `scope` as in [`View::new`].
    #[must_use]
    pub fn view(&self, visible: impl Fn(&str) -> bool, scope: Scope) -> View {
        let shares = self.shares.iter().filter(|(server, _)| visible(server));
        View::new(shares.map(|(server, share)| (server.clone(), share.clone())).collect(), scope)
    }
}

/// The endpoints as the registry knows them: `` is of all servers, `@name` of some.
pub(super) fn joint(endpoints: &BTreeMap<String, Endpoint>) -> Vec<Server> {
    let one = |name: String, tenants: Option<BTreeSet<String>>, scopes: Vec<String>| Server {
        name,
        instances: Vec::new(),
        tenants,
        scopes,
        timeout: TIMEOUT,
        idle: IDLE,
        question: TIMEOUT,
        secret: None,
        era: EraSetting::Modern,
    };
    let named = endpoints
        .values()
        .map(|endpoint| one(format!("@{}", endpoint.name), endpoint.tenants.clone(), endpoint.scopes.clone()));
    named.chain([one(String::new(), None, Vec::new())]).collect()
}

/// The longest any of its servers may take.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How long a session with many servers may rest.
const IDLE: Duration = Duration::from_secs(1_800);

impl Problems {
    pub(super) fn endpoints(&mut self, raw: &Raw) -> BTreeMap<String, Endpoint> {
        self.labels(raw);
        self.unique("endpoints", "name", raw.endpoints.iter().map(|endpoint| endpoint.name.as_str()));
        let servers: BTreeSet<&str> = raw.servers.iter().map(|server| server.name.as_str()).collect();
        let endpoints = raw.endpoints.iter().enumerate().map(|(n, endpoint)| {
            let endpoint = self.endpoint(n, endpoint, &servers);
            (endpoint.name.clone(), endpoint)
        });
        endpoints.collect()
    }

    /// Every server has to be told from the others by what stands for it in names of tools.
    fn labels(&mut self, raw: &Raw) {
        let mut labels = BTreeMap::new();
        for (n, server) in raw.servers.iter().enumerate() {
            let other = labels.entry(name::label(&server.name)).or_insert(&server.name);
            if **other != server.name {
                let what =
                    format!("tools of `{}` and `{other}` would have the same names; choose another", server.name);
                self.add(format!("servers[{n}].name"), what);
            }
        }
    }

    fn endpoint(&mut self, n: usize, raw: &RawEndpoint, servers: &BTreeSet<&str>) -> Endpoint {
        let at = |key: &str| format!("endpoints[{n}].{key}");
        if !is_name(&raw.name) {
            self.add(at("name"), format!("`{}` must be 1 to 64 of a-z, 0-9, `-` and `_`", raw.name));
        }
        self.scopes(at("scopes"), &raw.scopes);
        let mut shares = self.shares(n, raw, servers);
        let mut names = BTreeSet::new();
        for (m, tool) in raw.tools.iter().enumerate() {
            let at = at(&format!("tools[{m}]"));
            self.known_server(format!("{at}.server"), &tool.server, servers);
            let share = shares.entry(tool.server.clone()).or_insert_with(Share::empty);
            self.tool(&at, tool, share, &mut names);
        }
        if shares.is_empty() {
            self.add(
                at("servers"),
                "it shows nothing; name `servers`, `prompts`, `resources` or `[[endpoints.tools]]`",
            );
        }
        Endpoint {
            name: raw.name.clone(),
            tenants: raw.tenants.clone().map(|tenants| tenants.into_iter().collect()),
            scopes: raw.scopes.clone(),
            instructions: raw.instructions.clone(),
            shares,
        }
    }

    /// What it shows of servers, apart from single tools.
    fn shares(&mut self, n: usize, raw: &RawEndpoint, servers: &BTreeSet<&str>) -> BTreeMap<String, Share> {
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        for (key, named) in [("servers", &raw.servers), ("prompts", &raw.prompts), ("resources", &raw.resources)] {
            for (m, server) in named.iter().enumerate() {
                let at = format!("endpoints[{n}].{key}[{m}]");
                self.known_server(at.clone(), server, servers);
                if named.iter().take(m).any(|other| other == server) {
                    self.add(at, format!("`{server}` is there twice"));
                }
                let share = shares.entry(server.clone()).or_insert_with(Share::empty);
                match key {
                    "servers" => *share = Share::whole(),
                    "prompts" => share.prompts = Shown::Yes,
                    _ => share.resources = Shown::Yes,
                }
            }
        }
        shares
    }

    fn tool(&mut self, at: &str, raw: &RawEndpointTool, share: &mut Share, names: &mut BTreeSet<String>) {
        if raw.tool.is_empty() {
            self.add(format!("{at}.tool"), "name a tool of the server");
        }
        if let Some(name) = &raw.name {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if !(1..=CHARS_MAX).contains(&name.len()) || !name.bytes().all(allowed) {
                let what = format!("`{name}` must be 1 to {CHARS_MAX} of a-z, A-Z, 0-9, `-`, `_` and `.`");
                self.add(format!("{at}.name"), what);
            }
            if name.contains("__") {
                let what = format!("`{name}` reads like a tool of another server; leave out the `__`");
                self.add(format!("{at}.name"), what);
            }
            if !names.insert(name.clone()) {
                self.add(format!("{at}.name"), format!("`{name}` is there twice"));
            }
        }
        let naming = Naming { name: raw.name.clone(), title: raw.title.clone(), description: raw.description.clone() };
        if share.tools.named.insert(raw.tool.clone(), naming).is_some() {
            self.add(format!("{at}.tool"), format!("`{}` of `{}` is there twice", raw.tool, raw.server));
        }
    }

    fn known_server(&mut self, at: String, server: &str, servers: &BTreeSet<&str>) {
        if !servers.contains(server) {
            self.add(at, format!("there is no server `{server}`; add it to `[[servers]]`"));
        }
    }
}
