//! May they? Each message of a request is decided by policy; a decision that never changes is remembered.

use std::rc::Rc;

use bridge::federation::route::Unroutable;
use guard::Verb;
use identity::Principal;
use mcp::{definition::Hints, json::clip};
use policy::{Action, Circumstances, Denied, Outlook, Permit, Sight, Subject, Tool, Who};
use registry::{Server, Target};
use upstream::Repeatable;

use crate::{
    apart::apart, config::Config, course::Course, definitions::Offer, pipeline::Passing, platform::Platform,
    refusal::Refusal, said::Asked, serve::Gateway,
};

/// What a caller may expect of a thing, and what that was worked out for: kept, so that addresses stay theirs.
pub(crate) struct Expected {
    _principal: Rc<Principal>,
    _thing: Thing,
    outlook: Outlook,
}

/// Something that is asked for again and again.
#[expect(dead_code, reason = "held, so that no other takes its address")]
enum Thing {
    Tool(Rc<Offer>),
    Server(Target),
}

/// Whose expectation of what: the addresses of both, and for a server what is done there.
pub(crate) type ExpectedKey = (usize, usize, u8);

impl<P: Platform> Gateway<P> {
    /// Leave for everything a request asks for, on top of the `permit` its scopes gave it.
    pub(crate) async fn permit(
        &self,
        passing: &Passing<'_>,
        course: &Course,
        permit: Permit,
    ) -> Result<Permit, Refusal> {
        match passing.is_at_endpoint() || passing.config().is_watched(passing.server()) {
            true => apart(self.permit_by_policy(passing, course, permit)).await,
            false => Ok(permit),
        }
    }

    async fn permit_by_policy(
        &self,
        passing: &Passing<'_>,
        course: &Course,
        mut permit: Permit,
    ) -> Result<Permit, Refusal> {
        match passing.arrival.admitted.verb {
            Verb::Get => permit.and(self.permit_bare(passing, course, Action::Listen)?),
            Verb::Delete => permit.and(self.permit_bare(passing, course, Action::EndSession)?),
            Verb::Post => {
                for asked in &passing.said.asked {
                    permit.and(match passing.is_at_endpoint() {
                        true => self.permit_somewhere(passing, course, asked)?,
                        false => self.permit_one(passing, course, asked).await?,
                    });
                }
                if passing.said.responds {
                    permit.and(self.permit_bare(passing, course, Action::Respond)?);
                }
            }
        }
        Ok(permit)
    }

    /// Whether the caller may know of something, whatever the arguments would be.
    pub(crate) fn sees(&self, passing: &Passing<'_>, action: Action<'_>, offer: Option<&Rc<Offer>>) -> Sight {
        self.outlook(passing, action, offer).sight()
    }

    /// Whether `passing` may be sent again: what it does is known from its method, or said by the tool it calls.
    pub(crate) fn repeatable(&self, passing: &Passing<'_>) -> Repeatable {
        match passing.said.asked.as_slice() {
            [asked] if passing.arrival.admitted.verb == Verb::Post => {
                let hints = asked.target.as_deref().and_then(|tool| self.hints(passing.server(), tool));
                upstream::repeatable(asked.method, hints)
            }
            _ => Repeatable::No,
        }
    }

    /// Leave for what is meant for an endpoint of many servers: one of them has to allow it, and only those that do are
    /// asked. A resource is its own server's to allow.
    fn permit_somewhere(&self, passing: &Passing<'_>, course: &Course, asked: &Asked<'_>) -> Result<Permit, Refusal> {
        let Some(federated) = &passing.arrival.aim.federated else { return Err(Refusal::NoEndpoint) };
        let named = asked.target.as_deref().unwrap_or_default();
        let (servers, named): (Vec<&str>, &str) = match (asked.method, federated.view.resource(named)) {
            ("resources/subscribe", Some((server, own))) => (vec![server], own),
            ("resources/subscribe", None) => return Err(Unroutable::Resource(clip(named).to_owned()).into()),
            _ => (federated.view.servers().collect(), named),
        };
        let mut verdict = Err(Refusal::NotFound(registry::NotFound));
        for server in servers {
            let passing = passing.at_server(federated.config.registry.configured(server)?);
            let decided = match passing.config().is_watched(passing.server()) {
                true => {
                    let outlook = self.outlook(&passing, Action::of_method(asked.method, named), None);
                    self.decide(&passing, course, asked, &outlook).map_err(|denied| forbidden(&passing, course, denied))
                }
                false => policy::scoped(&passing.principal().scopes, &[]).map_err(Refusal::from),
            };
            verdict = match (verdict, decided) {
                (Ok(mut permit), Ok(other)) => {
                    permit.and(other);
                    Ok(permit)
                }
                (Ok(permit), Err(_)) | (Err(_), Ok(permit)) => Ok(permit),
                (Err(_), Err(refusal)) => Err(refusal),
            };
        }
        verdict
    }

    /// Leave for what has no message of its own.
    fn permit_bare(&self, passing: &Passing<'_>, course: &Course, action: Action<'_>) -> Result<Permit, Denied> {
        if passing.is_at_endpoint() {
            // The session, its stream and its answers: each message on the way is decided by itself.
            return policy::scoped(&passing.principal().scopes, &[]);
        }
        self.decide(passing, course, &Asked::default(), &self.outlook(passing, action, None))
    }

