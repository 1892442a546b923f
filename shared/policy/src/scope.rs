//! Does a policy's scope let it speak of this principal and this resource? What Cedar's scope constraints mean, so that
//! only policies that can apply are evaluated.

use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::entity::Node;

/// What a scope asks of a principal or a resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Constraint {
    is: Option<EntityTypeName>,
    at: Place,
}

#[derive(Clone, Debug, Default)]
enum Place {
    #[default]
    Anywhere,
    Exactly(EntityUid),
    Within(EntityUid),
}

impl Constraint {
    pub(crate) fn principal(policy: &Policy) -> Self {
        match policy.principal_constraint() {
            PrincipalConstraint::Any => Self::default(),
            PrincipalConstraint::Eq(uid) => Self { is: None, at: Place::Exactly(uid) },
            PrincipalConstraint::In(uid) => Self { is: None, at: Place::Within(uid) },
            PrincipalConstraint::Is(kind) => Self { is: Some(kind), at: Place::Anywhere },
            PrincipalConstraint::IsIn(kind, uid) => Self { is: Some(kind), at: Place::Within(uid) },
        }
    }

    pub(crate) fn resource(policy: &Policy) -> Self {
        match policy.resource_constraint() {
            ResourceConstraint::Any => Self::default(),
            ResourceConstraint::Eq(uid) => Self { is: None, at: Place::Exactly(uid) },
            ResourceConstraint::In(uid) => Self { is: None, at: Place::Within(uid) },
            ResourceConstraint::Is(kind) => Self { is: Some(kind), at: Place::Anywhere },
            ResourceConstraint::IsIn(kind, uid) => Self { is: Some(kind), at: Place::Within(uid) },
        }
    }

    /// Whether the constraint holds for `node`.
    pub(crate) fn holds(&self, node: &Node) -> bool {
        let is = self.is.as_ref().is_none_or(|kind| kind == node.uid.type_name());
        is && match &self.at {
            Place::Anywhere => true,
            Place::Exactly(uid) => *uid == node.uid,
            Place::Within(uid) => *uid == node.uid || node.parents.contains(uid),
        }
    }

    /// The entity the constraint names.
    pub(crate) const fn names(&self) -> Option<&EntityUid> {
        match &self.at {
            Place::Anywhere => None,
            Place::Exactly(uid) | Place::Within(uid) => Some(uid),
        }
    }
}

/// The actions a policy's scope names, by their ids.
#[derive(Clone, Debug)]
pub(crate) enum Actions {
    Any,
    Exactly(String),
    Within(Vec<String>),
}

impl Actions {
    pub(crate) fn of(policy: &Policy) -> Self {
        let id = |uid: &EntityUid| uid.id().unescaped().to_owned();
        match policy.action_constraint() {
            ActionConstraint::Any => Self::Any,
            ActionConstraint::Eq(uid) => Self::Exactly(id(&uid)),
            ActionConstraint::In(uids) => Self::Within(uids.iter().map(id).collect()),
        }
    }
}
