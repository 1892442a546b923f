//! Who is calling? The token is looked up, or verified against its issuer's keys once.

use std::{cell::OnceCell, rc::Rc, time::Duration};

use audit::Who;
use guard::Admitted;
use http::{Request, header};
use identity::{KeySet, Principal, Refused, Verified};
use mcp::{Timestamp, digest};
use policy::Subject;

use crate::{
    apart::apart,
    config::{Config, ConfiguredIssuer, KeySource},
    memory::KeyRing,
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

/// A caller that is known, and how the record names it.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Rc<Principal>,
    pub(crate) who: Rc<Who>,
    /// How policies name it, once they were asked.
    pub(crate) subject: Rc<OnceCell<Subject>>,
    /// Its token; nobody else has none.
    verified: Option<Rc<Verified>>,
}

/// A genuine token that is remembered, and how the record names its bearer once that was needed.
#[derive(Clone)]
pub(crate) struct Bearer {
    verified: Rc<Verified>,
    who: Rc<OnceCell<Rc<Who>>>,
    subject: Rc<OnceCell<Subject>>,
}

impl<P: Platform> Gateway<P> {
    /// The caller behind an admitted request to the endpoint `resource`.
    pub(crate) async fn identify(
        &self,
        config: &Config,
        admitted: &Admitted,
        resource: &str,
    ) -> Result<Caller, Refusal> {
        match (config.anonymous, &admitted.authorization) {
            (Some(leave), None) => Ok(Caller::new(Principal::anonymous(leave))),
            (_, authorization) => self.bearer(config, authorization.as_deref(), resource).await,
        }
    }

    /// The caller whose token `authorization` bears, if it was issued for `resource` or for the whole gateway.
    pub(crate) async fn bearer(
        &self,
        config: &Config,
        authorization: Option<&str>,
        resource: &str,
    ) -> Result<Caller, Refusal> {
        let token = identity::bearer(authorization)?;
        let digest = digest::sha256(token.as_bytes());
        let remembered = self.memory.0.borrow_mut().verified.get(&digest).cloned();
        let bearer = match remembered {
            Some(bearer) => bearer,
            None => apart(self.verify(config, token, digest)).await?,
        };
        let principal = bearer.verified.principal(&[resource, config.site.origin()], self.platform.now())?;
        let who = Rc::clone(bearer.who.get_or_init(|| Rc::new(who(&principal))));
        Ok(Caller { principal, who, subject: bearer.subject, verified: Some(bearer.verified) })
    }

    async fn verify(&self, config: &Config, token: &str, digest: [u8; 32]) -> Result<Bearer, Refusal> {
        let claimed = identity::claimed(token)?;
        let issuer = config.issuer(&claimed.issuer).ok_or(Refused::Issuer)?;
        let keys = self.keys(issuer, claimed.kid.as_deref()).await?;
        let verified = Rc::new(identity::verify(token, &issuer.issuer, &keys, self.platform.now())?);
        let bearer = Bearer { verified, who: Rc::default(), subject: Rc::default() };
        self.memory.0.borrow_mut().verified.put(digest, bearer.clone());
        Ok(bearer)
    }

    /// The issuer's keys, fetched again for a `kid` that is not among them, at most every half minute.
    async fn keys(&self, issuer: &ConfiguredIssuer, kid: Option<&str>) -> Result<Rc<KeySet>, Refusal> {
        let url = match &issuer.keys {
            KeySource::Given(keys) => return Ok(Rc::clone(keys)),
            KeySource::Url(url) => url,
        };
        let name = &issuer.issuer.issuer;
        let ring = self.key_ring(name, kid).await;
        let now = self.platform.now();
        let age_ms = now.millis_since(ring.attempted);
        match ring.keys {
            Some(keys) if age_ms < REFETCH_MS || (keys.knows(kid) && age_ms < KEEP_MS) => Ok(keys),
            None if age_ms < REFETCH_MS => Err(Refusal::Keys(format!("`{url}` failed a moment ago"))),
            stale => {
                let expected_by = now.plus_millis(u64::try_from(FETCH_DEADLINE.as_millis()).unwrap_or(u64::MAX));
                self.put_key_ring(name, KeyRing { keys: stale.clone(), attempted: now, expected_by });
                let fetched = self.fetch_keys(url).await;
                let kept = fetched.as_ref().ok().cloned().or(stale);
                self.put_key_ring(name, KeyRing { keys: kept.clone(), attempted: now, expected_by: now });
                kept.ok_or_else(|| Refusal::Keys(fetched.err().unwrap_or_default()))
            }
        }
    }

    /// What is known of an issuer's keys, once no other request is about to know more: many callers at once are one
    /// fetch.
    async fn key_ring(&self, issuer: &str, kid: Option<&str>) -> KeyRing {
        loop {
            let ring = self.memory.0.borrow().keys.get(issuer).cloned().unwrap_or_default();
            let knows = ring.keys.as_ref().is_some_and(|keys| keys.knows(kid));
            if knows || self.platform.now() >= ring.expected_by {
                return ring;
            }
            self.platform.pause(FETCH_WAIT).await;
        }
    }

    fn put_key_ring(&self, issuer: &str, ring: KeyRing) {
        self.memory.0.borrow_mut().keys.insert(issuer.to_owned(), ring);
    }

    async fn fetch_keys(&self, url: &str) -> Result<Rc<KeySet>, String> {
        let request = Request::get(url).header(header::ACCEPT, "application/json").body(bytes::Bytes::new());
        let request = request.map_err(|error| format!("`{url}`: {error}"))?;
        let answer =
            self.platform.send(request.into(), FETCH_DEADLINE).await.map_err(|error| format!("`{url}`: {error}"))?;
        let (head, body) = answer.response.into_parts();
        if !head.status.is_success() {
            return Err(format!("`{url}` answered {}", head.status));
        }
        let body = self.platform.whole(body, KEYS_MAX_BYTES).await.map_err(|error| format!("`{url}`: {error}"))?;
        let text = std::str::from_utf8(&body).map_err(|_| format!("`{url}` is not UTF-8"))?;
        KeySet::parse(text).map(Rc::new).map_err(|error| format!("`{url}`: {error}"))
    }
}

impl Caller {
    fn new(principal: Rc<Principal>) -> Self {
        Self { who: Rc::new(who(&principal)), principal, subject: Rc::default(), verified: None }
    }

    /// Whether its token is still valid.
    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        self.verified.as_ref().is_none_or(|verified| verified.check_expiry(now).is_ok())
    }
}

fn who(principal: &Principal) -> Who {
    Who {
        tenant: principal.tenant.clone(),
        agent: principal.agent.clone(),
        user: principal.user.clone(),
        issuer: principal.issuer.clone(),
        roles: principal.roles.iter().cloned().collect(),
        scopes: principal.scopes.iter().cloned().collect(),
    }
}

impl Config {
    fn issuer(&self, issuer: &str) -> Option<&ConfiguredIssuer> {
        self.issuers.iter().find(|one| one.issuer.issuer == issuer)
    }
}

const FETCH_DEADLINE: Duration = Duration::from_secs(5);
const FETCH_WAIT: Duration = Duration::from_millis(20);
const KEYS_MAX_BYTES: usize = 256 * 1024;
const REFETCH_MS: u64 = 30_000;
const KEEP_MS: u64 = 3_600_000;
