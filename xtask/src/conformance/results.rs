//! What did a run of the suite see?

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::ErrorKind,
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The checks of one run, by scenario.
pub(super) struct Run(BTreeMap<String, Vec<Check>>);

/// What the suite says of one thing it looked at; a scenario may have several of one id.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    pub(super) id: String,
    status: String,
    error_message: Option<String>,
}

/// What counts of a check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// Warned, skipped, or said for information.
    Other,
}

impl Run {
    /// Reads the suite's output folder: `server-SCENARIO-TIME/checks.json` for each scenario.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut scenarios = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
            let entry = entry?;
            let Some(scenario) = entry.file_name().to_str().and_then(scenario) else { continue };
            scenarios.insert(scenario, checks(&entry.path().join("checks.json"))?);
        }
        Ok(Self(scenarios))
    }

    #[cfg(test)]
    pub(super) fn of(scenario: &str, checks: serde_json::Value) -> Self {
        Self(BTreeMap::from([(scenario.to_owned(), serde_json::from_value(checks).unwrap())]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn scenarios(&self) -> impl Iterator<Item = (&str, &[Check])> {
        self.0.iter().map(|(name, checks)| (&**name, &**checks))
    }

    /// The checks of a scenario; none if it was not run.
    pub(super) fn checks(&self, scenario: &str) -> &[Check] {
        self.0.get(scenario).map_or(&[], |checks| checks)
    }

    /// # Errors
    /// With what fails in the scenarios a fixture has to pass before anything can be compared with it.
    pub(super) fn must_pass(&self, scored: &BTreeSet<String>) -> Result<()> {
        let failures = self.scenarios().filter(|(name, _)| scored.contains(*name)).flat_map(|(name, checks)| {
            let failed = checks.iter().filter(|check| check.outcome() == Outcome::Failed);
            failed.map(move |check| format!("{name}: {check}"))
        });
        let failures: Vec<_> = failures.collect();
        if failures.is_empty() { Ok(()) } else { bail!("the fixture itself fails:\n  {}", failures.join("\n  ")) }
    }
}

/// What a scenario wrote; nothing, if it broke off.
fn checks(file: &Path) -> Result<Vec<Check>> {
    match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("`{}` is no list of checks", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", file.display())),
    }
}

/// `server-tools-list-2026-11-20T16-36-11-912Z` without what is around the name.
fn scenario(folder: &str) -> Option<String> {
    let named = folder.strip_prefix("server-")?;
    let name = named.get(..named.len().checked_sub(TIME_BYTES)?)?;
    Some(name.to_owned())
}

impl Check {
    pub(super) fn outcome(&self) -> Outcome {
        match &*self.status {
            "SUCCESS" => Outcome::Passed,
            "FAILURE" => Outcome::Failed,
            _ => Outcome::Other,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.status, self.id)?;
        let message = self.error_message.iter().flat_map(|message| message.chars().take(MESSAGE_CHARACTERS));
        if self.error_message.is_some() {
            write!(f, ": ")?;
        }
        message.map(|c| if c.is_control() { ' ' } else { c }).try_for_each(|c| write!(f, "{c}"))
    }
}

/// Everything that was looked at, for somebody who follows one scenario.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, checks) in self.scenarios() {
            writeln!(f, "  {name}")?;
            checks.iter().filter(|check| check.status != "INFO").try_for_each(|check| writeln!(f, "    {check}"))?;
        }
        Ok(())
    }
}

/// Some messages quote whole answers.
const MESSAGE_CHARACTERS: usize = 300;
const TIME_BYTES: usize = "-2026-11-20T16-36-11-912Z".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_its_scenario() {
        assert_eq!(scenario("server-tools-list-2026-11-20T16-36-11-912Z").as_deref(), Some("tools-list"));
        assert_eq!(scenario("server-server-stateless-2026-11-20T16-36-11-912Z").as_deref(), Some("server-stateless"));
        assert_eq!(scenario("client-tools-list-2026-11-20T16-36-11-912Z"), None);
        assert_eq!(scenario("server-"), None);
    }
}
