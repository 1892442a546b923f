//! What was used? By tenant and day: calls, tokens and money, for each agent, user, server and tool.

use http::{Request, Response, StatusCode};
use mcp::Timestamp;
use quota::usage::{self, Command, Counts, Day, Reply, Usage};
use serde_json::json;

use super::parameter;
use crate::{config::Config, platform::Platform, refusal::Refusal, serve, serve::Gateway};

impl<P: Platform> Gateway<P> {
    /// `GET /api/usage/{tenant}?from=2026-11-01&to=2026-11-30`, days in UTC; today alone by default.
    pub(super) async fn read_usage(
        &self,
        config: &Config,
        tenant: &str,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        let principal = self.token_of(config, request).await?;
        if tenant != principal.tenant && !config.is_operator(&principal.tenant) {
            return Err(Refusal::NoEndpoint);
        }
        policy::scoped(&principal.scopes, &[READ.to_owned()])?;
        let mut days = Vec::new();
        for day in asked(request.uri().query().unwrap_or_default(), self.platform.now())? {
            let reply = self.tell::<Usage>(&usage::name(tenant, day), &Command::Read).await;
            let reply = reply.map_err(|failed| Refusal::Internal(failed.to_string()))?;
            let Reply::Account { rows, other } = reply else { continue };
            if !rows.is_empty() || other != Counts::default() {
                days.push(json!({ "day": day.to_string(), "rows": rows, "other": other }));
            }
        }
        Ok(serve::json(StatusCode::OK, &json!({ "tenant": tenant, "days": days })))
    }
}

/// The days that are asked for, the first one first.
fn asked(query: &str, now: Timestamp) -> Result<Vec<Day>, Refusal> {
    let read = |name: &str| match parameter(query, name) {
        None => Ok(Day::of(now)),
        Some(text) => text.parse::<Day>().map_err(|error| Refusal::Params(error.to_string())),
    };
    let (from, to) = (read("from")?, read("to")?);
    if from > to {
        return Err(Refusal::Params("`from` is after `to`".to_owned()));
    }
    if to.days_since(from) >= DAYS_MAX {
        return Err(Refusal::Params(format!("at most {DAYS_MAX} days at once")));
    }
    Ok(std::iter::successors(Some(from), |day| Some(day.next())).take_while(|day| *day <= to).collect())
}

/// Reads a tenant's usage.
const READ: &str = "usage:read";
const DAYS_MAX: u64 = 62;
