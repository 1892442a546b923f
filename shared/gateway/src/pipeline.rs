//! The path of a request to an MCP endpoint, from top to bottom.
//!
//! Each stage yields the evidence the next one asks for; none can be skipped. A refusal on the way becomes an answer in
//! [`crate::refusal`], and whatever happens leaves one decision in the record.

use std::rc::Rc;

use bridge::claim::{self, Claim};
use guard::{Admitted, Verb};
use http::{Method, Request, Response, request::Parts};
use mcp::{Body, Call, Message, page::Kind};
use policy::Permit;
use quota::Grant;
use registry::{Server, Target};
use telemetry::TraceContext;

use crate::{
    aim::Aim,
    config::Config,
    course::{At, Course},
    definitions::Place,
    draft::Draft,
    federated::Federated,
    identify::Caller,
    platform::Platform,
    quotas::Tolls,
    refusal::Refusal,
    said::{self, Said},
    serve::Gateway,
};

/// A request of a caller that is known to something that is there.
pub(crate) struct Passing<'a> {
    pub(crate) config: Rc<Config>,
    pub(crate) admitted: Admitted,
    pub(crate) caller: Caller,
    /// What its path names.
    pub(crate) aim: Aim,
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
        let trace = TraceContext::child_of(None, &self.platform.random());
        let mut draft = Draft::new(&config.bundle, server, &head.method, trace, self.platform.now());
        match self.pass(config, server, (&head, body), &mut draft).await {
            Ok(response) => response,
            Err(refusal) => self.turn_away(config, server, &draft, refusal).await,
        }
    }

    /// The stages, in order.
    async fn pass(
        &self,
        config: &Rc<Config>,
        server: &str,
        (head, body): (&Parts, P::Body),
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let mut admitted = guard::admit_any_era(&config.site, head)?;
        self.trace(draft, admitted.trace.as_ref());
        let caller = self.identify(config, &admitted, &config.resource(server)).await?;
        draft.called_by(&caller.who);
        let aim = config.aim(server, &caller.principal)?;
        let scoped = policy::scoped(&caller.principal.scopes, &aim.target.server().scopes)?;

        let bytes = self.body(config, head, body).await?;
        let body = if admitted.verb == Verb::Post { Some(guard::read(&bytes)?) } else { None };
        draft.answers = body.as_ref().and_then(said::id).map(ToOwned::to_owned);
        let claim = claim(&mut admitted, body.as_ref())?;
        let led = self.led(&aim, body.as_ref()).await?;
        let own = led.as_ref().map(|led| guard::read(led.text.as_bytes())).transpose()?;
        let said = own.as_ref().or(body.as_ref()).map_or_else(|| Ok(Said::default()), Said::of)?;
        let target = led.as_ref().map_or_else(|| aim.target.clone(), |led| led.target.clone());
        draft.leads_to(&target.server().name);
        self.trace(draft, said.parent.as_ref().or(admitted.trace.as_ref()));

        let trace = draft.trace.clone();
        let passing = Passing { config: Rc::clone(config), admitted, caller, aim, target, claim, said, trace };
        let ticket = self.ticket(&passing).await?;
        let tolls = Tolls::of(config, passing.charged());
        let need = draft.carries(bytes.len(), &passing, &tolls);
        let grant = self.draw(config, &tolls, need).await?;
        let course = self.course(&passing, (ticket, body.as_ref()), draft).await?;
        let permit = self.permit(&passing, &course, scoped).await?;
        draft.permitted(&permit);
        let cleared = Cleared { passing, course, evidence: (permit, grant) };
        match (&cleared.course, &body) {
            (Course::Opening, Some(body)) => self.initialize(&cleared, body, draft).await,
            (Course::Alone(to, _), Some(body)) => self.relay_alone(&cleared, to, body, draft).await,
            (Course::Session(ticket, route, _), Some(body)) => self.relay(&cleared, (ticket, route), body, draft).await,
            (Course::Session(ticket, route, _), None) if head.method == Method::DELETE => {
                self.delete(&cleared, (ticket, route), draft).await
            }
            (Course::Session(ticket, route, _), None) => self.listen(&cleared, (ticket, route), draft).await,
            (_, None) => Err(Refusal::NoSession),
        }
    }

    /// Continues the caller's trace, if it names one.
    fn trace(&self, draft: &mut Draft, parent: Option<&(String, Option<String>)>) {
        if let Some((parent, state)) = parent {
            let parent = Some((parent.as_str(), state.as_deref()));
            draft.traced(TraceContext::child_of(parent, &self.platform.random()));
        }
    }
}

impl Passing<'_> {
    pub(crate) fn server(&self) -> &Server {
        self.target.server()
    }

    /// Whether it is meant for an endpoint itself, and not for one of its servers.
    pub(crate) fn is_at_endpoint(&self) -> bool {
        self.aim.federated.is_some() && self.server().name == self.aim.target.server().name
    }

    /// The request for a list that `body` is, if it is one of many servers.
    pub(crate) fn lists<'b>(&self, body: &'b Body<'b>) -> Option<(&Federated, &'b Call<'b>)> {
        match (&self.aim.federated, body) {
            (Some(federated), Body::Single(Message::Request(call))) if Kind::of_method(&call.method).is_some() => {
                Some((federated, call))
            }
            _ => None,
        }
    }

    /// The same caller at another server, with nothing to say.
    pub(crate) fn at_server(&self, target: Target) -> Passing<'static> {
        Passing {
            config: Rc::clone(&self.config),
            admitted: self.admitted.clone(),
            caller: self.caller.clone(),
            aim: self.aim.clone(),
            target,
            claim: Claim::Legacy,
            said: Said::default(),
            trace: self.trace.clone(),
        }
    }

    /// Whom it is counted for.
    pub(crate) fn charged(&self) -> quota::Caller<'_> {
        let principal = &self.caller.principal;
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
        Place { config: Rc::clone(&self.config), target: self.target.clone(), at }
    }
}

impl Cleared<'_> {
    pub(crate) fn server(&self) -> &Server {
        self.passing.server()
    }
}

/// The era of a request. A legacy one has to name a revision that is known, if it names one.
fn claim<'a>(admitted: &mut Admitted, body: Option<&Body<'a>>) -> Result<Claim<'a>, Refusal> {
    let claim = body.map_or(Ok(Claim::Legacy), |body| claim::classify(body, &admitted.mirrors))?;
    if matches!(claim, Claim::Legacy) {
        admitted.revision = admitted.legacy_revision()?;
    }
    Ok(claim)
}

/// A body, as text that carries the gateway's span.
pub(crate) fn traced(body: &Body<'_>, trace: &TraceContext) -> Result<String, Refusal> {
    let traceparent = trace.traceparent();
    let mut entries = vec![("traceparent", traceparent.as_str())];
    entries.extend(trace.tracestate().map(|state| ("tracestate", state)));
    mcp::meta::inject(body, &entries).map_err(|error| Refusal::Params(error.to_string()))
}
