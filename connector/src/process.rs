//! How does a configured server become a running process, and what becomes of it?

use std::fmt;
use std::io::{self, pipe};
use std::os::fd::AsRawFd as _;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::ServerSettings;
use crate::warden::Report;

/// Starts `server` under a warden of its own.
///
/// # Errors
/// The warden could not be started; that the server could not is told by [`Warden::supervise`].
pub fn spawn(server: &ServerSettings, grace: Duration) -> io::Result<Process> {
    let (report_reader, report_writer) = pipe()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("turnpike-connector")
        .args(["warden", "--report-fd", &report_writer.as_raw_fd().to_string()])
        .args(["--grace-ms", &grace.as_millis().to_string(), "--"])
        .arg(&server.program)
        .args(&server.args)
        .env_clear()
        .envs(server.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&server.cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = {
        // One at a time: another warden started meanwhile would inherit this report's descriptor.
        let _alone = SPAWNING.lock().unwrap_or_else(PoisonError::into_inner);
        fcntl(&report_writer, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let child = command.spawn();
        drop(report_writer);
        child?
    };
    let taken = || io::Error::other("the warden's streams are not piped");
    let stdin = child.stdin.take().ok_or_else(taken)?;
    let stdout = child.stdout.take().ok_or_else(taken)?;
    let stderr = child.stderr.take().ok_or_else(taken)?;
    let reports = BufReader::new(Receiver::from_owned_fd(report_reader.into())?).lines();
    Ok(Process { stdin, stdout, stderr, warden: Warden { child, reports, server: server.name.clone() } })
}

/// A started server.
#[derive(Debug)]
pub struct Process {
    /// Closing it begins the server's end.
    pub stdin: ChildStdin,
    /// Its messages, one per line.
    pub stdout: ChildStdout,
    /// Its log.
    pub stderr: ChildStderr,
    /// What watches it.
    pub warden: Warden,
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It could not be started.
    Failed(String),
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(String),
    /// Unknown: its warden was killed, and its process group after it.
    Unwatched,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("could not be started"),
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => write!(f, "was killed by {signal}"),
            Self::Unwatched => f.write_str("was killed together with its warden"),
        }
    }
}

/// The connector's end of a warden.
#[derive(Debug)]
pub struct Warden {
    child: Child,
    reports: Lines<BufReader<Receiver>>,
    server: String,
}

impl Warden {
    /// Tells `exit` how the server ended, and returns when nothing of it is left.
    pub async fn supervise(mut self, exit: watch::Sender<Option<Exit>>) {
        let mut group = None;
        let ended = loop {
            match self.next_report().await {
                Some(Report::Started(pid)) => {
                    info!(server = self.server, pid, "server started");
                    group = Some(Pid::from_raw(pid));
                }
                Some(Report::Failed(why)) => break Exit::Failed(why),
                Some(Report::Exited(status)) => break Exit::Exited(status),
                Some(Report::Killed(signal)) => break Exit::Killed(signal),
                None => break Exit::Unwatched,
            }
        };
        info!(server = self.server, pid = group.map(Pid::as_raw), "server {ended}");
        if let (Exit::Unwatched, Some(group)) = (&ended, group) {
            let _ = tokio::task::spawn_blocking(move || kill_unwatched(group)).await;
        }
        exit.send_replace(Some(ended));
        match self.child.wait().await {
            Ok(status) if !status.success() => warn!(server = self.server, %status, "the server's warden failed"),
            Ok(_) => {}
            Err(error) => warn!(server = self.server, %error, "the server's warden cannot be waited for"),
        }
    }

    async fn next_report(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok().flatten()?;
        Report::parse(&line)
    }
}

/// Ends a group whose warden is gone. Its processes became children of init, or, where the connector is process 1,
/// of the connector, which then has to collect them.
fn kill_unwatched(group: Pid) {
    let _ = killpg(group, Signal::SIGKILL);
    let members = Pid::from_raw(-group.as_raw());
    while matches!(waitpid(members, None), Ok(_) | Err(Errno::EINTR)) {}
}

static SPAWNING: Mutex<()> = Mutex::new(());
