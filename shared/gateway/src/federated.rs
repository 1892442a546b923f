//! How are many servers asked as if they were one? Each as it is, at the same time, and none for too long.

use std::{borrow::Cow, pin::pin, rc::Rc, time::Duration};

use bridge::{
    federation::{
        Part, Reason, View,
        cache::Scope,
        discover,
        list::{self, Ask},
        rewrite,
        route::{self, Routed, Search, Unroutable, Way},
    },
    routing,
    text::{self, Members},
    up,
};
use bytes::Bytes;
use futures_util::future::{Either, join_all, select};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use mcp::{Body, Call, Message, Revision, digest, jsonrpc, page, page::Kind};
use policy::{Action, Sight};
use serde_json::value::RawValue;
use session::Route;
use upstream::Repeatable;

use crate::{
    alone::{Alone, OWN_INFO, mirrored},
    answer::is_type,
    config::Config,
    conversation::Behind,
    course::{At, Client},
    definitions::Place,
    draft::Draft,
    instances::Reached,
    pipeline::{Cleared, Passing},
    platform::{Abort, Answer, Arrived, Platform},
    recall::Recall,
    refusal::Refusal,
    serve::Gateway,
};

/// What one caller sees of an endpoint of many servers.
pub(crate) struct Federated {
    /// Its name, if it is a virtual one.
    pub(crate) endpoint: Option<String>,
    pub(crate) config: Rc<Config>,
    pub(crate) view: View,
    /// What the endpoint says of itself, instead of what its servers say.
    pub(crate) instructions: Option<String>,
    /// Whose sessions with legacy servers are used.
    pub(crate) principal: [u8; 32],
}

impl<P: Platform> Gateway<P> {
    /// Sends a modern request to the servers it concerns, and makes one answer of theirs.
    pub(crate) async fn send_federated(
        &self,
        federated: &Federated,
        sending: &Alone<'_>,
    ) -> Result<Reached<P::Body>, Refusal> {
        let body = jsonrpc::parse(sending.text.as_bytes()).map_err(guard::Refused::from)?;
        let Body::Single(Message::Request(call)) = &body else { return Err(Refusal::NoSession) };
        let id = call.id.map_or("null", |id| id.get());
        let view = &federated.view;
        let way = match route::route(view, call) {
            Ok(way) => way,
            Err(unroutable) => return Ok(whole(&unroutable.response(id))),
        };
        match way {
            Way::One(routed) => self.send_one(federated, (call, &routed), sending).await,
            Way::Search(search) => {
                let routed = self.searched(federated, call, &search).await?;
                match routed {
                    Ok(routed) => self.send_one(federated, (call, &routed), sending).await,
                    Err(unroutable) => Ok(whole(&unroutable.response(id))),
                }
            }
            Way::List(kind) => {
                let asks = match list::asks(view, kind, call) {
                    Ok(asks) => asks,
                    Err(unroutable) => return Ok(whole(&unroutable.response(id))),
                };
                let parts = self.ask_each(federated, (call, asks), sending).await;
                Ok(whole(&text::response(id, &list::merge(view, kind, &said(&parts), OWN_INFO))))
            }
            Way::Discover => {
                let ask = |server: &str| Ask { server: server.to_owned(), body: sending.text.to_owned() };
                let asks = view.servers().map(ask).collect();
                let parts = self.ask_each(federated, (call, asks), sending).await;
                let about = discover::About { server_info: OWN_INFO, instructions: federated.instructions.as_deref() };
                Ok(whole(&text::response(id, &discover::merge(view, &said(&parts), about))))
            }
            Way::Listen => self.listen_federated(federated, call, sending).await,
        }
    }

