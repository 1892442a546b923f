//! Does everything exist that a policy names?

use cedar_policy::{ActionConstraint, EntityUid, Policy};

use crate::{
    ask::{CALL_TOOL, DISCOVER, DISCOVERING, OTHER, READ, READING},
    catalog::Catalog,
    entity::Kind,
    problem::nearest,
};

/// A name that is wrong or misplaced, and what may be meant.
pub(crate) struct Unknown {
    /// As it stands in the policy, in quotes.
    pub(crate) literal: String,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

/// A policy whose scope is exactly a group of actions, which nobody does: members are meant.
pub(crate) fn exact_group(policy: &Policy) -> Option<Unknown> {
    let ActionConstraint::Eq(uid) = policy.action_constraint() else { return None };
    let id = uid.id().unescaped();
    let is_group = [CALL_TOOL, DISCOVER, READ].contains(&id) || id.ends_with("/*");
    is_group.then(|| Unknown {
        literal: literal(&uid),
        what: format!("`{id}` is a group of actions, and nothing equals it"),
        hint: Some(format!("write `action in Action::\"{id}\"`")),
    })
}

/// What `policy` names and `catalog` does not have, and the tools it names as `(server, tool)`.
pub(crate) fn check(policy: &Policy, catalog: &Catalog) -> (Vec<Unknown>, Vec<(String, String)>) {
    let (mut unknown, mut named) = (Vec::new(), Vec::new());
    for uid in policy.entity_literals() {
        let id = uid.id().unescaped();
        let found = match Kind::of(&uid) {
            Some(Kind::Action) => action(id, catalog, &mut named),
            Some(Kind::Tool) => tool(id, catalog),
            Some(Kind::Prompt | Kind::Resource) => at_server(id, catalog).map(|_| ()),
            Some(Kind::Server) => server(id, catalog),
            Some(Kind::Tenant) => tenant(id, catalog),
            Some(Kind::Agent) => agent(id, catalog),
            // of roles there is no list, and of other types Cedar's validator speaks
            Some(Kind::Role) | None => Ok(()),
        };
        if let Err((what, hint)) = found {
            unknown.push(Unknown { literal: literal(&uid), what, hint });
        }
    }
    (unknown, named)
}

type Found = Result<(), (String, Option<String>)>;

fn action(id: &str, catalog: &Catalog, named: &mut Vec<(String, String)>) -> Found {
    let fixed = || DISCOVERING.into_iter().chain(READING).chain([CALL_TOOL, DISCOVER, READ, OTHER]);
    if fixed().any(|known| known == id) {
        return Ok(());
    }
    if !id.contains('/') {
        return Err((format!("there is no action `{id}`"), nearest(id, fixed())));
    }
    let name = at_server(id, catalog)?;
    if name != "*" {
        tool(id, catalog)?;
        let server = id.strip_suffix(name).and_then(|server| server.strip_suffix('/')).unwrap_or_default();
        named.push((server.to_owned(), name.to_owned()));
    }
    Ok(())
}

fn tool(id: &str, catalog: &Catalog) -> Found {
    let name = at_server(id, catalog)?;
    let server = catalog.servers.iter().find(|server| id.strip_suffix(name) == Some(&format!("{}/", server.name)));
    match server {
        Some(server) if server.is_complete && server.tools.iter().all(|tool| tool.name != name) => {
            let hint = nearest(name, server.tools.iter().map(|tool| tool.name.as_str()));
            Err((format!("server `{}` has no tool `{name}`", server.name), hint))
        }
        _ => Ok(()),
    }
}

/// What follows the server in `server/name`.
fn at_server<'a>(id: &'a str, catalog: &Catalog) -> Result<&'a str, (String, Option<String>)> {
    let Some((name, rest)) = id.split_once('/') else {
        return Err((format!("`{id}` is not of the form `server/name`"), None));
    };
    server(name, catalog).map(|()| rest)
}

fn server(name: &str, catalog: &Catalog) -> Found {
    match catalog.server(name) {
        Some(_) => Ok(()),
        None => {
            let hint = nearest(name, catalog.servers.iter().map(|server| server.name.as_str()));
            Err((format!("there is no server `{name}`"), hint))
        }
    }
}

fn tenant(name: &str, catalog: &Catalog) -> Found {
    if catalog.tenants.is_empty() || catalog.tenants.iter().any(|tenant| tenant == name) {
        return Ok(());
    }
    Err((format!("there is no tenant `{name}`"), nearest(name, catalog.tenants.iter().map(String::as_str))))
}

fn agent(id: &str, catalog: &Catalog) -> Found {
    match id.split_once('/') {
        Some((name, _)) => tenant(name, catalog),
        None => Err((format!("`{id}` is not of the form `tenant/agent`"), None)),
    }
}

fn literal(uid: &EntityUid) -> String {
    format!("\"{}\"", uid.id().escaped())
}
