//! Who is counted together, and how much may they do?

use serde::{Deserialize, Serialize};

use super::{
    amount::{Caps, Dimension},
    wallet::Refused,
};

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
    /// The tool that is called, within its server.
    Tool,
}

/// A limit: each combination of what it tells apart has its own ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it tells apart; never empty.
    pub by: Vec<By>,
    /// The most of each; never empty.
    pub caps: Caps,
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
    /// The tool, if one is called.
    pub tool: Option<&'a str>,
}

impl Limit {
    /// The name of the ledger that counts `caller`: `agent=4:acme|3:bot`. Agents and users are counted within their
    /// tenant, tools within their server; lengths keep any two names apart. `None` if the limit tells tools apart and
    /// none is called: it does not concern this request.
    #[must_use]
    pub fn ledger(&self, caller: Caller<'_>) -> Option<String> {
        let part = |by: &By| match by {
            By::Tenant => Some(format!("tenant={}", sized(caller.tenant))),
            By::Agent => Some(format!("agent={}|{}", sized(caller.tenant), sized(caller.agent))),
            By::User => Some(format!("user={}|{}", sized(caller.tenant), sized(caller.user))),
            By::Server => Some(format!("server={}", sized(caller.server))),
            By::Tool => caller.tool.map(|tool| format!("tool={}|{}", sized(caller.server), sized(tool))),
        };
        let parts: Option<Vec<String>> = self.by.iter().map(part).collect();
        parts.map(|parts| parts.join("&"))
    }

    /// As an operator would say it: `60 requests per minute and 5.00 of money per day by tenant and agent`.
    #[must_use]
    pub fn describe(&self) -> String {
        let caps: Vec<String> = self.caps.limited().map(|(dimension, cap)| dimension.describe(cap)).collect();
        format!("{} by {}", caps.join(" and "), self.told_apart())
    }

    /// One of its dimensions, as a caller is told: `60 requests per minute by agent`.
    #[must_use]
    pub fn describe_one(&self, dimension: Dimension) -> String {
        format!("{} by {}", dimension.describe(self.caps.of(dimension).unwrap_or_default()), self.told_apart())
    }

    fn told_apart(&self) -> String {
        self.by.iter().map(|by| by.as_str()).collect::<Vec<_>>().join(" and ")
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
            Self::Tool => "tool",
        }
    }
}

/// A limit is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {limit} is used up; try again in {retry_after_secs} s")]
pub struct Exceeded {
    /// Which one, as [`Limit::describe_one`] says it.
    pub limit: String,
    /// Whole seconds after which the same request is admitted if nobody else takes its place.
    pub retry_after_secs: u64,
}

impl Exceeded {
    /// What the caller of `refused` is told; `limit` is the one it names.
    #[must_use]
    pub fn new(limit: &Limit, refused: Refused) -> Self {
        Self {
            limit: limit.describe_one(refused.dimension),
            retry_after_secs: refused.retry_after_ms.div_ceil(1_000).max(1),
        }
    }
}

fn sized(name: &str) -> String {
    format!("{}:{name}", name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Caller<'_> =
        Caller { tenant: "acme", agent: "bot", user: "ann", server: "files", tool: Some("write") };

    fn limit(by: &[By]) -> Limit {
        let caps = Caps { requests_per_minute: Some(60), money_per_day_micros: Some(5_000_000), ..Caps::default() };
        Limit { by: by.to_vec(), caps }
    }

    #[test]
    fn a_ledger_is_named_by_what_the_limit_tells_apart() {
        let by_all = limit(&[By::Tenant, By::Agent, By::User, By::Server, By::Tool]);
        assert_eq!(
            by_all.ledger(CALLER).as_deref(),
            Some("tenant=4:acme&agent=4:acme|3:bot&user=4:acme|3:ann&server=5:files&tool=5:files|5:write")
        );
    }

    #[test]
    fn a_limit_by_tool_does_not_concern_a_request_without_one() {
        let listing = Caller { tool: None, ..CALLER };
        assert_eq!(limit(&[By::Tool]).ledger(listing), None);
        assert!(limit(&[By::Agent]).ledger(listing).is_some());
    }

    #[test]
    fn a_limit_says_what_it_bounds() {
        let limit = limit(&[By::Tenant, By::Agent]);
        assert_eq!(limit.describe(), "60 requests per minute and 5.00 of money per day by tenant and agent");
        assert_eq!(limit.describe_one(Dimension::MoneyPerDay), "5.00 of money per day by tenant and agent");
    }
}
