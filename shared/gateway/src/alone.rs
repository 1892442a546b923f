//! What happens between gateway and a server that wants no session? Each request stands alone (MCP 2026-07-28).

use std::rc::Rc;

use bridge::{
    claim::{self, Claim, Kind, Terms},
    routing::{self, ParamHeader},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use mcp::{Body, Call, Message, Revision, jsonrpc};
use registry::{Server, Target};
use telemetry::TraceContext;
use upstream::{Departure, Outbound, Repeatable};

use crate::{
    answer::{Screened, is_mcp},
    apart::apart,
    asking::may_ask,
    config::Config,
    course::At,
    definitions::Place,
    draft::Draft,
    instances::{Missed, Reached, Way},
    patience::Patience,
    pipeline::{Cleared, Passing, traced},
    platform::{Platform, Unanswered},
    recall::{Recall, Recalled},
    refusal::Refusal,
    relay::CONVERSATION,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Sends a modern caller's message on and hands the answer back.
    pub(crate) async fn relay_alone(
        &self,
        cleared: &Cleared<'_>,
        at: &At,
        body: &Body<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let Claim::Modern(envelope) = &cleared.passing.claim else { return Err(Refusal::NoSession) };
        if envelope.kind == Kind::Notification {
            // The revision has none that a server waits for.
            self.decided(cleared, draft, std::future::ready(())).await?;
            return Ok(self.finished(draft, StatusCode::ACCEPTED, &HeaderMap::new(), Bytes::new()));
        }
        let resumed = self.resumed(&cleared.passing, (body, envelope), at).await?;
        let text = match &resumed {
            Some(resumed) => {
                traced(&jsonrpc::parse(resumed.text.as_bytes()).map_err(guard::Refused::from)?, &draft.trace)?
            }
            None => traced(body, &draft.trace)?,
        };
        let at = resumed.as_ref().map_or(at, |resumed| &resumed.at);
        if let Body::Single(Message::Request(call)) = body
            && may_ask(&call.method)
        {
            return self.relay_patiently(cleared, (at, call, text), body, draft).await;
        }
        let recall = Recall::of(cleared.passing.principal().binding());
        let sending = Alone {
            server: cleared.server(),
            at,
            text: &text,
            mirrored: self.mirrored(cleared, body).await?,
            trace: &draft.trace.clone(),
            repeatable: self.repeatable(&cleared.passing),
            lens: Some(&cleared.passing),
            recall: Some(&recall),
        };
        let reached = self.decided(cleared, draft, self.send_alone(cleared.passing.config(), sending)).await??;
        draft.recalled(&recall);
        match self.screen_alone(reached).await? {
            Screened::Native(reached) => self.shown(cleared, (at.clone(), body), draft, reached).await,
            Screened::Read(status, head, body) => {
                self.blamed(&cleared.passing, &body)?;
                Ok(self.finished(draft, status, &head, body))
            }
        }
    }

    /// Sends a call on that may take long.
    async fn relay_patiently(
        &self,
        cleared: &Cleared<'_>,
        (at, call, text): (&At, &Call<'_>, String),
        body: &Body<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let passing = &cleared.passing;
        let owned = Rc::new(Owned {
            config: Rc::clone(passing.config()),
            target: passing.target.clone(),
            at: at.clone(),
            text,
            mirrored: self.mirrored(cleared, body).await?,
            trace: draft.trace.clone(),
            repeatable: self.repeatable(passing),
            recall: Recall::of(passing.principal().binding()),
        });
        let patience = self.decided(cleared, draft, self.send_patiently(Rc::clone(&owned))).await?;
        draft.recalled(&owned.recall);
        let reached = match patience {
            Patience::Reached(reached) => reached?,
            Patience::Waiting(awaited) => {
                let silence = passing.config().resilience(cleared.server()).stream_idle;
                let seal = self.seal(passing, call, at).await?;
                return Ok(self.kept_company(draft, awaited, silence, seal));
            }
        };
        let mut screened = self.screen_alone(reached).await?;
        if let Some(mirrored) = self.corrected(cleared, body, &screened).await? {
            let again = Alone { mirrored, ..owned.as_alone() };
            screened = self.screen_alone(self.send_alone(&owned.config, again).await?).await?;
        }
        match screened {
            Screened::Native(reached) => self.asked_back(cleared, (at, call), draft, reached).await,
            Screened::Read(status, head, body) => {
                self.blamed(passing, &body)?;
                Ok(self.finished(draft, status, &head, body))
            }
        }
    }

    /// The response to a request of the gateway's own.
    pub(crate) async fn ask_alone(
        &self,
        place: &Place,
        trace: &TraceContext,
        (body, recall): (&str, &Recall),
    ) -> Result<String, Refusal> {
        let text = claim::envelope(body, &OWN_TERMS).map_err(|error| Refusal::Internal(error.to_string()))?;
        self.ask_as_is(place, trace, (&text, Some(recall))).await
    }

    /// The response to a modern request, sent as it is spelled.
    pub(crate) async fn ask_as_is(
        &self,
        place: &Place,
        trace: &TraceContext,
        (text, recall): (&str, Option<&Recall>),
    ) -> Result<String, Refusal> {
        let mirrored = mirrored(&jsonrpc::parse(text.as_bytes()).map_err(guard::Refused::from)?, &[])?;
        let (server, at, repeatable) = (place.server(), &place.at, Repeatable::Yes);
        let sending = Alone { server, at, text, mirrored, trace, repeatable, lens: None, recall };
        let reached = self.send_alone(&place.config, sending).await?;
        match self.screen_alone(reached).await? {
            Screened::Native(reached) => {
                let heard = self.hear(reached.answer, 1, place.server().timeout).await?;
                Ok(heard.response().to_owned())
            }
            Screened::Read(_, _, body) => {
                String::from_utf8(body.into()).map_err(|_| Refusal::Garbage("it is not UTF-8".to_owned()))
            }
        }
    }

    /// Sends a request to where it leads. Another instance is tried where the request may be repeated.
    pub(crate) async fn send_alone(&self, config: &Config, sending: Alone<'_>) -> Result<Reached<P::Body>, Refusal> {
        if let At::Federation(federated) = sending.at {
            return apart(self.send_federated(federated, &sending)).await;
        }
        if let At::Conversation(made) = sending.at {
            let departure = self.departure_alone(CONVERSATION, None, &sending)?;
            let reached = self.converse(sending.server, made, departure.into()).await?;
            self.weigh_legacy(sending.server, reached.answer.response.status());
            return Ok(reached);
        }
        match self.recall(config, &sending) {
            Recalled::Answer(reached) => Ok(reached),
            Recalled::Unknown(question) => {
                let reached = self.send_to_instances(config, &sending).await?;
                Ok(self.remembered(question, reached))
            }
        }
    }

    async fn send_to_instances(&self, config: &Config, sending: &Alone<'_>) -> Result<Reached<P::Body>, Refusal> {
        let secret = self.credential(sending.server.secret.as_deref()).await?;
        let mut last = Missed::Unanswered(Unanswered::Broken("no instance is configured".to_owned()));
        for instance in self.order(&sending.server.instances).iter().take(INSTANCES_TRIED) {
            let departure = self.departure_alone(instance, secret.as_deref(), sending)?;
            let way = Way {
                server: sending.server,
                instance,
                resilience: config.resilience(sending.server),
                repeatable: sending.repeatable,
            };
            match self.reach(way, departure).await {
                Ok(reached) => return Ok(self.weighed(sending.server, reached).await.0),
                Err(Missed::Unanswered(Unanswered::Broken(detail))) if sending.repeatable == Repeatable::No => {
                    return Err(Refusal::Broken(detail));
                }
                Err(late @ Missed::Unanswered(Unanswered::Deadline(_))) => return Err(late.into()),
                Err(missed) => last = missed,
            }
        }
        Err(last.into())
    }

    fn departure_alone(&self, url: &str, secret: Option<&str>, sending: &Alone<'_>) -> Result<Departure, Refusal> {
        let outbound = Outbound {
            url,
            session_id: None,
            revision: Some(Revision::V2026_07_28.as_str()),
            last_event_id: None,
            secret,
        };
        let head = outbound.head(Method::POST);
        let mut head = head.map_err(|error| Refusal::Internal(error.to_string()))?;
        for (name, value) in &sending.mirrored {
            head.headers_mut().insert(name, value.clone());
        }
        let body = Bytes::copy_from_slice(sending.text.as_bytes());
        Ok(Departure { head: Rc::new(head), trace: Some(sending.trace.spelled()), body, may_pass_on: false })
    }

    /// Looks at an answer's head. Modern servers answer with statuses that are part of the exchange: 400 and 404 with a
    /// JSON-RPC error are handed on as they are (MCP 2026-07-28 basic/transports).
    pub(crate) async fn screen_alone(&self, reached: Reached<P::Body>) -> Result<Screened<P::Body>, Refusal> {
        let status = reached.answer.response.status();
        let is_told = matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
        if !is_told || !is_mcp(reached.answer.response.headers()) {
            return self.screen(reached).await;
        }
        let (head, body) = reached.answer.response.into_parts();
        let body = self.platform.whole(body, FAILURE_MAX_BYTES).await.unwrap_or_default();
        match jsonrpc::parse(&body) {
            Ok(Body::Single(Message::Response(_))) => Ok(Screened::Read(head.status, head.headers, body)),
            _ => Err(Refusal::Garbage(format!("it answered {status} without a JSON-RPC error"))),
        }
    }

    /// The headers that repeat a caller's request.
    pub(crate) async fn mirrored(
        &self,
        cleared: &Cleared<'_>,
        body: &Body<'_>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let passing = &cleared.passing;
        if let (Some(tool), Some(at @ At::Conversation(_))) = (passing.said.tool(), cleared.course.at()) {
            // A legacy server compares no headers: the gateway has to know what the tool's schema says.
            self.offer(&passing.place(at), tool).await?;
        }
        let known = || match passing.said.tool() {
            Some(tool) => self.params_of(passing.server(), tool).map(Option::unwrap_or_default),
            None => Ok(Rc::default()),
        };
        let mut params = known()?;
        if let Body::Single(Message::Request(call)) = body
            && let Err(mismatch) = routing::check(call, &params, &passing.arrival.admitted.mirrors)
        {
            // The caller may know the tools better.
            if params.is_empty() || !self.is_relisted(cleared).await {
                return Err(claim::Refused::from(mismatch).into());
            }
            params = known()?;
            routing::check(call, &params, &passing.arrival.admitted.mirrors).map_err(claim::Refused::from)?;
        }
        let known = &*params;
        let mut headers = mirrored(body, known)?;
        headers.extend(spelled(routing::unrecognized(&passing.arrival.admitted.mirrors, known)));
        Ok(headers)
    }
}

/// A modern request that is ready to be sent.
#[derive(Clone)]
pub(crate) struct Alone<'a> {
    pub(crate) server: &'a Server,
    pub(crate) at: &'a At,
    pub(crate) text: &'a str,
    pub(crate) mirrored: Vec<(HeaderName, HeaderValue)>,
    pub(crate) trace: &'a TraceContext,
    pub(crate) repeatable: Repeatable,
    /// Who looks at what comes back of many servers.
    pub(crate) lens: Option<&'a Passing<'a>>,
    /// For whom answers are remembered; not at all without.
    pub(crate) recall: Option<&'a Recall>,
}

/// A modern request that outlives the one that made it.
pub(crate) struct Owned {
    pub(crate) config: Rc<Config>,
    target: Target,
    at: At,
    text: String,
    mirrored: Vec<(HeaderName, HeaderValue)>,
    trace: TraceContext,
    repeatable: Repeatable,
    recall: Recall,
}

impl Owned {
    /// As it is sent.
    pub(crate) fn as_alone(&self) -> Alone<'_> {
        Alone {
            server: self.target.server(),
            at: &self.at,
            text: &self.text,
            mirrored: self.mirrored.clone(),
            trace: &self.trace,
            repeatable: self.repeatable,
            lens: None,
            recall: Some(&self.recall),
        }
    }
}

/// The headers that repeat a modern body.
///
/// # Errors
/// It cannot be repeated in headers.
pub(crate) fn mirrored(body: &Body<'_>, params: &[ParamHeader]) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    let Body::Single(Message::Request(call)) = body else { return Ok(Vec::new()) };
    let mut headers = routing::standard(call).map_err(|error| Refusal::Params(error.to_string()))?;
    headers.extend(routing::mirror(call, params).map_err(|unmirrored| Refusal::Params(unmirrored.to_string()))?);
    Ok(spelled(headers).collect())
}

fn spelled(headers: Vec<(HeaderName, String)>) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
}

/// How the gateway introduces itself, as client and as server: an `Implementation` of MCP.
pub(crate) const OWN_INFO: &str = r#"{"name":"turnpike","version":"0.1.0"}"#;
/// What it says where it asks for itself.
const OWN_TERMS: Terms<'_> =
    Terms { revision: Revision::V2026_07_28, capabilities: "{}", client_info: Some(OWN_INFO), log_level: None };
const INSTANCES_TRIED: usize = 4;
const FAILURE_MAX_BYTES: usize = 64 * 1024;
