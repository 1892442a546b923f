//! Is this token genuine, and does it say who calls? RFC 7519, RFC 9068 and RFC 8707.

use std::collections::BTreeSet;

use jwt_compact::UntrustedToken;
use mcp::Timestamp;
use serde::Deserialize;

use crate::{keys::KeySet, principal::Verified};

/// An issuer whose tokens are accepted, and how it spells its claims.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss`, compared byte for byte.
    pub issuer: String,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that lists roles.
    pub roles_claim: Option<String>,
}

/// What a token says of itself before anything is verified: only good for finding the key set.
#[derive(Debug, PartialEq, Eq)]
pub struct Claimed {
    /// `iss`
    pub issuer: String,
    /// `kid`
    pub kid: Option<String>,
}

/// Why a token makes no principal. Each is a 401 `invalid_token`; the text is for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not there, or not `Bearer`.
    #[error("a bearer token is needed in the `Authorization` header")]
    Missing,
    /// Not a JWT of bounded size, or one with critical extensions.
    #[error("the token is not a JWT that can be read here")]
    Malformed,
    /// From somebody else.
    #[error("the token's issuer is not accepted here")]
    Issuer,
    /// No key, wrong key, wrong algorithm, or changed on the way.
    #[error("the token's signature does not verify with a key of its issuer")]
    Signature,
    /// `exp` is absent.
    #[error("the token has no expiry (`exp`)")]
    NoExpiry,
    /// `exp` lies behind us.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies ahead of us.
    #[error("the token is not valid yet")]
    NotYet,
    /// `aud` names neither the endpoint nor the gateway.
    #[error("the token was not issued for this endpoint (`aud`)")]
    Audience,
    /// A claim that says who calls is absent or unusable.
    #[error("the token does not say `{0}`")]
    Claim(&'static str),
}

/// Which issuer and key `token` names.
///
/// # Errors
/// [`Refused::Malformed`]
pub fn claimed(token: &str) -> Result<Claimed, Refused> {
    let token = read(token)?;
    let claims = token.deserialize_claims_unchecked::<Issued>().map_err(|_| Refused::Malformed)?;
    Ok(Claimed { issuer: claims.custom.iss, kid: token.header().key_id.clone() })
}

/// Verifies `token` against its issuer's keys at `now`.
///
/// # Errors
/// [`Refused`]
pub fn verify(token: &str, issuer: &Issuer, keys: &KeySet, now: Timestamp) -> Result<Verified, Refused> {
    let token = read(token)?;
    let token = keys.prove::<Access, Extensions>(&token)?;
    let claims = token.claims();
    let expires = seconds(claims.expiration.ok_or(Refused::NoExpiry)?.timestamp());
    let begins =
        [claims.not_before, claims.issued_at].into_iter().flatten().map(|time| seconds(time.timestamp())).max();
    if claims.custom.iss != issuer.issuer {
        return Err(Refused::Issuer);
    }
    if begins.is_some_and(|begins| begins > now.plus_millis(LEEWAY_MS)) {
        return Err(Refused::NotYet);
    }
    if now >= expires.plus_millis(LEEWAY_MS) {
        return Err(Refused::Expired);
    }
    claims.custom.say_who(issuer).map(|who| Verified::new(who, expires.plus_millis(LEEWAY_MS)))
}

/// What the claims of a genuine token say.
pub(crate) struct Who {
    pub(crate) issuer: String,
    pub(crate) tenant: String,
    pub(crate) agent: String,
    pub(crate) user: String,
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) audiences: Vec<String>,
}

fn read(token: &str) -> Result<UntrustedToken<'_, Extensions>, Refused> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(Refused::Malformed);
    }
    let token = UntrustedToken::<Extensions>::try_from(token).map_err(|_| Refused::Malformed)?;
    match token.header().other_fields.crit {
        None => Ok(token),
        Some(_) => Err(Refused::Malformed),
    }
}

fn seconds(value: i64) -> Timestamp {
    Timestamp::from_secs(u64::try_from(value).unwrap_or(0))
}

/// Header fields the gateway must see: it understands no critical extension (RFC 7515 §4.1.11).
#[derive(Clone, Debug, Default, Deserialize)]
struct Extensions {
    crit: Option<serde_json::Value>,
}

#[derive(Clone, Deserialize)]
struct Issued {
    iss: String,
}

#[derive(Clone, Deserialize)]
struct Access {
    iss: String,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
    aud: Option<Words>,
    scope: Option<Words>,
    scp: Option<Words>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// One string or several: `aud` may be either (RFC 7519 §4.1.3), and issuers differ about scopes and roles.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    /// The items; a single string is split at spaces (RFC 6749 §3.3).
    fn split(self) -> BTreeSet<String> {
        match self {
            Self::One(text) => text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            Self::Many(items) => items.into_iter().collect(),
        }
    }

    fn whole(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(items) => items,
        }
    }
}

impl Access {
    fn say_who(&self, issuer: &Issuer) -> Result<Who, Refused> {
        let claim = |name: &str| match name {
            "iss" => Some(self.iss.clone()),
            "sub" => self.sub.clone(),
            "client_id" => self.client_id.clone(),
            "azp" => self.azp.clone(),
            name => self.rest.get(name).and_then(serde_json::Value::as_str).map(str::to_owned),
        };
        let roles = issuer.roles_claim.as_deref().and_then(|name| self.rest.get(name).cloned());
        let roles = roles.and_then(|value| serde_json::from_value::<Words>(value).ok());
        let scopes = self.scope.clone().or_else(|| self.scp.clone());
        Ok(Who {
            issuer: self.iss.clone(),
            tenant: named(claim(&issuer.tenant_claim), "tenant")?,
            agent: named(claim("client_id").or_else(|| claim("azp")), "client_id")?,
            user: named(claim("sub"), "sub")?,
            scopes: scopes.map(Words::split).unwrap_or_default(),
            roles: roles.map(Words::split).unwrap_or_default(),
            audiences: self.aud.clone().map(Words::whole).unwrap_or_default(),
        })
    }
}

/// A name that can stand in a record: 1 to 256 bytes without control characters.
fn named(value: Option<String>, claim: &'static str) -> Result<String, Refused> {
    let usable = |text: &String| (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    value.filter(usable).ok_or(Refused::Claim(claim))
}

/// Longer tokens are refused before they are decoded.
const TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Clocks of issuer and gateway may differ by this much.
const LEEWAY_MS: u64 = 30_000;

#[cfg(test)]
mod tests;
