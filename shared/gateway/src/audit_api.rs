//! Who reads the record? `GET /api/audit/{tenant}?after=N&limit=M`, for a token of that tenant with the scope for it.

use std::rc::Rc;

use audit::Chain;
use http::{Request, Response, StatusCode};
use machine::Machine as _;
use serde_json::json;

use crate::{
    config::Config,
    draft::{UNKNOWN_CHAIN, chain_of},
    platform::Platform,
    refusal::Refusal,
    serve,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Rows of a tenant's chain as they are stored, so that the reader can verify them.
    pub(crate) async fn audit(
        &self,
        config: &Rc<Config>,
        tenant: &str,
        request: &Request<P::Body>,
    ) -> Response<P::Body> {
        match self.read_audit(config, tenant, request).await {
            Ok(response) => response,
            Err(refusal) => refusal.answer(config, None, None),
        }
    }

    async fn read_audit(
        &self,
        config: &Rc<Config>,
        tenant: &str,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        let authorization = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let principal = self.bearer(config, authorization, config.site.origin()).await?;
        let (chain, scope) = match tenant {
            UNKNOWN_TENANT => (UNKNOWN_CHAIN.to_owned(), READ_UNKNOWN),
            own if own == principal.tenant => (chain_of(own), READ),
            _ => return Err(Refusal::NoEndpoint),
        };
        policy::decide(&principal.scopes, &[scope.to_owned()])?;
        let (after, limit) = page(request.uri().query().unwrap_or_default());
        let rows = self.platform.rows(Chain::KIND, &chain, after, limit).await;
        let rows = rows.map_err(|error| Refusal::Internal(error.to_string()))?;
        // As they are stored, byte for byte: the seals are over bytes.
        let body = format!(r#"{{"tenant":{},"rows":[{}]}}"#, json!(tenant), rows.join(","));
        Ok(serve::known(StatusCode::OK, "application/json", body.into()))
    }
}

fn page(query: &str) -> (u64, u32) {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let limit = parameter("limit").unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    (parameter("after").unwrap_or(0).min(AFTER_MAX), u32::try_from(limit).unwrap_or(1))
}

/// Reads one's own tenant's record.
const READ: &str = "audit:read";
/// Reads the record of callers that are not known.
const READ_UNKNOWN: &str = "audit:read:unknown";
/// How those are addressed.
const UNKNOWN_TENANT: &str = "-";
const PAGE_MAX: u64 = 500;
/// The largest integer every store can compare with: 2^53 - 1, where a JavaScript number ends.
const AFTER_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_whatever_is_asked_for() {
        for (query, expected) in [
            ("", (0, 500)),
            ("after=7&limit=3", (7, 3)),
            ("limit=3&after=7&limit=9", (7, 3)),
            ("limit=0", (0, 1)),
            ("limit=501", (0, 500)),
            ("limit=18446744073709551615&after=18446744073709551615", (AFTER_MAX, 500)),
            ("after=18446744073709551616&limit=-1", (0, 500)),
            ("after=x&limit=&&=&after", (0, 500)),
        ] {
            assert_eq!(page(query), expected, "{query}");
        }
    }
}
