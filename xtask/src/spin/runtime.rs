//! Which program runs components on this machine?

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use crate::{
    artifacts::{self, HostBuild},
    command::Command,
    processes::Program,
    workspace::Workspace,
};

/// Who is started with `up`.
pub(crate) enum Runtime {
    /// `spin` itself.
    Spin {
        /// As it says, such as `4.1.0`.
        version: String,
    },
    /// Our small host for tests, which takes the same arguments. No registry holds Spin.
    TestHost {
        program: PathBuf,
        /// Of a `spin` that is on the PATH, but too old.
        old: Option<String>,
    },
}

impl Runtime {
    /// Spin, if it is on the PATH and new enough to run WASI 0.3; else the test host, which is built.
    ///
    /// # Errors
    /// If the test host does not build.
    pub(crate) async fn find(workspace: &Workspace, host: HostBuild) -> Result<Self> {
        let old = match installed(workspace).await {
            Some((version, Fit::New)) => return Ok(Self::Spin { version }),
            Some((version, Fit::Old)) => Some(version),
            None => None,
        };
        Ok(Self::TestHost { program: artifacts::spin_host(workspace, host).await?, old })
    }

    /// Its `up`, of an application: what else it is to be told is still to be added.
    ///
    /// # Errors
    /// If no log can be written.
    pub(crate) fn up(&self, workspace: &Workspace, name: &str, manifest: &Path) -> Result<Program> {
        let mut program = Program::new(workspace, name, self.program())?.with_patience(COMPILED);
        let command = program.command().args(["up", "--from"]).arg(manifest);
        command.env("NO_COLOR", "1").env("TURNPIKE_SPIN_CACHE", workspace.folder("spin-cache")?);
        Ok(program)
    }

    /// What to start.
    pub(crate) fn program(&self) -> PathBuf {
        match self {
            Self::Spin { .. } => PathBuf::from("spin"),
            Self::TestHost { program, .. } => program.clone(),
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spin { version } => write!(f, "Spin {version}"),
            Self::TestHost { old: None, .. } => {
                write!(f, "our test host for Spin (no `spin` is on the PATH, and no registry holds it)")
            }
            Self::TestHost { old: Some(version), .. } => {
                write!(f, "our test host for Spin (the `spin` on the PATH is {version}, and {MINIMUM} is needed)")
            }
        }
    }
}

/// Whether it runs components that export `wasi:http/handler@0.3.0`.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    New,
    Old,
}

async fn installed(workspace: &Workspace) -> Option<(String, Fit)> {
    let asked = Command::new(workspace, "spin --version", "spin").arg("--version").output().await;
    read(&asked.ok()?.success().ok()?)
}

/// `spin 4.1.0 (abcdef 2026-10-01)`. Another program of that name says something else.
fn read(said: &str) -> Option<(String, Fit)> {
    let version = said.strip_prefix("spin ")?.split_whitespace().next()?;
    let mut numbers = version.split('.').map_while(|number| number.parse::<u64>().ok());
    let numbers = (numbers.next()?, numbers.next()?);
    Some((version.to_owned(), if numbers >= MINIMUM_NUMBERS { Fit::New } else { Fit::Old }))
}

/// A component is compiled for this machine when it is started for the first time.
const COMPILED: Duration = Duration::from_secs(600);
const MINIMUM: &str = "4.1";
const MINIMUM_NUMBERS: (u64, u64) = (4, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spin_tells_whether_it_is_new_enough() {
        let read = |said: &str| read(said).map(|(_, fit)| fit);
        assert_eq!(read("spin 4.1.0 (0a1b2c3 2026-10-01)\n"), Some(Fit::New));
        assert_eq!(read("spin 5.0.0-pre0\n"), Some(Fit::New));
        assert_eq!(read("spin 4.0.2 (0a1b2c3 2026-03-01)\n"), Some(Fit::Old));
        assert_eq!(read("Spin Version 6.5.2 -- 6 December 2019\n"), None, "a model checker has that name too");
    }
}
