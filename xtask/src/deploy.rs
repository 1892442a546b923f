//! What does an operator need to deploy? The built gateway, and the configuration as documents.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    artifacts,
    configuration::{Configuration, documents, keyed},
    platform::Platform,
    spin::{self, manifest::Manifest},
    tools,
    workspace::Workspace,
};

#[derive(Args)]
pub(crate) struct BuildOptions {
    /// For which platform: `wrangler deploy` and `spin build` call this
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
}

#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask bundle gateway.toml > target/bundle.json\n  \
    npx wrangler kv bulk put target/bundle.json --binding DOCUMENTS --remote")]
pub(crate) struct Options {
    /// The `gateway.toml`; the files it names are read from its folder
    file: PathBuf,
}

/// Sets up and builds what is deployed. For Spin also writes the example's configuration to where `spin.toml` mounts it.
///
/// # Errors
/// If either fails, or if `spin.toml` does not fit the configuration.
pub(crate) async fn build(workspace: &Workspace, options: &BuildOptions) -> Result<ExitCode> {
    tools::set_up(workspace, options.platform).await?;
    let built = artifacts::gateway(workspace, options.platform).await?;
    match options.platform {
        Platform::Workers => println!("the Worker is in {}", built.display()),
        Platform::Spin => {
            let Placed { component, bundle } = place(workspace, &built)?;
            println!("the component is {}, its configuration {}", component.display(), bundle.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `spin up` finds where `spin.toml` says.
pub(crate) struct Placed {
    component: PathBuf,
    bundle: PathBuf,
}

/// Puts the built component and the example's configuration where `spin.toml` expects them.
///
/// # Errors
/// If `spin.toml` does not fit the configuration.
pub(crate) fn place(workspace: &Workspace, built: &Path) -> Result<Placed> {
    let manifest = Manifest::read(&workspace.root.join("spin.toml"))?;
    let configuration = Configuration::read(&workspace.root.join("infra/gateway.toml"))?;
    let misfits = manifest.misfits(&configuration)?;
    if !misfits.is_empty() {
        bail!("`spin.toml` does not fit `infra/gateway.toml`; change it so that it does:\n  {}", misfits.join("\n  "));
    }
    let (component, mounted) = (manifest.source()?, manifest.mounted()?);
    // With a target folder elsewhere, cargo does not build to where `spin.toml` looks.
    if component.canonicalize().ok() != Some(built.canonicalize()?) {
        fs::create_dir_all(component.parent().unwrap_or(Path::new(".")))?;
        fs::copy(built, &component).with_context(|| format!("cannot write `{}`", component.display()))?;
    }
    fs::create_dir_all(&mounted).with_context(|| format!("cannot make `{}`", mounted.display()))?;
    let bundle = mounted.join(spin::BUNDLE);
    let documents = keyed(&documents(&configuration)?);
    fs::write(&bundle, serde_json::to_string_pretty(&documents)?)
        .with_context(|| format!("cannot write `{}`", bundle.display()))?;
    Ok(Placed { component, bundle })
}

/// Prints the documents that put a configuration in force.
///
/// # Errors
/// With everything that is wrong in the configuration.
pub(crate) fn bundle(options: &Options) -> Result<ExitCode> {
    let documents = documents(&Configuration::read(&options.file)?)?;
    println!("{}", serde_json::to_string_pretty(&keyed(&documents))?);
    Ok(ExitCode::SUCCESS)
}
