//! What was decided, and by which policies?

use std::{collections::BTreeSet, fmt, rc::Rc};

/// Whether a token that was granted `held` reaches what needs `needed`; policies are asked after that.
///
/// # Errors
/// [`Denied::Scope`] with every scope the operation needs.
pub fn scoped(held: &BTreeSet<String>, needed: &[String]) -> Result<Permit, Denied> {
    match needed.iter().all(|scope| held.contains(scope)) {
        true if needed.is_empty() => Ok(Permit::because("tenant")),
        true => Ok(Permit::because("scope")),
        false => Err(Denied::Scope(needed.to_vec())),
    }
}

/// Leave to go on. Only this crate makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permit {
    /// What kind of rule decided, for the record: `tenant`, `scope`, `open` (there are no policies) or `policy`.
    pub reason: &'static str,
    /// The ids of the policies that permit it, in the order of their files; empty unless `reason` is `policy`.
    pub policies: Vec<Rc<str>>,
    /// What the candidate policies would have decided, where that differs.
    pub shadow: Option<Box<Shadow>>,
}

/// No leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token was not granted enough; it may come back with all of these (RFC 6750 §3.1).
    #[error("the token lacks a scope that is needed here: `{}`", .0.join(" "))]
    Scope(Vec<String>),
    /// Policies forbid it; or, when `policies` is empty, none permits it.
    #[error("{}", by_policy(policies))]
    Policy {
        /// The ids of the policies that forbid it.
        policies: Vec<Rc<str>>,
        /// What the candidate policies would have decided, where that differs.
        shadow: Option<Box<Shadow>>,
    },
    /// A policy that applies could not be evaluated, so nobody knows what it would have said.
    #[error("a policy failed: {}", errors.join("; "))]
    Failed {
        /// The ids of the policies that failed.
        policies: Vec<Rc<str>>,
        /// What went wrong, one for each of `policies`.
        errors: Vec<String>,
        /// What the candidate policies would have decided, where that differs.
        shadow: Option<Box<Shadow>>,
    },
    /// The arguments cannot be said in the words of policies: too deep, too big, a number out of range, or not what
    /// the tool's schema declares.
    #[error("{0}")]
    Arguments(String),
}

/// What the candidate policies would have decided. It is told only where they decide otherwise: another [`Outcome`]
/// than the live policies'. Other ids behind the same outcome are no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// How the candidate would have decided.
    pub outcome: Outcome,
    /// The candidate policies behind it: those that permit, that forbid, or that failed.
    pub policies: Vec<Rc<str>>,
}

/// How a set of policies decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one policy permits it, none forbids it, none failed.
    Permit,
    /// None permits it, or one forbids it.
    Deny,
    /// A policy that applies failed; it is denied.
    Fail,
}

/// Whether something is shown to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// There may be arguments and circumstances with which it is permitted.
    Visible,
    /// It is denied whatever the arguments and circumstances are.
    Hidden,
}

impl Permit {
    pub(crate) const fn because(reason: &'static str) -> Self {
        Self { reason, policies: Vec::new(), shadow: None }
    }

    /// Leave for both, as one record tells it: the ids of both, each once.
    pub fn and(&mut self, other: Self) {
        self.reason = if other.policies.is_empty() { self.reason } else { other.reason };
        for id in other.policies {
            if !self.policies.contains(&id) {
                self.policies.push(id);
            }
        }
        self.shadow = self.shadow.take().or(other.shadow);
    }
}

impl Denied {
    /// The ids of the policies behind the refusal, for the record.
    #[must_use]
    pub fn policies(&self) -> &[Rc<str>] {
        match self {
            Self::Policy { policies, .. } | Self::Failed { policies, .. } => policies,
            Self::Scope(_) | Self::Arguments(_) => &[],
        }
    }

    /// What the candidate policies would have decided, where that differs.
    #[must_use]
    pub fn shadow(&self) -> Option<&Shadow> {
        match self {
            Self::Policy { shadow, .. } | Self::Failed { shadow, .. } => shadow.as_deref(),
            Self::Scope(_) | Self::Arguments(_) => None,
        }
    }
}

impl Outcome {
    /// As it stands in records: `permit`, `deny` or `fail`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one set of policies says, before it is anyone's leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) policies: Vec<Rc<str>>,
    pub(crate) errors: Vec<String>,
}

impl Verdict {
    /// The decision of the live policies, beside what the candidate says.
    pub(crate) fn decision(self, candidate: Option<Self>) -> Result<Permit, Denied> {
        let shadow = candidate
            .filter(|candidate| candidate.outcome != self.outcome)
            .map(|Self { outcome, policies, .. }| Box::new(Shadow { outcome, policies }));
        let Self { outcome, policies, errors } = self;
        match outcome {
            Outcome::Permit => Ok(Permit { reason: "policy", policies, shadow }),
            Outcome::Deny => Err(Denied::Policy { policies, shadow }),
            Outcome::Fail => Err(Denied::Failed { policies, errors, shadow }),
        }
    }
}

fn by_policy(policies: &[Rc<str>]) -> String {
    match policies {
        [] => "no policy permits this".to_owned(),
        [id] => format!("policy `{id}` forbids this"),
        ids => format!("policies `{}` forbid this", ids.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_needed_scope_is_asked_for_at_once() {
        let needed = ["a", "b"].map(str::to_owned);
        assert_eq!(scoped(&BTreeSet::from(["a".to_owned()]), &needed).unwrap_err(), Denied::Scope(needed.to_vec()));
        assert!(scoped(&BTreeSet::from(needed.clone()), &needed).is_ok());
        assert!(scoped(&BTreeSet::new(), &[]).is_ok());
    }

    #[test]
    fn one_leave_for_two_names_each_policy_once() {
        let permit = |ids: &[&str]| Permit {
            policies: ids.iter().map(|&id| id.into()).collect(),
            ..Permit::because(if ids.is_empty() { "scope" } else { "policy" })
        };
        let mut both = permit(&[]);
        both.and(permit(&["a", "b"]));
        both.and(permit(&["b", "c"]));
        assert_eq!(both, permit(&["a", "b", "c"]));
    }
}
