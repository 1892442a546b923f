//! How are the programs that stay kept, and how do they end, whatever happens?
//!
//! Each leads a process group of its own, holds the reading end of a pipe from xtask as its
//! standard input (closed by any death of xtask), and has a parent-death signal (`leash`).

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use futures_util::future::select_all;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, ChildStdin},
    sync::mpsc,
};

use crate::{
    command::{Source, lines_of},
    leash::{self, Death},
    workspace::Workspace,
};

/// A program to be started that stays.
pub(crate) struct Program {
    name: String,
    log: PathBuf,
    patience: Duration,
    inner: tokio::process::Command,
}

impl Program {
    /// `name` is what the user reads, and names the log.
    pub(crate) fn new(workspace: &Workspace, name: &str, path: impl AsRef<Path>) -> Result<Self> {
        let mut inner = leash::command(&workspace.xtask, Death::Term, path.as_ref());
        inner.current_dir(&workspace.root).process_group(0);
        inner.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let log = workspace.logs()?.join(format!("{name}.log"));
        Ok(Self { name: name.to_owned(), log, patience: READY, inner })
    }

    /// How long it may take until it is ready, if that is more than usual.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The command, to add arguments and environment to.
    pub(crate) fn command(&mut self) -> &mut tokio::process::Command {
        &mut self.inner
    }

    /// Starts it and waits for the line on its standard output that begins with `ready`; gives
    /// the rest of that line too.
    ///
    /// # Errors
    /// If it ends or stays silent instead; the message ends with what it said.
    pub(crate) async fn start(mut self, ready: &str) -> Result<(Process, String)> {
        let log = File::create(&self.log).with_context(|| format!("cannot write `{}`", self.log.display()))?;
        let child = self.inner.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let mut process = Process::new(self.name, child, self.log);
        let mut lines = lines_of(&mut process.child);
        let waited = tokio::time::timeout(self.patience, until_ready(&mut lines, &log, ready)).await;
        match waited.ok().flatten() {
            Some(rest) => {
                tokio::spawn(drain(lines, log));
                Ok((process, rest))
            }
            None => bail!(
                "{} did not start; the last lines of `{}`:\n{}",
                process.name,
                process.log.display(),
                tail(&process.log)
            ),
        }
    }
}

/// A running program; dropping it ends it and its group.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Open as long as this is here; `Child::wait` would close it.
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    fn new(name: String, mut child: Child, log: PathBuf) -> Self {
        let stdin = child.stdin.take();
        Self { name, child, stdin, log }
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<i32> {
        self.child.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Whether it has ended already.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn obituary(&self, status: Option<ExitStatus>) -> String {
        let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        format!("{} ended ({status}); the last lines of `{}`:\n{}", self.name, self.log.display(), tail(&self.log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end([self]);
    }
}

/// The programs of one run. Dropping it ends them all, at the same time.
#[derive(Default)]
pub(crate) struct Processes(Vec<Process>);

impl Processes {
    pub(crate) fn add(&mut self, process: Process) {
        self.0.push(process);
    }

    /// Waits for the first that ends, which none should; gives what it said.
    pub(crate) async fn first_to_end(&mut self) -> String {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let waits = self.0.iter_mut().map(|process| {
            Box::pin(async move {
                let status = process.child.wait().await.ok();
                process.obituary(status)
            })
        });
        select_all(waits).await.0
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Asks all of them to end, waits, then ends by force what is left of their groups. It blocks:
/// it is the last thing that happens to them, on every path out of xtask.
fn end<'a>(processes: impl IntoIterator<Item = &'a mut Process>) {
    let mut left: Vec<(&mut Process, Pid)> =
        processes.into_iter().filter_map(|process| process.id().map(|id| (process, Pid::from_raw(id)))).collect();
    for (process, leader) in &mut left {
        process.stdin.take();
        let _ = kill(*leader, Signal::SIGTERM);
    }
    let deadline = Instant::now() + GRACE;
    while !left.is_empty() && Instant::now() < deadline {
        left.retain_mut(|(process, _)| !process.has_ended());
        thread::sleep(POLL);
    }
    for (process, leader) in left {
        let _ = killpg(leader, Signal::SIGKILL);
        while !process.has_ended() {
            thread::sleep(POLL);
        }
    }
}

async fn until_ready(lines: &mut mpsc::Receiver<(Source, String)>, mut log: &File, ready: &str) -> Option<String> {
    while let Some((source, line)) = lines.recv().await {
        let _ = writeln!(log, "{line}");
        if let (Source::Stdout, Some(rest)) = (source, line.strip_prefix(ready)) {
            return Some(rest.trim().to_owned());
        }
    }
    None
}

/// Keeps the pipes empty; the log ends at a bound, since a run may last for days.
async fn drain(mut lines: mpsc::Receiver<(Source, String)>, mut log: File) {
    let mut written = 0;
    while let Some((_, line)) = lines.recv().await {
        written += line.len() + 1;
        if written < LOG_BYTES {
            let _ = writeln!(log, "{line}");
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
}

/// Node and workerd start in a second; on a busy machine in many.
const READY: Duration = Duration::from_secs(60);
/// What the connector gets to end its servers in order.
const GRACE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(10);
const TAIL_LINES: usize = 25;
const LOG_BYTES: usize = 16 << 20;
