//! Which era does the caller speak, and which the server?

use std::{collections::BTreeSet, fmt, fs};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::workspace::Workspace;

/// One pair of eras: the caller's, then the server's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Quadrant {
    ModernModern,
    LegacyLegacy,
    ModernLegacy,
    LegacyModern,
}

impl Quadrant {
    pub(super) const fn caller(self) -> Era {
        match self {
            Self::ModernModern | Self::ModernLegacy => Era::Modern,
            Self::LegacyLegacy | Self::LegacyModern => Era::Legacy,
        }
    }

    pub(super) const fn server(self) -> Era {
        match self {
            Self::ModernModern | Self::LegacyModern => Era::Modern,
            Self::LegacyLegacy | Self::ModernLegacy => Era::Legacy,
        }
    }
}

impl fmt::Display for Quadrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.caller().name(), self.server().name())
    }
}

/// With sessions, up to 2025-11-25, or stateless, from 2026-07-28.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub(super) const ALL: [Self; 2] = [Self::Legacy, Self::Modern];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }

    /// The name of the server that speaks nothing else, behind the gateway.
    pub(super) const fn server_name(self) -> &'static str {
        match self {
            Self::Legacy => "fixture-legacy",
            Self::Modern => "fixture-modern",
        }
    }

    /// Whose requirements the suite checks with.
    pub(super) const fn revision(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }

    /// The scenarios the revision requires: what else the suite runs is an extension, or not ready.
    pub(super) fn scored(self, workspace: &Workspace) -> Result<BTreeSet<String>> {
        let file = format!("node_modules/@modelcontextprotocol/conformance/requirements/{}.yaml", self.revision());
        let file = workspace.root.join(file);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let server = text.lines().skip_while(|line| *line != "server:").skip(1);
        let items = server.map_while(|line| line.strip_prefix("  - ")).map(|name| name.trim().to_owned());
        Ok(items.collect())
    }
}
