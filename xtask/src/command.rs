//! How is a program run to its end, with its output kept and shown only if it fails?

use std::{
    ffi::OsStr,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    sync::mpsc,
};

use crate::{
    leash::{self, Death},
    progress::Step,
    workspace::Workspace,
};

/// A program with its arguments, and where its output goes.
pub(crate) struct Command<'a> {
    workspace: &'a Workspace,
    label: String,
    log: PathBuf,
    step: Option<Step>,
    inner: tokio::process::Command,
}

impl<'a> Command<'a> {
    /// `label` is what the user reads, and names the log.
    pub(crate) fn new(workspace: &'a Workspace, label: &str, program: impl AsRef<Path>) -> Self {
        let mut inner = leash::command(&workspace.xtask, Death::Term, program.as_ref());
        inner.current_dir(&workspace.root).process_group(0).stdin(Stdio::null());
        inner.stdout(Stdio::piped()).stderr(Stdio::piped());
        let log = PathBuf::from(format!("{}.log", file_name(label)));
        Self { workspace, label: label.to_owned(), log, step: None, inner }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.inner.arg(argument);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.inner.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    pub(crate) fn envs<const N: usize>(mut self, variables: [(&str, &str); N]) -> Self {
        self.inner.envs(variables);
        self
    }

    pub(crate) fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.inner.current_dir(folder);
        self
    }

    /// Shows a progress line from here to its end.
    pub(crate) fn with_progress(mut self) -> Self {
        self.step = Some(Step::begin(&self.label));
        self
    }

    /// Runs it with a progress line; gives what it wrote to standard output.
    ///
    /// # Errors
    /// If it cannot start or ends with another status than 0; the message ends with the last
    /// lines of its output.
    pub(crate) async fn run(self) -> Result<String> {
        self.with_progress().output().await?.success()
    }

    /// Runs it; the caller judges the status.
    ///
    /// # Errors
    /// If it cannot start.
    pub(crate) async fn output(mut self) -> Result<Output> {
        let log = self.workspace.logs()?.join(&self.log);
        let mut file = File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let child = self.inner.spawn().with_context(|| format!("cannot start {}", self.label))?;
        let mut group = Group(child);
        let mut lines = lines_of(&mut group.0);
        let mut output = Output::new(self.label, log);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut last_words = false;
        loop {
            tokio::select! {
                line = lines.recv() => {
                    let Some((source, line)) = line else { break };
                    writeln!(file, "{line}")?;
                    output.keep(source, &line);
                    last_words = false;
                }
                // Somebody it left behind may hold its pipes open for ever.
                _ = tick.tick() => match group.0.try_wait()? {
                    Some(_) if last_words => break,
                    ended => last_words = ended.is_some(),
                },
            }
            if let Some(step) = &mut self.step {
                step.note(output.tail.last().map_or("", String::as_str));
            }
        }
        let status = group.0.wait().await?;
        output.status = Some(status);
        if let (Some(step), true) = (self.step, status.success()) {
            step.done();
        }
        Ok(output)
    }
}

/// What a program that has ended left behind.
pub(crate) struct Output {
    label: String,
    log: PathBuf,
    pub(crate) stdout: String,
    tail: Vec<String>,
    status: Option<ExitStatus>,
}

impl Output {
    fn new(label: String, log: PathBuf) -> Self {
        Self { label, log, stdout: String::new(), tail: Vec::new(), status: None }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Its standard output, if it ended with status 0.
    pub(crate) fn success(self) -> Result<String> {
        if self.is_success() {
            return Ok(self.stdout);
        }
        let status = self.status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
        bail!("{} failed ({status}); the last lines of `{}`:\n{}", self.label, self.log.display(), self.tail.join("\n"))
    }

    fn keep(&mut self, source: Source, line: &str) {
        if source == Source::Stdout && self.stdout.len() + line.len() < STDOUT_BYTES {
            self.stdout.push_str(line);
            self.stdout.push('\n');
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.remove(0);
        }
        self.tail.push(line.to_owned());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// The child leads a process group; whoever is left in it ends with the value.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is `None` once the child has been waited for: then its number may be another's.
        if let Some(leader) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// Both streams, line by line, until both have ended.
pub(crate) fn lines_of(child: &mut Child) -> mpsc::Receiver<(Source, String)> {
    let (sender, receiver) = mpsc::channel(256);
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(forward(stdout, Source::Stdout, sender.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(forward(stderr, Source::Stderr, sender));
    }
    receiver
}

async fn forward(stream: impl AsyncRead + Unpin, source: Source, lines: mpsc::Sender<(Source, String)>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if lines.send((source, text)).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn file_name(label: &str) -> String {
    let plain = label.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' });
    plain.collect::<String>().to_lowercase()
}

const TAIL_LINES: usize = 40;
const STDOUT_BYTES: usize = 4 << 20;
