//! Which era does a stdio server speak? A process of its own is asked, and may die of it (MCP 2026-07-28
//! basic/transports/stdio; some older servers exit on any request before `initialize`).

use std::ops::Deref;
use std::sync::Arc;

use bridge::probe::Verdict;
use bytes::Bytes;
use mcp::{Body, Message, Revision};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{debug, error};

use super::request::{Request, client_info};
use super::stateless::{Answer, Stateless};
use crate::config::{Era, Limits, ServerSettings};
use crate::ending::Ending;
use crate::process::{self, Exit};
use crate::pumps;
use crate::session::Outbound;

/// What starts the processes of one server's modern side.
#[derive(Debug)]
pub struct Launch {
    /// The server.
    pub settings: Arc<ServerSettings>,
    /// Its bounds.
    pub limits: Limits,
    /// What awaits the end of each process.
    pub running: TaskTracker,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// This process speaks 2026-07-28.
    Modern(Arc<Stateless>),
    /// The server speaks legacy revisions only.
    Legacy,
    /// Neither: that it does not run says nothing about its era.
    Nothing(Ending),
}

impl Launch {
    /// Finds out which era the server speaks; the process that proves to speak the modern one stays.
    pub async fn find(&self) -> Found {
        match self.settings.era {
            Era::Legacy => Found::Legacy,
            Era::Modern => self.start().map_or_else(Found::Nothing, |process| Found::Modern(process.keep())),
            Era::Auto => self.probe().await.unwrap_or_else(Found::Nothing),
        }
    }

    async fn probe(&self) -> Result<Found, Ending> {
        let process = self.start()?;
        let Some(mut discovery) = process.ask(&Request::own_modern("server/discover", json!({}))).await else {
            return self.without_question().await;
        };
        let wait = timeout(self.limits.probe_timeout, discovery.next()).await;
        let said = match wait {
            Ok(answer) => answer.map_or(Said::Nothing, |answer| read(&answer.message)),
            // It may be slow to start, or one that keeps quiet until `initialize`: what it answers first tells. Having
            // been asked for both, it may be of either era from now on: another one serves.
            Err(_) => match self.first_of_both(&process, &mut discovery).await? {
                Said::Modern => return self.start().map(|process| Found::Modern(process.keep())),
                said => said,
            },
        };
        debug!(server = self.settings.name, ?said, "asked which era it speaks");
        match (said, process.ending()) {
            (Said::Modern, None) => Ok(Found::Modern(process.keep())),
            (Said::Legacy, None) => Ok(Found::Legacy),
            (_, Some(_)) | (Said::Nothing, None) => self.without_question().await,
        }
    }

    /// Whether a process that ended instead of answering did so because of the question: one that is asked
    /// `initialize` alone tells.
    async fn without_question(&self) -> Result<Found, Ending> {
        let process = self.start()?;
        let failed = |process: &Stateless| process.ending().unwrap_or(Ending::Unanswered);
        let Some(mut initialization) = process.ask(&initialize()).await else { return Err(failed(&process)) };
        let answer = timeout(self.limits.request_timeout, initialization.next()).await;
        match (answer, process.ending()) {
            (Ok(Some(answer)), None) => initialized(&answer.message).then_some(Found::Legacy).ok_or(Ending::Refused),
            _ => Err(failed(&process)),
        }
    }

    async fn first_of_both(&self, process: &Arc<Stateless>, discovery: &mut Answer) -> Result<Said, Ending> {
        let Some(mut initialization) = process.ask(&initialize()).await else { return Ok(Said::Nothing) };
        let said = |answer: Option<Outbound>| answer.map_or(Said::Nothing, |answer| read(&answer.message));
        let first = async {
            tokio::select! {
                answer = discovery.next() => said(answer),
                answer = initialization.next() => match answer {
                    Some(answer) if initialized(&answer.message) => Said::Legacy,
                    // That it is not served may be told before the discovery is.
                    _ => said(discovery.next().await),
                },
            }
        };
        timeout(self.limits.request_timeout, first).await.map_err(|_| Ending::Unanswered)
    }

    fn start(&self) -> Result<Started, Ending> {
        let process = process::spawn(&self.settings, self.limits.shutdown_grace).map_err(|problem| {
            error!(server = self.settings.name, %problem, "cannot start the server's warden");
            Ending::Exited(Exit::Failed(problem.to_string()))
        })?;
        let (stateless, told) = Stateless::new(&self.settings.name, self.limits);
        self.running.spawn(pumps::run(Arc::clone(&stateless), process, told));
        Ok(Started { process: stateless, kept: false })
    }
}

/// A process that ends unless it is kept.
struct Started {
    process: Arc<Stateless>,
    kept: bool,
}

/// What a process said to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Modern,
    Legacy,
    /// It ended instead.
    Nothing,
}

/// A discovery, or an error that only 2026-07-28 has, is modern; anything else is not, whatever its code (MCP
/// 2026-07-28 basic/versioning, Backward Compatibility).
fn read(answer: &Bytes) -> Said {
    match bridge::probe::verdict(OK, std::str::from_utf8(answer).ok()) {
        Verdict::Modern { .. } => Said::Modern,
        Verdict::Legacy | Verdict::Unknown => Said::Legacy,
    }
}

fn initialized(answer: &Bytes) -> bool {
    let Ok(Body::Single(Message::Response(reply))) = mcp::jsonrpc::parse(answer) else { return false };
    reply.result.is_some()
}

fn initialize() -> Request {
    let params = json!({ "protocolVersion": Revision::V2025_11_25, "capabilities": {}, "clientInfo": client_info() });
    Request::own("initialize", &params)
}

impl Started {
    /// Lets it live.
    fn keep(mut self) -> Arc<Stateless> {
        self.kept = true;
        Arc::clone(&self.process)
    }
}

impl Deref for Started {
    type Target = Arc<Stateless>;

    fn deref(&self) -> &Arc<Stateless> {
        &self.process
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.kept {
            self.process.end(Ending::Probed);
        }
    }
}

/// There is no HTTP in between: an answer is an answer.
const OK: u16 = 200;
