//! The path of a request to an MCP endpoint, from top to bottom.
//!
//! Each stage yields the evidence the next one asks for; none can be skipped. A refusal on the way becomes an answer in
//! [`crate::refusal`], and whatever happens leaves one decision in the record.

use std::rc::Rc;

use guard::{Admitted, Verb};
use http::{Request, Response, request::Parts};
use mcp::Body;
use policy::Permit;
use quota::Grant;
use registry::{Server, Target};
use session::{Route, Ticket};
use telemetry::TraceContext;

use crate::{
    config::Config,
    definitions::Place,
    draft::Draft,
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
    pub(crate) target: Target,
    pub(crate) said: Said<'a>,
    pub(crate) trace: TraceContext,
}

/// A request that may be sent on: the evidence of the stages before.
pub(crate) struct Cleared<'a> {
    pub(crate) passing: Passing<'a>,
    /// The session it belongs to; `initialize` has none yet.
    pub(crate) session: Option<(Ticket, Rc<Route>)>,
    #[expect(dead_code, reason = "evidence: who skipped a stage has none to put here")]
    evidence: (Permit, Grant),
}

impl<P: Platform> Gateway<P> {
    /// Answers a request to `/mcp/{server}`.
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
        let admitted = guard::admit(&config.site, head)?;
        self.trace(draft, admitted.trace.as_ref());
        let caller = self.identify(config, &admitted, &config.resource(server)).await?;
        draft.called_by(&caller.who);
        let target = config.registry.find(server, &caller.principal.tenant)?;
        let scoped = policy::scoped(&caller.principal.scopes, &target.server().scopes)?;

        let bytes = self.body(config, head, body).await?;
        let body = if admitted.verb == Verb::Post { Some(guard::read(&bytes)?) } else { None };
        draft.answers = body.as_ref().and_then(said::id).map(ToOwned::to_owned);
        let said = body.as_ref().map_or_else(|| Ok(Said::default()), Said::of)?;
        self.trace(draft, said.parent.as_ref().or(admitted.trace.as_ref()));

        let trace = draft.trace.clone();
        let passing = Passing { config: Rc::clone(config), admitted, caller, target, said, trace };
        let ticket = self.ticket(&passing)?;
        let tolls = Tolls::of(config, passing.charged());
        let need = draft.carries(bytes.len(), &passing, &tolls);
        let grant = self.draw(config, &tolls, need).await?;
        let session = match ticket {
            Some(ticket) => Some(self.routed(&passing, ticket, draft).await?),
            None => None,
        };
        let permit = self.permit(&passing, session.as_ref(), scoped).await?;
        draft.permitted(&permit);
        let cleared = Cleared { passing, session, evidence: (permit, grant) };
        match (&cleared.session, &body) {
            (None, Some(body)) => self.initialize(&cleared, body, draft).await,
            (Some(session), Some(body)) => self.relay(&cleared, session, body, draft).await,
            (Some(session), None) if head.method == http::Method::DELETE => self.delete(&cleared, session, draft).await,
            (Some(session), None) => self.listen(&cleared, session, draft).await,
            (None, None) => Err(Refusal::NoSession),
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
    pub(crate) fn place(&self, route: &Rc<Route>) -> Place {
        Place { config: Rc::clone(&self.config), target: self.target.clone(), route: Rc::clone(route) }
    }
}

impl Cleared<'_> {
    pub(crate) fn server(&self) -> &Server {
        self.passing.server()
    }
}

/// A body, as text that carries the gateway's span.
pub(crate) fn traced(body: &Body<'_>, trace: &TraceContext) -> Result<String, Refusal> {
    let traceparent = trace.traceparent();
    let mut entries = vec![("traceparent", traceparent.as_str())];
    entries.extend(trace.tracestate().map(|state| ("tracestate", state)));
    mcp::meta::inject(body, &entries).map_err(|error| Refusal::Params(error.to_string()))
}
