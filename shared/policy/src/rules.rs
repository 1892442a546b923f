//! Which policies can apply to a request? A set of policies, indexed by what their scopes name.

use std::{collections::BTreeMap, rc::Rc};

use cedar_policy::{Effect, Policy};

use crate::{
    condition::{Condition, Leaves},
    entity::Node,
    scope::{Actions, Constraint},
};

/// A set of policies, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    pub(crate) leaves: Leaves,
    of_any: Vec<usize>,
    of_one: BTreeMap<String, Vec<usize>>,
    of_group: BTreeMap<String, Vec<usize>>,
}

/// A policy.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Rc<str>,
    pub(crate) effect: Effect,
    principal: Constraint,
    resource: Constraint,
    pub(crate) condition: Condition,
}

impl Rules {
    /// The rules that `policies` are.
    ///
    /// # Errors
    /// The index of one Cedar cannot take apart, and why.
    pub(crate) fn new<'a>(policies: impl Iterator<Item = (&'a Rc<str>, &'a Policy)>) -> Result<Self, (usize, String)> {
        let mut this = Self::default();
        for (index, (id, policy)) in policies.enumerate() {
            let condition = this.leaves.condition(policy).map_err(|what| (index, what))?;
            match Actions::of(policy) {
                Actions::Any => this.of_any.push(index),
                Actions::Exactly(action) => this.of_one.entry(action).or_default().push(index),
                Actions::Within(groups) => {
                    for group in groups {
                        this.of_group.entry(group).or_default().push(index);
                    }
                }
            }
            this.rules.push(Rule {
                id: Rc::clone(id),
                effect: policy.effect(),
                principal: Constraint::principal(policy),
                resource: Constraint::resource(policy),
                condition,
            });
        }
        Ok(this)
    }

    /// The rules whose scope holds, in the order of the files. `groups` are all the groups `action` is in.
    pub(crate) fn in_scope<'a>(
        &'a self,
        principal: &'a Node,
        (action, groups): (&'a str, &'a [String]),
        resource: &'a Node,
    ) -> impl Iterator<Item = (usize, &'a Rule)> {
        let listed = |index: &'a BTreeMap<String, Vec<usize>>, key: &str| index.get(key).into_iter().flatten();
        let mut indices: Vec<usize> = listed(&self.of_one, action)
            .chain(listed(&self.of_group, action))
            .chain(groups.iter().flat_map(|group| listed(&self.of_group, group)))
            .chain(&self.of_any)
            .copied()
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices
            .into_iter()
            .filter_map(|index| Some((index, self.rules.get(index)?)))
            .filter(|(_, rule)| rule.principal.holds(principal) && rule.resource.holds(resource))
    }

    pub(crate) fn rule(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }
}
