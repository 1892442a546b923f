//! How does a component run on this machine? By `spin up`, or by our test host, which takes the same arguments.

pub(crate) mod manifest;
mod runtime;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use gateway::config::LIVE_KEY;

use crate::{
    configuration::{Deployment, keyed},
    processes::Process,
    progress,
    workspace::Workspace,
};

use self::manifest::{Local, Manifest};

pub(crate) use self::runtime::Runtime;

/// A component with a port of its own.
pub(crate) struct Application {
    /// What is read while it starts, and names its log.
    pub(crate) name: String,
    pub(crate) port: u16,
    /// For all that is written: the derived `spin.toml`, documents, databases; kept from run to run.
    pub(crate) folder: PathBuf,
    /// The `spin.toml` the derived one is made of.
    pub(crate) manifest: PathBuf,
    /// The built component.
    pub(crate) module: PathBuf,
    /// Whom it may call.
    pub(crate) origins: BTreeSet<String>,
    pub(crate) variables: BTreeMap<String, String>,
    /// What it finds in its store, by key.
    pub(crate) documents: BTreeMap<String, String>,
}

impl Application {
    /// The gateway in `module`, for what `deployment` says.
    pub(crate) fn gateway(workspace: &Workspace, module: &Path, deployment: Deployment) -> Self {
        let variables = deployment.secrets.into_iter();
        Self {
            name: "gateway".to_owned(),
            port: deployment.port,
            folder: deployment.state.join("spin"),
            manifest: workspace.root.join("spin.toml"),
            module: module.to_owned(),
            origins: deployment.origins,
            variables: variables.map(|(name, value)| (manifest::variable(&name), value)).collect(),
            documents: deployment.documents,
        }
    }

    /// Starts it; it serves when this returns.
    ///
    /// # Errors
    /// If it does not start; the message ends with what it said.
    pub(crate) async fn start(&self, workspace: &Workspace, runtime: &Runtime) -> Result<Process> {
        let file = self.derive()?;
        let mut program = runtime.up(workspace, &self.name, &file)?;
        let command = program.command();
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--state-dir"]).arg(&self.folder);
        // What an earlier run left in the store would be heeded before the mounted document.
        if let Some(live) = self.documents.get(LIVE_KEY) {
            command.args(["--key-value", &format!("{LIVE_KEY}={live}")]);
        }
        let label = format!("{} on {runtime}", self.name);
        let (process, _) = progress::step(&label, COMPILING, program.start(SERVING)).await?;
        Ok(process)
    }

    /// Writes the `spin.toml` of this run, and the documents. `--key-value` takes no file, and an argument of the command
    /// line no more than 128 KiB: so they are mounted, as in a deployment.
    fn derive(&self) -> Result<PathBuf> {
        let mounted = self.folder.join(MOUNTED);
        fs::create_dir_all(&mounted).with_context(|| format!("cannot make `{}`", mounted.display()))?;
        fs::write(mounted.join(BUNDLE), serde_json::to_string_pretty(&keyed(&self.documents))?)?;
        let mut manifest = Manifest::read(&self.manifest)?;
        let (module, origins, variables) = (&*self.module, &self.origins, &self.variables);
        manifest.localize(&Local { module, origins, variables, mounted: MOUNTED })?;
        let file = self.folder.join("spin.toml");
        manifest.write(&file)?;
        Ok(file)
    }
}

/// What is said, with the address, once it serves.
pub(crate) const SERVING: &str = "Serving ";
/// The file of documents in the folder that is mounted.
pub(crate) const BUNDLE: &str = "bundle.json";
const COMPILING: &str = "a new component is compiled for this machine first";
const MOUNTED: &str = "config";
