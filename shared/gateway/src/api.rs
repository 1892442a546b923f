//! What may be asked of the gateway itself? Records, usage, definitions and configurations, for tokens with the scope for it.
//!
//! Every call wants a bearer token for the whole gateway. A tenant reads its own record and usage; what concerns every
//! tenant is for tokens of the tenant that `gateway.operators` names, and does not exist for others.

mod audit;
mod bundles;
mod definitions;
mod usage;

use std::rc::Rc;

use http::{Method, Request, Response, header};
use identity::Principal;

use crate::{config::Config, endpoint::Api, platform::Platform, refusal::Refusal, serve::Gateway};

impl<P: Platform> Gateway<P> {
    /// Answers a call of the gateway's own API.
    pub(crate) async fn api(&self, config: &Rc<Config>, call: Api<'_>, request: Request<P::Body>) -> Response<P::Body> {
        let answered = match (request.method().clone(), call) {
            (Method::GET, Api::Audit(tenant)) => self.read_audit(config, tenant, &request).await,
            (Method::GET, Api::Usage(tenant)) => self.read_usage(config, tenant, &request).await,
            (Method::GET, Api::Definitions(server)) => self.read_definitions(config, server, &request).await,
            (Method::GET, Api::Bundle(id)) => self.read_bundle(config, id, &request).await,
            (Method::PUT, Api::Bundle(id)) => self.store_bundle(config, id, request).await,
            (Method::GET, Api::Live) => self.read_live(config, &request).await,
            (Method::PUT, Api::Live) => self.move_live(config, request).await,
            (Method::GET, Api::History) => self.read_history(config, &request).await,
            _ => Err(Refusal::Guard(guard::Refused::Method)),
        };
        answered.unwrap_or_else(|refusal| refusal.answer(config, None, None))
    }

    /// The caller, if its token is for the whole gateway.
    async fn token_of(&self, config: &Config, request: &Request<P::Body>) -> Result<Rc<Principal>, Refusal> {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.bearer(config, authorization, config.site.origin()).await.map(|caller| caller.principal)
    }

    /// The caller, if it is an operator whose token was granted `scope`.
    async fn operator(
        &self,
        config: &Config,
        request: &Request<P::Body>,
        scope: &str,
    ) -> Result<Rc<Principal>, Refusal> {
        let principal = self.token_of(config, request).await?;
        if !config.is_operator(&principal.tenant) {
            return Err(Refusal::NoEndpoint);
        }
        policy::scoped(&principal.scopes, &[scope.to_owned()])?;
        Ok(principal)
    }
}

impl Config {
    fn is_operator(&self, tenant: &str) -> bool {
        self.operators.as_deref() == Some(tenant)
    }
}

/// The value of a parameter of a query, as it is spelled.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Which page of rows is asked for: those after the first `after`, at most `limit`.
fn page(query: &str) -> (u64, u32) {
    let number = |name: &str| parameter(query, name).and_then(|value| value.parse::<u64>().ok());
    let limit = number("limit").unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    (number("after").unwrap_or(0).min(AFTER_MAX), u32::try_from(limit).unwrap_or(1))
}

/// Reads configurations, their history and tool definitions.
const READ_BUNDLES: &str = "bundle:read";
/// Stores configurations and puts them in force.
const PUSH_BUNDLES: &str = "bundle:push";
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
