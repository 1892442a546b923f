//! Which conversation does a request belong to, and where does that lead?

use std::rc::Rc;

use bridge::{
    claim::{Claim, Envelope},
    down,
};
use mcp::{Revision, digest};
use registry::Server;
use serde_json::json;
use session::{Route, Ticket};

use crate::{
    conversation::{Behind, Face, Terms},
    draft::Draft,
    pipeline::Passing,
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

/// The conversation a request belongs to.
pub(crate) enum Course {
    /// None yet: `initialize` begins one.
    Opening,
    /// A session of the caller's.
    Session(Ticket, Rc<Route>),
    /// None: a modern request stands alone.
    Alone(At),
}

/// Where a server's offers can be listed, and its tools called.
#[derive(Clone)]
pub(crate) enum At {
    /// In an open session.
    Session(Rc<Route>),
    /// At any instance, each request by itself.
    Instances,
    /// At the façade that looks modern in front of a legacy server.
    Conversation(Rc<Made>),
}

/// A conversation, and how it is made where it is not there yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) terms: Terms,
}

impl Made {
    /// The façade that looks modern to this caller in front of a legacy server. What is behind it is shared neither by
    /// principals nor by what callers can do: a legacy server shows one session as much as its client said at the start.
    pub(crate) fn down(passing: &Passing<'_>, envelope: &Envelope<'_>) -> Result<Self, Refusal> {
        let capabilities =
            mcp::json::strict(envelope.capabilities).map_err(|error| Refusal::Params(error.to_string()))?;
        let server = passing.server();
        let parts = json!([
            server.name,
            digest::hex(passing.caller.principal.binding()),
            digest::hex(&digest::canonical(&capabilities)),
        ]);
        let client_info = envelope.client_info.and_then(|info| serde_json::from_str(info.get()).ok());
        let terms = down::Terms { server: server.name.clone(), capabilities, client_info };
        let name = digest::hex(&digest::sha256(parts.to_string().as_bytes()));
        let terms = Terms { face: Face::Down(terms), behind: Behind::Instance(server.name.clone()) };
        Ok(Self { name: format!("down-{name}"), terms })
    }

    /// The façade that looks legacy to the caller of one session in front of a modern server.
    pub(crate) fn up(ticket: &Ticket, server: &Server) -> Self {
        let terms = Terms { face: Face::Up, behind: Behind::Instance(server.name.clone()) };
        Self { name: format!("up-{}", ticket.name()), terms }
    }

    /// The conversation `name`, made alike.
    pub(crate) fn named(&self, name: String) -> Self {
        Self { name, terms: self.terms.clone() }
    }
}

impl<P: Platform> Gateway<P> {
    /// Finds out where a request leads: its session is looked up, or the era its server speaks.
    pub(crate) async fn course(
        &self,
        passing: &Passing<'_>,
        ticket: Option<Ticket>,
        draft: &mut Draft,
    ) -> Result<Course, Refusal> {
        match (ticket, &passing.claim) {
            (Some(ticket), _) => {
                let route = self.route(&ticket, passing.server()).await?;
                draft.routed(&ticket, &route.row.instance);
                Ok(Course::Session(ticket, route))
            }
            (None, Claim::Legacy) => Ok(Course::Opening),
            (None, Claim::Modern(envelope)) => Ok(Course::Alone(self.at(passing, envelope).await?)),
        }
    }
}

impl Course {
    /// Where it leads, unless that is still to be found out.
    pub(crate) fn at(&self) -> Option<At> {
        match self {
            Self::Opening => None,
            Self::Session(_, route) if route.row.is_bridged => Some(At::Instances),
            Self::Session(_, route) => Some(At::Session(Rc::clone(route))),
            Self::Alone(at) => Some(at.clone()),
        }
    }

    /// What caller and gateway speak.
    pub(crate) fn revision(&self) -> Option<Revision> {
        match self {
            Self::Opening => None,
            Self::Session(_, route) => Some(route.row.revision),
            Self::Alone(_) => Some(Revision::V2026_07_28),
        }
    }
}
