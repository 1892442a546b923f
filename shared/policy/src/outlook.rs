//! What awaits a caller at a thing? All of a decision that does not depend on arguments and circumstances, worked out
//! once; and the rest of it.

use std::{collections::BTreeMap, rc::Rc};

use cedar_policy::Effect;
use serde_json::Value;

use crate::{
    arguments::admit,
    ask::Circumstances,
    condition::{Asked, Known, Outcomes},
    rules::{Rule, Rules},
    stage::{Evaluation, Stage},
    verdict::{Denied, Outcome, Permit, Sight, Verdict},
};

/// What a principal may expect at one thing, for one action. It holds good as long as the configuration and the
/// principal do: remember it by both, the action, the server and what is known of the tool. Where there are no
/// policies, there is nothing to it.
#[derive(Clone, Debug)]
pub struct Outlook(Option<Rc<Prospect>>);

#[derive(Debug)]
struct Prospect {
    standing: Option<Result<Permit, Denied>>,
    stage: Stage,
    /// What is still to be asked of the context.
    asked: Asked,
    live: Side,
    candidate: Option<Side>,
}

/// How far a set of policies got without arguments and circumstances.
#[derive(Debug)]
struct Side {
    rules: Rc<Rules>,
    /// Policies that come to one value, and those that do not yet.
    settled: Vec<(usize, Known)>,
    open: Vec<usize>,
    /// The leaves of those that are open, as far as they are known.
    known: BTreeMap<usize, Known>,
    sight: Sight,
}

impl Outlook {
    pub(crate) const fn open() -> Self {
        Self(None)
    }

    pub(crate) fn new(
        stage: Stage,
        live: &Rc<Rules>,
        candidate: Option<&Rc<Rules>>,
        action: (&str, &[String]),
    ) -> Self {
        let live = Side::new(live, &stage, action);
        let candidate = candidate.map(|rules| Side::new(rules, &stage, action));
        let is_settled = live.open.is_empty() && candidate.as_ref().is_none_or(|side| side.open.is_empty());
        let standing = is_settled.then(|| {
            let shadow = candidate.as_ref().map(|side| side.conclude(&mut no_context));
            live.conclude(&mut no_context).decision(shadow)
        });
        let asked = candidate.iter().fold(live.asked(), |asked, side| asked.and(side.asked()));
        Self(Some(Rc::new(Prospect { standing, stage, asked, live, candidate })))
    }

    /// Whether it is shown to the principal at all. A thing that is hidden is denied whatever it is called with; one
    /// that is visible is not always permitted with some arguments, where conditions exclude each other in ways only a
    /// solver sees.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.0.as_ref().map_or(Sight::Visible, |prospect| prospect.live.sight)
    }

    /// The decision, if it is the same, with the same policies behind it, whatever arguments and circumstances are. It
    /// is given for arguments that [`admit`] admits.
    #[must_use]
    pub fn standing(&self) -> Option<Result<Permit, Denied>> {
        self.0.as_ref().map_or_else(|| Some(Ok(Permit::because("open"))), |prospect| prospect.standing.clone())
    }

    /// The decision. What a call says is read only as far as policies ask for it: an argument that contradicts its schema
    /// matters only where some policy reads it, and one that may apply reads arguments or circumstances.
    ///
    /// # Errors
    /// [`Denied`], but never [`Denied::Scope`].
    pub fn decide(&self, arguments: Option<&Value>, circumstances: &Circumstances<'_>) -> Result<Permit, Denied> {
        arguments.map_or(Ok(()), admit)?;
        let Some(Prospect { standing, stage, asked, live, candidate }) = self.0.as_deref() else {
            return Ok(Permit::because("open"));
        };
        if let Some(standing) = standing {
            return standing.clone();
        }
        let evaluation = stage.evaluation(arguments, circumstances, *asked);
        let verdict = live.verdict(&evaluation)?;
        let shadow = candidate.as_ref().map(|side| {
            side.verdict(&evaluation).unwrap_or_else(|denied| Verdict {
                outcome: Outcome::Fail,
                policies: Vec::new(),
                errors: vec![denied.to_string()],
            })
        });
        verdict.decision(shadow)
    }
}

