//! Where does a façade's request go? To an instance of its server, the same one for as long as there is a session.

use std::time::Duration;

use bridge::{
    facade::{End, Method, Request},
    old::endpoint,
};
use bytes::Bytes;
use http::{HeaderValue, header};
use mcp::{Revision, jsonrpc};
use registry::Server;
use telemetry::TraceContext;
use upstream::{Outbound, Repeatable};

use crate::{
    alone::{Alone, mirrored},
    config::Config,
    conversation::{Behind, hop::Beyond},
    course::At,
    federated::Federated,
    initialize::INSTANCES_TRIED,
    instances::{Missed, Reached, Way},
    platform::{Abort, Answer, Platform, Unanswered},
    refusal::Refusal,
    serve::Gateway,
};

fn ended(refusal: &Refusal) -> End {
    match refusal {
        Refusal::Broken(detail) => End::Broken(detail.clone()),
        Refusal::Garbage(detail) => End::Garbage(detail.clone()),
        Refusal::Deadline(millis) => End::Silent(u64::try_from(*millis).unwrap_or(u64::MAX)),
        refusal => End::Unreachable(refusal.reason()),
    }
}

fn message(request: &Request) -> (http::Method, Bytes) {
    match request.method {
        Method::Post => (http::Method::POST, Bytes::from(request.body.clone())),
        Method::Get => (http::Method::GET, Bytes::new()),
        Method::Delete => (http::Method::DELETE, Bytes::new()),
    }
}

