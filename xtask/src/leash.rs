//! How does a child end when its parent is killed and can no longer end it?
//!
//! The child is begun through `xtask leash`, which asks the kernel for a signal at the parent's
//! death and then becomes the program itself. Systems without that request rely on the closed
//! standard input, which our own programs watch.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use nix::unistd::getppid;

/// Becomes the leashed program; returns only if that fails.
pub(crate) fn exec(leash: &Leash) -> ExitCode {
    if let Err(error) = bind(leash) {
        eprintln!("error: cannot leash `{}`: {error:#}", leash.program.display());
        return ExitCode::FAILURE;
    }
    let error = Command::new(&leash.program).args(&leash.arguments).exec();
    eprintln!("error: cannot start `{}`: {error}", leash.program.display());
    ExitCode::from(127)
}

/// A command that runs `program` on a leash of the process that starts it.
pub(crate) fn command(xtask: &Path, death: Death, program: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(xtask);
    command.args(["leash", "--parent", &std::process::id().to_string(), "--death", death.name(), "--"]).arg(program);
    command
}

/// What the child is told when its parent has died.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Death {
    /// End in order.
    Term,
    /// End at once.
    Kill,
}

impl Death {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::Kill => "kill",
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Leash {
    /// The process whose death ends the program; the leash's own parent if absent
    #[arg(long)]
    parent: Option<i32>,
    #[arg(long, value_enum, default_value = "term")]
    death: Death,
    program: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

#[cfg(target_os = "linux")]
fn bind(leash: &Leash) -> anyhow::Result<()> {
    use nix::sys::{prctl, signal::Signal};

    prctl::set_pdeathsig(match leash.death {
        Death::Term => Signal::SIGTERM,
        Death::Kill => Signal::SIGKILL,
    })?;
    still_there(leash)
}

#[cfg(not(target_os = "linux"))]
fn bind(leash: &Leash) -> anyhow::Result<()> {
    still_there(leash)
}

/// A parent that died before the request was made sends no signal any more.
fn still_there(leash: &Leash) -> anyhow::Result<()> {
    match leash.parent {
        Some(parent) if parent != getppid().as_raw() => anyhow::bail!("its parent has ended"),
        _ => Ok(()),
    }
}
