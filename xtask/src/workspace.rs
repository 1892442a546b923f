//! Where does everything lie?

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

/// The folders of the checkout, and this program itself.
pub(crate) struct Workspace {
    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder; all that xtask keeps is below it.
    pub(crate) target: PathBuf,
    /// This program; taken at the start, since a rebuild may replace the file.
    pub(crate) xtask: PathBuf,
}

impl Workspace {
    pub(crate) fn locate() -> Result<Self> {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest_dir.parent().context("xtask has no workspace around it")?.to_owned();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
        let xtask = env::current_exe().context("cannot tell where xtask itself lies")?;
        Ok(Self { root, target, xtask })
    }

    /// The output of every command and process, one file each.
    pub(crate) fn logs(&self) -> Result<PathBuf> {
        self.folder("logs")
    }

    /// Notes of what is set up already.
    pub(crate) fn stamps(&self) -> Result<PathBuf> {
        self.folder("stamps")
    }

    /// The folder `name` below target, made if need be.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(path)
    }

    /// Waits until no other xtask sets up or builds; none does as long as the file is held.
    pub(crate) async fn lock(&self) -> Result<File> {
        let path = self.folder("stamps")?.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            eprintln!("   another `cargo xtask` is setting up or building: waiting for it");
        }
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// A program that npm installed.
    pub(crate) fn npm_bin(&self, name: &str) -> PathBuf {
        self.root.join("node_modules/.bin").join(name)
    }

    /// A program that `cargo install` put under target.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.target.join("tools/bin").join(name)
    }

    /// A program of the Python virtual environment.
    pub(crate) fn python(&self) -> PathBuf {
        self.target.join("venv/bin/python")
    }
}

const LOCK_POLL: Duration = Duration::from_millis(100);
