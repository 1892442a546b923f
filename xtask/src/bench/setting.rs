//! What runs during the bench? The upstream in a thread; and what is called, on one runtime.

mod on_spin;
mod on_workerd;

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result};

use crate::{
    client::Client,
    configuration::{Configuration, Deployment},
    host::{self, Busy},
    platform::Platform,
    processes::Processes,
    token::{Bearer, ISSUER, Issuer},
    workspace::Workspace,
};

use super::{
    load::{Caller, Target, Trace},
    policed,
    rows::{Asked, Course, Era, Way},
    upstream::{self, Upstream},
};

/// All that is called.
pub(super) struct Setting {
    upstream: SocketAddr,
    served: BTreeMap<Way, Served>,
    issuer: Issuer,
    /// They end with the bench.
    _processes: Processes,
}

/// Something that listens, and is no upstream.
#[derive(Clone, Copy)]
struct Served {
    port: u16,
    /// The process whose time is counted.
    process: i32,
}

/// What is to be served.
struct Bill<'a> {
    workspace: &'a Workspace,
    /// A folder for all that is written.
    state: &'a Path,
    upstream: SocketAddr,
    bare_port: u16,
    /// The built gateway.
    built: &'a Path,
    gateways: Vec<(Way, Deployment)>,
}

impl Setting {
    /// Starts it all, with the gateway that is `built`.
    ///
    /// # Errors
    /// If something does not start.
    pub(super) async fn start(workspace: &Workspace, platform: Platform, built: &Path) -> Result<Self> {
        let state = workspace.folder("bench")?;
        fs::remove_dir_all(&state)?;
        fs::create_dir_all(&state)?;
        let upstream = upstream::start()?;
        let issuer = Issuer::in_folder(&state)?;
        let jwks = state.join("dev.jwks.json");
        fs::write(&jwks, issuer.jwks().to_string())?;
        let mut gateways = Vec::new();
        for &way in Way::gateways(platform) {
            let folder = state.join(way.name());
            fs::create_dir_all(&folder)?;
            let port = host::port(0, Busy::Refuse)?;
            let text = text(way, port, upstream);
            let mut configuration = if way.is_policed() {
                policed::configuration(workspace, &folder, &text)?
            } else {
                Configuration::from_text(&text)?
            };
            configuration.trust(ISSUER, &jwks)?;
            gateways.push((way, Deployment::of(&configuration, BTreeMap::new(), &folder, port)?));
        }
        let bare_port = host::port(0, Busy::Refuse)?;
        let bill = Bill { workspace, state: &state, upstream, bare_port, built, gateways };
        let mut processes = Processes::default();
        let served = match platform {
            Platform::Workers => on_workerd::serve(bill, &mut processes).await?,
            Platform::Spin => on_spin::serve(bill, &mut processes).await?,
        };
        Ok(Self { upstream, served, issuer, _processes: processes })
    }

    /// The process that works for calls on this way: none for those that go straight.
    pub(super) fn process(&self, way: Way) -> Option<i32> {
        self.served.get(&way).map(|served| served.process)
    }

    /// How to call on this course.
    pub(super) fn target(&self, course: Course) -> Result<Target> {
        let Course { way, caller, asked, .. } = course;
        let name = course.upstream.name();
        let is_of_all = matches!(asked, Asked::CallOfAll | Asked::ListOfAll);
        let (address, path) = match self.served.get(&way) {
            None => (self.upstream, format!("/{name}/mcp")),
            Some(served) if way == Way::Bare => (loopback(served.port), format!("/{name}/mcp")),
            Some(served) if is_of_all => (loopback(served.port), "/mcp".to_owned()),
            Some(served) => (loopback(served.port), format!("/mcp/{name}")),
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

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Of those who call.
pub(super) const TENANT: &str = "acme";
const NEVER_REACHED: u32 = 6_000_000;
