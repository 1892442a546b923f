//! Is everything here that the commands need, and if not, how does it get here?
//!
//! The machine has to bring Rust (rustup) and Node; all else comes from crates.io, npm and
//! PyPI into folders of the checkout. What is set up is remembered by the hash of what it was made from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{command::Command, platform::Platform, workspace::Workspace};

/// All that `cargo xtask run` needs. Spin needs nothing that Workers do not.
///
/// # Errors
/// With what is missing or too old, and how to get it.
pub(crate) async fn set_up(workspace: &Workspace, platform: Platform) -> Result<()> {
    check_node(workspace).await?;
    let _lock = workspace.lock().await?;
    wasm_targets(workspace).await?;
    npm_packages(workspace).await?;
    match platform {
        Platform::Workers => cargo_tools(workspace).await,
        Platform::Spin => Ok(()),
    }
}

/// The Python clients and servers, for the tests only.
pub(crate) async fn set_up_python(workspace: &Workspace) -> Result<()> {
    let requirements = workspace.root.join("tests/clients/requirements.txt");
    let _lock = workspace.lock().await?;
    let stamp = Stamp::new(workspace, "venv", &[&requirements])?;
    if stamp.is_current() && workspace.python().exists() {
        return Ok(());
    }
    let venv = workspace.target.join("venv");
    let made = Command::new(workspace, "python3 -m venv target/venv", "python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv)
        .run()
        .await;
    made.context(
        "Python 3.10 or newer with its `venv` module is needed for the tests: on Debian `apt install python3-venv`",
    )?;
    Command::new(workspace, "pip install", workspace.python())
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"])
        .arg(&requirements)
        .run()
        .await?;
    stamp.write()
}

/// Remembers by hash that something was made from certain files.
pub(crate) struct Stamp {
    path: PathBuf,
    hash: String,
}

impl Stamp {
    pub(crate) fn new(workspace: &Workspace, name: &str, sources: &[impl AsRef<Path>]) -> Result<Self> {
        let mut hasher = Sha256::new();
        for source in sources.iter().map(AsRef::as_ref) {
            let bytes = fs::read(source).with_context(|| format!("cannot read `{}`", source.display()))?;
            hasher.update(source.as_os_str().as_encoded_bytes());
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        let hash = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: workspace.stamps()?.join(name), hash })
    }

    pub(crate) fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|stored| stored == self.hash)
    }

    pub(crate) fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.hash).with_context(|| format!("cannot write `{}`", self.path.display()))
    }
}

async fn check_node(workspace: &Workspace) -> Result<()> {
    let version = Command::new(workspace, "node --version", "node").arg("--version").output().await?;
    if !version.is_success() {
        bail!("Node is missing: install Node {NODE} or newer with npm (https://nodejs.org or your system's packages)");
    }
    if !is_at_least(&version.stdout, NODE_MINIMUM) {
        bail!("Node {} is too old: install {NODE} or newer", version.stdout.trim());
    }
    let npm = Command::new(workspace, "npm --version", "npm").arg("--version").output().await?;
    if !npm.is_success() {
        bail!("npm is missing: it comes with Node; on Debian `apt install npm`");
    }
    Ok(())
}

async fn wasm_targets(workspace: &Workspace) -> Result<()> {
    let list = Command::new(workspace, "rustup target list", "rustup")
        .args(["target", "list", "--installed"])
        .output()
        .await?;
    if !list.is_success() {
        bail!(
            "rustup is missing: install Rust through https://rustup.rs, so that the WebAssembly targets can be added"
        );
    }
    let installed: Vec<&str> = list.stdout.lines().collect();
    let missing: Vec<&str> = WASM_TARGETS.into_iter().filter(|target| !installed.contains(target)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let add = Command::new(workspace, "rustup target add", "rustup").args(["target", "add"]);
    add.args(missing).run().await.map(drop)
}

/// `npm ci`, once per lock file.
async fn npm_packages(workspace: &Workspace) -> Result<()> {
    let lock = workspace.root.join("package-lock.json");
    let stamp = Stamp::new(workspace, "npm", &[&lock])?;
    if stamp.is_current() && workspace.npm_bin("workerd").exists() {
        return Ok(());
    }
    Command::new(workspace, "npm ci", "npm").args(["ci", "--no-audit", "--no-fund"]).run().await?;
    stamp.write()
}

/// The pinned builders of the Worker. They must be of exactly these versions, so what is
/// installed is asked, not remembered.
async fn cargo_tools(workspace: &Workspace) -> Result<()> {
    for tool in TOOLS {
        if installed_version(workspace, tool).await.as_deref() == Some(tool.version) {
            continue;
        }
        install(workspace, tool).await?;
    }
    Ok(())
}

async fn installed_version(workspace: &Workspace, tool: &Tool) -> Option<String> {
    let path = workspace.tool(tool.binary);
    let asked = Command::new(workspace, &format!("{} --version", tool.binary), path).arg("--version");
    let said = asked.output().await.ok()?.success().ok()?;
    said.split_whitespace().last().map(str::to_owned)
}

async fn install(workspace: &Workspace, tool: &Tool) -> Result<()> {
    let label = format!("cargo install {} {} (some minutes, once)", tool.package, tool.version);
    let build = workspace.target.join("tools/build");
    let installed = Command::new(workspace, &label, "cargo")
        .args(["install", tool.package, "--version", tool.version, "--bin", tool.binary])
        .args(["--locked", "--force", "--root"])
        .arg(workspace.target.join("tools"))
        .arg("--target-dir")
        .arg(&build)
        .args(tool.options)
        .envs(LEAN_PROFILE)
        .run()
        .await;
    installed.with_context(|| format!("cannot install `{}`; {}", tool.package, tool.hint)).map(drop)
}

fn is_at_least(version: &str, minimum: (u64, u64)) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= minimum,
        _ => false,
    }
}

struct Tool {
    package: &'static str,
    binary: &'static str,
    version: &'static str,
    options: &'static [&'static str],
    hint: &'static str,
}

/// worker-build runs the wasm-bindgen CLI, whose version must be the locked library's.
const TOOLS: &[Tool] = &[
    Tool {
        package: "wasm-bindgen-cli",
        binary: "wasm-bindgen",
        version: "0.2.129",
        options: &["--no-default-features"],
        hint: "a C compiler is needed as the linker (on Debian `apt install build-essential`)",
    },
    Tool {
        package: "worker-build",
        binary: "worker-build",
        version: "0.8.7",
        options: &[],
        hint: "it links OpenSSL: on Debian `apt install build-essential pkg-config libssl-dev`, on Fedora `dnf install openssl-devel`",
    },
];

/// They run for seconds and are compiled once: less optimisation is quicker over all.
const LEAN_PROFILE: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

const WASM_TARGETS: [&str; 3] = ["wasm32-unknown-unknown", "wasm32-wasip1", "wasm32-wasip2"];
const NODE: &str = "20.3";
const NODE_MINIMUM: (u64, u64) = (20, 3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_at_least("v20.20.2\n", NODE_MINIMUM));
        assert!(is_at_least("v22.0.0", NODE_MINIMUM));
        assert!(!is_at_least("v20.2.9", NODE_MINIMUM));
        assert!(!is_at_least("v18.99.0", NODE_MINIMUM));
        assert!(!is_at_least("nonsense", NODE_MINIMUM));
    }
}
