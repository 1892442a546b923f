//! Who moves bytes between a process and whoever talks to it, and notices when either of them is done?

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Limits;
use crate::ending::Ending;
use crate::lines::{Line, Lines, Overlong};
use crate::process::{Exit, Process};

/// Whoever talks to a process.
pub trait Conversation: Send + Sync + 'static {
    /// The server's name, for the log.
    fn server(&self) -> &str;
    /// Its bounds.
    fn limits(&self) -> &Limits;
    /// Cancelled once it is over.
    fn ended(&self) -> &CancellationToken;
    /// Ends it.
    fn end(&self, ending: Ending);
    /// Takes one line of the server's output; the next one waits.
    fn deliver(&self, line: &Bytes) -> impl Future<Output = ()> + Send;
    /// Ends what has lasted too long.
    fn look_at_clock(&self) -> impl Future<Output = ()> + Send;
}

/// Runs a conversation with its process; returns when nothing of the process is left.
pub async fn run<C: Conversation>(conversation: Arc<C>, process: Process, told: mpsc::Receiver<Bytes>) {
    let (exit_sender, exit) = watch::channel(None);
    let warden = tokio::spawn(process.warden.supervise(exit_sender));
    tokio::spawn(write(Arc::clone(&conversation), process.stdin, told));
    tokio::spawn(log(conversation.server().to_owned(), process.stderr));
    let output = tokio::spawn(read(Arc::clone(&conversation), process.stdout));
    watch(&*conversation, exit, output).await;
    let server = conversation.server();
    if let Err(error) = warden.await {
        warn!(server, %error, "the server's warden was not waited for");
    }
    info!(server, "nothing of the server is left");
}

/// Returns when the conversation is over, which it ends itself if the process or the clock is the reason.
async fn watch<C: Conversation>(conversation: &C, mut exit: watch::Receiver<Option<Exit>>, output: impl Future + Send) {
    let limits = conversation.limits();
    let shortest = limits.idle_timeout.min(limits.request_timeout);
    let mut tick = interval((shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut output = std::pin::pin!(output);
    loop {
        tokio::select! {
            () = conversation.ended().cancelled() => return,
            _ = tick.tick() => conversation.look_at_clock().await,
            exit = has_ended(&mut exit) => {
                // What it said last may still be in the pipe; a process it left behind may hold that open.
                let _ = timeout(LAST_WORDS, &mut output).await;
                return conversation.end(Ending::Exited(exit));
            }
            _ = &mut output => {
                let exit = timeout(LAST_WORDS, has_ended(&mut exit)).await;
                return conversation.end(exit.map_or(Ending::OutputClosed, Ending::Exited));
            }
        }
    }
}

async fn write<C: Conversation>(conversation: Arc<C>, mut stdin: ChildStdin, mut told: mpsc::Receiver<Bytes>) {
    let patience = conversation.limits().request_timeout.min(SLOW_SERVER);
    let ended = conversation.ended();
    while let Some(Some(lines)) = ended.run_until_cancelled(told.recv()).await {
        let written = ended.run_until_cancelled(timeout(patience, stdin.write_all(&lines))).await;
        match written {
            Some(Ok(Ok(()))) => {}
            Some(Err(_)) => return conversation.end(Ending::Stuck),
            // The end of the process is told by its warden.
            Some(Ok(Err(_))) | None => return ended.cancelled().await,
        }
    }
}

/// Reads on after the end of the conversation, to nobody: a server may not be able to end while its output is full.
async fn read<C: Conversation>(conversation: Arc<C>, stdout: ChildStdout) {
    let max_bytes = conversation.limits().max_message_bytes;
    let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, stdout), max_bytes);
    let mut overlong = Overlong::Stop;
    while let Ok(Some(line)) = lines.next(overlong).await {
        match line {
            Line::Whole(line) if !line.is_empty() && !conversation.ended().is_cancelled() => {
                conversation.deliver(&line).await;
            }
            Line::Whole(_) => {}
            Line::Cut(_) => {
                overlong = Overlong::Skip;
                conversation.end(Ending::Overlong(max_bytes));
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
