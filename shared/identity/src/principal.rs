//! What is known about a caller? The proof that somebody accepted is calling, and as whom.

use std::{collections::BTreeSet, rc::Rc};

use mcp::{Timestamp, digest};

use crate::token::{Refused, Who};

/// A caller whose token is genuine, valid now and issued for what is called. Only this crate makes one.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The organisation.
    pub tenant: String,
    /// The program that calls: `client_id` or `azp`.
    pub agent: String,
    /// On whose behalf: `sub`.
    pub user: String,
    /// Who says so: `iss`.
    pub issuer: String,
    /// What the token was granted.
    pub scopes: BTreeSet<String>,
    /// What the issuer calls the user.
    pub roles: BTreeSet<String>,
    binding: [u8; 32],
}

/// A genuine token, good to be remembered until it expires.
#[derive(Clone, Debug)]
pub struct Verified {
    principal: Rc<Principal>,
    audiences: Vec<String>,
    expires: Timestamp,
}

/// Leave to serve callers without a token.
#[derive(Clone, Copy, Debug)]
pub struct Anonymous(());

impl Principal {
    /// The caller without a token.
    #[must_use]
    pub fn anonymous(_: Anonymous) -> Rc<Self> {
        let name = || "anonymous".to_owned();
        let who = Who {
            issuer: name(),
            tenant: name(),
            agent: name(),
            user: name(),
            scopes: BTreeSet::new(),
            roles: BTreeSet::new(),
            audiences: Vec::new(),
        };
        Verified::new(who, Timestamp::default()).principal
    }

    /// A digest of issuer, tenant, agent and user: what a session is bound to.
    #[must_use]
    pub const fn binding(&self) -> &[u8; 32] {
        &self.binding
    }
}

impl Verified {
    pub(crate) fn new(who: Who, expires: Timestamp) -> Self {
        let Who { issuer, tenant, agent, user, scopes, roles, audiences } = who;
        let binding = bind(&[&issuer, &tenant, &agent, &user]);
        let principal = Rc::new(Principal { tenant, agent, user, issuer, scopes, roles, binding });
        Self { principal, audiences, expires }
    }

    /// The principal, for a request at `now` to something any of `audiences` names (RFC 8707 §2).
    ///
    /// # Errors
    /// [`Refused::Expired`], [`Refused::Audience`]
    pub fn principal(&self, audiences: &[&str], now: Timestamp) -> Result<Rc<Principal>, Refused> {
        self.check_expiry(now)?;
        let named = self.audiences.iter().any(|audience| audiences.contains(&audience.trim_end_matches('/')));
        if named { Ok(Rc::clone(&self.principal)) } else { Err(Refused::Audience) }
    }

    /// Whether the token is still valid at `now`, for whom it was found good before.
    ///
    /// # Errors
    /// [`Refused::Expired`]
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), Refused> {
        if now >= self.expires { Err(Refused::Expired) } else { Ok(()) }
    }
}

impl Anonymous {
    /// Leave is only given where `host` of the gateway's public URL is loopback.
    #[must_use]
    pub fn on_loopback(host: &str) -> Option<Self> {
        matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1").then_some(Self(()))
    }
}

/// Lengths go in too, so that no two lists of names share a digest.
fn bind(names: &[&str]) -> [u8; 32] {
    let joined: String = names.iter().map(|name| format!("{}:{name}", name.len())).collect();
    digest::sha256(joined.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leave_to_serve_anyone_is_given_on_loopback_only() {
        for host in ["localhost", "127.0.0.1", "[::1]", "::1"] {
            let leave = Anonymous::on_loopback(host).unwrap();
            assert_eq!(Principal::anonymous(leave).agent, "anonymous");
        }
        for host in ["", "0.0.0.0", "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "[::]"]
        {
            assert!(Anonymous::on_loopback(host).is_none(), "{host}");
        }
    }

    #[test]
    fn a_binding_is_the_same_for_the_same_caller() {
        assert_eq!(bind(&["i", "t", "a", "u"]), bind(&["i", "t", "a", "u"]));
    }

    #[test]
    fn callers_whose_names_concatenate_alike_are_bound_apart() {
        let lists: [&[&str]; 7] = [
            &["i", "ab", "c", "u"],
            &["i", "a", "bc", "u"],
            &["i", "abc", "", "u"],
            &["ia", "b", "c", "u"],
            &["i", "a1:b", "c", "u"],
            &["i", "a", "1:bc", "u"],
            &["i", "a", "b", "cu"],
        ];
        let bindings: BTreeSet<[u8; 32]> = lists.iter().map(|names| bind(names)).collect();
        assert_eq!(bindings.len(), lists.len());
    }

    proptest! {
        #[test]
        fn two_callers_share_a_binding_only_if_every_name_is_the_same(
            one in prop::array::uniform4("[0-9:a]{0,4}"),
            other in prop::array::uniform4("[0-9:a]{0,4}"),
        ) {
            let binding = |names: &[String; 4]| bind(&names.each_ref().map(String::as_str));
            prop_assert_eq!(binding(&one) == binding(&other), one == other);
        }
    }
}