    async fn permit_one(&self, passing: &Passing<'_>, course: &Course, asked: &Asked<'_>) -> Result<Permit, Refusal> {
        let action = Action::of_method(asked.method, asked.target.as_deref().unwrap_or_default());
        let (Action::CallTool(tool), Some(at)) = (action, course.at()) else {
            let decided = self.decide(passing, course, asked, &self.outlook(passing, action, None));
            return decided.map_err(|denied| forbidden(passing, course, denied));
        };
        let no_tool = |denied| Refusal::NoTool(mcp::json::clip(tool).to_owned(), denied);
        let offer = self.offer(&passing.place(at), tool).await?.ok_or_else(|| no_tool(None))?;
        let outlook = self.outlook(passing, action, Some(&offer));
        let decided = self.decide(passing, course, asked, &outlook);
        decided.map_err(|denied| match outlook.sight() {
            Sight::Hidden => no_tool(Some(denied)),
            Sight::Visible => forbidden(passing, course, denied),
        })
    }

    fn decide(
        &self,
        passing: &Passing<'_>,
        course: &Course,
        asked: &Asked<'_>,
        outlook: &Outlook,
    ) -> Result<Permit, Denied> {
        let client = match course {
            Course::Session(_, route, _) => route.row.client.as_deref(),
            Course::Opening | Course::Alone(..) => passing.said.client.as_deref(),
        };
        let revision = course.revision().or(passing.revision);
        let circumstances = Circumstances {
            revision: revision.map_or("", mcp::Revision::as_str),
            client,
            hour: self.platform.now().hour(),
            trace: &passing.trace.trace_id(),
        };
        outlook.decide(asked.arguments.as_deref(), &circumstances)
    }

    /// What the caller may expect, worked out once for what is asked for again and again.
    fn outlook(&self, passing: &Passing<'_>, action: Action<'_>, offer: Option<&Rc<Offer>>) -> Outlook {
        let principal = passing.principal();
        let (address, thing) = match (offer, server_action(action)) {
            (Some(offer), _) => ((Rc::as_ptr(offer).addr(), 0), Some(Thing::Tool(Rc::clone(offer)))),
            (None, Some(tag)) => {
                let target = passing.target.clone();
                ((std::ptr::from_ref(target.server()).addr(), tag), Some(Thing::Server(target)))
            }
            (None, None) => ((0, 0), None),
        };
        let key = (Rc::as_ptr(principal).addr(), address.0, address.1);
        if thing.is_some()
            && let Some(expected) = self.memory.0.borrow_mut().expected.get(&key)
        {
            return expected.outlook.clone();
        }
        let subject = passing.arrival.caller.subject.get_or_init(|| subject(principal));
        let facts = offer.map(|offer| offer.facts());
        let outlook = passing.config().policies.outlook(subject, action, &passing.server().name, facts);
        if let Some(thing) = thing {
            let expected = Expected { _principal: Rc::clone(principal), _thing: thing, outlook: outlook.clone() };
            self.memory.0.borrow_mut().expected.put(key, expected);
        }
        outlook
    }

    /// What is known of a tool's effects, where the server is watched.
    fn hints(&self, server: &Server, tool: &str) -> Option<Hints> {
        self.memory.0.borrow().offers.get(&server.name)?.hints(tool)
    }
}

/// Within a session a refusal is the answer to the one request, and the session goes on.
fn forbidden(passing: &Passing<'_>, course: &Course, denied: Denied) -> Refusal {
    match (course, passing.said.asked.len(), passing.said.requests) {
        (Course::Opening, ..) => Refusal::Denied(denied),
        (_, 1, 1) => Refusal::Forbidden(denied),
        _ => Refusal::Denied(denied),
    }
}

impl Offer {
    fn facts(&self) -> Tool {
        let Hints { read_only, destructive, idempotent, open_world } = self.hints;
        Tool { read_only, destructive, idempotent, open_world, pinned: self.is_pinned }
    }
}

fn subject(principal: &Principal) -> Subject {
    Subject::new(&Who {
        tenant: &principal.tenant,
        agent: &principal.agent,
        user: &principal.user,
        issuer: &principal.issuer,
        roles: &principal.roles,
        scopes: &principal.scopes,
    })
}

/// A number for each action whose resource is the server itself.
const fn server_action(action: Action<'_>) -> Option<u8> {
    match action {
        Action::OpenSession => Some(1),
        Action::EndSession => Some(2),
        Action::Listen => Some(3),
        Action::Ping => Some(4),
        Action::Notify => Some(5),
        Action::SetLogLevel => Some(6),
        Action::ListTools => Some(7),
        Action::ListPrompts => Some(8),
        Action::ListResources => Some(9),
        Action::ListTemplates => Some(10),
        Action::Respond => Some(11),
        _ => None,
    }
}

impl Config {
    /// Whether what passes to and from a server has to be looked at: there are policies, or tools to be approved.
    pub(crate) fn is_watched(&self, server: &Server) -> bool {
        !self.policies.is_open() || self.has_pins(server) || self.admission(server) != registry::Admission::Flag
    }
}
