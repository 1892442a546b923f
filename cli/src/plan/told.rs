//! How does a plan read? A section for each kind of change, nothing for what stays.

use serde_json::Value;

use super::{
    AccessChange, FileChange, LimitChange, PinChange, Plan, Principal, Replay, SettingChange,
    access::{Access, Effect},
    limits,
    replay::{Changed, Was},
    settings::{KeyChange, Kind},
};
use crate::output::{bold, count, dim, green, printable, red, short, yellow};

impl Plan {
    /// For people.
    pub(crate) fn told(&self) -> String {
        let live = self.live.as_deref().map_or("nothing", short);
        let mut text = format!("{} {} → {}\n", bold("plan"), live, short(&self.new));
        if self.is_empty() {
            return format!("{text}\nNothing changes: the folder is what is live.");
        }
        let sections = [
            ("settings", self.settings.iter().flat_map(setting).collect()),
            ("limits", self.limits.iter().map(limit).collect()),
            ("policies", self.policies.iter().map(file).collect()),
            ("candidate", self.candidate.iter().map(file).collect()),
            ("pins", self.pins.iter().map(pin).collect::<Vec<_>>()),
        ];
        for (title, lines) in sections {
            section(&mut text, title, &lines);
        }
        let who = count(self.principals, "principal");
        section(&mut text, &format!("tools, for {who}"), &self.access.iter().flat_map(access).collect::<Vec<_>>());
        if self.access.is_empty() && self.live.is_some() && self.principals > 0 {
            text.push_str(&format!("\n{}\n", dim(&format!("Nobody of {who} gains or loses a tool."))));
        }
        self.replay.tell(&mut text);
        text.trim_end().to_owned()
    }
}

impl Replay {
    fn tell(&self, text: &mut String) {
        let looked = format!("past calls, {} looked at", self.calls);
        if self.changed.is_empty() {
            if self.calls > 0 {
                text.push_str(&format!(
                    "\n{}\n",
                    dim(&format!("All {} past calls would be decided as they were.", self.calls))
                ));
            }
            return;
        }
        section(text, &looked, &self.changed.iter().map(changed).collect::<Vec<_>>());
    }
}

fn section(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{}\n", bold(title)));
    for line in lines.iter().take(LINES_MAX) {
        text.push_str(&format!("  {line}\n"));
    }
    if lines.len() > LINES_MAX {
        text.push_str(&format!("  {}\n", dim(&format!("… and {} more; --json shows all", lines.len() - LINES_MAX))));
    }
}

fn sign(kind: Kind) -> String {
    match kind {
        Kind::Added => green("+"),
        Kind::Changed => yellow("~"),
        Kind::Removed => red("-"),
    }
}

fn setting(change: &SettingChange) -> Vec<String> {
    if change.keys.is_empty() {
        return vec![format!("{} {}", sign(change.kind), printable(&change.of))];
    }
    let line = |key: &KeyChange| {
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "default".to_owned(), brief);
        format!(
            "{} {}: {} {} → {}",
            sign(change.kind),
            printable(&change.of),
            key.key,
            value(&key.old),
            value(&key.new)
        )
    };
    change.keys.iter().map(line).collect()
}

/// A value, unless it is long.
fn brief(value: &Value) -> String {
    let text = printable(&value.to_string());
    if text.chars().count() <= BRIEF_CHARS { text } else { text.chars().take(BRIEF_CHARS).chain(['…']).collect() }
}

fn limit(change: &LimitChange) -> String {
    let value = |value: Option<u64>| match value {
        None => "none".to_owned(),
        Some(micros) if change.amount.starts_with("money") => i64::try_from(micros)
            .map_or_else(|_| "?".to_owned(), |micros| gateway::config::Decimal::from_micros(micros).to_string()),
        Some(amount) => amount.to_string(),
    };
    let effect = match change.effect {
        limits::Effect::Tighter => red("tighter"),
        limits::Effect::Looser => green("looser"),
    };
    format!("{effect} by {}: {} {} → {}", change.by.join(" and "), change.amount, value(change.old), value(change.new))
}

fn file(change: &FileChange) -> String {
    let lines = format!("+{} -{}", change.lines_added, change.lines_removed);
    format!("{} {} {}", sign(change.kind), printable(&change.file), dim(&lines))
}

fn pin(change: &PinChange) -> String {
    let members = if change.members.is_empty() { String::new() } else { format!(": {}", change.members.join(", ")) };
    format!("{} {}/{}{members}", sign(change.kind), change.server, printable(&change.tool))
}

fn access(change: &AccessChange) -> Vec<String> {
    let mut lines = vec![everyone(&change.principals)];
    for tool in &change.tools {
        let sign = match tool.effect {
            Effect::Gains => green("+ gains"),
            Effect::Loses => red("- loses"),
        };
        let name = format!("{}/{}", change.server, printable(&tool.tool));
        lines.push(format!("  {sign} {name} {}", dim(&format!("({})", printable(&tool.why)))));
    }
    lines
}

/// Principals by their agents; what tells them apart only where it is one.
fn everyone(principals: &[Principal]) -> String {
    if let [one] = principals {
        return printable(&someone(one));
    }
    let mut agents: Vec<String> = principals.iter().map(|one| format!("{}/{}", one.tenant, one.agent)).collect();
    agents.dedup();
    let users = if agents.len() < principals.len() {
        format!(" ({})", count(principals.len(), "principal"))
    } else {
        String::new()
    };
    let shown = agents.iter().take(AGENTS_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = agents.len().saturating_sub(AGENTS_MAX);
    let more = if more == 0 { String::new() } else { format!(" and {more} more agents") };
    printable(&format!("{shown}{more}{users}"))
}

fn someone(one: &Principal) -> String {
    let listed = |what: &str, items: &std::collections::BTreeSet<String>| {
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        (!items.is_empty()).then(|| format!("{what} {}", items.join(" ")))
    };
    let user = (one.user != "*" && !one.user.is_empty()).then(|| format!("user {}", one.user));
    let parts: Vec<String> =
        [user, listed("roles", &one.roles), listed("scopes", &one.scopes)].into_iter().flatten().collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("{}/{}{parts}", one.tenant, one.agent)
}

fn changed(one: &Changed) -> String {
    let now = match one.now {
        Access::Allowed => green("now allowed"),
        Access::Denied => red("now denied "),
        Access::Depends => yellow("may change "),
    };
    let was = match (one.now, one.was) {
        (Access::Depends, Was::Allowed) => "was allowed, ",
        (Access::Depends, Was::Denied) => "was denied, ",
        _ => "",
    };
    let target = one.target.as_ref().map(|target| format!("/{target}")).unwrap_or_default();
    let what = printable(&format!("{} {}{target}", one.method, one.server));
    let who = printable(&format!("{}/{}", one.principal.tenant, one.principal.agent));
    format!("{now} {}× {who} {what} {}", one.count, dim(&format!("({was}{})", printable(&one.why))))
}

const LINES_MAX: usize = 60;
const AGENTS_MAX: usize = 5;
const BRIEF_CHARS: usize = 60;
