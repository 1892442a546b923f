//! Which servers do the clients use, and where are they found?

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::{
    configuration::Configuration,
    host::{self, Busy},
    platform::Platform,
    processes::Processes,
    stack::{self, Plan, Stack, Subject},
    token::persisted_secret,
    workspace::Workspace,
};

use super::seen::Place;

/// Where a client meets a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Endpoint {
    /// Without the gateway.
    Direct,
    /// `/mcp/{server}`
    Server,
    /// `/mcp`, where every server is, under names that tell them apart.
    Federated,
}

impl Endpoint {
    /// As the table shows it.
    pub(super) fn path(self, server: &str) -> String {
        match self {
            Self::Direct => "direct".to_owned(),
            Self::Server => format!("`/mcp/{server}`"),
            Self::Federated => "`/mcp`".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Server => "server",
            Self::Federated => "federated",
        })
    }
}

/// The running servers, with the gateway in front of them.
pub(super) struct Servers {
    gateway: Stack,
    secret: String,
    /// Their own endpoints, by name.
    urls: BTreeMap<&'static str, String>,
    /// What clients do at each kind of server: `tests/clients/servers.json`.
    kinds: Map<String, Value>,
    _processes: Processes,
}

impl Servers {
    /// Starts the two stdio servers behind the connector, a fixture for each era and one for both, and the gateway.
    pub(super) async fn start(workspace: &Workspace) -> Result<Self> {
        let state = workspace.folder("clients")?;
        fs::remove_dir_all(&state)?;
        fs::create_dir_all(&state)?;
        let mut processes = Processes::default();
        let mut urls = BTreeMap::new();
        for (name, era) in FIXTURES {
            urls.insert(name, stack::fixture_with(workspace, &mut processes, name, &["--era", era]).await?);
        }
        let secret = persisted_secret(&state.join("connector.key"))?;
        let listen = format!("127.0.0.1:{}", host::port(0, Busy::Elsewhere)?);
        let file = connector_toml(workspace, &state, &listen)?;
        stack::connector_with(workspace, &file, &secret, &mut processes).await?;
        for name in STDIO {
            urls.insert(name, format!("http://{listen}/{name}/mcp"));
        }
        let plan = Plan::anywhere(Platform::Workers, state);
        let subject = Subject::given(configuration(&urls)?).with_secret(SECRET, &secret);
        let gateway = Stack::start(workspace, &plan, subject).await?;
        let kinds = fs::read_to_string(workspace.root.join("tests/clients/servers.json"));
        let kinds = serde_json::from_str(&kinds.context("cannot read `tests/clients/servers.json`")?)?;
        Ok(Self { gateway, secret, urls, kinds, _processes: processes })
    }

    /// Where a client has to go to see every server at this endpoint.
    pub(super) fn places(&self, endpoint: Endpoint) -> Vec<Place> {
        let origin = &self.gateway.origin;
        let token = self.gateway.token.clone();
        let apart = self.urls.iter().map(|(name, url)| {
            let targets = vec![self.target(name, "", "")];
            match endpoint {
                Endpoint::Direct => {
                    let token = STDIO.contains(name).then(|| self.secret.clone());
                    Place { endpoint, url: url.clone(), token, targets }
                }
                _ => Place { endpoint, url: format!("{origin}/mcp/{name}"), token: token.clone(), targets },
            }
        });
        if endpoint != Endpoint::Federated {
            return apart.collect();
        }
        let together = self.urls.keys().map(|name| self.target(name, &format!("{name}__"), &format!("mcp+{name}+")));
        vec![Place { endpoint, url: format!("{origin}/mcp"), token: token.clone(), targets: together.collect() }]
    }

    fn target(&self, name: &str, prefix: &str, uri_prefix: &str) -> Value {
        let kind = name.split('-').next().unwrap_or(name);
        let mut target = self.kinds.get(kind).cloned().unwrap_or_default();
        let names = [("server", name), ("prefix", prefix), ("uri_prefix", uri_prefix)];
        if let Some(target) = target.as_object_mut() {
            target.extend(names.map(|(key, text)| (key.to_owned(), json!(text))));
        }
        target
    }
}

fn configuration(urls: &BTreeMap<&str, String>) -> Result<Configuration> {
    let mut text = "[gateway]\nurl = \"http://127.0.0.1:0\"\n".to_owned();
    for (name, url) in urls {
        text += &format!("\n[[servers]]\nname = \"{name}\"\ninstances = [\"{url}\"]\ntimeout_ms = 60000\n");
        if STDIO.contains(name) {
            text += &format!("secret = \"{SECRET}\"\n");
        }
    }
    Configuration::from_text(&text)
}

fn connector_toml(workspace: &Workspace, state: &Path, listen: &str) -> Result<PathBuf> {
    let everything = workspace.npm_bin("mcp-server-everything");
    let python = workspace.python();
    let text = format!(
        "[connector]\nlisten = \"{listen}\"\n\n\
         [[servers]]\nname = \"everything\"\ncommand = \"{}\"\nargs = [\"stdio\"]\n\n\
         [[servers]]\nname = \"time\"\ncommand = \"{}\"\n\
         args = [\"-m\", \"mcp_server_time\", \"--local-timezone\", \"UTC\"]\n",
        everything.display(),
        python.display(),
    );
    let file = state.join("connector.toml");
    fs::write(&file, text).with_context(|| format!("cannot write `{}`", file.display()))?;
    Ok(file)
}

/// The fixtures, and the eras they speak.
const FIXTURES: [(&str, &str); 3] = [("fixture", "both"), ("fixture-legacy", "legacy"), ("fixture-modern", "modern")];
/// The stdio servers behind the connector.
const STDIO: [&str; 2] = ["everything", "time"];
const SECRET: &str = "CONNECTOR_SECRET";
