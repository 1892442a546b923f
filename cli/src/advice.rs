//! What holds together, and is still unlikely to be meant?

use std::collections::BTreeSet;

use gateway::config::{Admission, Raw, RawLimit};

use crate::{
    check::Sound,
    diagnostic::{Diagnostic, Severity},
    gateway_toml::{FILE, Reading},
};

/// Warnings about a configuration that could be put in force.
pub(crate) fn about(sound: &Sound, reading: &Reading<'_>, text: &str) -> Vec<Diagnostic> {
    let warn = |at: &str, what: String, hint: &str| {
        Diagnostic::new(Severity::Warning, FILE, what).key(at).at(text, reading.span(at)).hint(hint)
    };
    let mut found = Vec::new();
    let raw = &sound.raw;
    if raw.policies.is_empty() {
        let what = "there are no policies: whoever may use a server may call everything it offers".to_owned();
        let hint = "write `policies/*.cedar`; `turnpike check --schema` prints what they may name";
        found.push(Diagnostic::new(Severity::Warning, "policies", what).hint(hint));
    }
    if !raw.candidate.is_empty() && raw.candidate == raw.policies {
        let what = "the candidate says what the live policies say: nothing is tried".to_owned();
        found.push(Diagnostic::new(Severity::Warning, "candidate", what).hint("change it, or remove the folder"));
    }
    for (n, server) in raw.servers.iter().enumerate() {
        let name = &server.name;
        if !raw.pins.contains_key(name) {
            let what = match server.pins {
                Admission::Flag => format!("no tool of `{name}` is pinned: a changed definition is not noticed"),
                Admission::Quarantine => format!("no tool of `{name}` is pinned: nobody sees or calls any"),
            };
            let hint = format!("`turnpike pins approve {name} --all` shows and pins what it offers");
            found.push(warn(&format!("servers[{n}].name"), what, &hint));
        }
    }
    found.extend(endpoints(raw).into_iter().map(|(at, what, hint)| warn(&at, what, &hint)));
    for (n, limit) in raw.limits.iter().enumerate() {
        for (key, what) in never_reached(limit) {
            found.push(warn(&format!("limits[{n}].{key}"), what, "lower it, or remove it"));
        }
        for (key, shadow) in amounts(limit) {
            let by = by(limit);
            let wider = raw.limits.iter().find(|other| {
                !std::ptr::eq(*other, limit)
                    && covers(&by, &self::by(other))
                    && amount(other, key).is_some_and(|most| most <= shadow)
            });
            if let Some(other) = wider {
                let dimensions: Vec<&str> = other.by.iter().map(|by| by.as_str()).collect();
                let what = format!("is never reached: the limit by {} is used up before", dimensions.join(" and "));
                found.push(warn(&format!("limits[{n}].{key}"), what, "lower it, or remove it"));
            }
        }
    }
    found
}

/// What endpoints show that nobody will see: where, what, and what helps.
fn endpoints(raw: &Raw) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let server = |name: &str| raw.servers.iter().find(|server| server.name == name);
    for (n, endpoint) in raw.endpoints.iter().enumerate() {
        for (m, tool) in endpoint.tools.iter().enumerate() {
            let is_closed = server(&tool.server).is_some_and(|server| server.pins == Admission::Quarantine);
            let mut pinned = raw.pins.get(&tool.server).into_iter().flatten();
            if is_closed && !pinned.any(|pin| pin["name"] == tool.tool.as_str()) {
                let what = format!("`{}` of `{}` is not pinned: nobody sees or calls it", tool.tool, tool.server);
                let hint = format!("`turnpike pins approve {} {}`, or mind its name", tool.server, tool.tool);
                found.push((format!("endpoints[{n}].tools[{m}].tool"), what, hint));
            }
        }
        let named = endpoint.servers.iter().chain(&endpoint.prompts).chain(&endpoint.resources);
        let named: BTreeSet<&String> = named.chain(endpoint.tools.iter().map(|tool| &tool.server)).collect();
        for name in named {
            let both = endpoint.tenants.as_ref().zip(server(name).and_then(|server| server.tenants.as_ref()));
            if both.is_some_and(|(ours, theirs)| !ours.iter().any(|tenant| theirs.contains(tenant))) {
                let what = format!("none of these tenants may use `{name}`: nobody sees what it shows of it");
                found.push((format!("endpoints[{n}].tenants"), what, format!("add one to the tenants of `{name}`")));
            }
        }
    }
    found
}

/// The amounts of a limit that one of its own shorter spans keeps from ever being reached.
fn never_reached(limit: &RawLimit) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut compare = |longer: &'static str, shorter: &str, times: u64| {
        if let (Some(most), Some(each)) = (amount(limit, longer), amount(limit, shorter))
            && each.saturating_mul(times) < most
        {
            found.push((longer, format!("is never reached: `{shorter}` allows no more than {times} times itself")));
        }
    };
    compare("tokens_per_day", "tokens_per_minute", 24 * 60);
    compare("tokens_per_month", "tokens_per_day", 31);
    compare("money_per_month", "money_per_day", 31);
    for (shorter, longer) in [("tokens_per_day", "tokens_per_month"), ("money_per_day", "money_per_month")] {
        if let (Some(day), Some(month)) = (amount(limit, shorter), amount(limit, longer))
            && month <= day
        {
            found.push((shorter, format!("is never reached: `{longer}` is used up before")));
        }
    }
    found
}

fn amounts(limit: &RawLimit) -> impl Iterator<Item = (&'static str, u64)> {
    AMOUNTS.into_iter().filter_map(|key| Some((key, amount(limit, key)?)))
}

/// An amount in its own unit; money in millionths.
pub(crate) fn amount(limit: &RawLimit, key: &str) -> Option<u64> {
    match key {
        "requests_per_minute" => limit.requests_per_minute.map(u64::from),
        "tokens_per_minute" => limit.tokens_per_minute,
        "tokens_per_day" => limit.tokens_per_day,
        "tokens_per_month" => limit.tokens_per_month,
        "money_per_day" => limit.money_per_day.map(gateway::config::Decimal::micros),
        "money_per_month" => limit.money_per_month.map(gateway::config::Decimal::micros),
        _ => None,
    }
}

/// What a limit tells apart; agents and users are told apart within their tenant, tools within their server.
fn by(limit: &RawLimit) -> BTreeSet<&'static str> {
    let within = limit.by.iter().filter_map(|by| match by.as_str() {
        "agent" | "user" => Some("tenant"),
        "tool" => Some("server"),
        _ => None,
    });
    limit.by.iter().map(|by| by.as_str()).chain(within).collect()
}

/// Whether every request that counts for the finer limit counts for the wider one, together with others.
fn covers(finer: &BTreeSet<&str>, wider: &BTreeSet<&str>) -> bool {
    wider.is_subset(finer) && wider != finer && (!wider.contains("tool") || finer.contains("tool"))
}

/// The amounts a limit may name.
pub(crate) const AMOUNTS: [&str; 6] = [
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "tokens_per_month",
    "money_per_day",
    "money_per_month",
];
