//! May they? Whether a principal may use what it found.

use std::collections::BTreeSet;

/// Leave to go on. Only [`decide`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Permit {
    /// What decided, for the record.
    pub reason: &'static str,
}

/// No leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token was not granted enough; it may come back with all of these (RFC 6750 §3.1).
    #[error("the token lacks a scope that is needed here: `{}`", .0.join(" "))]
    Scope(Vec<String>),
}

/// Whether a token granted `held` may do what needs `needed`.
///
/// # Errors
/// [`Denied::Scope`] with every scope the operation needs.
pub fn decide(held: &BTreeSet<String>, needed: &[String]) -> Result<Permit, Denied> {
    match needed.iter().all(|scope| held.contains(scope)) {
        true if needed.is_empty() => Ok(Permit { reason: "tenant" }),
        true => Ok(Permit { reason: "scope" }),
        false => Err(Denied::Scope(needed.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_needed_scope_is_asked_for_at_once() {
        let needed = ["a", "b"].map(str::to_owned);
        assert_eq!(decide(&BTreeSet::from(["a".to_owned()]), &needed).unwrap_err(), Denied::Scope(needed.to_vec()));
        assert!(decide(&BTreeSet::from(needed.clone()), &needed).is_ok());
        assert!(decide(&BTreeSet::new(), &[]).is_ok());
    }
}
