//! How are principals, actions and resources spelled as Cedar entities?

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use cedar_policy_core::ast::{Entity, Value};

use crate::ask::{Action, Reference, Tool, Who};

/// A principal in Cedar's words, made once for a token and remembered with it.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(crate) node: Node,
}

/// An entity beside those it is in, which is all that scopes ask.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) uid: EntityUid,
    pub(crate) parents: HashSet<EntityUid>,
    attributes: Vec<(&'static str, Value)>,
}

/// The types of entities policies speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Action,
    Agent,
    Tenant,
    Role,
    Server,
    Tool,
    Prompt,
    Resource,
}

impl Subject {
    /// The entity `Agent::"tenant/agent"`, in its tenant and its roles.
    #[must_use]
    pub fn new(who: &Who<'_>) -> Self {
        let set = |names: &BTreeSet<String>| Value::set(names.iter().map(|name| name.as_str().into()), None);
        let roles = who.roles.iter().map(|role| Kind::Role.uid(role));
        let node = Node {
            uid: Kind::Agent.uid(&format!("{}/{}", who.tenant, who.agent)),
            parents: roles.chain([Kind::Tenant.uid(who.tenant)]).collect(),
            attributes: vec![
                ("tenant", who.tenant.into()),
                ("agent", who.agent.into()),
                ("user", who.user.into()),
                ("issuer", who.issuer.into()),
                ("roles", set(who.roles)),
                ("scopes", set(who.scopes)),
            ],
        };
        Self { node }
    }
}

impl Node {
    /// What `action` is done to at `server`.
    pub(crate) fn resource(action: Action<'_>, server: &str, tool: Tool) -> Self {
        let (kind, key, name) = match action {
            Action::CallTool(name) => (Kind::Tool, "name", name),
            Action::GetPrompt(name) | Action::Complete(Reference::Prompt(name)) => (Kind::Prompt, "name", name),
            Action::ReadResource(uri)
            | Action::Subscribe(uri)
            | Action::Unsubscribe(uri)
            | Action::Complete(Reference::Resource(uri)) => (Kind::Resource, "uri", uri),
            _ => return Self::of_server(server),
        };
        let mut attributes = vec![("server", server.into()), (key, name.into())];
        attributes.extend(hints(kind, tool).into_iter().map(|(key, is)| (key, is.into())));
        Self {
            uid: kind.uid(&format!("{server}/{name}")),
            parents: HashSet::from([Kind::Server.uid(server)]),
            attributes,
        }
    }

    fn of_server(server: &str) -> Self {
        Self { uid: Kind::Server.uid(server), parents: HashSet::new(), attributes: vec![("name", server.into())] }
    }

    /// The action of this id, in its groups.
    pub(crate) fn action(id: &str, groups: &[String]) -> Self {
        Self {
            uid: Kind::Action.uid(id),
            parents: groups.iter().map(|group| Kind::Action.uid(group)).collect(),
            attributes: Vec::new(),
        }
    }

    /// The entity itself.
    pub(crate) fn entity(&self) -> Entity {
        let attributes = self.attributes.iter().map(|(key, value)| ((*key).into(), value.clone().into()));
        let parents = self.parents.iter().map(|uid| uid.clone().into()).collect();
        Entity::new_with_attr_partial_value(self.uid.clone().into(), attributes, HashSet::new(), parents, [])
    }
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 8] =
        [Self::Action, Self::Agent, Self::Tenant, Self::Role, Self::Server, Self::Tool, Self::Prompt, Self::Resource];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "Action",
            Self::Agent => "Agent",
            Self::Tenant => "Tenant",
            Self::Role => "Role",
            Self::Server => "Server",
            Self::Tool => "Tool",
            Self::Prompt => "Prompt",
            Self::Resource => "Resource",
        }
    }

    /// The kind of `uid`, if it is one of ours.
    pub(crate) fn of(uid: &EntityUid) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_name() == uid.type_name())
    }

    pub(crate) fn uid(self, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.type_name().clone(), EntityId::new(id))
    }

    fn type_name(self) -> &'static EntityTypeName {
        let [action, agent, tenant, role, server, tool, prompt, resource] = &*TYPE_NAMES;
        match self {
            Self::Action => action,
            Self::Agent => agent,
            Self::Tenant => tenant,
            Self::Role => role,
            Self::Server => server,
            Self::Tool => tool,
            Self::Prompt => prompt,
            Self::Resource => resource,
        }
    }
}

/// What policies may ask of a thing. Reading a resource or a prompt changes nothing, by what the methods mean.
pub(crate) fn hints(kind: Kind, tool: Tool) -> Vec<(&'static str, bool)> {
    match kind {
        Kind::Tool => vec![
            ("readOnly", tool.read_only),
            ("destructive", tool.destructive),
            ("idempotent", tool.idempotent),
            ("openWorld", tool.open_world),
            ("pinned", tool.pinned),
        ],
        Kind::Prompt | Kind::Resource => vec![("readOnly", true), ("destructive", false), ("idempotent", true)],
        _ => Vec::new(),
    }
}

/// Parsing a type's name costs more than a decision; in the order of [`Kind::ALL`].
static TYPE_NAMES: LazyLock<[EntityTypeName; 8]> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "eight names that are identifiers, each parsed in the tests")]
    Kind::ALL.map(|kind| kind.as_str().parse().expect("an identifier"))
});