    /// Sends a request to the one server it goes to; resources are called as they are called here in what it says.
    async fn send_one(
        &self,
        federated: &Federated,
        (call, routed): (&Call<'_>, &Routed),
        sending: &Alone<'_>,
    ) -> Result<Reached<P::Body>, Refusal> {
        let place = self.place_of(federated, call, &routed.server).await?;
        let body = jsonrpc::parse(routed.body.as_bytes()).map_err(guard::Refused::from)?;
        let tool = Some(routed.key.as_str()).filter(|_| call.method == "tools/call");
        let mirrored = self.repeated(&place, (&body, tool), sending)?;
        let one = Alone { server: place.server(), at: &place.at, text: &routed.body, mirrored, ..sending.clone() };
        let reached = self.send_alone(&federated.config, one).await?;
        self.renamed(federated, (&call.method, &routed.server), reached, place.server().timeout).await
    }

    /// The headers that repeat the request `body`, and what the caller repeats of arguments nobody here knows.
    fn repeated(
        &self,
        place: &Place,
        (body, tool): (&Body<'_>, Option<&str>),
        sending: &Alone<'_>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
        let params = tool.map(|tool| self.params_of(place.server(), tool)).transpose()?.flatten();
        let mut headers = mirrored(body, params.as_deref().unwrap_or_default())?;
        if params.is_none() {
            let is_param = |(name, _): &&(HeaderName, HeaderValue)| name.as_str().starts_with(PARAM);
            headers.extend(sending.mirrored.iter().filter(is_param).cloned());
        }
        Ok(headers)
    }

    /// An answer with the resources in it called as they are called here.
    async fn renamed(
        &self,
        federated: &Federated,
        (method, server): (&str, &str),
        mut reached: Reached<P::Body>,
        silence: Duration,
    ) -> Result<Reached<P::Body>, Refusal> {
        let view = federated.view.clone();
        let (method, server) = (method.to_owned(), server.to_owned());
        let rename = move |message: &str| rewrite::message(&view, &server, &method, message).into_owned();
        if is_type(reached.answer.response.headers(), mcp::header::TEXT_EVENT_STREAM) {
            return Ok(self.rewritten(reached, silence, rename));
        }
        if !reached.answer.response.status().is_success() {
            return Ok(reached);
        }
        let status = reached.answer.response.status();
        let seat = reached.seat.take();
        let heard = self.hear(reached.answer, 1, silence).await?;
        drop(seat);
        let mut reached = whole(&rename(heard.response()));
        *reached.answer.response.status_mut() = status;
        Ok(reached)
    }

    /// Answers a legacy caller's request for a list of many servers. Nothing of it has to wait, and what the caller may not
    /// know of is taken out before names are changed.
    pub(crate) async fn list_for_session(
        &self,
        cleared: &Cleared<'_>,
        (route, federated): (&Rc<Route>, &Federated),
        call: &Call<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let id = call.id.map_or("null", |id| id.get());
        let terms = up::Terms::read(route.row.upstream_id.as_deref().unwrap_or_default()).ok_or(session::Unknown)?;
        let envelope = up::Envelope::new(&terms, None);
        let params = call.params.map(RawValue::get);
        let text = up::request(id, &call.method, params, &envelope, up::Round::default())
            .map_err(|unreadable| Refusal::Params(unreadable.to_string()))?;
        let trace = draft.trace.clone();
        let recall = Recall::of(cleared.passing.principal().binding());
        let sending = Alone {
            server: cleared.server(),
            at: &At::Instances,
            text: &text,
            mirrored: Vec::new(),
            trace: &trace,
            repeatable: Repeatable::Yes,
            lens: Some(&cleared.passing),
            recall: Some(&recall),
        };
        let reached = self.decided(cleared, draft, self.send_federated(federated, &sending)).await??;
        draft.recalled(&recall);
        let heard = self.hear(reached.answer, 1, EACH).await?;
        let said = legacy(&call.method, heard.response(), route.row.revision)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mcp::header::APPLICATION_JSON));
        Ok(self.finished(draft, StatusCode::OK, &headers, said.into()))
    }

