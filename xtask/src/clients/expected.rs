//! What can a client not do, whatever stands between it and the server?

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::Workspace;

use super::seen::{Outcome, Seen};

/// `tests/clients/expected.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    #[serde(default, rename = "failure")]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    clients: Vec<String>,
    aspects: Vec<String>,
    /// Absent: all.
    servers: Option<Vec<String>>,
    /// Absent: all.
    endpoints: Option<Vec<String>>,
    reason: String,
}

impl Expected {
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let file = workspace.root.join("tests/clients/expected.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        toml::from_str(&text).with_context(|| format!("`{}` is not valid", file.display()))
    }

    /// Why this cell cannot work, if that is known.
    pub(super) fn reason(&self, seen: &Seen) -> Option<&str> {
        let mut failures = self.failures.iter();
        failures.find(|failure| failure.covers(seen)).map(|failure| &*failure.reason)
    }

    /// What is wrong with what was seen.
    pub(super) fn judge(&self, seen: &Seen) -> Option<String> {
        match (&seen.outcome, self.reason(seen)) {
            (Outcome::Failed(said), None) => Some(said.clone()),
            (Outcome::Ok(_), Some(_)) => Some("works: take it out of the expected failures".to_owned()),
            _ => None,
        }
    }
}

impl Failure {
    fn covers(&self, seen: &Seen) -> bool {
        let any = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|one| one == name))
        };
        self.clients.contains(&seen.client.name())
            && self.aspects.contains(&seen.aspect)
            && any(&self.servers, &seen.server)
            && any(&self.endpoints, &seen.endpoint.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{client::Client, servers::Endpoint},
        *,
    };

    fn seen(outcome: Outcome) -> Seen {
        let (server, aspect) = ("time".to_owned(), "call".to_owned());
        Seen { client: Client::Inspector, server, endpoint: Endpoint::Server, aspect, outcome }
    }

    #[test]
    fn failures_are_expected_or_problems_and_so_is_success() {
        let listed = "[[failure]]\nclients = [\"inspector\"]\naspects = [\"call\"]\nreason = \"so\"";
        let (none, listed) = (toml::from_str::<Expected>("").unwrap(), toml::from_str::<Expected>(listed).unwrap());
        let (ok, failed) = (|| seen(Outcome::Ok(String::new())), || seen(Outcome::Failed("no".to_owned())));
        assert_eq!(none.judge(&failed()).as_deref(), Some("no"));
        assert_eq!(none.judge(&ok()), None);
        assert_eq!(listed.judge(&failed()), None);
        assert!(listed.judge(&ok()).unwrap().contains("take it out"));
    }
}
