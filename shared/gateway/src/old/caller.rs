//! How is a caller of HTTP+SSE served? Its stream is held by a façade, which sends each message it POSTs along the path of
//! every other to the same endpoint: the caller is known, permitted, counted and recorded for each of them there.
//!
//! Here it is made sure that whoever POSTs is who opened the stream. The session's id stands in a URL, and URLs are
//! logged: it is worth nothing without the token of the same principal.

use std::rc::Rc;

use bridge::{facade::Life, old::SseTerms};
use bytes::Bytes;
use guard::Verb;
use http::{HeaderMap, HeaderValue, Request, Response, header, request::Parts};
use mcp::header as mcp_header;
use session::{Ticket, Unknown};

use crate::{
    answer,
    config::Config,
    conversation::{Behind, Face, Terms},
    course::Made,
    draft::Draft,
    endpoint::{self, Part},
    platform::Platform,
    refusal::Refusal,
    relay::CONVERSATION,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Answers a request to `/mcp/{server}/sse` or `/mcp/{server}/messages`.
    pub(crate) async fn exchange_old(
        &self,
        config: &Rc<Config>,
        (server, part): (&str, Part),
        request: Request<P::Body>,
    ) -> Response<P::Body> {
        let (mut head, body) = request.into_parts();
        let draft = &mut self.draft(config, server.into(), head.method.clone());
        match self.pass_old(config, (server, part), (&mut head, body), draft).await {
            Ok(response) => response,
            Err(refusal) => self.turn_away(config, server, draft, refusal).await,
        }
    }

    async fn pass_old(
        &self,
        config: &Rc<Config>,
        (server, part): (&str, Part),
        (head, body): (&mut Parts, P::Body),
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        if P::LIFE == Life::Request {
            return Err(Refusal::NoEndpoint);
        }
        // Nothing but 202 is answered there, so old clients do not say what they accept.
        if part == Part::Messages {
            head.headers.insert(header::ACCEPT, HeaderValue::from_static(BOTH));
        }
        let admitted = guard::admit_any_era(&config.site, head)?;
        if !matches!((part, admitted.verb), (Part::Stream, Verb::Get) | (Part::Messages, Verb::Post)) {
            return Err(guard::Refused::Method.into());
        }
        let caller = self.identify(config, &admitted, &config.resource(server)).await?;
        draft.called_by(&caller.who);
        let aim = config.aim(server, &caller.principal)?;
        let behind = aim.target.server();
        policy::scoped(&caller.principal.scopes, &behind.scopes)?;
        let ticket = match part {
            Part::Stream => self.mint(&caller.principal, behind).await?,
            Part::Messages => {
                let id = session(head).ok_or(Unknown)?;
                self.sealer().await?.check(id, caller.principal.binding(), &behind.name)?
            }
        };
        let bytes = if part == Part::Messages { self.body(config, body).await? } else { Bytes::new() };
        let request = asked(head, bytes);
        let reached = self.converse(behind, &made(server, &ticket), request).await?;
        let (head, body) = reached.answer.response.into_parts();
        Ok(answer::response(head.status, &head.headers, body))
    }
}

/// The façade that holds the stream of one session.
fn made(server: &str, ticket: &Ticket) -> Made {
    let endpoint = format!("{}/messages?{SESSION}={}", endpoint::path(server), ticket.id());
    let terms = Terms { face: Face::Sse(SseTerms { endpoint }), behind: Behind::Endpoint(server.to_owned()) };
    Made { name: format!("sse-{}", ticket.name()), terms }
}

/// What the façade is asked, with what the caller authorized itself with.
fn asked(head: &Parts, body: Bytes) -> Request<Bytes> {
    let mut headers = HeaderMap::new();
    for name in [header::AUTHORIZATION, mcp_header::TRACEPARENT, mcp_header::TRACESTATE] {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = http::Uri::from_static(CONVERSATION);
    *request.headers_mut() = headers;
    request
}

/// The session the query names; an id has no character that a query would spell otherwise.
fn session(head: &Parts) -> Option<&str> {
    let mut named = head.uri.query()?.split('&').filter_map(|pair| pair.strip_prefix(SESSION)?.strip_prefix('='));
    let id = named.next()?;
    named.next().is_none().then_some(id)
}

const SESSION: &str = "session";
const BOTH: &str = "application/json, text/event-stream";
