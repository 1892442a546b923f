//! The path of a request to an MCP endpoint, from top to bottom.
//!
//! Each stage yields the evidence the next one asks for; none can be skipped. A refusal on the way becomes an answer in
//! [`crate::refusal`], and whatever happens leaves one decision in the record.

use std::rc::Rc;

use bridge::claim::{self, Claim};
use bytes::Bytes;
use guard::{Admitted, Verb};
use http::{Method, Request, Response};
use identity::Principal;
use mcp::{Body, Call, Message, Revision, page::Kind};
use policy::Permit;
use quota::Grant;
use registry::{Server, Target};
use telemetry::TraceContext;

use crate::{
    apart::apart,
    arrival::{Arrival, Parent},
    config::Config,
    course::{At, Course},
    definitions::Place,
    draft::Draft,
    federated::Federated,
    platform::Platform,
    refusal::Refusal,
    said::{self, Said},
    serve::Gateway,
};

/// A request of a caller that is known to something that is there.
pub(crate) struct Passing<'a> {
    pub(crate) arrival: Rc<Arrival>,
    /// The revision its head names, if there is one.
    pub(crate) revision: Option<Revision>,
    /// The server it is meant for; the endpoint itself, where it is meant for many.
    pub(crate) target: Target,
    pub(crate) claim: Claim<'a>,
    pub(crate) said: Said<'a>,
    pub(crate) trace: TraceContext,
}

/// A request that may be sent on: the evidence of the stages before.
pub(crate) struct Cleared<'a> {
    pub(crate) passing: Passing<'a>,
    pub(crate) course: Course,
    #[expect(dead_code, reason = "evidence: who skipped a stage has none to put here")]
    evidence: (Permit, Grant),
}

impl<P: Platform> Gateway<P> {
    /// Answers a request to `/mcp/{server}`, or to an endpoint of many servers.
    pub(crate) async fn exchange(
        &self,
        config: &Rc<Config>,
        server: &str,
        request: Request<P::Body>,
    ) -> Response<P::Body> {
        let (head, body) = request.into_parts();
        let endpoint: Rc<str> = server.into();
        let mut draft = self.draft(config, Rc::clone(&endpoint), head.method.clone());
        let passed = match self.arrive(config, &endpoint, &head, &mut draft).await {
            Ok(arrival) => self.pass(&arrival, body, &mut draft).await,
            Err(refusal) => Err(refusal),
        };
        match passed {
            Ok(response) => response,
            Err(refusal) => apart(self.turn_away(config, server, &draft, refusal)).await,
        }
    }

    /// The stages, in order. What few requests come to has a place of its own, so that the others carry less.
    pub(crate) async fn pass(
        &self,
        arrival: &Rc<Arrival>,
        body: P::Body,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let Arrival { config, admitted, aim, .. } = &**arrival;
        let bytes = if arrival.has_body() { self.body(config, body).await? } else { Bytes::new() };
        let body = if arrival.has_body() { Some(guard::read(&bytes)?) } else { None };
        draft.answers = body.as_ref().and_then(said::id).map(ToOwned::to_owned);
        let (claim, revision) = claim(admitted, body.as_ref())?;
        let led = self.led(aim, body.as_ref()).await?;
        let own = led.as_ref().map(|led| guard::read(led.text.as_bytes())).transpose()?;
        let said = own.as_ref().or(body.as_ref()).map_or_else(|| Ok(Said::default()), Said::of)?;
        let target = led.as_ref().map_or_else(|| aim.target.clone(), |led| led.target.clone());
        draft.leads_to(&target.server().name);
        self.trace(draft, said.parent.as_ref());

        let trace = draft.trace.clone();
        let passing = Passing { arrival: Rc::clone(arrival), revision, target, claim, said, trace };
        let ticket = self.ticket(&passing).await?;
        let tolls = arrival.tolls(passing.charged());
        let need = draft.carries(bytes.len(), &passing, &tolls);
        let grant = self.draw(config, &tolls, need).await?;
        let course = self.course(&passing, (ticket, body.as_ref()), draft).await?;
        let permit = self.permit(&passing, &course, arrival.scoped.clone()).await?;
        draft.permitted(&permit);
        let cleared = Cleared { passing, course, evidence: (permit, grant) };
        match (&cleared.course, &body) {
            (Course::Opening, Some(body)) => apart(self.initialize(&cleared, body, draft)).await,
            (Course::Alone(to, _), Some(body)) => apart(self.relay_alone(&cleared, to, body, draft)).await,
            (Course::Session(ticket, route, _), Some(body)) => self.relay(&cleared, (ticket, route), body, draft).await,
            (Course::Session(ticket, route, _), None) if admitted.verb == Verb::Delete => {
                apart(self.delete(&cleared, (ticket, route), draft)).await
            }
            (Course::Session(ticket, route, _), None) => apart(self.listen(&cleared, (ticket, route), draft)).await,
            (_, None) => Err(Refusal::NoSession),
        }
    }

