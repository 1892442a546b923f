//! Who are the clients, and how is each of them run?

use std::path::PathBuf;

use clap::ValueEnum;

use crate::workspace::Workspace;

/// A client in one of its modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Client {
    PythonAuto,
    PythonLegacy,
    #[value(name = "python-2026-07-28")]
    PythonModern,
    #[value(name = "npm-client")]
    Npm2,
    #[value(name = "npm-sdk")]
    Npm1,
    McpRemote,
    Inspector,
}

impl Client {
    /// As the table shows it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::PythonAuto => "PyPI mcp 2.3, auto",
            Self::PythonLegacy => "PyPI mcp 2.3, legacy",
            Self::PythonModern => "PyPI mcp 2.3, 2026-07-28",
            Self::Npm2 => "npm client 2.4, auto",
            Self::Npm1 => "npm SDK 1.32",
            Self::McpRemote => "mcp-remote 0.15, auto",
            Self::Inspector => "Inspector 2.12 CLI, auto",
        }
    }

    /// As options and files say it.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(super) fn program(self, workspace: &Workspace) -> PathBuf {
        match self {
            Self::PythonAuto | Self::PythonLegacy | Self::PythonModern => workspace.python(),
            _ => PathBuf::from("node"),
        }
    }

    pub(super) const fn script(self) -> &'static str {
        match self {
            Self::PythonAuto | Self::PythonLegacy | Self::PythonModern => "tests/clients/python_sdk.py",
            Self::Npm2 => "tests/clients/npm_client.mjs",
            Self::Npm1 => "tests/clients/npm_sdk.mjs",
            Self::McpRemote => "tests/clients/mcp_remote.mjs",
            Self::Inspector => "tests/clients/inspector.mjs",
        }
    }

    /// What the script is told of the mode; those that have one only do not ask.
    pub(super) const fn mode(self) -> &'static str {
        match self {
            Self::PythonLegacy => "legacy",
            Self::PythonModern => "2026-07-28",
            _ => "auto",
        }
    }
}
