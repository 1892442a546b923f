//! The path of a request to an MCP endpoint, from top to bottom.
//!
//! Each stage yields the evidence the next one asks for; none can be skipped. A refusal on the way becomes an answer in
//! [`crate::refusal`], and whatever happens leaves one decision in the record.

use std::rc::Rc;

use guard::{Admitted, Verb};
use http::{Request, Response, request::Parts};
use identity::Principal;
use mcp::Body;
use policy::Permit;
use quota::{Caller, Grant};
use registry::{Server, Target};
use telemetry::TraceContext;

use crate::{
    config::Config,
    draft::Draft,
    platform::Platform,
    refusal::Refusal,
    said::{self, Said},
    serve::Gateway,
};

/// A request that may be sent on: the evidence of the stages before.
pub(crate) struct Cleared {
    pub(crate) config: Rc<Config>,
    pub(crate) admitted: Admitted,
    pub(crate) principal: Rc<Principal>,
    pub(crate) target: Target,
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
        let principal = self.identify(config, &admitted, &config.resource(server)).await?;
        draft.called_by(&principal);
        let target = config.registry.find(server, &principal.tenant)?;
        let permit = policy::decide(&principal.scopes, &target.server().scopes)?;
        draft.permitted(&permit);

        let bytes = self.body(config, head, body).await?;
        let body = if admitted.verb == Verb::Post { Some(guard::read(&bytes)?) } else { None };
        draft.answers = body.as_ref().and_then(said::id).map(ToOwned::to_owned);
        let said = body.as_ref().map_or_else(|| Ok(Said::default()), Said::of)?;
        draft.carries(bytes.len(), said.calls);
        self.trace(draft, said.parent.as_ref().or(admitted.trace.as_ref()));

        let grant = self.draw(config, caller(&principal, target.server()), said.requests).await?;
        let cleared = Cleared { config: Rc::clone(config), admitted, principal, target, evidence: (permit, grant) };
        match (cleared.admitted.verb, body) {
            (Verb::Post, Some(body)) if said.is_initialize => self.initialize(&cleared, &body, draft).await,
            (Verb::Post, Some(body)) => self.relay(&cleared, &body, draft).await,
            (Verb::Delete, _) => self.delete(&cleared, draft).await,
            _ => self.listen(&cleared, draft).await,
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

impl Cleared {
    pub(crate) fn server(&self) -> &Server {
        self.target.server()
    }
}

fn caller<'a>(principal: &'a Principal, server: &'a Server) -> Caller<'a> {
    Caller { tenant: &principal.tenant, agent: &principal.agent, user: &principal.user, server: &server.name }
}

/// A body, as text that carries the gateway's span.
pub(crate) fn traced(body: &Body<'_>, trace: &TraceContext) -> Result<String, Refusal> {
    let traceparent = trace.traceparent();
    let mut entries = vec![("traceparent", traceparent.as_str())];
    entries.extend(trace.tracestate().map(|state| ("tracestate", state)));
    mcp::meta::inject(body, &entries).map_err(|error| Refusal::Params(error.to_string()))
}
