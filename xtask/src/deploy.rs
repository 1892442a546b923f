//! What does an operator need to deploy? The built Worker, and the configuration as documents.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{
    artifacts::{self, Build},
    configuration::{Configuration, documents},
    tools,
    workspace::Workspace,
};

#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask bundle gateway.toml > target/bundle.json\n  \
    npx wrangler kv bulk put target/bundle.json --binding DOCUMENTS --remote")]
pub(crate) struct Options {
    /// The `gateway.toml`; the files it names are read from its folder
    file: PathBuf,
}

/// Sets up and builds the Worker.
///
/// # Errors
/// If either fails.
pub(crate) async fn build(workspace: &Workspace) -> Result<ExitCode> {
    tools::set_up(workspace).await?;
    let folder = artifacts::worker(workspace, Build::Gateway).await?;
    println!("the Worker is in {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Prints the documents that put a configuration in force.
///
/// # Errors
/// With everything that is wrong in the configuration.
pub(crate) fn bundle(options: &Options) -> Result<ExitCode> {
    let documents = documents(&Configuration::read(&options.file)?)?;
    let pairs: Vec<_> = documents.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    println!("{}", serde_json::to_string_pretty(&pairs)?);
    Ok(ExitCode::SUCCESS)
}
