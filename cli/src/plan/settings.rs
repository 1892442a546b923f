//! Which servers, issuers, endpoints, prices and settings come, go or change?

use std::collections::{BTreeMap, BTreeSet};

use gateway::config::Raw;
use serde::Serialize;
use serde_json::{Map, Value};

/// A setting that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SettingChange {
    /// What it is of: `gateway`, ``server `files` ``.
    pub(crate) of: String,
    pub(crate) kind: Kind,
    /// Its keys that are not the same, with what they were and will be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<KeyChange>,
}

/// What happens to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Added,
    Changed,
    Removed,
}

/// A key that changes; `None` is its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct KeyChange {
    pub(crate) key: String,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

pub(super) fn changes(old: Option<&Raw>, new: &Raw) -> Vec<SettingChange> {
    let (old, new) = (old.map(things).unwrap_or_default(), things(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let of = name.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().to_owned();
        match (old.get(name), new.get(name)) {
            (None, Some(_)) => Some(SettingChange { of, kind: Kind::Added, keys: Vec::new() }),
            (Some(_), None) => Some(SettingChange { of, kind: Kind::Removed, keys: Vec::new() }),
            (Some(old), Some(new)) if old != new => {
                Some(SettingChange { of, kind: Kind::Changed, keys: keys(old, new, "") })
            }
            _ => None,
        }
    });
    changes.collect()
}

/// Everything that has a name, by that; numbered, so that they stay in the order of the file's sections.
fn things(raw: &Raw) -> BTreeMap<String, Map<String, Value>> {
    let mut things = BTreeMap::new();
    let mut add = |name: String, thing: Result<Value, serde_json::Error>| {
        if let Ok(Value::Object(members)) = thing {
            things.insert(name, members);
        }
    };
    add("0 gateway".to_owned(), serde_json::to_value(&raw.gateway));
    for issuer in &raw.issuers {
        add(format!("1 issuer `{}`", issuer.issuer), serde_json::to_value(issuer));
    }
    for server in &raw.servers {
        add(format!("2 server `{}`", server.name), serde_json::to_value(server));
    }
    for endpoint in &raw.endpoints {
        add(format!("3 endpoint `@{}`", endpoint.name), serde_json::to_value(endpoint));
    }
    for price in &raw.prices {
        let tool = price.tool.as_ref().map(|tool| format!("/{tool}")).unwrap_or_default();
        add(format!("4 price of `{}{tool}`", price.server), serde_json::to_value(price));
    }
    things
}

fn keys(old: &Map<String, Value>, new: &Map<String, Value>, within: &str) -> Vec<KeyChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let changes = changed.flat_map(|name| match (old.get(name), new.get(name)) {
        (Some(Value::Object(old)), Some(Value::Object(new))) if within.is_empty() => {
            keys(old, new, &format!("{name}."))
        }
        (old, new) => vec![KeyChange { key: format!("{within}{name}"), old: old.cloned(), new: new.cloned() }],
    });
    changes.collect()
}
