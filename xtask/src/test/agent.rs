//! How does a client that nobody here wrote stay in its session while the world around it changes?
//!
//! `tests/clients/agent.mjs` and `agent.py` hold a session of the npm and the PyPI SDK, and do in it what they are told.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use crate::{
    leash::{self, Death},
    workspace::Workspace,
};

/// A real client in a session; it ends when this is dropped.
pub(super) struct Agent {
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Holds the process, which dies with it.
    _child: Child,
}

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    Npm,
    Python,
}

/// What the SDK showed its user, and what the HTTP answer beneath said.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    pub(super) tools: Option<Vec<String>>,
    pub(super) text: Option<String>,
    pub(super) length: Option<usize>,
    pub(super) error: Option<Shown>,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<u64>,
    /// How many requests the SDK has sent by now, its own among them.
    pub(super) requests: Option<u32>,
}

/// An error as the SDK shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) code: Option<i64>,
    pub(super) message: String,
}

impl Agent {
    /// An agent in a session at `url`.
    ///
    /// # Errors
    /// If there is no session, with what the SDK shows.
    pub(super) async fn join(workspace: &Workspace, sdk: Sdk, url: &str, token: &str) -> Result<Self> {
        let (agent, said) = Self::knock(workspace, sdk, url, token).await?;
        match said.error {
            None => Ok(agent),
            Some(error) => bail!("{} cannot connect: {}", sdk.name(), error.message),
        }
    }

    /// An agent that has tried to connect, and what came of it.
    ///
    /// # Errors
    /// If the client does not start.
    pub(super) async fn knock(workspace: &Workspace, sdk: Sdk, url: &str, token: &str) -> Result<(Self, Said)> {
        let (program, script) = match sdk {
            Sdk::Npm => ("node".into(), "tests/clients/agent.mjs"),
            Sdk::Python => (workspace.python(), "tests/clients/agent.py"),
        };
        let mut command = leash::command(&workspace.xtask, Death::Kill, &program);
        command.arg(script).current_dir(&workspace.root).kill_on_drop(true);
        command.env("TURNPIKE_URL", url).env("TURNPIKE_TOKEN", token).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", program.display()))?;
        let orders = child.stdin.take().context("it has no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("it has no standard output")?).lines();
        let mut agent = Self { orders, lines, _child: child };
        let said = agent.hear().await?;
        Ok((agent, said))
    }

    /// The names of the tools it is shown.
    pub(super) async fn tools(&mut self) -> Result<Vec<String>> {
        let said = self.ask(&json!({ "list": true })).await?;
        match said {
            Said { tools: Some(tools), .. } => Ok(tools),
            said => bail!("it lists no tools: {said:?}"),
        }
    }

    /// Calls a tool, whatever comes of it.
    pub(super) async fn call(&mut self, tool: &str, arguments: &Value) -> Result<Said> {
        self.ask(&json!({ "call": tool, "arguments": arguments })).await
    }

    async fn ask(&mut self, order: &Value) -> Result<Said> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.context("the client has ended")?;
        self.hear().await
    }

    async fn hear(&mut self) -> Result<Said> {
        let line = tokio::time::timeout(ANSWER, self.lines.next_line()).await.context("the client says nothing")?;
        let line = line?.context("the client ended without a word")?;
        serde_json::from_str(&line).with_context(|| format!("the client says `{line}`"))
    }
}

impl Sdk {
    pub(super) const ALL: [Self; 2] = [Self::Npm, Self::Python];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm @modelcontextprotocol/sdk",
            Self::Python => "PyPI mcp",
        }
    }
}

impl Said {
    /// The text of a call that succeeded.
    pub(super) fn ok(self) -> Result<String> {
        match self {
            Self { text: Some(text), .. } => Ok(text),
            said => bail!("the call failed: {said:?}"),
        }
    }

    /// The error that was shown; that there is one is what was expected.
    pub(super) fn refusal(&self) -> Result<&Shown> {
        self.error.as_ref().with_context(|| format!("the call was not refused: {self:?}"))
    }

    /// In a line, for the reader of the log.
    pub(super) fn told(&self) -> String {
        let http = self.status.map(|status| format!("HTTP {status}"));
        let wait = self.retry_after.map(|wait| format!("Retry-After: {wait}"));
        let shown = match (&self.error, &self.text) {
            (Some(Shown { code, message }), _) => {
                Some(format!("the client shows {} {message}", code.map_or_else(String::new, |code| code.to_string())))
            }
            (None, Some(text)) => Some(format!("`{text}`")),
            (None, None) => None,
        };
        [http, wait, shown].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Longer than the clients wait themselves.
const ANSWER: Duration = Duration::from_secs(90);