/// `request` as if its caller had sent it to the gateway's endpoint `name`, with what it authorized itself with.
fn asked_again(
    config: &Config,
    name: &str,
    (request, trace): (&Request, &TraceContext),
    beyond: &Beyond,
) -> Result<http::Request<Bytes>, End> {
    let unspelled = |error: &dyn std::fmt::Display| End::Unreachable(error.to_string());
    let traceparent = trace.traceparent();
    let outbound = Outbound {
        url: &config.resource(name),
        session_id: request.session_id.as_deref(),
        revision: request.revision.map(Revision::as_str),
        last_event_id: request.last_event_id.as_deref(),
        secret: None,
        trace: (&traceparent, trace.tracestate()),
    };
    let (method, body) = message(request);
    let mut asked = upstream::request(method, &outbound, body).map_err(|error| unspelled(&error))?;
    if let Some(authorization) = &beyond.authorization {
        let mut value = HeaderValue::try_from(authorization).map_err(|error| unspelled(&error))?;
        value.set_sensitive(true);
        asked.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(asked)
}

/// Each of the servers has its own.
const JOINT_IDLE: Duration = Duration::from_secs(600);

/// An answer from behind, and the longest silence within it.
pub(super) struct Found<B> {
    pub(super) reached: Reached<B>,
    pub(super) stream_idle: Duration,
}

impl<P: Platform> Gateway<P> {
    /// Sends `request` to what is behind.
    pub(super) async fn behind(
        &self,
        (request, trace): (&Request, &TraceContext),
        beyond: &Beyond,
    ) -> Result<Found<P::Body>, End> {
        let config = self.config().await.map_err(|failure| End::Unreachable(failure.to_string()))?;
        match &*beyond.behind {
            Behind::Instance(name) => {
                let target = config.registry.configured(name).map_err(|error| End::Unreachable(error.to_string()))?;
                let stream_idle = config.resilience(target.server()).stream_idle;
                let reached = self.instance(&config, target.server(), (request, trace), beyond).await?;
                Ok(Found { reached, stream_idle })
            }
            Behind::Federation { endpoint, servers, principal } => {
                let federated = config.federated_again(endpoint.as_deref(), servers, principal);
                let federated =
                    federated.ok_or_else(|| End::Unreachable("there is no such endpoint any more".to_owned()))?;
                let reached = self.joint(&federated, request, trace).await.map_err(|refusal| ended(&refusal))?;
                Ok(Found { reached, stream_idle: JOINT_IDLE })
            }
            Behind::Stream { server, instance } => {
                let target = config.registry.configured(server).map_err(|error| End::Unreachable(error.to_string()))?;
                let stream_idle = config.resilience(target.server()).stream_idle;
                let reached = self.stream(target.server(), instance, (request, trace), beyond).await?;
                Ok(Found { reached, stream_idle })
            }
            Behind::Endpoint(name) => {
                let asked = asked_again(&config, name, (request, trace), beyond)?;
                let response = self.exchange(&config, name, asked.map(P::Body::from)).await;
                let answer = Answer { response, arrived: None, abort: Abort::new(|| {}) };
                Ok(Found { reached: Reached { answer, seat: None }, stream_idle: JOINT_IDLE })
            }
        }
    }

    /// Sends `request` to many servers that look like one.
    async fn joint(
        &self,
        federated: &Federated,
        request: &Request,
        trace: &TraceContext,
    ) -> Result<Reached<P::Body>, Refusal> {
        let body = jsonrpc::parse(request.body.as_bytes()).map_err(guard::Refused::from)?;
        let Some(server) = federated.config.registry.servers().next() else { return Err(Refusal::NoEndpoint) };
        let sending = Alone {
            server,
            at: &At::Instances,
            text: &request.body,
            mirrored: mirrored(&body, &[])?,
            trace,
            repeatable: Repeatable::No,
            lens: None,
        };
        self.send_federated(federated, &sending).await
    }

    /// Sends `request` to an HTTP+SSE server: to its stream, or to where that has pointed. Whoever leads here has passed
    /// its circuit.
    async fn stream(
        &self,
        server: &Server,
        instance: &str,
        (request, trace): (&Request, &TraceContext),
        beyond: &Beyond,
    ) -> Result<Reached<P::Body>, End> {
        if !server.instances.iter().any(|one| one == instance) {
            return Err(End::Unreachable(format!("instance `{instance}` is not configured any more")));
        }
        let pointed = request.path_and_query.as_deref().map(|path| endpoint::at_origin(instance, path)).transpose();
        let pointed = pointed.map_err(|refused| End::Garbage(refused.to_string()))?;
        let url = pointed.as_deref().unwrap_or(instance);
        let outbound = self.spelled((server, url), (request, trace), beyond)?;
        let answer = self.platform.send(outbound, server.timeout).await.map_err(|unanswered| match unanswered {
            Unanswered::Broken(detail) if request.method == Method::Get => End::Unreachable(detail),
            Unanswered::Broken(detail) => End::Broken(detail),
            Unanswered::Deadline(deadline) => End::Silent(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        })?;
        Ok(Reached { answer, seat: None })
    }

    /// Sends `request` to the instance that has the session, or to the first that takes it. The next one is tried only
    /// where the one before has carried nothing out.
    async fn instance(
        &self,
        config: &Config,
        server: &Server,
        (request, trace): (&Request, &TraceContext),
        beyond: &Beyond,
    ) -> Result<Reached<P::Body>, End> {
        let mut failures = String::new();
        for instance in self.candidates(server, request, beyond)? {
            let outbound = self.spelled((server, &instance), (request, trace), beyond)?;
            let missed = match self.reach(Way::once(config, server, &instance), outbound).await {
                Ok(reached) => {
                    if request.revision.is_none_or(Revision::is_legacy) {
                        *beyond.pinned.borrow_mut() = Some(instance);
                    }
                    return Ok(reached);
                }
                Err(missed) => missed,
            };
            match missed {
                // A session opened twice does no harm.
                Missed::Unanswered(Unanswered::Broken(detail)) if request.revision.is_none() => {
                    failures = format!("{failures}{instance}: {detail}; ");
                }
                Missed::Unanswered(Unanswered::Broken(detail)) => return Err(End::Broken(detail)),
                Missed::Unanswered(Unanswered::Deadline(deadline)) => {
                    return Err(End::Silent(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)));
                }
                Missed::Shut { .. } => failures = format!("{failures}{instance}: it failed repeatedly; "),
                Missed::Full { .. } => failures = format!("{failures}{instance}: it has too much to do; "),
            }
        }
        Err(End::Unreachable(failures))
    }

    /// The instances that may take `request`; only configured ones are ever called.
    fn candidates(&self, server: &Server, request: &Request, beyond: &Beyond) -> Result<Vec<String>, End> {
        let in_session = request.revision.is_some_and(Revision::is_legacy);
        match beyond.pinned.borrow().as_ref().filter(|_| in_session) {
            Some(pinned) if server.instances.contains(pinned) => return Ok(vec![pinned.clone()]),
            Some(pinned) => return Err(End::Unreachable(format!("instance `{pinned}` is not configured any more"))),
            None => {}
        }
        Ok(self.order(&server.instances).into_iter().take(INSTANCES_TRIED).collect())
    }

    fn spelled(
        &self,
        (server, instance): (&Server, &str),
        (request, trace): (&Request, &TraceContext),
        beyond: &Beyond,
    ) -> Result<http::Request<Bytes>, End> {
        let secret = self.credential(server.secret.as_deref()).map_err(|refusal| End::Unreachable(refusal.reason()))?;
        let traceparent = trace.traceparent();
        let outbound = Outbound {
            url: instance,
            session_id: request.session_id.as_deref(),
            revision: request.revision.map(Revision::as_str),
            last_event_id: request.last_event_id.as_deref(),
            secret: secret.as_deref(),
            trace: (&traceparent, trace.tracestate()),
        };
        let (method, body) = message(request);
        let spelled = upstream::request(method, &outbound, body);
        let mut spelled = spelled.map_err(|error| End::Unreachable(error.to_string()))?;
        if request.revision.is_some_and(|revision| !revision.is_legacy()) {
            beyond.mirrored.tell(spelled.headers_mut(), &request.body).map_err(End::Garbage)?;
        }
        Ok(spelled)
    }
}
