//! What runs during the bench? The upstream in a thread, and one workerd with all Workers.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    client::Client,
    configuration::{self, Configuration},
    host::{self, Busy, Description, Worker},
    processes::Process,
    token::{Bearer, ISSUER, Issuer},
    workspace::Workspace,
};

use super::{
    cpu,
    load::{Caller, Target, Trace},
    policed,
    rows::{Asked, Course, Era, Way},
    upstream::{self, Upstream},
};

/// All that is called.
pub(super) struct Setting {
    upstream: SocketAddr,
    ports: BTreeMap<Way, u16>,
    issuer: Issuer,
    /// Ends workerd with the bench.
    _host: Process,
    /// The process whose time is counted.
    pub(super) workerd: i32,
}

impl Setting {
    pub(super) async fn start(workspace: &Workspace, modules: PathBuf) -> Result<Self> {
        let state = workspace.folder("bench")?;
        fs::remove_dir_all(&state)?;
        fs::create_dir_all(&state)?;
        let upstream = upstream::start()?;
        let issuer = Issuer::in_folder(&state)?;
        let jwks = state.join("dev.jwks.json");
        fs::write(&jwks, issuer.jwks().to_string())?;
        let mut ports = BTreeMap::from([(Way::Bare, host::port(0, Busy::Refuse)?)]);
        let mut workers = vec![bare(&state, upstream, ports.get(&Way::Bare).copied().unwrap_or_default())?];
        for way in Way::GATEWAYS {
            let port = host::port(0, Busy::Refuse)?;
            let text = text(way, port, upstream);
            let mut configuration = if way.is_policed() {
                policed::configuration(workspace, &state.join(name(way)), &text)?
            } else {
                Configuration::from_text(&text)?
            };
            configuration.trust(ISSUER, &jwks)?;
            workers.push(gateway(&state, way, port, &configuration, &modules)?);
            ports.insert(way, port);
        }
        let description = Description { persist: Some(state.join("storage")), workers };
        let host = host::start(workspace, &state, "bench", &description).await?;
        let workerd = cpu::child_of(host.id().context("the host has ended")?)?;
        Ok(Self { upstream, ports, issuer, _host: host, workerd })
    }

    /// How to call on this course.
    pub(super) fn target(&self, course: Course) -> Result<Target> {
        let Course { way, caller, asked, .. } = course;
        let name = course.upstream.name();
        let is_of_all = matches!(asked, Asked::CallOfAll | Asked::ListOfAll);
        let (address, path) = match self.ports.get(&way) {
            None => (self.upstream, format!("/{name}/mcp")),
            Some(port) if way == Way::Bare => (loopback(*port), format!("/{name}/mcp")),
            Some(port) if is_of_all => (loopback(*port), "/mcp".to_owned()),
            Some(port) => (loopback(*port), format!("/mcp/{name}")),
        };
        let tool = if is_of_all { format!("{name}__echo") } else { "echo".to_owned() };
        let token = self.issuer.token(&format!("http://{address}"), &Bearer::developer(TENANT))?;
        let trace = if way == Way::Counted { Trace::Named } else { Trace::Unnamed };
        Ok(Target { address, path, token, trace, caller, asked, tool })
    }
}

/// Makes `count` callers, and begins a session for each that needs one.
pub(super) async fn callers(target: &Target, count: usize) -> Result<Vec<Caller>> {
    if target.caller == Era::Modern {
        return Ok((0..count).map(|_| Caller::new(None)).collect());
    }
    let url = format!("http://{}{}", target.address, target.path);
    let mut callers = Vec::new();
    for _ in 0..count {
        let client = Client::initialize(&url, Some(&target.token)).await;
        let client = client.with_context(|| format!("no session at `{url}`"))?;
        let session = client.session().context("the answer to `initialize` has no session")?;
        callers.push(Caller::new(Some(session.to_owned())));
    }
    Ok(callers)
}

fn bare(state: &Path, upstream: SocketAddr, port: u16) -> Result<Worker> {
    let modules = state.join("bare");
    fs::create_dir_all(&modules)?;
    fs::write(modules.join("index.js"), include_str!("bare.js"))?;
    let bindings = BTreeMap::from([("UPSTREAM".to_owned(), format!("http://{upstream}"))]);
    Ok(Worker { name: "bare".to_owned(), port, modules, main: "index.js".to_owned(), bindings, ..Worker::default() })
}

fn gateway(state: &Path, way: Way, port: u16, configuration: &Configuration, modules: &Path) -> Result<Worker> {
    let mut worker = configuration::worker(state, port, configuration, BTreeMap::new())?;
    worker.name = name(way).to_owned();
    worker.modules = modules.to_owned();
    if way == Way::Counted {
        worker.modules = state.join("counting");
        worker.main = "counting.mjs".to_owned();
        copy(modules, &worker.modules)?;
        fs::write(worker.modules.join(&worker.main), include_str!("counting.mjs"))?;
    }
    Ok(worker)
}

/// Copies the files of a folder.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// What all configurations have.
fn text(way: Way, port: u16, upstream: SocketAddr) -> String {
    let audit = if way.is_strict() { "strict" } else { "relaxed" };
    let mut text = format!("[gateway]\nurl = \"http://127.0.0.1:{port}\"\naudit = \"{audit}\"\n");
    for (name, kind) in servers(way) {
        let path = kind.name();
        text += &format!("\n[[servers]]\nname = \"{name}\"\ninstances = [\"http://{upstream}/{path}/mcp\"]\n");
    }
    if way == Way::RelaxedLimited {
        text += &format!("\n[[limits]]\nby = [\"agent\"]\nrequests_per_minute = {NEVER_REACHED}\n");
    }
    text
}

/// The servers behind a gateway, by name.
fn servers(way: Way) -> Vec<(String, Upstream)> {
    match way {
        Way::RelaxedThree => {
            let names = [Upstream::Modern.name(), "second".to_owned(), "third".to_owned()];
            names.map(|name| (name, Upstream::Modern)).to_vec()
        }
        _ => Upstream::ALL.map(|upstream| (upstream.name(), upstream)).to_vec(),
    }
}

fn name(way: Way) -> &'static str {
    way.worker().unwrap_or_default()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Of those who call.
pub(super) const TENANT: &str = "acme";
const NEVER_REACHED: u32 = 6_000_000;
