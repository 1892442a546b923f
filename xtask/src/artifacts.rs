//! What of ours is built before anything runs, and when is that still up to date?

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::{command::Command, platform::Platform, tools::Stamp, workspace::Workspace};

/// The gateway, built for a platform: the Worker's folder, or the component's file.
///
/// # Errors
/// If it does not build.
pub(crate) async fn gateway(workspace: &Workspace, platform: Platform) -> Result<PathBuf> {
    match platform {
        Platform::Workers => worker(workspace, Build::Gateway).await,
        Platform::Spin => spin(workspace).await,
    }
}

/// Which of the two Workers: the one that is deployed, or the one that panics when it is asked to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// The gateway.
    Gateway,
    /// With the feature `faults`, for the test that a panic is an error and not a hang.
    Faults,
}

/// The gateway as workerd loads it: `entry.mjs`, `index.js` and `index_bg.wasm` in the folder it gives.
/// Cargo is quick when nothing changed, wasm-opt is not: so the sources' hash decides. A gateway that was built
/// elsewhere is taken from `TURNPIKE_WORKER_DIR`.
///
/// # Errors
/// If it does not build.
pub(crate) async fn worker(workspace: &Workspace, build: Build) -> Result<PathBuf> {
    if let (Build::Gateway, Some(given)) = (build, env::var_os("TURNPIKE_WORKER_DIR")) {
        return Ok(PathBuf::from(given));
    }
    let _lock = workspace.lock().await?;
    let folder = folder(workspace, build);
    let outputs = OUTPUTS.map(|name| folder.join(name));
    let sources = Stamp::new(workspace, &format!("worker-sources-{}", build.folder()), &worker_sources(workspace)?)?;
    // Somebody else may have built other sources into the same folder.
    let is_ours = || Stamp::new(workspace, &format!("worker-{}", build.folder()), &outputs);
    if sources.is_current() && is_ours().is_ok_and(|outputs| outputs.is_current()) {
        return Ok(folder);
    }
    Command::new(workspace, build.label(), workspace.tool("worker-build"))
        .args(["--release", "--out-dir", build.folder()])
        .args(build.cargo_arguments())
        .folder(workspace.root.join("functions/worker"))
        .env("RUST_BACKTRACE", "0")
        .env("WASM_BINDGEN_BIN", workspace.tool("wasm-bindgen"))
        .env("WASM_OPT_BIN", workspace.npm_bin("wasm-opt"))
        .env("ESBUILD_BIN", workspace.npm_bin("esbuild"))
        .run()
        .await?;
    fs::copy(workspace.root.join("functions/worker/entry.mjs"), folder.join("entry.mjs"))
        .context("cannot put `entry.mjs` beside what was built")?;
    is_ours()?.write()?;
    sources.write()?;
    Ok(folder)
}

/// Where a Worker is built.
pub(crate) fn folder(workspace: &Workspace, build: Build) -> PathBuf {
    workspace.root.join("functions/worker").join(build.folder())
}

impl Build {
    const fn folder(self) -> &'static str {
        match self {
            Self::Gateway => "build",
            Self::Faults => "build-faults",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Gateway => "worker-build --release",
            Self::Faults => "worker-build --release --features faults",
        }
    }

    const fn cargo_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Gateway => &[],
            Self::Faults => &["--features", "faults"],
        }
    }
}

/// The gateway as a Spin component. One that was built elsewhere is taken from `TURNPIKE_SPIN_WASM`.
///
/// # Errors
/// If it does not build.
pub(crate) async fn spin(workspace: &Workspace) -> Result<PathBuf> {
    match env::var_os("TURNPIKE_SPIN_WASM") {
        Some(given) => Ok(PathBuf::from(given)),
        None => component(workspace, "turnpike-spin").await,
    }
}

/// A component of Spin's that only passes requests on, for the bench.
///
/// # Errors
/// If it does not build.
pub(crate) async fn spin_bare(workspace: &Workspace) -> Result<PathBuf> {
    component(workspace, "turnpike-spin-bare").await
}

async fn component(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let label = format!("cargo build --release -p {package}");
    let arguments = ["--release", "--target", WASI];
    let file = format!("{WASI}/release/{}.wasm", package.replace('-', "_"));
    cargo_build(workspace, &label, package, &arguments).await?;
    built(&workspace.target.join(file))
}

/// How the host for components is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostBuild {
    /// Unoptimised but for what compiles and runs components: built within minutes.
    Quick,
    /// Optimised, for the bench.
    Optimized,
}

/// The host that runs components where Spin itself is not to be had. One that was built elsewhere is taken from
/// `TURNPIKE_SPIN_HOST`.
///
/// # Errors
/// If it does not build.
pub(crate) async fn spin_host(workspace: &Workspace, build: HostBuild) -> Result<PathBuf> {
    match (env::var_os("TURNPIKE_SPIN_HOST"), build) {
        (Some(given), _) => Ok(PathBuf::from(given)),
        (None, HostBuild::Quick) => program(workspace, SPIN_HOST).await,
        (None, HostBuild::Optimized) => {
            let label = format!("cargo build --release -p {SPIN_HOST}");
            let arguments = ["build", "--locked", "--package", SPIN_HOST, "--release"];
            Command::new(workspace, &label, "cargo").args(arguments).envs(UNLINKED).run().await?;
            built(&workspace.target.join("release").join(SPIN_HOST))
        }
    }
}

/// The connector; unoptimised, which its work of copying lines does not notice.
///
/// # Errors
/// If it does not build.
pub(crate) async fn connector(workspace: &Workspace) -> Result<PathBuf> {
    program(workspace, "turnpike-connector").await
}

async fn program(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    cargo_build(workspace, &format!("cargo build -p {package}"), package, &[]).await?;
    built(&workspace.target.join("debug").join(package))
}

async fn cargo_build(workspace: &Workspace, label: &str, package: &str, more: &[&str]) -> Result<()> {
    let build = Command::new(workspace, label, "cargo").args(["build", "--locked", "--package", package]);
    build.args(more).run().await.map(drop)
}

fn built(file: &Path) -> Result<PathBuf> {
    if !file.exists() {
        bail!("cargo built no `{}`", file.display());
    }
    Ok(file.to_owned())
}

fn worker_sources(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut sources: Vec<PathBuf> = WORKER_FILES.iter().map(|file| workspace.root.join(file)).collect();
    for folder in WORKER_FOLDERS {
        let walk = WalkDir::new(workspace.root.join(folder)).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(|entry| !is_output(entry.file_name())) {
            let entry = entry.context("cannot list the Worker's sources")?;
            if entry.file_type().is_file() {
                sources.push(entry.into_path());
            }
        }
    }
    sources.push(fs::canonicalize(workspace.tool("worker-build")).context("worker-build is not installed")?);
    Ok(sources)
}

/// The folders of [`Build`]: what is in them is no source.
fn is_output(name: &OsStr) -> bool {
    [Build::Gateway, Build::Faults].iter().any(|build| name == build.folder())
}

const SPIN_HOST: &str = "turnpike-spin-host";
/// Link-time optimisation of all of wasmtime takes longer than the bench, and hardly makes it faster.
const UNLINKED: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];
const WASI: &str = "wasm32-wasip2";
const OUTPUTS: [&str; 3] = ["entry.mjs", "index.js", "index_bg.wasm"];
const WORKER_FOLDERS: [&str; 2] = ["shared", "functions/worker"];
const WORKER_FILES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "package-lock.json"];
