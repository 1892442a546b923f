//! How does a test run a program? As a child that ends when the test does, however that ends.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc::{self, Sender},
    },
    time::Duration,
};

/// A running program. Its standard input is its leash: it ends when that is closed.
pub(crate) struct Program {
    child: Child,
    leash: Option<ChildStdin>,
}

impl Program {
    /// Runs `script` in Node, and waits for a line with `ready`; gives the rest of that line.
    pub(crate) fn node(script: &Path, arguments: &[&str], ready: &'static str) -> (Self, String) {
        let mut command = Command::new("node");
        command.args(["--import", LEASH]).arg(script).args(arguments).current_dir(root());
        if let Some(workerd) = workerd() {
            command.env("MINIFLARE_WORKERD_PATH", workerd);
        }
        Self::start(&mut command, &script.display().to_string(), ready, START_MAX)
            .unwrap_or_else(|error| panic!("`node` cannot be run: {error}; install Node 20 or newer"))
    }

    /// Runs `program`, which does not watch its standard input, and waits for a line with `ready`. It is killed when its
    /// leash is closed; then the folder that [`LITTER`] names in its environment is removed.
    pub(crate) fn leashed(
        program: &Path,
        arguments: &[String],
        environment: &[(&str, PathBuf)],
        ready: &'static str,
    ) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", ON_LEASH, "sh"]).arg(program).args(arguments).envs(environment.iter().cloned());
        let started = Self::start(&mut command, &program.display().to_string(), ready, COMPILE_MAX);
        started.unwrap_or_else(|error| panic!("`sh` cannot be run: {error}")).0
    }

    fn start(
        command: &mut Command,
        name: &str,
        ready: &'static str,
        patience: Duration,
    ) -> std::io::Result<(Self, String)> {
        let command = command.env("NO_COLOR", "1").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (said, hears) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        hear(stdout.expect("it is piped"), said.clone());
        hear(stderr.expect("it is piped"), said);
        let leash = child.stdin.take();
        let program = Self { child, leash };
        let mut complaints = Vec::new();
        loop {
            match hears.recv_timeout(patience) {
                Ok(line) => match line.split_once(ready) {
                    Some((_, rest)) => return Ok((program, rest.trim().to_owned())),
                    None => complaints.push(line),
                },
                Err(_) => panic!("`{name}` did not say `{ready}` but:\n{}", complaints.join("\n")),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself, and waits until it has.
    pub(crate) fn end(&mut self) {
        self.leash = None;
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hears what a program says to its end; after it is ready nobody listens.
fn hear(pipe: impl Read + Send + 'static, said: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let _ = said.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

/// A port of 127.0.0.1 for a program that is about to be started, or started again. Below those the system hands out by
/// itself, so that no connection of another test has it by then; each process begins at a place of its own.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % u32::from(PORTS)).expect("it is less than a u16");
    for _ in 0..PORTS {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + begin.wrapping_add(taken) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("all ports from {FIRST_PORT} on are in use");
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a folder of the repository");
    assert!(root.join("node_modules").is_dir(), "`node_modules` is missing: run `npm ci` in {}", root.display());
    root.to_owned()
}

/// Where npm ran no install scripts, `.bin/workerd` is a script around the program; miniflare needs the program.
fn workerd() -> Option<PathBuf> {
    let packages = std::fs::read_dir(root().join("node_modules/@cloudflare")).ok()?;
    let mut packages = packages.flatten().filter(|one| one.file_name().to_string_lossy().starts_with("workerd-"));
    packages.next().map(|package| package.path().join("bin/workerd"))
}

/// Linux hands out those from 32768 on.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

const LEASH: &str =
    "data:text/javascript,process.stdin.on('end',()=>process.kill(process.pid,'SIGTERM')).on('error',()=>{}).resume()";
/// The variable with the folder that is removed when a program on a leash has ended.
pub(crate) const LITTER: &str = "TURNPIKE_LITTER";
/// Whoever closes the standard input kills the program, and the script ends when that has. It says nothing of that: who
/// would hear it may be gone.
const ON_LEASH: &str = r#"exec 3<&0
    "$@" 3<&- &
    program=$!
    { read -r _ <&3; kill -KILL "$program"; } >/dev/null 2>&1 &
    leash=$!
    exec 3<&-
    wait "$program" 2>/dev/null
    status=$?
    kill "$leash" 2>/dev/null
    [ -z "$TURNPIKE_LITTER" ] || rm -rf "$TURNPIKE_LITTER"
    exit $status"#;
const START_MAX: Duration = Duration::from_secs(60);
/// A component has to be made machine code first, if it is new.
const COMPILE_MAX: Duration = Duration::from_secs(900);
