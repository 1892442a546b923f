//! How do the gateway and what stands behind it start together on one machine?

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::json;
use toml::{Table, Value};

use crate::{
    artifacts::{self, HostBuild},
    configuration::{Configuration, Deployment},
    host::{self, Busy, Description},
    platform::Platform,
    processes::{Process, Processes, Program},
    progress::Step,
    spin::{Application, Runtime},
    token::{Bearer, ISSUER, Issuer, persisted_secret},
    workspace::Workspace,
};

/// What the gateway runs on, where things are kept, and at which port callers find it.
pub(crate) struct Plan {
    pub(crate) platform: Platform,
    /// Keys, storage, configurations; kept from run to run.
    pub(crate) state: PathBuf,
    /// The gateway's port; absent: the configuration's.
    pub(crate) port: Option<u16>,
    pub(crate) busy: Busy,
}

impl Plan {
    /// At any port that is free.
    pub(crate) fn anywhere(platform: Platform, state: PathBuf) -> Self {
        Self { platform, state, port: Some(0), busy: Busy::Elsewhere }
    }

    /// The port callers will use.
    ///
    /// # Errors
    /// If it is taken, and no other may be used.
    pub(crate) fn gateway_port(&self, subject: &Subject) -> Result<u16> {
        let wanted = self.port.or(subject.configuration.loopback_port());
        host::port(wanted.unwrap_or(PORT), self.busy)
    }
}

/// A configuration, and who starts what it names.
pub(crate) struct Subject {
    configuration: Configuration,
    servers: Servers,
    secrets: BTreeMap<String, String>,
}

impl Subject {
    /// The example: three stdio servers behind the connector, and the fixture.
    pub(crate) fn example(workspace: &Workspace) -> Result<Self> {
        let configuration = Configuration::read(&workspace.root.join("infra/gateway.toml"))?;
        Ok(Self { configuration, servers: Servers::Ours, secrets: BTreeMap::new() })
    }

    /// What `configuration` names; nothing but the gateway is started.
    pub(crate) fn given(configuration: Configuration) -> Self {
        Self { configuration, servers: Servers::Theirs, secrets: BTreeMap::new() }
    }

