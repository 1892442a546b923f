//! May they? The policies in force, and a candidate beside them.

use std::{cell::LazyCell, rc::Rc};

use crate::{
    ask::{Action, Ask, CALL_TOOL, DISCOVER, DISCOVERING, READ, READING, Tool, any_tool, tool_action},
    catalog::{Catalog, Source},
    compile::{Checked, compile, named},
    entity::{Node, Subject},
    outlook::Outlook,
    problem::Problem,
    rules::Rules,
    schema::{self, Detail, Inputs},
    shape::Record,
    stage::{Made, Stage, Validation},
    verdict::{Denied, Permit, Sight},
};

/// The policies in force, compiled, and a candidate that decides nothing yet.
#[derive(Clone, Debug)]
pub struct Policies(Option<Rc<LazyCell<Sets, Make>>>);

type Make = Box<dyn FnOnce() -> Sets>;

#[derive(Debug, Default)]
struct Sets {
    live: Rc<Rules>,
    candidate: Option<Rc<Rules>>,
    inputs: Inputs,
    /// The servers whose tools are not all known.
    incomplete: Vec<String>,
    reads_action: bool,
}

impl Policies {
    /// Compiles `live`, and `candidate` beside it. No source at all is not [`Policies::open`]: it permits nothing.
    ///
    /// # Errors
    /// Everything that is wrong in both.
    pub fn compile(live: &[Source], candidate: Option<&[Source]>, catalog: &Catalog) -> Result<Self, Vec<Problem>> {
        let sets = Sets::compile(live, candidate, (catalog, Checked::No))?;
        let made: Make = Box::new(|| sets);
        Ok(Self(Some(Rc::new(LazyCell::new(made)))))
    }

    /// The same of policies that were compiled before, against the same catalog, and held together: Cedar's validator has
    /// nothing new to say of them, its schema, which takes by far the longest, is not made, and they are compiled when
    /// they first decide. Should they not hold together after all, they permit nothing.
    #[must_use]
    pub fn recompile(live: Vec<Source>, candidate: Option<Vec<Source>>, catalog: Catalog) -> Self {
        let make: Make = Box::new(move || {
            Sets::compile(&live, candidate.as_deref(), (&catalog, Checked::Before)).unwrap_or_default()
        });
        Self(Some(Rc::new(LazyCell::new(make))))
    }

    /// No policies: everything is permitted, for the reason `open`.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Whether there are no policies.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// The schema policies are validated against, in Cedar's notation, with the tools `sources` name.
    ///
    /// # Errors
    /// A name in the catalog that cannot stand in a schema.
    pub fn schema(catalog: &Catalog, sources: &[Source]) -> Result<String, String> {
        let inputs = schema::inputs(catalog);
        schema::to_text(schema::to_json(&catalog.servers, Detail::EveryTool, &named(sources, catalog), &inputs))
    }

    /// What `subject` may expect when it does `action` at `server`; `tool` is what is known of the tool that is called.
    #[must_use]
    pub fn outlook(&self, subject: &Subject, action: Action<'_>, server: &str, tool: Option<Tool>) -> Outlook {
        let Some(sets) = self.0.as_deref() else { return Outlook::open() };
        let deed = sets.deed(action, server);
        let resource = Node::resource(action, server, tool.unwrap_or_default());
        let act = Node::action(&deed.id, &deed.groups);
        let stage = Stage {
            principal: subject.node.clone(),
            action: act,
            resource,
            reads_action: sets.reads_action,
            input: deed.input,
            method: action.method().map(str::to_owned),
            validation: deed.validation,
            made: Made::default(),
        };
        Outlook::new(stage, &sets.live, sets.candidate.as_ref(), (&deed.id, &deed.groups))
    }

    /// The whole decision of one question.
    ///
    /// # Errors
    /// [`Denied`], but never [`Denied::Scope`].
    pub fn decide(&self, ask: &Ask<'_>) -> Result<Permit, Denied> {
        self.outlook_of(ask).decide(ask.arguments, &ask.circumstances)
    }

    /// Whether what is asked for is shown to who asks: [`Outlook::sight`].
    #[must_use]
    pub fn sees(&self, ask: &Ask<'_>) -> Sight {
        self.outlook_of(ask).sight()
    }

    /// The decision, if it is the same whatever arguments and circumstances are: [`Outlook::standing`].
    #[must_use]
    pub fn standing(&self, ask: &Ask<'_>) -> Option<Result<Permit, Denied>> {
        self.outlook_of(ask).standing()
    }

    fn outlook_of(&self, ask: &Ask<'_>) -> Outlook {
        self.outlook(&Subject::new(&ask.who), ask.action, ask.server, ask.tool)
    }
}

/// An action as policies know it.
struct Deed {
    id: String,
    groups: Vec<String>,
    input: Option<Record>,
    validation: Validation,
}

impl Sets {
    fn compile(
        live: &[Source],
        candidate: Option<&[Source]>,
        against: (&Catalog, Checked),
    ) -> Result<Self, Vec<Problem>> {
        let catalog = against.0;
        let mut inputs = schema::inputs(catalog);
        let candidate = candidate.map(|sources| compile(sources, against, &inputs)).transpose();
        let (live, candidate) = match (compile(live, against, &inputs), candidate) {
            (Ok(live), Ok(candidate)) => (Rc::new(live), candidate.map(Rc::new)),
            (live, candidate) => {
                return Err(live.err().into_iter().chain(candidate.err()).flatten().collect());
            }
        };
        // what no policy reads need not be said; that can be a megabyte
        let reads =
            |name: &str| live.leaves.reads(name) || candidate.as_ref().is_some_and(|rules| rules.leaves.reads(name));
        inputs.values_mut().for_each(|input| input.retain(|name, _| reads(name)));
        let reads_action = |rules: &Rules| rules.leaves.iter().any(|leaf| leaf.reads_action);
        let incomplete = catalog.servers.iter().filter(|server| !server.is_complete);
        Ok(Self {
            reads_action: reads_action(&live) || candidate.as_deref().is_some_and(reads_action),
            incomplete: incomplete.map(|server| server.name.clone()).collect(),
            live,
            candidate,
            inputs,
        })
    }

    fn deed(&self, action: Action<'_>, server: &str) -> Deed {
        let Action::CallTool(tool) = action else {
            let id = action.id();
            let group =
                [(DISCOVER, &DISCOVERING[..]), (READ, &READING[..])].into_iter().find(|(_, ids)| ids.contains(&id));
            let groups = group.map(|(group, _)| group.to_owned()).into_iter().collect();
            return Deed { id: id.to_owned(), groups, input: None, validation: Validation::Validated };
        };
        let id = tool_action(server, tool);
        let input = self.inputs.get(&id).cloned();
        let is_foreseen = input.is_some() || self.incomplete.iter().any(|name| name == server);
        let validation = if is_foreseen { Validation::Validated } else { Validation::Unforeseen };
        let groups = vec![any_tool(server), CALL_TOOL.to_owned()];
        Deed { id, groups, input: Some(input.unwrap_or_default()), validation }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