    /// Asks every server what is to be asked of it, at the same time. A list comes without what the caller may not know of.
    async fn ask_each(
        &self,
        federated: &Federated,
        (call, asks): (&Call<'_>, Vec<Ask>),
        sending: &Alone<'_>,
    ) -> Vec<(String, Result<String, Reason>)> {
        let kind = Kind::of_method(&call.method);
        let asks = asks.into_iter().filter(|ask| self.may_ask_for(federated, call, &ask.server, sending.lens));
        let asked = asks.map(|Ask { server, body }| async move {
            let asked = async {
                let place = self.place_of(federated, call, &server).await.map_err(|refusal| reason(&refusal))?;
                let said = self.ask_as_is(&place, sending.trace, (&body, sending.recall)).await;
                let said = said.map_err(|refusal| reason(&refusal))?;
                match (sending.lens, kind) {
                    (Some(passing), Some(kind)) => self.seen(passing, &place, kind, &said).ok_or(Reason::Unreadable),
                    _ => Ok(said),
                }
            };
            let said = match select(pin!(asked), pin!(self.platform.pause(EACH))).await {
                Either::Left((said, _)) => said,
                Either::Right(_) => Err(Reason::Timeout),
            };
            (server, said)
        });
        join_all(asked).await
    }

    /// One server's list without what the caller may not know of.
    fn seen(&self, passing: &Passing<'_>, place: &Place, kind: Kind, said: &str) -> Option<String> {
        let passing = passing.at_server(place.target.clone());
        if !passing.config().is_watched(passing.server()) && !routing::may_annotate(said) {
            return Some(said.to_owned());
        }
        let filtered = page::filter(said, &[kind], |item| self.fate(&passing, place, item));
        filtered.map(Cow::into_owned).ok()
    }

    /// Whether policy lets the caller ask `server` for it; one that it does not let is left out without a word.
    pub(crate) fn may_ask_for(
        &self,
        federated: &Federated,
        call: &Call<'_>,
        server: &str,
        lens: Option<&Passing<'_>>,
    ) -> bool {
        let (Some(passing), Ok(target)) = (lens, federated.config.registry.configured(server)) else { return true };
        let passing = passing.at_server(target);
        let is_watched = passing.config().is_watched(passing.server());
        !is_watched || self.sees(&passing, Action::of_method(&call.method, ""), None) == Sight::Visible
    }

    /// The request whose tool or prompt has a shortened name, once that was found in the server's list.
    pub(crate) async fn searched(
        &self,
        federated: &Federated,
        call: &Call<'_>,
        search: &Search,
    ) -> Result<Result<Routed, Unroutable>, Refusal> {
        let place = self.place_of(federated, call, &search.server).await?;
        let listed = self.listed_all(&place, search.kind, &Recall::own()).await?;
        let names: Vec<String> = listed.iter().filter_map(|item| name_of(item)).collect();
        let found = search.found(&federated.view, names.iter().map(String::as_str));
        Ok(search.routed(call, found))
    }

    /// Where a server is asked on behalf of the caller of `call`, whose envelope says what it can do.
    pub(crate) async fn place_of(
        &self,
        federated: &Federated,
        call: &Call<'_>,
        server: &str,
    ) -> Result<Place, Refusal> {
        let target = federated.config.registry.configured(server)?;
        let at = self.at(&federated.config, target.server(), &federated.principal, &Client::of(call)).await?;
        Ok(Place { config: Rc::clone(&federated.config), target, at })
    }
}

impl Config {
    /// What [`Federated::behind`] tells of, as the configuration has it now.
    pub(crate) fn federated_again(
        self: &Rc<Self>,
        endpoint: Option<&str>,
        servers: &[String],
        principal: &str,
    ) -> Option<Federated> {
        let is_visible = |server: &str| servers.iter().any(|one| one == server);
        let (view, instructions) = match endpoint {
            Some(name) => {
                let endpoint = self.endpoint(name)?;
                (endpoint.view(is_visible, Scope::Private), endpoint.instructions.clone())
            }
            None => {
                let known = servers.iter().filter(|server| self.registry.configured(server).is_ok());
                (View::whole(known.map(String::as_str), Scope::Private), None)
            }
        };
        let principal = digest::of_hex(principal)?;
        Some(Federated {
            config: Rc::clone(self),
            endpoint: endpoint.map(str::to_owned),
            view,
            instructions,
            principal,
        })
    }
}

impl Federated {
    /// As the registry knows the endpoint.
    pub(crate) fn name(&self) -> String {
        self.endpoint.as_ref().map(|name| format!("@{name}")).unwrap_or_default()
    }

    /// What a conversation has to know to ask the same servers.
    pub(crate) fn behind(&self) -> Behind {
        Behind::Federation {
            endpoint: self.endpoint.clone(),
            servers: self.view.servers().map(str::to_owned).collect(),
            principal: digest::hex(&self.principal),
        }
    }
}

/// A whole answer of the gateway's own making.
pub(crate) fn whole<B: From<Bytes>>(message: &str) -> Reached<B> {
    let bytes = Bytes::copy_from_slice(message.as_bytes());
    let again = bytes.clone();
    let arrived = Some(Arrived::new(bytes.len() as u64, move || again));
    let mut response = Response::new(B::from(bytes));
    *response.status_mut() = StatusCode::OK;
    let content_type = HeaderValue::from_static(mcp::header::APPLICATION_JSON);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Reached { answer: Answer { response, arrived, abort: Abort::new(|| {}) }, seat: None }
}

/// A modern response in the words of `revision`.
fn legacy(method: &str, said: &str, revision: Revision) -> Result<String, Refusal> {
    let garbage = |unreadable: text::Unreadable| Refusal::Garbage(unreadable.to_string());
    let mut response = Members::parse(said).map_err(garbage)?;
    if let Some(result) = response.raw("result") {
        match up::result(method, result, revision, up::Schema::Plain).map_err(garbage)? {
            up::Outcome::Complete(result) => response.set("result", result),
            _ => return Err(Refusal::Garbage("a list asks something back".to_owned())),
        }
    }
    Ok(response.write())
}

fn said(parts: &[(String, Result<String, Reason>)]) -> Vec<Part<'_>> {
    parts
        .iter()
        .map(|(server, said)| Part { server, said: said.as_ref().map(String::as_str).map_err(|reason| *reason) })
        .collect()
}

fn reason(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::Deadline(_) => Reason::Timeout,
        Refusal::Credential(_) => Reason::Unauthorized,
        Refusal::Garbage(_) => Reason::Unreadable,
        _ => Reason::Unreachable,
    }
}

fn name_of(item: &str) -> Option<String> {
    Members::parse(item).ok()?.string("name").map(Cow::into_owned)
}

const PARAM: &str = mcp::header::MCP_PARAM_PREFIX;
/// A server that takes longer is left out.
const EACH: Duration = Duration::from_secs(5);
