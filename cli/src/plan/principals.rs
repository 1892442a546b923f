//! For whom is the effect of a change worked out? Everyone the record knows, and those the configuration speaks of.

use std::collections::BTreeSet;

use gateway::config::Raw;
use serde::{Deserialize, Serialize};

/// Someone who may call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Principal {
    pub(crate) tenant: String,
    pub(crate) agent: String,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) issuer: String,
    #[serde(default)]
    pub(crate) roles: BTreeSet<String>,
    #[serde(default)]
    pub(crate) scopes: BTreeSet<String>,
}

impl Principal {
    /// Whom the record names.
    pub(crate) fn of(who: &audit::Who) -> Self {
        Self {
            tenant: who.tenant.clone(),
            agent: who.agent.clone(),
            user: who.user.clone(),
            issuer: who.issuer.clone(),
            roles: who.roles.iter().cloned().collect(),
            scopes: who.scopes.iter().cloned().collect(),
        }
    }

    /// As policies see it.
    pub(crate) fn who(&self) -> policy::Who<'_> {
        let Self { tenant, agent, user, issuer, roles, scopes } = self;
        policy::Who { tenant, agent, user, issuer, roles, scopes }
    }
}

/// Everyone in `known`, and of the tenants and agents the configurations name those it does not know: without a user,
/// roles and scopes.
pub(crate) fn with_named(mut known: BTreeSet<Principal>, configurations: &[&Raw]) -> Vec<Principal> {
    let named = configurations.iter().flat_map(|raw| agents(raw)).collect::<BTreeSet<_>>();
    for (tenant, agent) in named {
        if !known.iter().any(|one| one.tenant == tenant && one.agent == agent) {
            known.insert(nobody(tenant, agent));
        }
    }
    for tenant in configurations.iter().flat_map(|raw| tenants(raw)).collect::<BTreeSet<_>>() {
        if !known.iter().any(|one| one.tenant == tenant) {
            known.insert(nobody(tenant, ANY.to_owned()));
        }
    }
    known.into_iter().collect()
}

/// The tenants a configuration names.
pub(crate) fn tenants(raw: &Raw) -> BTreeSet<String> {
    let of_servers = raw.servers.iter().filter_map(|server| server.tenants.as_ref()).flatten();
    let of_policies = named(raw, "Tenant");
    let of_agents = agents(raw).into_iter().map(|(tenant, _)| tenant);
    of_servers.chain(&raw.gateway.operators).cloned().chain(of_policies).chain(of_agents).collect()
}

fn agents(raw: &Raw) -> BTreeSet<(String, String)> {
    let split = |name: String| name.split_once('/').map(|(tenant, agent)| (tenant.to_owned(), agent.to_owned()));
    named(raw, "Agent").filter_map(split).collect()
}

/// The entities of `kind` that policies name, as far as they are spelled plainly.
fn named(raw: &Raw, kind: &str) -> impl Iterator<Item = String> {
    let prefix = format!("{kind}::\"");
    raw.policies.iter().flat_map(move |file| {
        let parts: Vec<String> =
            file.text.split(&prefix).skip(1).filter_map(|rest| Some(rest.split('"').next()?.to_owned())).collect();
        parts
    })
}

fn nobody(tenant: String, agent: String) -> Principal {
    Principal {
        tenant,
        agent,
        user: ANY.to_owned(),
        issuer: String::new(),
        roles: BTreeSet::new(),
        scopes: BTreeSet::new(),
    }
}

/// Stands for everyone no rule names.
const ANY: &str = "*";
