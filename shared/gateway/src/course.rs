//! Which conversation does a request belong to, and where does that lead?

use std::{borrow::Cow, rc::Rc};

use bridge::{
    claim::{CAPABILITIES, CLIENT_INFO, Claim},
    down,
    text::Members,
    up,
};
use mcp::{Body, Call, Message, Revision, digest, json};
use registry::Server;
use session::{Route, Ticket};

use crate::{
    apart::apart,
    conversation::{Behind, Face, Terms},
    draft::Draft,
    federated::Federated,
    pipeline::Passing,
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

/// The conversation a request belongs to.
pub(crate) enum Course {
    /// None yet: `initialize` begins one.
    Opening,
    /// A session of the caller's, and where the server that is meant can be asked by itself.
    Session(Ticket, Rc<Route>, At),
    /// None: a modern request stands alone. Where it is sent, and where the server that is meant can be asked by itself.
    Alone(At, At),
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
    /// At all servers an endpoint shows, as if they were one.
    Federation(Rc<Federated>),
}

/// A conversation, and how it is made where it is not there yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) terms: Terms,
}

/// What a caller says of itself, as a legacy server has to know it from the start: JSON texts.
pub(crate) struct Client<'a> {
    capabilities: Cow<'a, str>,
    info: Option<Cow<'a, str>>,
}

impl Made {
    /// The façade that looks modern to this caller in front of a legacy server. What is behind it is shared neither by
    /// principals nor by what callers can do: a legacy server shows one session as much as its client said at the start.
    pub(crate) fn down(server: &Server, principal: &[u8; 32], client: &Client<'_>) -> Result<Self, Refusal> {
        let capabilities = json::strict(&client.capabilities).map_err(|error| Refusal::Params(error.to_string()))?;
        let (principal, fingerprint) = (digest::hex(principal), digest::hex(&digest::canonical(&capabilities)));
        let name =
            digest::hex(&digest::sha256([&server.name, "\n", &principal, "\n", &fingerprint].concat().as_bytes()));
        let client_info = client.info.as_ref().and_then(|info| serde_json::from_str(info).ok());
        let parked_ms = u64::try_from(server.question.as_millis()).unwrap_or(u64::MAX);
        let face = Face::Down(down::Terms { server: server.name.clone(), capabilities, client_info, parked_ms });
        Ok(Self { name: format!("down-{name}"), terms: Terms { face, behind: Behind::Instance(server.name.clone()) } })
    }

    /// The façade that looks legacy to the caller of one session in front of what is modern.
    pub(crate) fn up(ticket: &Ticket, server: &Server, federated: Option<&Federated>) -> Self {
        let behind = match federated {
            Some(federated) => federated.behind(),
            None => Behind::Instance(server.name.clone()),
        };
        Self { name: format!("up-{}", ticket.name()), terms: Terms { face: Face::Up, behind } }
    }

    /// The conversation `name`, made alike.
    pub(crate) fn named(&self, name: String) -> Self {
        Self { name, terms: self.terms.clone() }
    }
}

impl<'a> Client<'a> {
    /// The caller of a modern request.
    pub(crate) fn of(call: &Call<'a>) -> Client<'static> {
        let said = |key: &str| {
            let params = Members::parse(call.params?.get()).ok()?;
            let said = params.object("_meta").ok()?.raw(key).map(str::to_owned);
            said.map(Cow::Owned)
        };
        Client { capabilities: said(CAPABILITIES).unwrap_or(Cow::Borrowed("{}")), info: said(CLIENT_INFO) }
    }

    /// The caller of a legacy session, whose terms its façade's id spells.
    pub(crate) fn of_session(id: &str) -> Client<'static> {
        let terms = up::Terms::read(id);
        let capabilities = terms.as_ref().map_or(Cow::Borrowed("{}"), |terms| Cow::Owned(terms.capabilities.clone()));
        Client { capabilities, info: terms.and_then(|terms| terms.client_info).map(Cow::Owned) }
    }
}

impl<P: Platform> Gateway<P> {
    /// Finds out where a request leads: its session is looked up, or the era its server speaks.
    pub(crate) async fn course(
        &self,
        passing: &Passing<'_>,
        (ticket, body): (Option<Ticket>, Option<&Body<'_>>),
        draft: &mut Draft,
    ) -> Result<Course, Refusal> {
        match (ticket, &passing.claim, body) {
            (Some(ticket), ..) => {
                let route = self.route(&ticket, passing.arrival.aim.target.server()).await?;
                draft.routed(&ticket, &route);
                let at = match route.row.is_bridged {
                    false => At::Session(Rc::clone(&route)),
                    true => {
                        let client = Client::of_session(route.row.upstream_id.as_deref().unwrap_or_default());
                        apart(self.asked_at(passing, &client)).await?
                    }
                };
                Ok(Course::Session(ticket, route, at))
            }
            (None, Claim::Modern(_), Some(Body::Single(Message::Request(call)))) => {
                let client = Client::of(call);
                let at = apart(self.asked_at(passing, &client)).await?;
                let to = passing
                    .arrival
                    .aim
                    .federated
                    .as_ref()
                    .map_or_else(|| at.clone(), |all| At::Federation(Rc::clone(all)));
                Ok(Course::Alone(to, at))
            }
            (None, Claim::Modern(_), _) => Ok(Course::Alone(At::Instances, At::Instances)),
            (None, Claim::Legacy, _) => Ok(Course::Opening),
        }
    }

    /// Where the server that is meant can be asked by itself.
    async fn asked_at(&self, passing: &Passing<'_>, client: &Client<'_>) -> Result<At, Refusal> {
        match &passing.arrival.aim.federated {
            Some(federated) if passing.is_at_endpoint() => Ok(At::Federation(Rc::clone(federated))),
            _ => {
                let principal = passing.principal().binding();
                self.at(passing.config(), passing.server(), principal, client).await
            }
        }
    }
}

impl Course {
    /// Where the server that is meant can be asked, unless that is still to be found out.
    pub(crate) fn at(&self) -> Option<At> {
        match self {
            Self::Opening => None,
            Self::Session(.., at) | Self::Alone(_, at) => Some(at.clone()),
        }
    }

    /// What caller and gateway speak.
    pub(crate) fn revision(&self) -> Option<Revision> {
        match self {
            Self::Opening => None,
            Self::Session(_, route, _) => Some(route.row.revision),
            Self::Alone(..) => Some(Revision::V2026_07_28),
        }
    }
}
