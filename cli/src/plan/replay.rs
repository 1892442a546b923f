//! Which past calls would now be decided otherwise? Judged without their arguments: the record holds only a digest.

use policy::Action;
use serde::Serialize;

use super::{
    Observed, Principal, Side,
    access::{Access, ruling},
};

/// Calls that are the same but for their arguments and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) principal: Principal,
    pub(crate) server: String,
    /// The MCP method, such as `tools/call`.
    pub(crate) method: String,
    /// The tool, prompt or resource.
    pub(crate) target: Option<String>,
    pub(crate) was: Was,
    /// The bundle that decided.
    pub(crate) bundle: String,
    /// How many there were.
    pub(crate) count: u64,
}

/// What the record says became of a call, as far as access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Was {
    Allowed,
    Denied,
}

/// Past calls under the new configuration.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Replay {
    /// How many calls were looked at.
    pub(crate) calls: u64,
    /// Those that end otherwise, or may.
    pub(crate) changed: Vec<Changed>,
}

/// Calls that would be decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Changed {
    pub(crate) principal: Principal,
    pub(crate) server: String,
    pub(crate) method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    pub(crate) was: Was,
    /// What would be decided now.
    pub(crate) now: Access,
    pub(crate) why: String,
    pub(crate) count: u64,
}

pub(super) fn replay(live: Option<Side<'_>>, new: Side<'_>, observed: &Observed) -> Replay {
    let calls = observed.calls.iter().map(|call| call.count).sum();
    let is_other = live.is_none_or(|live| live.id != new.id);
    let changed = observed.calls.iter().filter(|_| is_other).filter_map(|call| changed(live, new, call, observed));
    let mut all: Vec<Changed> = Vec::new();
    for one in changed {
        let is_alike = |other: &&mut Changed| Changed { count: one.count, ..(*other).clone() } == one;
        match all.iter_mut().find(is_alike) {
            Some(other) => other.count += one.count,
            None => all.push(one),
        }
    }
    all.sort_by_key(|one| (one.now, std::cmp::Reverse(one.count)));
    Replay { calls, changed: all }
}

fn changed(live: Option<Side<'_>>, new: Side<'_>, call: &Call, observed: &Observed) -> Option<Changed> {
    let rule = |side| ruling(side, &call.principal, &call.server, action(call), observed);
    let now = rule(new);
    let before = live.map(rule);
    // What the live configuration decided says more than what it would decide: it knew the arguments.
    let was = match &before {
        Some(before) if live.is_some_and(|live| live.id != call.bundle) => match before.access {
            Access::Allowed => Was::Allowed,
            Access::Denied => Was::Denied,
            Access::Depends => call.was,
        },
        _ => call.was,
    };
    let is_same = match (was, now.access) {
        (Was::Allowed, Access::Allowed) | (Was::Denied, Access::Denied) => true,
        // It depended before, on what the policies say: if they say the same, nothing changed.
        (_, Access::Depends) => {
            before.is_some_and(|before| before.access == Access::Depends) && says_the_same(live, new)
        }
        _ => false,
    };
    (!is_same).then(|| Changed {
        principal: call.principal.clone(),
        server: call.server.clone(),
        method: call.method.clone(),
        target: call.target.clone(),
        was,
        now: now.access,
        why: now.why,
        count: call.count,
    })
}

fn says_the_same(live: Option<Side<'_>>, new: Side<'_>) -> bool {
    live.is_some_and(|live| live.raw.policies == new.raw.policies)
}

/// What a record's method was, for policies.
fn action(call: &Call) -> Action<'_> {
    match call.method.as_str() {
        "server/discover" => Action::OpenSession,
        "DELETE" => Action::EndSession,
        "GET" => Action::Listen,
        "POST" => Action::Respond,
        method => Action::of_method(method, call.target.as_deref().unwrap_or_default()),
    }
}
