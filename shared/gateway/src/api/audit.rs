//! Who reads the record? `GET /api/audit/{tenant}?after=N&limit=M`, for a token of that tenant with the scope for it.

use audit::Chain;
use http::{Request, Response, StatusCode};
use machine::Machine as _;
use serde_json::json;

use super::page;
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
    pub(super) async fn read_audit(
        &self,
        config: &Config,
        tenant: &str,
        request: &Request<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        let principal = self.token_of(config, request).await?;
        let (chain, scope) = match tenant {
            UNKNOWN_TENANT => (UNKNOWN_CHAIN.to_owned(), READ_UNKNOWN),
            named if named == principal.tenant || config.is_operator(&principal.tenant) => (chain_of(named), READ),
            _ => return Err(Refusal::NoEndpoint),
        };
        policy::scoped(&principal.scopes, &[scope.to_owned()])?;
        let (after, limit) = page(request.uri().query().unwrap_or_default());
        let rows = self.platform.rows(Chain::KIND, &chain, after, limit).await;
        let rows = rows.map_err(|error| Refusal::Internal(error.to_string()))?;
        // As they are stored, byte for byte: the seals are over bytes.
        let body = format!(r#"{{"tenant":{},"rows":[{}]}}"#, json!(tenant), rows.join(","));
        Ok(serve::known(StatusCode::OK, "application/json", body.into()))
    }
}

/// Reads a tenant's record.
const READ: &str = "audit:read";
/// Reads the record of callers that are not known.
const READ_UNKNOWN: &str = "audit:read:unknown";
/// How those are addressed.
const UNKNOWN_TENANT: &str = "-";
