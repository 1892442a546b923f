//! How does the gateway run on Spin? As the built component, in processes that can be killed and started again.
//!
//! `spin up` starts it where there is a `spin`; else a small host of ours does, which takes the same arguments.

mod manifest;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    program::{LITTER, Program, free_port, root},
    redis::Redis,
    setup::{Keeping, Setup},
};

/// A gateway on Spin.
pub struct Spin {
    /// Where each process listens, as `host:port`.
    authorities: Vec<String>,
    origin: String,
    processes: Mutex<Vec<Program>>,
    arguments: Vec<String>,
    /// What several processes share.
    redis: Option<Redis>,
    /// After the processes in this order, and so removed after they ended.
    folder: Option<TempDir>,
}

impl Spin {
    /// Has the component made machine code, which takes minutes when it is new and is no part of any scenario.
    pub fn prepare() {
        static PREPARED: OnceLock<()> = OnceLock::new();
        PREPARED.get_or_init(|| drop(Self::start(&Setup::new(), Keeping::Everything)));
    }

    /// Starts Spin with `setup` on free ports, one for each isolate; several share a Redis. It serves when this returns.
    /// The first one's is the public origin.
    #[must_use]
    pub fn start(setup: &Setup, keeping: Keeping) -> Self {
        let redis = (setup.isolates > 1).then(Redis::start);
        let setup = &redis.iter().fold(setup.clone(), |setup, redis| setup.secret(REDIS, &redis.url()));
        let authorities: Vec<_> = (0..setup.isolates).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let origin = format!("http://{}", authorities[0]);
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("spin.toml");
        fs::write(&manifest, manifest::derived(setup, &component())).unwrap();
        mount(setup, &origin, &folder.path().join(manifest::MOUNTED));
        let arguments = [vec!["--from".to_owned(), text(&manifest)], variables(setup)].concat();
        let (folder, litter) = match keeping {
            Keeping::Everything => (Some(folder), None),
            Keeping::Nothing => (None, Some(folder.keep())),
        };
        let place = folder.as_ref().map(TempDir::path).or(litter.as_deref()).expect("there is a folder");
        let processes = run(&authorities, &arguments, place, litter.as_deref());
        Self { authorities, origin, processes: Mutex::new(processes), arguments, redis, folder }
    }

    /// The public origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where each process listens, as `host:port`.
    pub fn authorities(&self) -> impl Iterator<Item = &str> {
        self.authorities.iter().map(String::as_str)
    }

    /// What several processes share.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("there are several processes")
    }

    /// Kills every process without a warning and starts them again, on the same ports and with what they had stored.
    pub fn restart(&self) {
        let mut processes = self.processes.lock().unwrap();
        processes.clear();
        *processes = run(&self.authorities, &self.arguments, self.folder(), None);
    }

    /// Everything in its files, as one text.
    #[must_use]
    pub fn stored(&self) -> String {
        let mut folders: Vec<_> = (0..self.authorities.len()).map(|n| state(self.folder(), n)).collect();
        let mut bytes = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => bytes.extend(fs::read(entry.path()).unwrap_or_default()),
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a gateway that is shared keeps nothing and is not restarted").path()
    }
}

/// One process for each authority.
fn run(authorities: &[String], arguments: &[String], folder: &Path, litter: Option<&Path>) -> Vec<Program> {
    let host = host();
    let processes = authorities.iter().enumerate().map(|(n, authority)| {
        let own = ["up", "--listen", authority, "--state-dir", &text(&state(folder, n))].map(str::to_owned);
        let litter = litter.map(|folder| (LITTER, folder.to_owned()));
        let environment: Vec<_> = litter.into_iter().chain([(CACHE, cache())]).collect();
        Program::leashed(&host, &[own.as_slice(), arguments].concat(), &environment, "Serving http")
    });
    processes.collect()
}

fn variables(setup: &Setup) -> Vec<String> {
    let variables = setup.secrets.iter().map(|(name, value)| format!("{}={value}", name.to_lowercase()));
    variables.flat_map(|variable| ["--variable".to_owned(), variable]).collect()
}

/// Puts the documents into `folder`, as `cargo xtask bundle` prints them.
fn mount(setup: &Setup, origin: &str, folder: &Path) {
    let documents = setup.documents(origin).into_iter().map(|(key, value)| json!({ "key": key, "value": value }));
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("bundle.json"), Value::from_iter(documents).to_string()).unwrap();
}

/// Where the process of this number keeps its files.
fn state(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("state-{number}"))
}

fn component() -> PathBuf {
    let built = || root().join("target/wasm32-wasip2/release/turnpike_spin.wasm");
    let component = std::env::var_os(COMPONENT).map_or_else(built, PathBuf::from);
    assert!(
        component.is_file(),
        "the built component is missing (`{}`): run `cargo xtask test`, or build it and set {COMPONENT}",
        component.display()
    );
    component
}

/// What starts it: a path, or a name to be found in `PATH`.
fn host() -> PathBuf {
    let built = || root().join("target/debug/turnpike-spin-host");
    let host = std::env::var_os(HOST).map_or_else(built, PathBuf::from);
    assert!(
        host.components().count() == 1 || host.is_file(),
        "the host is missing (`{}`): run `cargo build --package turnpike-spin-host`, or set {HOST} to `spin`",
        host.display()
    );
    host
}

/// Where our host keeps the component as machine code: `spin` is quicker at making it.
fn cache() -> PathBuf {
    std::env::var_os(CACHE).map_or_else(|| root().join("target/spin-cache"), PathBuf::from)
}

fn text(path: &Path) -> String {
    path.to_str().expect("the path is text").to_owned()
}

/// The secret that holds the address of the Redis in which the gateway keeps its state.
const REDIS: &str = "TURNPIKE_REDIS";
const COMPONENT: &str = "TURNPIKE_SPIN_WASM";
const HOST: &str = "TURNPIKE_SPIN_HOST";
const CACHE: &str = "TURNPIKE_SPIN_CACHE";