    /// The record of a request that comes now.
    pub(crate) fn draft(&self, config: &Rc<Config>, endpoint: Rc<str>, method: Method) -> Draft {
        let trace = TraceContext::child_of(None, &self.platform.random());
        Draft::new(config, endpoint, method, trace, self.platform.now())
    }

    /// Continues the caller's trace, if it names one.
    pub(crate) fn trace(&self, draft: &mut Draft, parent: Option<&Parent>) {
        if let Some((parent, state)) = parent {
            let parent = Some((parent.as_str(), state.as_deref()));
            draft.traced(TraceContext::child_of(parent, &self.platform.random()));
        }
    }
}

impl Passing<'_> {
    pub(crate) fn config(&self) -> &Rc<Config> {
        &self.arrival.config
    }

    pub(crate) fn principal(&self) -> &Rc<Principal> {
        &self.arrival.caller.principal
    }

    pub(crate) fn server(&self) -> &Server {
        self.target.server()
    }

    /// Whether it is meant for an endpoint itself, and not for one of its servers.
    pub(crate) fn is_at_endpoint(&self) -> bool {
        let aim = &self.arrival.aim;
        aim.federated.is_some() && self.server().name == aim.target.server().name
    }

    /// The request for a list that `body` is, if it is one of many servers.
    pub(crate) fn lists<'b, 'c>(&self, body: &'b Body<'c>) -> Option<(&Federated, &'b Call<'c>)> {
        match (&self.arrival.aim.federated, body) {
            (Some(federated), Body::Single(Message::Request(call))) if Kind::of_method(&call.method).is_some() => {
                Some((federated, call))
            }
            _ => None,
        }
    }

    /// The same caller at another server, with nothing to say.
    pub(crate) fn at_server(&self, target: Target) -> Passing<'static> {
        Passing {
            arrival: Rc::clone(&self.arrival),
            revision: self.revision,
            target,
            claim: Claim::Legacy,
            said: Said::default(),
            trace: self.trace.clone(),
        }
    }

    /// Whom it is counted for.
    pub(crate) fn charged(&self) -> quota::Caller<'_> {
        let principal = self.principal();
        quota::Caller {
            tenant: &principal.tenant,
            agent: &principal.agent,
            user: &principal.user,
            server: &self.server().name,
            tool: self.said.tool(),
        }
    }

    /// Where the server's tools can be listed.
    pub(crate) fn place(&self, at: At) -> Place {
        Place { config: Rc::clone(self.config()), target: self.target.clone(), at }
    }
}

impl Cleared<'_> {
    pub(crate) fn server(&self) -> &Server {
        self.passing.server()
    }
}

/// The era of a request, and the revision its head names. A legacy one has to name a revision that is known, if it names
/// one.
fn claim<'a>(admitted: &Admitted, body: Option<&Body<'a>>) -> Result<(Claim<'a>, Option<Revision>), Refusal> {
    let claim = body.map_or(Ok(Claim::Legacy), |body| claim::classify(body, &admitted.mirrors))?;
    let revision = if matches!(claim, Claim::Legacy) { admitted.legacy_revision()? } else { admitted.revision };
    Ok((claim, revision))
}

/// A body, as text that carries the gateway's span.
pub(crate) fn traced(body: &Body<'_>, trace: &TraceContext) -> Result<String, Refusal> {
    let traceparent = trace.traceparent();
    let traceparent = ("traceparent", traceparent.as_str());
    let injected = match trace.tracestate() {
        Some(state) => mcp::meta::inject(body, &[traceparent, ("tracestate", state)]),
        None => mcp::meta::inject(body, &[traceparent]),
    };
    injected.map_err(|error| Refusal::Params(error.to_string()))
}