impl Side {
    fn new(rules: &Rc<Rules>, stage: &Stage, action: (&str, &[String])) -> Self {
        let evaluation = stage.evaluation_without_context();
        let mut known = vec![None; rules.leaves.count()];
        let (mut settled, mut open) = (Vec::new(), Vec::new());
        let mut seen = Seen::default();
        for (index, rule) in rules.in_scope(&stage.principal, action, &stage.resource) {
            let outcomes = rule.condition.outcomes(&mut |leaf| evaluation.foresee(rules, leaf, &mut known));
            seen.add(rule.effect, outcomes);
            match outcomes.is_settled() {
                // what is settled without all its leaves does not fail for the lack of them
                true if !outcomes.is_error => settled.push((index, Ok(outcomes.is_true))),
                true => {
                    let mut leaf = |leaf| known.get(leaf).cloned().flatten().unwrap_or_else(|| no_context(leaf));
                    settled.push((index, rule.condition.evaluate(&mut leaf)));
                }
                false => open.push(index),
            }
        }
        let mut kept = BTreeMap::new();
        for rule in open.iter().filter_map(|&index| rules.rule(index)) {
            rule.condition.each_leaf(&mut |leaf| {
                kept.extend(known.get(leaf).cloned().flatten().map(|known| (leaf, known)));
            });
        }
        Self { rules: Rc::clone(rules), settled, open, known: kept, sight: seen.sight() }
    }

    /// What is still to be asked of the context.
    fn asked(&self) -> Asked {
        let mut asked = Asked::default();
        for rule in self.open.iter().filter_map(|&index| self.rules.rule(index)) {
            rule.condition.each_leaf(&mut |index| {
                if let Some(leaf) = self.rules.leaves.leaf(index) {
                    asked = asked.and(leaf.context);
                }
            });
        }
        asked
    }

    /// What this set of policies says of a request; one that could not be said matters only if a policy asks.
    fn verdict(&self, evaluation: &Result<Evaluation<'_>, Denied>) -> Result<Verdict, Denied> {
        match evaluation {
            Ok(evaluation) => Ok(self.conclude(&mut self.asking(evaluation))),
            Err(_) if self.open.is_empty() => Ok(self.conclude(&mut no_context)),
            Err(denied) => Err(denied.clone()),
        }
    }

    /// What this set of policies says, where `leaf` tells what was not known.
    fn conclude(&self, leaf: &mut impl FnMut(usize) -> Known) -> Verdict {
        let open = self.open.iter().filter_map(|&index| {
            let rule = self.rules.rule(index)?;
            Some((index, rule.condition.evaluate(leaf)))
        });
        let mut all: Vec<(usize, Known)> = self.settled.iter().cloned().chain(open).collect();
        all.sort_by_key(|(index, _)| *index);
        let ids = |wanted: &dyn Fn(&Rule, &Known) -> bool| -> Vec<Rc<str>> {
            let rules = all.iter().filter_map(|(index, known)| Some((self.rules.rule(*index)?, known)));
            rules.filter(|(rule, known)| wanted(rule, known)).map(|(rule, _)| Rc::clone(&rule.id)).collect()
        };
        let failed = ids(&|_, known| known.is_err());
        if !failed.is_empty() {
            let errors = all.iter().filter_map(|(_, known)| known.clone().err()).collect();
            return Verdict { outcome: Outcome::Fail, policies: failed, errors };
        }
        let forbids = ids(&|rule, known| rule.effect == Effect::Forbid && *known == Ok(true));
        let permits = ids(&|rule, known| rule.effect == Effect::Permit && *known == Ok(true));
        match forbids.is_empty() && !permits.is_empty() {
            true => Verdict { outcome: Outcome::Permit, policies: permits, errors: Vec::new() },
            false => Verdict { outcome: Outcome::Deny, policies: forbids, errors: Vec::new() },
        }
    }

    /// Evaluates leaves, each once: one that occurs nowhere else is not asked for again.
    fn asking<'a>(&'a self, evaluation: &'a Evaluation<'_>) -> impl FnMut(usize) -> Known + 'a {
        let mut asked: BTreeMap<usize, Known> = BTreeMap::new();
        move |index| {
            if let Some(known) = self.known.get(&index).or_else(|| asked.get(&index)) {
                return known.clone();
            }
            let Some(leaf) = self.rules.leaves.leaf(index) else { return no_context(index) };
            let known = evaluation.of(leaf);
            if leaf.is_shared {
                asked.insert(index, known.clone());
            }
            known
        }
    }
}

/// What the policies met so far leave to be seen.
#[derive(Default)]
struct Seen {
    may_be_permitted: bool,
    is_denied: bool,
}

impl Seen {
    fn add(&mut self, effect: Effect, outcomes: Outcomes) {
        match effect {
            Effect::Permit => {
                self.may_be_permitted |= outcomes.is_true;
                self.is_denied |= !outcomes.is_true && !outcomes.is_false;
            }
            Effect::Forbid => self.is_denied |= !outcomes.is_false,
        }
    }

    const fn sight(&self) -> Sight {
        if self.may_be_permitted && !self.is_denied { Sight::Visible } else { Sight::Hidden }
    }
}

/// The value of a leaf that needs a context, where there is none; whoever is settled does not ask.
fn no_context(_: usize) -> Known {
    Err("the context is not known".to_owned())
}
