//! What awaits a caller at a thing? All of a decision that does not depend on arguments and circumstances, worked out
//! once; and the rest of it.

use std::{cell::OnceCell, collections::BTreeMap, rc::Rc};

use cedar_policy::{Context, Effect, Entities, Request, RestrictedExpression};
use serde_json::Value;

use crate::{
    arguments::{self, admit},
    ask::Circumstances,
    condition::{Asked, Known, Leaf, Outcomes},
    entity::Node,
    rules::{Rule, Rules},
    shape::Record,
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

/// What every evaluation is made with.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) principal: Node,
    pub(crate) action: Node,
    pub(crate) resource: Node,
    /// Made when the first leaf asks for them, which costs more than most leaves do.
    pub(crate) entities: OnceCell<Entities>,
    /// Whether a policy asks which action it is.
    pub(crate) reads_action: bool,
    /// The arguments a tool declares.
    pub(crate) input: Option<Record>,
    pub(crate) method: Option<String>,
    /// Whether policies were validated against this action.
    pub(crate) validation: Validation,
}

/// Whether what a policy asks of the context is known to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validation {
    Validated,
    /// A tool that is not in the catalog of a server whose tools are pinned.
    Unforeseen,
}

/// How far a set of policies got without arguments and circumstances.
#[derive(Debug)]
struct Side {
    rules: Rc<Rules>,
    /// Policies that come to one value, and those that do not yet.
    settled: Vec<(usize, Known)>,
    open: Vec<usize>,
    /// The leaves that are known.
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
        let request = stage.request(arguments, circumstances, *asked);
        let verdict = live.verdict(&request, stage)?;
        let shadow = candidate.as_ref().map(|side| {
            side.verdict(&request, stage).unwrap_or_else(|denied| Verdict {
                outcome: Outcome::Fail,
                policies: Vec::new(),
                errors: vec![denied.to_string()],
            })
        });
        verdict.decision(shadow)
    }
}

impl Stage {
    /// Of the circumstances those that are `asked` for: to say what nobody reads takes longer than to decide.
    fn request(
        &self,
        arguments: Option<&Value>,
        circumstances: &Circumstances<'_>,
        asked: Asked,
    ) -> Result<Request, Denied> {
        let mut context = Vec::new();
        let mut say = |name: &str, value: &dyn Fn() -> RestrictedExpression| {
            if asked.contains(name) {
                context.push((name.to_owned(), value()));
            }
        };
        let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
        let Circumstances { revision, client, hour, trace } = circumstances;
        say("revision", &|| text(revision));
        say("hour", &|| RestrictedExpression::new_long(i64::from(*hour)));
        say("trace", &|| text(trace));
        client.iter().for_each(|client| say("client", &|| text(client)));
        self.method.iter().for_each(|method| say("method", &|| text(method)));
        if let Some(input) = &self.input {
            context.push(("arguments".to_owned(), arguments::to_cedar(input, arguments)?));
        }
        Context::from_pairs(context)
            .map_err(|error| Denied::Arguments(error.to_string()))
            .and_then(|context| self.request_in(context))
    }

    /// What a leaf comes to before anything is asked; what does not depend on that is evaluated and added to `known`.
    fn foresee(
        &self,
        rules: &Rules,
        index: usize,
        request: &Result<Request, Denied>,
        known: &mut BTreeMap<usize, Known>,
    ) -> Outcomes {
        let Some(leaf) = rules.leaves.leaf(index) else { return Outcomes::ANY };
        let is_lacking = leaf.has_argument.as_ref().is_some_and(|name| self.lacks(name));
        if !leaf.context.is_empty() && !is_lacking {
            let is_safe = self.validation == Validation::Validated && !leaf.may_fail;
            return if is_safe { Outcomes::EITHER } else { Outcomes::ANY };
        }
        Outcomes::of(known.entry(index).or_insert_with(|| match request {
            _ if is_lacking => Ok(false),
            Ok(request) => self.evaluate(leaf, request),
            Err(denied) => Err(denied.to_string()),
        }))
    }

    fn evaluate(&self, leaf: &Leaf, request: &Request) -> Known {
        let entities = || {
            let nodes = [Some(&self.principal), Some(&self.resource), self.reads_action.then_some(&self.action)];
            // three entities of three types, none in another: neither twice nor in a circle
            Entities::from_entities(nodes.into_iter().flatten().map(Node::entity), None).unwrap_or_default()
        };
        let entities = if leaf.reads_entities { self.entities.get_or_init(entities) } else { &Entities::empty() };
        leaf.evaluate(request, entities)
    }

    /// Whether no argument of this name is ever said: the tool does not declare it, or not so that Cedar could say it.
    /// Of those that policies ask for, which this is, no other is left out.
    fn lacks(&self, name: &str) -> bool {
        self.input.as_ref().is_some_and(|input| !input.contains_key(name))
    }

    fn request_in(&self, context: Context) -> Result<Request, Denied> {
        let [principal, action, resource] =
            [&self.principal, &self.action, &self.resource].map(|node| node.uid.clone());
        Request::new(principal, action, resource, context, None).map_err(|error| Denied::Arguments(error.to_string()))
    }
}

impl Side {
    fn new(rules: &Rc<Rules>, stage: &Stage, action: (&str, &[String])) -> Self {
        let request = stage.request_in(Context::empty());
        let (mut known, mut settled, mut open) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut seen = Seen::default();
        for (index, rule) in rules.in_scope(&stage.principal, action, &stage.resource) {
            let outcomes = rule.condition.outcomes(&mut |leaf| stage.foresee(rules, leaf, &request, &mut known));
            seen.add(rule.effect, outcomes);
            match outcomes.is_settled() {
                // what is settled without all its leaves does not fail for the lack of them
                true if !outcomes.is_error => settled.push((index, Ok(outcomes.is_true))),
                true => {
                    let mut leaf = |leaf| known.get(&leaf).cloned().unwrap_or_else(|| no_context(leaf));
                    settled.push((index, rule.condition.evaluate(&mut leaf)));
                }
                false => open.push(index),
            }
        }
        Self { rules: Rc::clone(rules), settled, open, known, sight: seen.sight() }
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

    /// What this set of policies says of `request`; one that could not be said matters only if a policy asks.
    fn verdict(&self, request: &Result<Request, Denied>, stage: &Stage) -> Result<Verdict, Denied> {
        match request {
            Ok(request) => Ok(self.conclude(&mut self.asking(request, stage))),
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

    /// Evaluates leaves in `request`, each once.
    fn asking<'a>(&'a self, request: &'a Request, stage: &'a Stage) -> impl FnMut(usize) -> Known + 'a {
        let mut asked: BTreeMap<usize, Known> = BTreeMap::new();
        move |index| {
            if let Some(known) = self.known.get(&index).or_else(|| asked.get(&index)) {
                return known.clone();
            }
            let Some(leaf) = self.rules.leaves.leaf(index) else { return no_context(index) };
            let known = stage.evaluate(leaf, request);
            asked.insert(index, known.clone());
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
