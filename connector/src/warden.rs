//! Who cleans up after a server when the connector cannot? Its warden: one small process between the two.
//!
//! The warden starts the server with the standard streams the connector made, keeps the read end of the server's
//! input without ever reading it, and so notices when the connector closes that pipe, or dies in whatever way.
//! Then it waits, sends SIGTERM to the server's process group, waits again, and sends SIGKILL. As the reaper of
//! everything the server started (`PR_SET_CHILD_SUBREAPER`) it leaves only when no descendant is left, not even one
//! that moved to a session of its own.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, close, dup2_stderr, dup2_stdout};

/// What the connector tells a warden.
#[derive(clap::Args, Debug)]
pub struct Orders {
    /// The inherited descriptor to report on
    #[arg(long)]
    pub report_fd: RawFd,
    /// How long to wait after closing the input, and again after SIGTERM
    #[arg(long)]
    pub grace_ms: u64,
    /// The server and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// One line of the report, in this order: `Started` or `Failed`, then how the server ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The server runs with this process id, which is also its process group's.
    Started(i32),
    /// The server could not be started.
    Failed(String),
    /// The server ended by itself with this status.
    Exited(i32),
    /// The server was ended by this signal.
    Killed(String),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(pid) => write!(f, "started {pid}"),
            Self::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
            Self::Exited(status) => write!(f, "exited {status}"),
            Self::Killed(signal) => write!(f, "killed {signal}"),
        }
    }
}

impl Report {
    /// Reads a line of the report.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "started" => rest.parse().ok().map(Self::Started),
            "failed" => Some(Self::Failed(rest.to_owned())),
            "exited" => rest.parse().ok().map(Self::Exited),
            "killed" => Some(Self::Killed(rest.to_owned())),
            _ => None,
        }
    }
}

/// Starts the server and stays until nothing of it is left.
///
/// # Errors
/// The warden could not set itself up; then no server was started, or it has been killed again.
pub fn run(orders: &Orders) -> io::Result<()> {
    let mut reports = adopt(orders.report_fd)?;
    set_child_subreaper(true)?;
    let Some((program, args)) = orders.command.split_first() else { return Ok(()) };
    let leader = match Command::new(program).args(args).process_group(0).spawn() {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => return writeln!(reports, "{}", Report::Failed(error.to_string())),
    };
    let _ = writeln!(reports, "{}", Report::Started(leader.as_raw()));
    let grace = Duration::from_millis(orders.grace_ms);
    let mut watch = Watch { leader: Some(leader), reports, grace, phase: Phase::Running };
    let watched = release_output().and_then(|()| watch_signals()).and_then(|signals| watch.until_empty(&signals));
    if watched.is_err() {
        watch.signal_all(Signal::SIGKILL);
    }
    watched
}

/// The report's pipe, opened anew so that it closes on exec and the server does not inherit it.
fn adopt(fd: RawFd) -> io::Result<File> {
    let reports = File::options().write(true).open(format!("/dev/fd/{fd}"))?;
    close(fd)?;
    Ok(reports)
}

/// Lets go of the server's output, so that the connector sees it end when the server ends.
fn release_output() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Blocks the signals the warden acts on. Only after the server was started: it would inherit the mask.
fn watch_signals() -> io::Result<SignalFd> {
    let mask: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    mask.thread_block()?;
    Ok(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

struct Watch {
    /// The server itself, until it has been reaped: as long as it has not, its process group cannot be another's.
    leader: Option<Pid>,
    reports: File,
    grace: Duration,
    phase: Phase,
}

enum Phase {
    Running,
    /// The input is closed; the server may end by itself.
    Draining(Instant),
    /// SIGTERM was sent.
    Terminating(Instant),
    /// SIGKILL was sent, and is sent again until nothing is left.
    Killing(Instant),
}

impl Watch {
    fn until_empty(&mut self, signals: &SignalFd) -> io::Result<()> {
        while self.reap()? == Family::Alive {
            match self.wait(signals)? {
                Event::Nothing => {}
                Event::InputClosed => self.phase = Phase::Draining(Instant::now() + self.grace),
                Event::ToldToEnd => self.terminate(),
                Event::TimeIsUp => match self.phase {
                    Phase::Running | Phase::Draining(_) => self.terminate(),
                    Phase::Terminating(_) | Phase::Killing(_) => self.kill(),
                },
            }
        }
        Ok(())
    }

    fn wait(&self, signals: &SignalFd) -> io::Result<Event> {
        let stdin = io::stdin();
        // Without requested events poll reports the hang-up alone, however much the server has still to read.
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(stdin.as_fd(), PollFlags::empty())];
        let (fds, timeout) = match self.phase {
            Phase::Running => (fds.as_mut_slice(), PollTimeout::NONE),
            Phase::Draining(until) | Phase::Terminating(until) | Phase::Killing(until) => {
                (fds.split_at_mut(1).0, timeout_until(until))
            }
        };
        match poll(fds, timeout) {
            Ok(0) => return Ok(Event::TimeIsUp),
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Event::Nothing),
            Err(error) => return Err(error.into()),
        }
        let mut event = Event::Nothing;
        while let Some(signal) = signals.read_signal()? {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                event = Event::ToldToEnd;
            }
        }
        let hung_up = fds.get(1).and_then(PollFd::any).unwrap_or(false);
        Ok(if hung_up { Event::InputClosed } else { event })
    }

    /// Collects every process that has ended.
    fn reap(&mut self) -> io::Result<Family> {
        loop {
            let (pid, report) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, Report::Exited(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Report::Killed(signal.to_string())),
                Ok(WaitStatus::StillAlive) => return Ok(Family::Alive),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return Ok(Family::Gone),
                Err(error) => return Err(error.into()),
            };
            if self.leader == Some(pid) {
                self.leader = None;
                let _ = writeln!(self.reports, "{report}");
                self.terminate();
            }
        }
    }

    fn terminate(&mut self) {
        if matches!(self.phase, Phase::Running | Phase::Draining(_)) {
            self.signal_all(Signal::SIGTERM);
            self.phase = Phase::Terminating(Instant::now() + self.grace);
        }
    }

    fn kill(&mut self) {
        self.signal_all(Signal::SIGKILL);
        self.phase = Phase::Killing(Instant::now() + KILL_AGAIN);
    }

    /// The group while its id is surely the server's, and each child, which no other process can be: those that
    /// left the group become children of the warden when their parent ends.
    fn signal_all(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            let _ = killpg(leader, signal);
        }
        for child in children().into_iter().filter(|child| Some(*child) != self.leader) {
            let _ = kill(child, signal);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Family {
    Alive,
    Gone,
}

enum Event {
    Nothing,
    InputClosed,
    ToldToEnd,
    TimeIsUp,
}

fn timeout_until(until: Instant) -> PollTimeout {
    let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// The processes whose parent is this one (proc(5), `/proc/[pid]/stat`, fields 2 and 4).
fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        String::from_utf8_lossy(&stat).rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1))
            == Some(own.as_str())
    };
    pids.filter(is_child).map(Pid::from_raw).collect()
}

/// A child may appear between two looks.
const KILL_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let reports = [
            Report::Started(7),
            Report::Failed("No such file or directory (os error 2)".into()),
            Report::Exited(0),
            Report::Killed("SIGKILL".into()),
        ];
        for report in reports {
            assert_eq!(Report::parse(&report.to_string()), Some(report));
        }
        assert_eq!(Report::parse("exited x"), None);
    }
}
