//! Who is counted together, and how much may they do?

use serde::{Deserialize, Serialize};

use crate::ledger::Reply;

/// What a limit tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The organisation.
    Tenant,
    /// The program, within its tenant.
    Agent,
    /// The person, within its tenant.
    User,
    /// The server that is called.
    Server,
}

/// A limit: each combination of its dimensions has its own count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it tells apart; never empty.
    pub by: Vec<By>,
    /// JSON-RPC requests in any 60 seconds.
    pub requests_per_minute: u32,
}

/// Who calls what, as far as a limit cares.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The organisation.
    pub tenant: &'a str,
    /// The program.
    pub agent: &'a str,
    /// The person.
    pub user: &'a str,
    /// The server.
    pub server: &'a str,
}

impl Limit {
    /// The name of the ledger that counts `caller`: `agent=4:acme|3:bot`. Agents and users are counted within their
    /// tenant; lengths keep any two names apart.
    #[must_use]
    pub fn ledger(&self, caller: Caller<'_>) -> String {
        let part = |by: &By| match by {
            By::Tenant => format!("tenant={}", sized(caller.tenant)),
            By::Agent => format!("agent={}|{}", sized(caller.tenant), sized(caller.agent)),
            By::User => format!("user={}|{}", sized(caller.tenant), sized(caller.user)),
            By::Server => format!("server={}", sized(caller.server)),
        };
        self.by.iter().map(part).collect::<Vec<_>>().join("&")
    }

    /// As an operator would say it.
    #[must_use]
    pub fn describe(&self) -> String {
        let by: Vec<&str> = self.by.iter().map(|by| by.as_str()).collect();
        format!("{} requests per minute by {}", self.requests_per_minute, by.join(" and "))
    }
}

impl By {
    /// As it stands in `gateway.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Server => "server",
        }
    }
}

/// Leave to send the requests that were counted. Only [`grant`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Grant(());

/// A limit is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {limit} is used up; try again in {retry_after_secs} s")]
pub struct Exceeded {
    /// Which one, as [`Limit::describe`] says it.
    pub limit: String,
    /// Whole seconds after which the same request is admitted if nobody else takes its place.
    pub retry_after_secs: u64,
}

/// The verdict of every ledger that was asked: all must have admitted. With no limits there is nothing to ask.
///
/// # Errors
/// [`Exceeded`] for the limit with the longest wait.
pub fn grant<'a>(replies: impl IntoIterator<Item = (&'a Limit, Reply)>) -> Result<Grant, Exceeded> {
    let refusals = replies.into_iter().filter_map(|(limit, reply)| match reply {
        Reply::Admitted => None,
        Reply::Refused { retry_after_ms } => Some((retry_after_ms, limit)),
    });
    refusals.max_by_key(|(retry_after_ms, _)| *retry_after_ms).map_or(Ok(Grant(())), |(retry_after_ms, limit)| {
        Err(Exceeded { limit: limit.describe(), retry_after_secs: retry_after_ms.div_ceil(1000).max(1) })
    })
}

fn sized(name: &str) -> String {
    format!("{}:{name}", name.len())
}
