//! Where does a façade's request go? To an instance of its server, the same one for as long as there is a session.

use std::{rc::Rc, time::Duration};

use bridge::{
    facade::{End, Method, Request},
    federation::route,
    routing,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use mcp::{Body, Message, Revision, jsonrpc};
use registry::{Server, Target};
use telemetry::TraceContext;
use upstream::{Departure, Outbound, Repeatable};

use crate::{
    alone::{Alone, mirrored},
    config::Config,
    conversation::{Behind, hop::Beyond},
    course::At,
    definitions::Place,
    faults::Fault,
    federated::Federated,
    initialize::INSTANCES_TRIED,
    instances::{Missed, Reached, Way},
    platform::{Platform, Unanswered},
    recall::Recall,
    refusal::Refusal,
    serve::Gateway,
};

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
                let mirrored = self.mirrored_behind(&config, &target, request).await?;
                let letter = Letter { request, trace, mirrored };
                let reached = self.instance(&config, target.server(), &letter, beyond).await?;
                if request.revision.is_none_or(Revision::is_legacy) {
                    return Ok(Found { reached, stream_idle });
                }
                let (mut reached, fault) = self.weighed(target.server(), reached).await;
                if fault.is_some_and(|fault| fault.is_mismatch()) {
                    let place = Place { config: Rc::clone(&config), target: target.clone(), at: At::Instances };
                    if self.list_tools(&place).await.is_ok() {
                        let mirrored = self.mirrored_behind(&config, &target, request).await?;
                        reached =
                            self.instance(&config, target.server(), &Letter { mirrored, ..letter }, beyond).await?;
                    }
                }
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
                let letter = Letter { request, trace, mirrored: Vec::new() };
                let reached = self.stream_behind(target.server(), instance, &letter).await?;
                Ok(Found { reached, stream_idle })
            }
            Behind::Endpoint(name) => {
                let letter = Letter { request, trace, mirrored: Vec::new() };
                let reached = self.endpoint_behind(&config, name, &letter, beyond).await?;
                Ok(Found { reached, stream_idle: JOINT_IDLE })
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
        let endpoint = federated.config.registry.configured(&federated.name())?;
        let recall = Recall::of(&federated.principal);
        let sending = Alone {
            server: endpoint.server(),
            at: &At::Instances,
            text: &request.body,
            mirrored: mirrored(&body, &[])?,
            trace,
            repeatable: Repeatable::No,
            lens: None,
            recall: Some(&recall),
        };
        let reached = self.send_federated(federated, &sending).await?;
        let (reached, fault) = self.opened_fault(reached).await;
        if !Fault::of(&fault).is_some_and(|fault| fault.is_mismatch()) {
            return Ok(reached);
        }
        // A legacy caller repeats nothing in headers: the tools were not looked at yet, or say something else now.
        let Body::Single(Message::Request(call)) = &body else { return Ok(reached) };
        let Ok(route::Way::One(routed)) = route::route(&federated.view, call) else { return Ok(reached) };
        let place = self.place_of(federated, call, &routed.server).await?;
        match self.list_tools(&place).await {
            Ok(_) => self.send_federated(federated, &sending).await,
            Err(_) => Ok(reached),
        }
    }

    /// Sends `request` to the instance that has the session, or to the first that takes it. The next one is tried only
    /// where the one before has carried nothing out.
    async fn instance(
        &self,
        config: &Config,
        server: &Server,
        letter: &Letter<'_>,
        beyond: &Beyond,
    ) -> Result<Reached<P::Body>, End> {
        let mut failures = String::new();
        for instance in self.candidates(server, letter.request, beyond)? {
            let departure = self.spelled((server, &instance), letter).await?;
            let missed = match self.reach(Way::once(config, server, &instance), departure).await {
                Ok(reached) => {
                    if letter.request.revision.is_none_or(Revision::is_legacy) {
                        *beyond.pinned.borrow_mut() = Some(instance);
                    }
                    return Ok(reached);
                }
                Err(missed) => missed,
            };
            match missed {
                // A session opened twice does no harm.
                Missed::Unanswered(Unanswered::Broken(detail)) if letter.request.revision.is_none() => {
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

    /// The headers that say again what a modern body says.
    async fn mirrored_behind(
        &self,
        config: &Rc<Config>,
        target: &Target,
        request: &Request,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, End> {
        if request.revision.is_none_or(Revision::is_legacy) {
            return Ok(Vec::new());
        }
        let unspeakable = |detail: String| End::Unreachable(detail);
        let body = jsonrpc::parse(request.body.as_bytes()).map_err(|error| unspeakable(error.to_string()))?;
        let tool = match &body {
            Body::Single(Message::Request(call)) if call.method == "tools/call" => routing::name(call),
            _ => None,
        };
        let params = match tool {
            Some(tool) => {
                let place = Place { config: Rc::clone(config), target: target.clone(), at: At::Instances };
                // Where the tools cannot be listed, the server says what it misses.
                let _ = self.offer(&place, &tool).await;
                self.params_of(target.server(), &tool).map_err(|refusal| unspeakable(refusal.reason()))?
            }
            None => None,
        };
        mirrored(&body, params.as_deref().unwrap_or_default()).map_err(|refusal| unspeakable(refusal.reason()))
    }

    pub(super) async fn spelled(
        &self,
        (server, instance): (&Server, &str),
        letter: &Letter<'_>,
    ) -> Result<Departure, End> {
        let secret = self.credential(server.secret.as_deref()).await;
        let secret = secret.map_err(|refusal| End::Unreachable(refusal.reason()))?;
        letter.spelled(instance, secret.as_deref())
    }
}

/// A request, and what goes with it.
pub(super) struct Letter<'a> {
    pub(super) request: &'a Request,
    pub(super) trace: &'a TraceContext,
    pub(super) mirrored: Vec<(HeaderName, HeaderValue)>,
}

impl Letter<'_> {
    pub(super) fn spelled(&self, url: &str, secret: Option<&str>) -> Result<Departure, End> {
        let Letter { request, trace, mirrored } = self;
        let outbound = Outbound {
            url,
            session_id: request.session_id.as_deref(),
            revision: request.revision.map(Revision::as_str),
            last_event_id: request.last_event_id.as_deref(),
            secret,
        };
        let (method, body) = match request.method {
            Method::Post => (http::Method::POST, Bytes::from(request.body.clone())),
            Method::Get => (http::Method::GET, Bytes::new()),
            Method::Delete => (http::Method::DELETE, Bytes::new()),
        };
        let mut head = outbound.head(method).map_err(|error| End::Unreachable(error.to_string()))?;
        for (name, value) in mirrored {
            head.headers_mut().insert(name, value.clone());
        }
        Ok(Departure { head: Rc::new(head), trace: Some(trace.spelled()), body, may_pass_on: false })
    }
}

fn ended(refusal: &Refusal) -> End {
    match refusal {
        Refusal::Broken(detail) => End::Broken(detail.clone()),
        Refusal::Garbage(detail) => End::Garbage(detail.clone()),
        Refusal::Credential(_) => End::Garbage(refusal.reason()),
        Refusal::Deadline(millis) => End::Silent(u64::try_from(*millis).unwrap_or(u64::MAX)),
        refusal => End::Unreachable(refusal.reason()),
    }
}

/// Each of the servers has its own.
const JOINT_IDLE: Duration = Duration::from_secs(600);
