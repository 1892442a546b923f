//! What stands there for a stage that shows one thing: a gateway with a configuration of its own, and servers that can die?

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    client::Client,
    configuration::Configuration,
    host::{self, Busy},
    platform::Platform,
    processes::{Process, Program},
    stack::{Plan, Stack, Subject},
    token::{Bearer, Issuer},
    workspace::Workspace,
};

/// A gateway on workerd with a configuration of its own, and the issuer of the tokens it accepts.
pub(super) struct Scene {
    stack: Stack,
    issuer: Issuer,
}

/// The files of a configuration, by their names in its folder.
pub(super) type Files<'a> = &'a [(&'a str, String)];

impl Scene {
    /// Starts the gateway from nothing. `name` names its folder.
    pub(super) async fn open(workspace: &Workspace, name: &str, files: Files<'_>) -> Result<Self> {
        let state = workspace.folder(name)?;
        fs::remove_dir_all(&state)?;
        for (file, text) in files {
            write(&state.join("given").join(file), text)?;
        }
        let configuration = Configuration::read(&state.join("given/gateway.toml"))?;
        let plan = Plan::anywhere(Platform::Workers, state.clone());
        let stack = Stack::start(workspace, &plan, Subject::given(configuration)).await?;
        Ok(Self { stack, issuer: Issuer::in_folder(&state)? })
    }

    pub(super) fn url(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.stack.origin)
    }

    /// A token of `agent`, in a tenant all agents share, for somebody with `role`.
    pub(super) fn token(&self, agent: &str, role: &str) -> Result<String> {
        let bearer = Bearer { agent: agent.to_owned(), roles: vec![role.to_owned()], ..Bearer::developer(TENANT) };
        self.issuer.token(&self.stack.origin, &bearer)
    }

    /// The entry of the record of `tenant` that is `wanted`, once it is written.
    pub(super) async fn entry(&self, tenant: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let operator = self.stack.operator.as_deref().context("there is no operator")?;
        let url = format!("{}/api/audit/{tenant}?limit=1000", self.stack.origin);
        for _ in 0..POLLS {
            let answer = reqwest::Client::new().get(&url).bearer_auth(operator).send().await?.error_for_status()?;
            let rows: Value = serde_json::from_slice(&answer.bytes().await?)?;
            let rows = rows.get("rows").and_then(Value::as_array).into_iter().flatten();
            let mut entries = rows.filter_map(|row| row.get("entry"));
            if let Some(entry) = entries.find(|entry| wanted(entry)) {
                return Ok(entry.clone());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("what was looked for never came into the record of {tenant}")
    }
}

/// A fixture of the stage's own, which may be killed and started again at the same address.
pub(super) struct Fixture {
    process: Process,
    name: String,
    port: u16,
}

impl Fixture {
    pub(super) async fn start(workspace: &Workspace, name: &str) -> Result<Self> {
        Self::start_at(workspace, name, host::port(0, Busy::Refuse)?).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Ends it as a crash would.
    pub(super) fn kill(&mut self) -> Result<()> {
        let id = self.process.id().context("it has ended by itself")?;
        kill(Pid::from_raw(id), Signal::SIGKILL)?;
        while !self.process.has_ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Starts it again; it knows nothing of its sessions.
    pub(super) async fn restart(&mut self, workspace: &Workspace) -> Result<()> {
        *self = Self::start_at(workspace, &self.name, self.port).await?;
        Ok(())
    }

    /// Its tools as it defines them: what an operator approves.
    pub(super) async fn tools(&self) -> Result<String> {
        let mut client = Client::initialize(&self.url(), None).await?;
        let listed = client.request("tools/list", &json!({})).await?;
        client.close().await?;
        Ok(serde_json::to_string_pretty(listed.get("tools").context("it lists no tools")?)?)
    }

    /// Swaps the description of its tool `clock`, behind the gateway's back.
    pub(super) async fn redescribe(&self, description: &str) -> Result<()> {
        redescribe(&self.url(), description).await
    }

    async fn start_at(workspace: &Workspace, name: &str, port: u16) -> Result<Self> {
        let mut program = Program::new(workspace, &format!("fixture-{name}"), "node")?;
        program.command().arg("tests/fixture/server.mjs").args(["--name", name, "--port", &port.to_string()]);
        let (process, _) = program.start("fixture ready ").await?;
        Ok(Self { process, name: name.to_owned(), port })
    }
}

/// Swaps the description of the tool `clock` of the fixture at `url`.
pub(super) async fn redescribe(url: &str, description: &str) -> Result<()> {
    let mut client = Client::initialize(url, None).await?;
    client.call("redescribe", &json!({ "description": description })).await?;
    client.close().await
}

/// Writes a file and the folders above it.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}

/// An error with `what`, unless `holds`.
pub(super) fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { bail!(what()) }
}

/// Whose agents they are.
pub(super) const TENANT: &str = "acme";
pub(super) const POLL: Duration = Duration::from_millis(100);
/// Decisions are written with the answer, outcomes and findings within seconds.
const POLLS: usize = 150;
