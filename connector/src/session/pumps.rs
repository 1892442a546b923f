//! Who moves bytes between a session and its process, and notices when either of them is done?

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::{Ending, Session};
use crate::lines::{Line, Lines, Overlong};
use crate::process::{Exit, Process};

impl Session {
    /// Runs the session with its process; returns when nothing of the process is left.
    pub async fn run(self: Arc<Self>, process: Process, told: mpsc::Receiver<Bytes>) {
        let (exit_sender, exit) = watch::channel(None);
        let warden = tokio::spawn(process.warden.supervise(exit_sender));
        tokio::spawn(Arc::clone(&self).write(process.stdin, told));
        tokio::spawn(log(self.server.clone(), process.stderr));
        let output = tokio::spawn(Arc::clone(&self).read(process.stdout));
        self.watch(exit, output).await;
        if let Err(error) = warden.await {
            warn!(server = self.server, %error, "the server's warden was not waited for");
        }
        info!(server = self.server, "nothing of the server is left");
    }

    /// Returns when the session is over, which it notices itself if the process or the clock is the reason.
    async fn watch(&self, mut exit: watch::Receiver<Option<Exit>>, output: impl Future + Send) {
        let shortest = self.limits.idle_timeout.min(self.limits.request_timeout);
        let mut tick = interval((shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut output = std::pin::pin!(output);
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                _ = tick.tick() => self.look_at_clock().await,
                exit = has_ended(&mut exit) => {
                    // What it said last may still be in the pipe; a process it left behind may hold that open.
                    let _ = timeout(LAST_WORDS, &mut output).await;
                    return self.end(Ending::Exited(exit));
                }
                _ = &mut output => {
                    let exit = timeout(LAST_WORDS, has_ended(&mut exit)).await;
                    return self.end(exit.map_or(Ending::OutputClosed, Ending::Exited));
                }
            }
        }
    }

    async fn write(self: Arc<Self>, mut stdin: ChildStdin, mut told: mpsc::Receiver<Bytes>) {
        let patience = self.limits.request_timeout.min(SLOW_SERVER);
        while let Some(Some(lines)) = self.ended.run_until_cancelled(told.recv()).await {
            let written = self.ended.run_until_cancelled(timeout(patience, stdin.write_all(&lines))).await;
            match written {
                Some(Ok(Ok(()))) => {}
                Some(Err(_)) => return self.end(Ending::Stuck),
                // The end of the process is told by its warden.
                Some(Ok(Err(_))) | None => return self.ended.cancelled().await,
            }
        }
    }

    /// Reads on after the end of the session, to nobody: a server may not be able to end while its output is full.
    async fn read(self: Arc<Self>, stdout: ChildStdout) {
        let max_bytes = self.limits.max_message_bytes;
        let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, stdout), max_bytes);
        let mut overlong = Overlong::Stop;
        while let Ok(Some(line)) = lines.next(overlong).await {
            match line {
                Line::Whole(line) if !line.is_empty() && !self.ended.is_cancelled() => self.deliver(&line).await,
                Line::Whole(_) => {}
                Line::Cut(_) => {
                    overlong = Overlong::Skip;
                    self.end(Ending::Overlong(max_bytes));
                }
            }
        }
    }
}

async fn has_ended(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await {
        Ok(exit) => exit.clone().unwrap_or(Exit::Unwatched),
        Err(_) => Exit::Unwatched,
    }
}

async fn log(server: String, stderr: ChildStderr) {
    let mut lines = Lines::new(BufReader::new(stderr), LOG_LINE_BYTES);
    while let Ok(Some(line)) = lines.next(Overlong::Skip).await {
        let (line, rest) = match &line {
            Line::Whole(line) => (line, ""),
            Line::Cut(line) => (line, " [cut]"),
        };
        info!(server, "stderr: {}{rest}", printable(line));
    }
}

/// A server's text without what could pass for something else in the log.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A server that does not read a message for this long, or for the time a request has, is given up.
const SLOW_SERVER: Duration = Duration::from_secs(30);
/// Between the end of a process and the end of its output, or the other way round.
const LAST_WORDS: Duration = Duration::from_millis(500);
const LOG_LINE_BYTES: usize = 4096;
const READ_BYTES: usize = 64 * 1024;