    /// With the value of a secret that the configuration names.
    pub(crate) fn with_secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Who starts the servers behind the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Servers {
    Ours,
    Theirs,
}

/// The running whole; dropping it ends all of it.
pub(crate) struct Stack {
    pub(crate) processes: Processes,
    /// Where the gateway answers, without a path.
    pub(crate) origin: String,
    /// A token of the development issuer, where it is trusted.
    pub(crate) token: Option<String>,
    /// One of an operator, where the configuration names whose they are.
    pub(crate) operator: Option<String>,
    /// What stands behind it.
    pub(crate) servers: Vec<Server>,
}

/// A server behind the gateway.
pub(crate) struct Server {
    pub(crate) name: String,
    /// What to try it with, where its tools are known.
    pub(crate) first_call: Option<FirstCall>,
}

/// A tool with arguments it answers to.
pub(crate) struct FirstCall {
    pub(crate) tool: &'static str,
    pub(crate) arguments: serde_json::Value,
}

impl Stack {
    /// Starts it all, from the back to the front.
    ///
    /// # Errors
    /// If a port is taken, a configuration is wrong, or a program does not start.
    pub(crate) async fn start(workspace: &Workspace, plan: &Plan, subject: Subject) -> Result<Self> {
        fs::create_dir_all(&plan.state)?;
        let port = plan.gateway_port(&subject)?;
        let Subject { mut configuration, servers, mut secrets } = subject;
        let mut processes = Processes::default();
        if servers == Servers::Ours {
            artifacts::gateway(workspace, plan.platform).await?;
            secrets.extend(behind(workspace, plan, &mut configuration, &mut processes).await?);
        }
        let trust = Trust::establish(plan, &mut configuration, port)?;
        let secrets = configuration.secrets(&secrets)?;
        if servers == Servers::Ours {
            configuration.copy_to(&plan.state.join("infra"))?;
        }
        let deployment = Deployment::of(&configuration, secrets, &plan.state, port)?;
        // A configuration that is wrong has been refused by now, before the long build.
        let built = artifacts::gateway(workspace, plan.platform).await?;
        processes.add(match plan.platform {
            Platform::Workers => on_workerd(workspace, &built, deployment).await?,
            Platform::Spin => on_spin(workspace, &built, deployment).await?,
        });
        let servers = configuration
            .servers()
            .into_iter()
            .map(|name| Server { first_call: first_call(&name).filter(|_| servers == Servers::Ours), name });
        let Trust { origin, token, operator } = trust;
        Ok(Self { processes, origin, token, operator, servers: servers.collect() })
    }
}

async fn on_workerd(workspace: &Workspace, built: &Path, deployment: Deployment) -> Result<Process> {
    let step = Step::begin("the gateway on workerd");
    let state = deployment.state.clone();
    let workers = vec![deployment.worker(built)];
    let description = Description { persist: Some(state.join("storage")), workers };
    let process = host::start(workspace, &state, "gateway", &description).await?;
    step.done();
    Ok(process)
}

async fn on_spin(workspace: &Workspace, built: &Path, deployment: Deployment) -> Result<Process> {
    let runtime = Runtime::find(workspace, HostBuild::Quick).await?;
    Application::gateway(workspace, built, deployment).start(workspace, &runtime).await
}

/// The address callers use, and a token that opens it.
struct Trust {
    origin: String,
    token: Option<String>,
    operator: Option<String>,
}

impl Trust {
    /// A gateway on loopback is given its real port, and trusts the development issuer beside the
    /// issuers of its file. One with a public url stays as it is, and its callers bring their tokens.
    fn establish(plan: &Plan, configuration: &mut Configuration, port: u16) -> Result<Self> {
        let origin = format!("http://127.0.0.1:{port}");
        if configuration.url().is_some() && configuration.loopback_port().is_none() {
            return Ok(Self { origin, token: None, operator: None });
        }
        if configuration.loopback_port() != Some(port) {
            configuration.set("url", origin.as_str())?;
        }
        let issuer = Issuer::in_folder(&plan.state)?;
        let jwks = plan.state.join("dev.jwks.json");
        fs::write(&jwks, serde_json::to_string_pretty(&issuer.jwks())?)
            .with_context(|| format!("cannot write `{}`", jwks.display()))?;
        configuration.trust(ISSUER, &jwks)?;
        let audience = configuration.url().unwrap_or(&origin).to_owned();
        let tenant = configuration.tenant().unwrap_or_else(|| TENANT.to_owned());
        let token = issuer.token(&audience, &Bearer::developer(&tenant))?;
        let operator = configuration.operators().map(|tenant| issuer.token(&audience, &Bearer::operator(&tenant)));
        let origin = audience.trim_end_matches('/').to_owned();
        Ok(Self { origin, token: Some(token), operator: operator.transpose()? })
    }
}

/// Starts the servers of the example and tells the configuration where they are; gives the
/// secrets they ask for.
async fn behind(
    workspace: &Workspace,
    plan: &Plan,
    configuration: &mut Configuration,
    processes: &mut Processes,
) -> Result<BTreeMap<String, String>> {
    let secret = persisted_secret(&plan.state.join("connector.key"))?;
    let connector = connector(workspace, &plan.state, &secret, processes).await?;
    for server in ["everything", "memory", "files"] {
        configuration.set_instances(server, &[format!("{connector}/{server}/mcp")])?;
    }
    configuration.set_instances("fixture", &[fixture(workspace, processes).await?])?;
    Ok(BTreeMap::from([("CONNECTOR_SECRET".to_owned(), secret)]))
}

async fn connector(workspace: &Workspace, state: &Path, secret: &str, processes: &mut Processes) -> Result<String> {
    let listen = format!("127.0.0.1:{}", host::port(CONNECTOR_PORT, Busy::Elsewhere)?);
    let file = connector_toml(workspace, state, &listen)?;
    connector_with(workspace, &file, secret, processes).await?;
    Ok(format!("http://{listen}"))
}

/// Builds and starts the connector with what `file` says.
pub(crate) async fn connector_with(
    workspace: &Workspace,
    file: &Path,
    secret: &str,
    processes: &mut Processes,
) -> Result<()> {
    let binary = artifacts::connector(workspace).await?;
    let step = Step::begin("the connector with its stdio servers");
    let mut program = Program::new(workspace, "connector", binary)?;
    program.command().args(["serve", "--config"]).arg(file);
    program.command().env("TURNPIKE_CONNECTOR_SECRET", secret);
    let (process, _) = program.start("ready").await?;
    processes.add(process);
    step.done();
    Ok(())
}

/// The example's file with the address that is free, the programs' full paths (theirs are from
/// the folder of the example), and places of their own for what the servers keep.
fn connector_toml(workspace: &Workspace, state: &Path, listen: &str) -> Result<PathBuf> {
    let folder = workspace.root.join("infra");
    let files = state.join("files");
    fs::create_dir_all(files.join("drafts"))?;
    let mut table: Table = fs::read_to_string(folder.join("connector.toml"))?.parse()?;
    table.insert("connector".to_owned(), Value::Table(texts([("listen", listen)])));
    let memory = state.join("memory.jsonl").display().to_string();
    let servers = table.get_mut("servers").and_then(Value::as_array_mut);
    for server in servers.into_iter().flatten().filter_map(Value::as_table_mut) {
        if let Some(Value::String(command)) = server.get_mut("command") {
            *command = folder.join(&*command).display().to_string();
        }
        if server.get("name").and_then(Value::as_str) == Some("files") {
            server.insert("args".to_owned(), Value::Array(vec![Value::String(files.display().to_string())]));
        }
        let set_env = texts([("MEMORY_FILE_PATH", memory.as_str())]);
        server.insert("set_env".to_owned(), Value::Table(set_env));
    }
    let file = state.join("connector.toml");
    fs::write(&file, toml::to_string(&table)?)?;
    Ok(file)
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> Table {
    pairs.into_iter().map(|(key, text)| (key.to_owned(), Value::String(text.to_owned()))).collect()
}

/// Starts the fixture; gives the url of its endpoint.
async fn fixture(workspace: &Workspace, processes: &mut Processes) -> Result<String> {
    let port = host::port(FIXTURE_PORT, Busy::Elsewhere)?;
    fixture_with(workspace, processes, "fixture", &["--port", &port.to_string()]).await
}

/// Starts a fixture with `options`, on any port unless they name one; gives the url of its endpoint.
pub(crate) async fn fixture_with(
    workspace: &Workspace,
    processes: &mut Processes,
    name: &str,
    options: &[&str],
) -> Result<String> {
    let step = Step::begin(&format!("the Streamable HTTP server `{name}`"));
    let mut program = Program::new(workspace, name, "node")?;
    program.command().args(["tests/fixture/server.mjs", "--name", name]).args(options);
    let (process, url) = program.start("fixture ready ").await?;
    processes.add(process);
    step.done();
    Ok(url)
}

fn first_call(server: &str) -> Option<FirstCall> {
    let (tool, arguments) = match server {
        "everything" => ("echo", json!({ "message": "hello from a stdio server" })),
        "memory" => ("read_graph", json!({})),
        "files" => ("list_allowed_directories", json!({})),
        "fixture" => ("echo", json!({ "text": "hello from a remote server" })),
        _ => return None,
    };
    Some(FirstCall { tool, arguments })
}

const PORT: u16 = 8787;
const CONNECTOR_PORT: u16 = 3101;
const FIXTURE_PORT: u16 = 3102;
const TENANT: &str = "acme";
