//! With what is a leaf evaluated? With Cedar's own values, and one evaluator for many leaves: what Cedar's interface is
//! told are expressions, which it evaluates into those values first, and it makes an evaluator for each leaf.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use cedar_policy_core::{
    ast::{Context, EntityUIDEntry, Request, Value as Said},
    entities::{Entities, NoEntitiesSchema, TCComputation},
    evaluator::Evaluator,
    extensions::Extensions,
};
use serde_json::Value;

use crate::{
    arguments,
    ask::Circumstances,
    condition::{Asked, Known, Leaf, Outcomes},
    entity::Node,
    rules::Rules,
    shape::Record,
    verdict::Denied,
};

/// What every evaluation is made with.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) principal: Node,
    pub(crate) action: Node,
    pub(crate) resource: Node,
    /// Whether a policy asks which action it is.
    pub(crate) reads_action: bool,
    /// The arguments a tool declares.
    pub(crate) input: Option<Record>,
    pub(crate) method: Option<String>,
    /// Whether policies were validated against this action.
    pub(crate) validation: Validation,
    pub(crate) made: Made,
}

/// What is made of a stage, once for all evaluations on it; entities only when a leaf asks for them, for they cost more
/// than most leaves do.
#[derive(Debug, Default)]
pub(crate) struct Made {
    named: OnceCell<[EntityUIDEntry; 3]>,
    entities: OnceCell<Entities>,
}

/// Whether what a policy asks of the context is known to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validation {
    Validated,
    /// A tool that is not in the catalog of a server whose tools are pinned.
    Unforeseen,
}

/// A request on a stage, and what evaluates leaves in it.
pub(crate) struct Evaluation<'a> {
    stage: &'a Stage,
    request: Request,
    /// With entities, and without, for those that ask for none.
    with_entities: OnceCell<Evaluator<'a>>,
    without: OnceCell<Evaluator<'a>>,
}

impl Stage {
    /// A request with these arguments. Of the circumstances those are said that are `asked` for.
    ///
    /// # Errors
    /// [`Denied::Arguments`]
    pub(crate) fn evaluation(
        &self,
        arguments: Option<&Value>,
        circumstances: &Circumstances<'_>,
        asked: Asked,
    ) -> Result<Evaluation<'_>, Denied> {
        let mut context = BTreeMap::new();
        let mut say = |name: &str, value: &dyn Fn() -> Said| {
            if asked.contains(name) {
                context.insert(name.into(), value());
            }
        };
        let Circumstances { revision, client, hour, trace } = *circumstances;
        say("revision", &|| revision.into());
        say("hour", &|| i64::from(hour).into());
        say("trace", &|| trace.into());
        client.iter().for_each(|&client| say("client", &|| client.into()));
        self.method.iter().for_each(|method| say("method", &|| method.as_str().into()));
        if let Some(input) = &self.input {
            context.insert("arguments".into(), arguments::to_cedar(input, arguments)?);
        }
        Ok(self.within(Context::Value(Arc::new(context))))
    }

    /// A request for leaves that ask nothing of the context.
    pub(crate) fn evaluation_without_context(&self) -> Evaluation<'_> {
        self.within(Context::empty())
    }

    fn within(&self, context: Context) -> Evaluation<'_> {
        let known = |node: &Node| EntityUIDEntry::known(node.uid.clone().into(), None);
        let named = || [&self.principal, &self.action, &self.resource].map(known);
        let [principal, action, resource] = self.made.named.get_or_init(named).clone();
        let request = Request::new_unchecked(principal, action, resource, Some(context));
        Evaluation { stage: self, request, with_entities: OnceCell::new(), without: OnceCell::new() }
    }

    fn entities(&self) -> &Entities {
        self.made.entities.get_or_init(|| {
            let nodes = [Some(&self.principal), Some(&self.resource), self.reads_action.then_some(&self.action)];
            let entities = nodes.into_iter().flatten().map(Node::entity);
            // three entities of three types, none twice, and each told all that it is in
            let closure = TCComputation::AssumeAlreadyComputed;
            Entities::from_entities(entities, None::<&NoEntitiesSchema>, closure, Extensions::all_available())
                .unwrap_or_default()
        })
    }

    /// Whether no argument of this name is ever said: the tool does not declare it, or not so that Cedar could say it.
    /// Of those that policies ask for, which this is, no other is left out.
    fn lacks(&self, name: &str) -> bool {
        self.input.as_ref().is_some_and(|input| !input.contains_key(name))
    }
}

impl Evaluation<'_> {
    /// The value of a leaf.
    pub(crate) fn of(&self, leaf: &Leaf) -> Known {
        let evaluator = |entities| Evaluator::new(self.request.clone(), entities, Extensions::all_available());
        leaf.evaluate(match leaf.reads_entities {
            true => self.with_entities.get_or_init(|| evaluator(self.stage.entities())),
            false => self.without.get_or_init(|| evaluator(&NO_ENTITIES)),
        })
    }

    /// What a leaf comes to before anything is asked. What does not depend on that is evaluated, and put at its place in
    /// `known`.
    pub(crate) fn foresee(&self, rules: &Rules, index: usize, known: &mut [Option<Known>]) -> Outcomes {
        let (Some(leaf), Some(known)) = (rules.leaves.leaf(index), known.get_mut(index)) else { return Outcomes::ANY };
        let is_lacking = leaf.has_argument.as_ref().is_some_and(|name| self.stage.lacks(name));
        if !leaf.context.is_empty() && !is_lacking {
            let is_safe = self.stage.validation == Validation::Validated && !leaf.may_fail;
            return if is_safe { Outcomes::EITHER } else { Outcomes::ANY };
        }
        Outcomes::of(known.get_or_insert_with(|| if is_lacking { Ok(false) } else { self.of(leaf) }))
    }
}

static NO_ENTITIES: LazyLock<Entities> = LazyLock::new(Entities::new);
