//! How does the gateway run on workerd? As the built Worker, in a process that can be killed and started again.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    program::{Program, free_port, root},
    setup::{Keeping, Setup, Worker},
};

/// A gateway on workerd.
pub struct Workerd {
    origin: String,
    host: Mutex<Option<Program>>,
    /// After the host in this order, and so removed after it ended.
    folder: Option<TempDir>,
}

impl Workerd {
    /// Starts workerd with `setup` on a free port; it serves when this returns.
    #[must_use]
    pub fn start(setup: &Setup, keeping: Keeping) -> Self {
        let port = free_port();
        let origin = format!("http://127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let state = Some(folder.path().join(STATE)).filter(|_| keeping == Keeping::Everything);
        let description = description(setup, &origin, port, state.as_deref());
        fs::write(folder.path().join(DESCRIPTION), description.to_string()).unwrap();
        let host = run(folder.path());
        let folder = Some(folder).filter(|_| keeping == Keeping::Everything);
        Self { origin, host: Mutex::new(Some(host)), folder }
    }

    /// The public origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Kills workerd without a warning and starts it again, on the same port and with what it had stored.
    pub fn restart(&self) {
        let mut host = self.host.lock().unwrap();
        kill_workerd(host.take().expect("it runs"));
        *host = Some(run(self.folder()));
    }

    /// Restarts it without the Durable Objects of `binding`: from then on whatever asks for one fails.
    pub fn restart_without(&self, binding: &str) {
        let file = self.folder().join(DESCRIPTION);
        let mut description: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let objects = description["workers"][0]["durable_objects"].as_object_mut().expect("it has objects");
        objects.remove(binding).expect("it has this one");
        fs::write(file, description.to_string()).unwrap();
        self.restart();
    }

    /// Everything in its files, as one text.
    #[must_use]
    pub fn stored(&self) -> String {
        let mut folders = vec![self.folder().join(STATE)];
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
        self.folder.as_ref().expect("a workerd that is shared keeps nothing and is not restarted").path()
    }
}

fn run(folder: &Path) -> Program {
    let description = folder.join(DESCRIPTION);
    let description = description.to_str().expect("the temporary folder's path is text");
    let (host, _) = Program::node(&host(), &[description], "host ready ");
    host
}

fn kill_workerd(mut host: Program) {
    let children = format!("/proc/{0}/task/{0}/children", host.pid());
    let children = fs::read_to_string(children).expect("the kernel tells a process's children");
    for child in children.split_whitespace() {
        kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL).unwrap();
    }
    // The host ends by itself when workerd has.
    host.wait();
}

/// What `host.mjs` reads.
fn description(setup: &Setup, origin: &str, port: u16, state: Option<&Path>) -> Value {
    let worker = json!({
        "name": "gateway",
        "port": port,
        "modules": modules(setup.worker),
        "main": MAIN,
        "compatibility_flags": ["enable_request_signal"],
        "bindings": setup.secrets,
        "kv": { "DOCUMENTS": setup.documents(origin) },
        "durable_objects": {
            "SESSION": "Session", "LEDGER": "Ledger", "USAGE": "Usage",
            "BREAKER": "Breaker", "RELEASE": "Release", "CHAIN": "Chain",
            "CONVERSATION": "Conversation",
        },
    });
    json!({ "persist": state, "workers": [worker] })
}

fn host() -> PathBuf {
    std::env::var_os("TURNPIKE_HOST_MJS").map_or_else(|| root().join("xtask/src/host.mjs"), PathBuf::from)
}

fn modules(worker: Worker) -> PathBuf {
    let (variable, folder) = match worker {
        Worker::Gateway => ("TURNPIKE_WORKER_DIR", "functions/worker/build"),
        Worker::Faults => ("TURNPIKE_FAULTS_DIR", "functions/worker/build-faults"),
    };
    let folder = std::env::var_os(variable).map_or_else(|| root().join(folder), PathBuf::from);
    let main = folder.join(MAIN);
    assert!(
        main.is_file(),
        "the built Worker is missing (`{}`): run `cargo xtask test`, or build it and set {variable}",
        main.display()
    );
    folder
}

const DESCRIPTION: &str = "workerd.json";
const STATE: &str = "state";
/// It wraps the `index.js` that worker-build makes.
const MAIN: &str = "entry.mjs";
