//! What happens between gateway and upstream inside a session? Messages sent on, streams opened, sessions ended.

use std::{pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use futures_util::future::join;
use guard::Session as Negotiated;
use http::{Method, Response, StatusCode};
use mcp::Body;
use quota::answer::Measured;
use session::{Route, Row, Ticket, Upstream};
use telemetry::TraceContext;
use upstream::{Departure, Outbound};

use crate::{
    answer::Screened,
    apart::apart,
    arrival::Sent,
    config::AuditMode,
    course::{At, Made},
    draft::Draft,
    instances::{Missed, Reached, Way},
    pipeline::{Cleared, traced},
    platform::{Answer, Platform, Unanswered, Unread},
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// Sends a message on to the session's instance and hands its answer back.
    pub(crate) async fn relay(
        &self,
        cleared: &Cleared<'_>,
        (ticket, route): (&Ticket, &Rc<Route>),
        body: &Body<'_>,
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        guard::fits(body, Negotiated::Negotiated(route.row.revision))?;
        if let Some((federated, call)) = cleared.passing.lists(body) {
            return apart(self.list_for_session(cleared, (route, federated), call, draft)).await;
        }
        let text = traced(body, &draft.trace)?;
        let departure = self.departure(cleared, route, draft, (Method::POST, text.into())).await?;
        let reached = self.send(cleared, (ticket, route), draft, departure).await?;
        match self.answered(ticket, route, reached).await? {
            Screened::Native(reached) => {
                let at = cleared.course.at().unwrap_or(At::Instances);
                self.shown(cleared, (at, body), draft, reached).await
            }
            Screened::Read(status, head, body) => Ok(self.finished(draft, status, &head, body)),
        }
    }

    /// Opens, or resumes, the stream of the server's own messages. It is not metered: a second reader would keep it
    /// open at the upstream after the caller left.
    pub(crate) async fn listen(
        &self,
        cleared: &Cleared<'_>,
        (ticket, route): (&Ticket, &Rc<Route>),
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let departure = self.departure(cleared, route, draft, (Method::GET, Bytes::new())).await?;
        let reached = self.send(cleared, (ticket, route), draft, departure).await?;
        match self.answered(ticket, route, reached).await? {
            Screened::Native(reached) => Ok(self.streaming(draft, reached.answer)),
            Screened::Read(status, head, body) => Ok(self.finished(draft, status, &head, body)),
        }
    }

    /// Ends the session, at the upstream too. It has ended for the caller whatever the upstream says.
    pub(crate) async fn delete(
        &self,
        cleared: &Cleared<'_>,
        (ticket, route): (&Ticket, &Rc<Route>),
        draft: &mut Draft,
    ) -> Result<Response<P::Body>, Refusal> {
        let departure = self.departure(cleared, route, draft, (Method::DELETE, Bytes::new())).await?;
        let upstream = match self.send(cleared, (ticket, route), draft, departure).await? {
            Ok(reached) if !reached.answer.response.status().is_server_error() => Upstream::Knows,
            _ => Upstream::Tell,
        };
        self.end_now(ticket, upstream).await?;
        Ok(self.finished(draft, StatusCode::OK, &http::HeaderMap::new(), Bytes::new()))
    }

    /// A request of the session. Its head is that of the one before it.
    async fn departure(
        &self,
        cleared: &Cleared<'_>,
        route: &Rc<Route>,
        draft: &Draft,
        (method, body): (Method, Bytes),
    ) -> Result<Departure, Refusal> {
        let (arrival, revision) = (&cleared.passing.arrival, cleared.passing.revision);
        let trace = Some(draft.trace.spelled());
        let may_pass_on = draft.may_pass_on && !route.row.is_bridged && cleared.is_shown_whole();
        if let Some(sent) = arrival.sent.borrow().as_ref()
            && Rc::ptr_eq(&sent.route, route)
            && sent.revision == revision
        {
            return Ok(Departure { head: Rc::clone(&sent.head), trace, body, may_pass_on });
        }
        let (url, secret) = match route.row.is_bridged {
            true => (CONVERSATION, None),
            false => (route.row.instance.as_str(), self.credential(route.row.secret.as_deref()).await?),
        };
        let outbound = Outbound {
            url,
            session_id: route.row.upstream_id.as_deref(),
            revision: revision.map(mcp::Revision::as_str),
            last_event_id: arrival.admitted.last_event_id.as_deref(),
            secret: secret.as_deref(),
        };
        let head = Rc::new(outbound.head(method).map_err(|error| Refusal::Internal(error.to_string()))?);
        *arrival.sent.borrow_mut() = Some(Sent { route: Rc::clone(route), revision, head: Rc::clone(&head) });
        Ok(Departure { head, trace, body, may_pass_on })
    }

    /// The gateway's own credential at an upstream.
    pub(crate) async fn credential(&self, name: Option<&str>) -> Result<Option<String>, Refusal> {
        let missing = |name: &str| Refusal::Internal(format!("the secret `{name}` is not set"));
        match name {
            Some(name) => self.platform.secret(name).await.map(Some).ok_or_else(|| missing(name)),
            None => Ok(None),
        }
    }

    /// Sends `departure` while its decision is being written; the answer is released when both are done.
    async fn send(
        &self,
        cleared: &Cleared<'_>,
        (ticket, route): (&Ticket, &Route),
        draft: &mut Draft,
        departure: Departure,
    ) -> Result<Result<Reached<P::Body>, Missed>, Refusal> {
        if route.row.is_bridged {
            let passing = &cleared.passing;
            let made = Made::up(ticket, passing.arrival.aim.target.server(), passing.arrival.aim.federated.as_deref());
            return apart(self.decided(cleared, draft, self.converse(cleared.server(), &made, departure.into()))).await;
        }
        let way = Way {
            server: cleared.server(),
            instance: &route.row.instance,
            resilience: cleared.passing.config().resilience(cleared.server()),
            repeatable: self.repeatable(&cleared.passing),
        };
        self.decided(cleared, draft, self.reach(way, departure)).await
    }

    /// What `work` gives, once the decision to do it stands.
    pub(crate) async fn decided<T>(
        &self,
        cleared: &Cleared<'_>,
        draft: &mut Draft,
        work: impl Future<Output = T>,
    ) -> Result<T, Refusal> {
        let facts = draft.allow();
        let mut work = pin!(work);
        match cleared.passing.config().audit {
            AuditMode::Relaxed => {
                self.platform.release();
                self.gather_decision(facts);
                Ok(work.await)
            }
            AuditMode::Strict => {
                // What is sent leaves only when this turn ends: the record is spelled in the next one.
                let written = async {
                    self.platform.pause(Duration::ZERO).await;
                    let written = self.append(&facts.chain(), &facts.allowed()).await;
                    written.inspect(|()| self.platform.release())
                };
                let (done, written) = join(&mut work, written).await;
                written.map_err(|error| Refusal::Internal(format!("the record cannot be written: {error}")))?;
                Ok(done)
            }
        }
    }

    /// What an upstream answered inside a session, or why it did not.
    async fn answered(
        &self,
        ticket: &Ticket,
        route: &Route,
        reached: Result<Reached<P::Body>, Missed>,
    ) -> Result<Screened<P::Body>, Refusal> {
        let reached = match reached {
            Ok(reached) => reached,
            Err(Missed::Unanswered(Unanswered::Broken(detail))) => {
                return Err(apart(self.why_broken(ticket, route, detail)).await);
            }
            Err(missed) => return Err(missed.into()),
        };
        self.screen(reached).await.inspect_err(|refusal| {
            if matches!(refusal, Refusal::Lost(_)) {
                self.end(ticket, Upstream::Knows);
            }
        })
    }

    /// Is the instance gone, or did it only drop this one connection? A ping in the session tells: if that fails too
    /// the session is lost, otherwise the request may have been carried out and must not be repeated unasked.
    async fn why_broken(&self, ticket: &Ticket, route: &Route, detail: String) -> Refusal {
        let lives = self.ping(route).await;
        match lives {
            Ok(answer) if answer.response.status().is_success() => Refusal::Broken(detail),
            Ok(answer) => {
                let status = answer.response.status();
                self.end(ticket, Upstream::Knows);
                Refusal::Lost(format!("{detail}; then `ping` was answered {status}"))
            }
            Err(again) => {
                self.end(ticket, Upstream::Tell);
                Refusal::Lost(format!("{detail}; then `ping`: {again}"))
            }
        }
    }

    async fn ping(&self, route: &Route) -> Result<Answer<P::Body>, Unanswered> {
        let broken = |refusal: &Refusal| Unanswered::Broken(refusal.reason());
        let trace = TraceContext::child_of(None, &self.platform.random());
        let departure = self.own_departure(&route.row, &trace, (Method::POST, Bytes::from_static(PING))).await;
        self.platform.send(departure.map_err(|refusal| broken(&refusal))?, PING_DEADLINE).await
    }

    /// A request of the gateway's own in a session.
    pub(crate) async fn own_departure(
        &self,
        row: &Row,
        trace: &TraceContext,
        (method, body): (Method, Bytes),
    ) -> Result<Departure, Refusal> {
        let secret = self.credential(row.secret.as_deref()).await?;
        let outbound = Outbound {
            url: &row.instance,
            session_id: row.upstream_id.as_deref(),
            revision: Some(row.revision.as_str()),
            last_event_id: None,
            secret: secret.as_deref(),
        };
        let head = outbound.head(method).map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(Departure { head: Rc::new(head), trace: Some(trace.spelled()), body, may_pass_on: false })
    }

    /// The whole body of a request.
    pub(crate) async fn body(&self, config: &crate::config::Config, body: P::Body) -> Result<Bytes, Refusal> {
        let max_bytes = config.max_body_bytes;
        self.platform.whole(body, max_bytes).await.map_err(|unread| match unread {
            Unread::TooLarge(_) => Refusal::Guard(guard::Refused::TooLarge(max_bytes)),
            Unread::Broken(detail) => Refusal::Unread(detail),
        })
    }

    /// A refusal, recorded: as the decision, or as the outcome of one that stands already.
    pub(crate) async fn turn_away(
        &self,
        config: &crate::config::Config,
        server: &str,
        draft: &Draft,
        refusal: Refusal,
    ) -> Response<P::Body> {
        if let Some(account) = draft.account().filter(|_| !draft.is_decided()) {
            self.refused(account, &refusal);
        }
        if draft.is_decided() {
            self.ended(draft.ending(), (refusal.status(), &refusal.reason()), 0, &Measured::default());
        } else if draft.is_attributed() && config.audit == AuditMode::Strict {
            // The refusal stands even if its record cannot be written: nothing was done.
            let (chain, entry) = draft.refuse(&refusal);
            let _ = self.append(&chain, &entry).await;
        } else {
            // Nobody without a token can make the gateway write once for each request.
            let (chain, entry) = draft.refuse(&refusal);
            self.gather(chain, entry);
        }
        refusal.answer(config, Some(server), draft.answers.as_deref())
    }

    /// Ends a session and waits until it has.
    async fn end_now(&self, ticket: &Ticket, upstream: Upstream) -> Result<(), Refusal> {
        self.memory.0.borrow_mut().sessions.pop(&ticket.name());
        let told = self.tell::<session::Session>(&ticket.name(), &session::Command::End(upstream)).await;
        told.map(drop).map_err(|failed| Refusal::Internal(format!("session: {failed}")))
    }
}

/// A conversation is no host: whoever sends to it names it apart.
pub(crate) const CONVERSATION: &str = "https://conversation.invalid/";
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":"turnpike-ping","method":"ping"}"#;
const PING_DEADLINE: Duration = Duration::from_secs(2);
