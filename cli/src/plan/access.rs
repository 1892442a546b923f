//! Who gains and who loses which tools? The gateway's own judgement of each, under both configurations.

use std::collections::{BTreeMap, BTreeSet};

use mcp::definition::Definition;
use policy::{Action, Ask, Circumstances, Sight, Tool};
use serde::Serialize;

use super::{Observed, Principal, Side};

/// What one or several principals gain and lose at a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AccessChange {
    /// Those it is true of.
    pub(crate) principals: Vec<Principal>,
    pub(crate) server: String,
    pub(crate) tools: Vec<ToolChange>,
}

/// What becomes of a tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct ToolChange {
    pub(crate) tool: String,
    pub(crate) effect: Effect,
    /// Why it is so from now on.
    pub(crate) why: String,
}

/// Whether somebody may do more or less than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// It was denied and is not any more, or less is.
    Gains,
    /// It was allowed and is not any more, or less is.
    Loses,
}

/// What a configuration says of somebody's call before its arguments are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) access: Access,
    /// What decides.
    pub(crate) why: String,
}

/// Ordered by how much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Access {
    Denied,
    /// On the arguments, or the circumstances.
    Depends,
    Allowed,
}

pub(super) fn changes(live: Option<Side<'_>>, new: Side<'_>, observed: &Observed) -> Vec<AccessChange> {
    let Some(live) = live else { return Vec::new() };
    if live.id == new.id {
        return Vec::new();
    }
    let mut alike: BTreeMap<(String, Vec<ToolChange>), Vec<Principal>> = BTreeMap::new();
    let catalog = catalog(live, new, observed);
    let principals = told_apart(live, new, &observed.principals);
    for principal in &principals {
        for (server, tools) in &catalog {
            let changes = tools.iter().filter_map(|tool| {
                let action = Action::CallTool(tool);
                let old = ruling(live, principal, server, action, observed);
                let new = ruling(new, principal, server, action, observed);
                let effect = if new.access > old.access { Effect::Gains } else { Effect::Loses };
                (new.access != old.access).then(|| ToolChange { tool: tool.clone(), effect, why: new.why })
            });
            let changes: Vec<ToolChange> = changes.collect();
            if !changes.is_empty() {
                alike.entry((server.clone(), changes)).or_default().push(principal.clone());
            }
        }
    }
    let changes = alike.into_iter().map(|((server, tools), principals)| AccessChange { principals, server, tools });
    let mut changes: Vec<AccessChange> = changes.collect();
    changes.sort_by(|a, b| (&a.principals, &a.server).cmp(&(&b.principals, &b.server)));
    changes
}

/// Principals that policies can tell apart: where none asks for the user, one stands for all of an agent's.
fn told_apart(live: Side<'_>, new: Side<'_>, principals: &[Principal]) -> Vec<Principal> {
    let mut policies = [live, new].into_iter().flat_map(|side| &side.raw.policies);
    if policies.any(|file| file.text.contains("user")) {
        return principals.to_vec();
    }
    let mut users: BTreeMap<Principal, BTreeSet<&String>> = BTreeMap::new();
    for one in principals {
        let any = Principal { user: String::new(), ..one.clone() };
        users.entry(any).or_default().insert(&one.user);
    }
    let one = |(principal, users): (Principal, BTreeSet<&String>)| match users.first() {
        Some(user) if users.len() == 1 => Principal { user: (*user).clone(), ..principal },
        _ => Principal { user: format!("any of {}", users.len()), ..principal },
    };
    users.into_iter().map(one).collect()
}

/// Every tool that is known of each server: pinned, offered or called.
fn catalog(live: Side<'_>, new: Side<'_>, observed: &Observed) -> BTreeMap<String, BTreeSet<String>> {
    let mut catalog: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let pinned = [live, new].into_iter().flat_map(|side| &side.config.pins);
    let pinned = pinned.flat_map(|(server, pins)| pins.iter().map(move |pin| (server.clone(), pin.name.clone())));
    let offered =
        observed.offers.iter().flat_map(|(server, tools)| tools.keys().map(move |tool| (server.clone(), tool.clone())));
    let called = observed.calls.iter().filter(|call| call.method == "tools/call" && call.was == super::Was::Allowed);
    let called = called.filter_map(|call| Some((call.server.clone(), call.target.clone()?)));
    for (server, tool) in pinned.chain(offered).chain(called) {
        catalog.entry(server).or_default().insert(tool);
    }
    catalog
}

/// What `side` says of `principal` doing `action` at `server`.
pub(crate) fn ruling(
    side: Side<'_>,
    principal: &Principal,
    server: &str,
    action: Action<'_>,
    observed: &Observed,
) -> Ruling {
    let denied = |why: &str| Ruling { access: Access::Denied, why: why.to_owned() };
    let Ok(target) = side.config.registry.find(server, &principal.tenant) else {
        let is_there = side.raw.servers.iter().any(|one| one.name == server);
        return denied(if is_there { "the server is not for this tenant" } else { "there is no such server" });
    };
    if let Err(lacking) = policy::scoped(&principal.scopes, &target.server().scopes) {
        return denied(&lacking.to_string());
    }
    let mut tool = None;
    if let Action::CallTool(name) = action {
        let offered = observed.offers.get(server).and_then(|tools| tools.get(name));
        match standing(side, server, name, offered) {
            Standing::Quarantined => return denied("its definition is not pinned"),
            Standing::Known(known) => tool = Some(known),
        }
    }
    let ask = Ask { who: principal.who(), action, server, tool, arguments: None, circumstances: NO_CIRCUMSTANCES };
    decided(side, &ask)
}

fn decided(side: Side<'_>, ask: &Ask<'_>) -> Ruling {
    let policies = &side.config.policies;
    let named = |ids: &[std::rc::Rc<str>], otherwise: &str| match ids {
        [] => otherwise.to_owned(),
        ids => ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "),
    };
    match policies.standing(ask) {
        Some(Ok(permit)) => Ruling { access: Access::Allowed, why: named(&permit.policies, "there are no policies") },
        Some(Err(denied)) => Ruling { access: Access::Denied, why: named(denied.policies(), "no policy permits it") },
        None if policies.sees(ask) == Sight::Hidden => Ruling { access: Access::Denied, why: "policies".to_owned() },
        None => Ruling { access: Access::Depends, why: "it depends on the arguments".to_owned() },
    }
}

enum Standing {
    Quarantined,
    Known(Tool),
}

/// How a tool stands to its pin, and what is known of it. Of one that is not offered now the pin is what is known.
fn standing(side: Side<'_>, server: &str, name: &str, offered: Option<&Definition>) -> Standing {
    let pinned = side.config.pins.get(server).and_then(|pins| pins.find(name));
    let is_pinned = match (pinned, offered) {
        (Some(pinned), Some(offered)) => pinned.digest == offered.digest,
        (pinned, _) => pinned.is_some(),
    };
    let is_quarantining = side.config.admission.get(server) == Some(&gateway::config::Admission::Quarantine);
    if !is_pinned && is_quarantining {
        return Standing::Quarantined;
    }
    let Some(hints) = offered.or(pinned).map(|definition| definition.hints) else {
        return Standing::Known(Tool::default());
    };
    let mcp::definition::Hints { read_only, destructive, idempotent, open_world } = hints;
    Standing::Known(Tool { read_only, destructive, idempotent, open_world, pinned: is_pinned })
}

/// What is asked of policies here does not depend on them: [`policy::Policies::standing`].
const NO_CIRCUMSTANCES: Circumstances<'static> = Circumstances { revision: "", client: None, hour: 0, trace: "" };
