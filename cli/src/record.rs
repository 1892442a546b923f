//! What was called? The newest decisions of some tenants, page by page, and never more than was asked for.

use std::{collections::BTreeMap, fmt, str::FromStr};

use anyhow::Result;
use audit::{Decision, Entry, Row, Verdict};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    client::Gateway,
    plan::{Call, Principal, Was},
    progress::Notes,
};

/// How far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// So many rows of each tenant.
    Rows(u64),
    /// So many milliseconds.
    Millis(u64),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is neither a number of rows, such as 10000, nor a time, such as 90m, 24h or 7d");
        if let Ok(rows) = text.parse() {
            return Ok(Self::Rows(rows));
        }
        let unit = text.chars().next_back().ok_or_else(wrong)?;
        let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        let secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        Ok(Self::Millis(number.saturating_mul(secs).saturating_mul(1000)))
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows}"),
            Self::Millis(millis) => write!(f, "{}s", millis / 1000),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    rows: Vec<Row>,
}

impl Gateway {
    /// The calls of `tenant` since `since`, of those that say whether access was given; `now` in milliseconds.
    pub(crate) async fn calls(&self, tenant: &str, since: Since, now: u64, notes: &Notes) -> Result<Vec<Call>> {
        let mut calls: BTreeMap<String, Call> = BTreeMap::new();
        let mut after = self.first_row(tenant, since, now).await?;
        let mut looked: u64 = 0;
        while looked < ROWS_MAX {
            let rows = self.rows(tenant, after, PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            looked += rows.len() as u64;
            rows.iter().filter_map(|row| decision(&row.entry)).flat_map(|decision| said(&decision)).for_each(|call| {
                let key = format!("{call:?}");
                calls.entry(key).and_modify(|one| one.count += 1).or_insert(call);
            });
            notes.note(format!("{tenant}: {looked} rows"));
            if (rows.len() as u64) < PAGE {
                break;
            }
        }
        Ok(calls.into_values().collect())
    }

    /// The row after which to begin: the record says neither how long it is nor which row is how old, so both are
    /// found by halving.
    async fn first_row(&self, tenant: &str, since: Since, now: u64) -> Result<u64> {
        let length = self.boundary(tenant, |_| true).await?;
        let oldest = length.saturating_sub(ROWS_MAX);
        Ok(match since {
            Since::Rows(rows) => length.saturating_sub(rows.min(ROWS_MAX)),
            Since::Millis(millis) => {
                let begin = now.saturating_sub(millis);
                self.boundary(tenant, |row| at(&row.entry).is_none_or(|at| at < begin)).await?.max(oldest)
            }
        })
    }

    /// The last row of which `is_before` is true, as it is of all before it; 0 if there is none.
    async fn boundary(&self, tenant: &str, is_before: impl Fn(&Row) -> bool) -> Result<u64> {
        let (mut low, mut high) = (0_u64, 1_u64);
        while self.is_before(tenant, high, &is_before).await? {
            (low, high) = (high, high.saturating_mul(2).min(SEQ_MAX));
            if high == SEQ_MAX {
                break;
            }
        }
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if self.is_before(tenant, middle, &is_before).await? { low = middle } else { high = middle }
        }
        Ok(low)
    }

    async fn is_before(&self, tenant: &str, seq: u64, is_before: &impl Fn(&Row) -> bool) -> Result<bool> {
        let rows = self.rows(tenant, seq.saturating_sub(1), 1).await?;
        Ok(rows.first().is_some_and(is_before))
    }

    async fn rows(&self, tenant: &str, after: u64, limit: u64) -> Result<Vec<Row>> {
        let query = [("after", after.to_string()), ("limit", limit.to_string())];
        Ok(self.get::<Page>(&format!("/api/audit/{}", segment(tenant)), &query).await?.rows)
    }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn at(entry: &RawValue) -> Option<u64> {
    #[derive(Deserialize)]
    struct Dated {
        at: u64,
    }
    serde_json::from_str::<Dated>(entry.get()).ok().map(|dated| dated.at)
}

fn decision(entry: &RawValue) -> Option<Decision> {
    match serde_json::from_str(entry.get()).ok()? {
        Entry::Decision(decision) => Some(*decision),
        _ => None,
    }
}

/// The calls of one decision, as far as it says whether access was given: a limit or a broken upstream does not.
fn said(decision: &Decision) -> Vec<Call> {
    let was = match (decision.verdict, decision.status) {
        (Verdict::Allowed, _) => Was::Allowed,
        // 200: a JSON-RPC error. 404: no such server for this tenant; of a session it says nothing about access.
        (Verdict::Denied, Some(200 | 403)) => Was::Denied,
        (Verdict::Denied, Some(404)) if decision.reason.starts_with(NO_SERVER) => Was::Denied,
        _ => return Vec::new(),
    };
    let (Some(who), Some(server)) = (&decision.who, &decision.server) else { return Vec::new() };
    let call = |method: &str, target: Option<&String>| Call {
        principal: Principal::of(who),
        server: server.clone(),
        method: method.to_owned(),
        target: target.cloned(),
        was,
        bundle: decision.bundle.clone(),
        count: 1,
    };
    if decision.calls.is_empty() {
        return vec![call(&decision.http_method, None)];
    }
    decision.calls.iter().map(|one| call(&one.method, one.target.as_ref())).collect()
}

/// How the gateway says that there is no such server, for this caller.
const NO_SERVER: &str = "there is no such MCP server";
const PAGE: u64 = 500;
/// So many rows of a tenant are read at most.
const ROWS_MAX: u64 = 100_000;
/// Where a JavaScript number ends.
const SEQ_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_back_is_rows_or_time() {
        let read = |text: &str| text.parse::<Since>();
        assert_eq!(read("5000"), Ok(Since::Rows(5000)));
        assert_eq!(read("90m"), Ok(Since::Millis(5_400_000)));
        assert_eq!(read("7d"), Ok(Since::Millis(604_800_000)));
        for text in ["", "d", "-1", "1w", "1.5h", "é"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tenant_is_one_segment() {
        assert_eq!(segment("acme"), "acme");
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
    }
}
