//! How do Workers run on this machine? By `host.mjs`, which starts workerd through miniflare.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{
    processes::{Process, Program},
    token::write_private,
    workspace::Workspace,
};

/// The Workers of one workerd process, as `host.mjs` reads them.
#[derive(Serialize)]
pub(crate) struct Description {
    /// Where Durable Objects and KV are kept; forgotten at the end if absent.
    pub(crate) persist: Option<PathBuf>,
    pub(crate) workers: Vec<Worker>,
}

/// One Worker with a port of its own.
#[derive(Default, Serialize)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// The folder of its modules.
    pub(crate) modules: PathBuf,
    pub(crate) main: String,
    pub(crate) compatibility_flags: Vec<String>,
    pub(crate) bindings: BTreeMap<String, String>,
    /// Namespaces by binding, with what is put in before the first request.
    pub(crate) kv: BTreeMap<String, BTreeMap<String, String>>,
    /// Classes by binding; all store in SQLite.
    pub(crate) durable_objects: BTreeMap<String, String>,
}

/// Starts workerd; it serves when this returns. `name` names its log, and its description in `state`.
///
/// # Errors
/// If it does not start; the message ends with what it said.
pub(crate) async fn start(
    workspace: &Workspace,
    state: &Path,
    name: &str,
    description: &Description,
) -> Result<Process> {
    let file = state.join(format!("{name}.json"));
    write_private(&file, &serde_json::to_string_pretty(description)?)?;
    let mut program = Program::new(workspace, name, "node")?;
    program
        .command()
        .arg(workspace.root.join("xtask/src/host.mjs"))
        .arg(&file)
        .env("NO_COLOR", "1")
        .env("MINIFLARE_WORKERD_PATH", leashed_workerd(workspace, state)?);
    let (process, _) = program.start("host ready ").await?;
    Ok(process)
}

/// A port of 127.0.0.1 that was free a moment ago: `wanted`, or any if that is 0 or `Busy::Elsewhere`.
///
/// # Errors
/// If `wanted` is taken and `busy` is `Busy::Refuse`; the message says what to do.
pub(crate) fn port(wanted: u16, busy: Busy) -> Result<u16> {
    if wanted == 0 {
        return free_port();
    }
    match (TcpListener::bind(("127.0.0.1", wanted)), busy) {
        (Ok(_), _) => Ok(wanted),
        (Err(error), Busy::Elsewhere) if error.kind() == ErrorKind::AddrInUse => port(0, Busy::Refuse),
        (Err(error), _) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {wanted} of 127.0.0.1 is in use by another program: end that one, or choose another port with `--port`"
        ),
        (Err(error), _) => Err(error).with_context(|| format!("cannot listen on port {wanted}")),
    }
}

/// One below those the system hands out by itself, so that no connection has it by the time it is listened on, and none
/// twice; each process begins at a place of its own.
fn free_port() -> Result<u16> {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % u32::from(PORTS))?;
    for _ in 0..PORTS {
        let port = FIRST_PORT + begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of 127.0.0.1 from {FIRST_PORT} to {} is free", FIRST_PORT + PORTS - 1)
}

/// What to do about a port that is taken.
#[derive(Clone, Copy)]
pub(crate) enum Busy {
    Refuse,
    Elsewhere,
}

/// Miniflare takes one path for workerd, so the leash is put around it by a script.
fn leashed_workerd(workspace: &Workspace, state: &Path) -> Result<PathBuf> {
    let script = state.join("workerd");
    let text = format!(
        "#!/bin/sh\nexec {} leash --death kill -- {} \"$@\"\n",
        quoted(&workspace.xtask),
        quoted(&workerd(workspace))
    );
    write_private(&script, &text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
    Ok(script)
}

/// The program itself; where npm ran no install scripts, `.bin/workerd` is a script around it,
/// which would die in its place.
fn workerd(workspace: &Workspace) -> PathBuf {
    let platforms = std::fs::read_dir(workspace.root.join("node_modules/@cloudflare"));
    let mut programs = platforms.into_iter().flatten().flatten();
    programs
        .find(|entry| entry.file_name().to_string_lossy().starts_with("workerd-"))
        .map(|entry| entry.path().join("bin/workerd"))
        .filter(|program| program.exists())
        .unwrap_or_else(|| workspace.npm_bin("workerd"))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Linux hands out those from 32768 on, and the scenarios take theirs from 20000 on.
const FIRST_PORT: u16 = 16_000;
const PORTS: u16 = 4_000;
