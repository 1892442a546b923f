//! Which checks cannot be passed through the gateway, and why?

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{platform::Platform, workspace::Workspace};

use super::quadrant::Quadrant;

/// The expected deviations of a quadrant, as `tests/conformance/PLATFORM/QUADRANT.toml` lists them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    #[serde(default, rename = "failure")]
    pub(super) failures: Vec<Failure>,
}

/// A check that passes directly and cannot through the gateway.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    pub(super) scenario: String,
    pub(super) check: String,
    pub(super) reason: String,
}

impl Expected {
    /// # Errors
    /// If there is no such file, or it does not say why.
    pub(super) fn read(workspace: &Workspace, platform: Platform, quadrant: Quadrant) -> Result<Self> {
        let file = workspace.root.join(format!("tests/conformance/{}/{quadrant}.toml", platform.name()));
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let expected: Self = toml::from_str(&text).with_context(|| format!("`{}` is not valid", file.display()))?;
        if let Some(failure) = expected.failures.iter().find(|failure| failure.reason.trim().is_empty()) {
            bail!("`{}` says no reason for `{}`", file.display(), failure.check);
        }
        Ok(expected)
    }

    /// Why this check cannot be passed, if that is known.
    pub(super) fn reason(&self, scenario: &str, check: &str) -> Option<&str> {
        let mut failures = self.failures.iter();
        let failure = failures.find(|failure| failure.scenario == scenario && failure.check == check)?;
        Some(&failure.reason)
    }
}
