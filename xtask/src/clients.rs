//! Do clients that nobody here wrote do all they can at real servers of either era, at both endpoints of the gateway?
//!
//! Each client is a script in `tests/clients` that tells what it saw. What a client cannot do, whatever the gateway, is
//! named with its reason in `tests/clients/expected.toml`.

mod client;
mod expected;
mod seen;
mod servers;
mod table;

use std::{collections::BTreeMap, fs, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use futures_util::{StreamExt, stream};

use crate::{command::Command, markdown, platform::Platform, tools, workspace::Workspace};

pub(crate) use self::{client::Client, table::Table};

use self::{
    expected::Expected,
    seen::{Place, Seen},
    servers::{Endpoint, Servers},
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this client; may be said several times
    #[arg(long, value_enum)]
    client: Vec<Client>,
    /// Only this endpoint; may be said several times. `direct` is the server itself, to see what a client can do at all
    #[arg(long, value_enum)]
    endpoint: Vec<Endpoint>,
    /// Put the table into tests/README.md
    #[arg(long, conflicts_with_all = ["client", "endpoint"])]
    write: bool,
}

/// Sets up, lets the clients that were asked for do their work, and prints the table.
///
/// # Errors
/// If anything cannot be started; what a client misses is counted by the exit code instead.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    tools::set_up(workspace, Platform::Workers).await?;
    tools::set_up_python(workspace).await?;
    let mut setting = Setting::start(workspace, &options.endpoint).await?;
    let clients: &[Client] = if options.client.is_empty() { Client::value_variants() } else { &options.client };
    let mut problems = Vec::new();
    for client in clients {
        println!("   {} ...", client.title());
        if let Err(error) = setting.visit(*client).await {
            problems.push(format!("{}:\n  {error:#}", client.title()));
        }
    }
    let table = setting.table();
    println!("\n{table}");
    if options.write {
        markdown::write(&workspace.root.join("tests/README.md"), "cargo xtask clients --write", &table.to_string())?;
    }
    for problem in &problems {
        println!("\n✗ {problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The servers, the gateway in front of them, and what the clients have seen so far.
pub(crate) struct Setting<'a> {
    workspace: &'a Workspace,
    servers: Servers,
    endpoints: Vec<Endpoint>,
    expected: Expected,
    seen: Vec<Seen>,
}

impl<'a> Setting<'a> {
    /// Starts the servers and the gateway. Without `endpoints`, both of the gateway are meant.
    ///
    /// # Errors
    /// If something does not start.
    pub(crate) async fn start(workspace: &'a Workspace, endpoints: &[Endpoint]) -> Result<Self> {
        let servers = Servers::start(workspace).await?;
        let endpoints = if endpoints.is_empty() { &[Endpoint::Server, Endpoint::Federated] } else { endpoints };
        let expected = Expected::read(workspace)?;
        Ok(Self { workspace, servers, endpoints: endpoints.to_vec(), expected, seen: Vec::new() })
    }

    /// One client, at every server and endpoint.
    ///
    /// # Errors
    /// With what it missed that nobody expected, and what it did that was thought impossible.
    pub(crate) async fn visit(&mut self, client: Client) -> Result<()> {
        let places: Vec<Place> = self.endpoints.iter().flat_map(|endpoint| self.servers.places(*endpoint)).collect();
        let work = places.into_iter().map(|place| see(self.workspace, client, place));
        let answers: Vec<Result<Vec<Seen>>> = stream::iter(work).buffer_unordered(AT_A_TIME).collect().await;
        let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for answer in answers {
            for seen in answer? {
                if let Some(problem) = self.expected.judge(&seen) {
                    let same = problems.entry(format!("{}, {}: {problem}", seen.server, seen.endpoint));
                    same.or_default().push(seen.aspect.clone());
                }
                self.seen.push(seen);
            }
        }
        let lines = problems.into_iter().map(|(problem, aspects)| format!("{problem} ({})", aspects.join(", ")));
        let lines: Vec<String> = lines.collect();
        if lines.is_empty() { Ok(()) } else { bail!("{}", lines.join("\n  ")) }
    }

    /// What was seen so far.
    pub(crate) fn table(&self) -> Table<'_> {
        Table::of(&self.seen, &self.expected)
    }
}

/// Runs the client's script once.
async fn see(workspace: &Workspace, client: Client, place: Place) -> Result<Vec<Seen>> {
    let label = format!("client {} {}", client.name(), place.name());
    let output = Command::new(workspace, &label, client.program(workspace))
        .arg(client.script())
        .arg(serde_json::to_string(&place.targets)?)
        .env("TURNPIKE_MODE", client.mode())
        .env("TURNPIKE_URL", &place.url)
        .env("TURNPIKE_TOKEN", place.token.as_deref().unwrap_or_default())
        .output()
        .await?;
    let said = output.success()?;
    fs::write(workspace.folder("clients")?.join(format!("{}-{}.jsonl", client.name(), place.name())), &said)
        .context("cannot keep what a client said")?;
    Seen::read(client, &place, &said)
}

/// As many as there are cores on a small machine.
const AT_A_TIME: usize = 2;
