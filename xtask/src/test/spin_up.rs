//! Is `spin build && spin up` all that a user of Spin has to type? With `spin.toml` as it is committed.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{
    artifacts::{self, HostBuild},
    deploy,
    host::{self, Busy},
    spin::{Runtime, SERVING, manifest::Manifest},
    workspace::Workspace,
};

/// Does what `spin build` calls, then starts it with values for nothing but the variables that are required.
///
/// # Errors
/// If it does not start, or has not its configuration.
pub(super) async fn run(workspace: &Workspace) -> Result<()> {
    deploy::place(workspace, &artifacts::spin(workspace).await?)?;
    let (state, port) = (workspace.folder("test-spin-up")?, host::port(0, Busy::Refuse)?);
    fs::remove_dir_all(&state)?;
    let file = workspace.root.join("spin.toml");
    let mut program = Runtime::find(workspace, HostBuild::Quick).await?.up(workspace, "spin-up", &file)?;
    let command = program.command();
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--state-dir"]).arg(state);
    for name in Manifest::read(&file)?.required()? {
        command.args(["--variable", &format!("{name}={VALUE}")]);
    }
    let (_process, _) = program.start(SERVING).await?;
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await.context("it does not answer")?;
    let (status, said) = (answer.status(), answer.text().await?);
    if status.is_success() { Ok(()) } else { bail!("it is not ready: {status} {said}") }
}

/// 32 bytes in base64url, which is what the gateway's key has to be.
const VALUE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
