//! Which instance owns this session? The isolate remembers it; the session's machine knows it.

use std::rc::Rc;

use bridge::claim::Claim;
use identity::Principal;
use registry::Server;
use session::{Command, Route, Row, Sealer, Session, Ticket, Unknown, Upstream};

use crate::{
    apart::apart,
    memory::Known,
    pipeline::Passing,
    platform::{Failed, Life, Platform},
    refusal::Refusal,
    serve::Gateway,
};

impl<P: Platform> Gateway<P> {
    /// The caller's ticket, checked without storage; `initialize` has none yet.
    pub(crate) async fn ticket(&self, passing: &Passing<'_>) -> Result<Option<Ticket>, Refusal> {
        if passing.said.is_initialize || matches!(passing.claim, Claim::Modern(_)) {
            return Ok(None);
        }
        if let Some(ticket) = passing.arrival.ticket.get() {
            return Ok(Some(ticket.clone()));
        }
        let id = passing.arrival.admitted.session_id.as_deref().ok_or(Refusal::NoSession)?;
        let binding = passing.principal().binding();
        let ticket = self.sealer().await?.check(id, binding, &passing.arrival.aim.target.server().name)?;
        Ok(Some(passing.arrival.ticket.get_or_init(|| ticket).clone()))
    }

    /// Where an open session lives. One whose instance is no longer configured is lost: only configured hosts are
    /// called.
    pub(crate) async fn route(&self, ticket: &Ticket, server: &Server) -> Result<Rc<Route>, Refusal> {
        let known = self.memory.0.borrow_mut().sessions.get(&ticket.name()).cloned();
        // One that may have rested too long has ended, unless another isolate used it: its machine knows.
        let now = self.platform.now();
        // So has one whose façade nobody keeps, if it was deleted at another instance: there is no server to say so.
        let is_sure = |known: &Known| P::LIFE == Life::Conversation || !known.route.row.is_bridged;
        let known = known.filter(|known| now.millis_since(known.told) < known.route.row.idle_ms && is_sure(known));
        let route = match known {
            Some(known) => {
                self.keep_awake(ticket, &known);
                known.route
            }
            None => apart(self.look_up(ticket)).await?,
        };
        if route.row.is_bridged || server.instances.contains(&route.row.instance) {
            return Ok(route);
        }
        self.end(ticket, Upstream::Knows);
        Err(Refusal::Lost(format!("instance `{}` is not configured any more", route.row.instance)))
    }

    /// The id of a session that is about to open.
    pub(crate) async fn mint(&self, principal: &Principal, server: &Server) -> Result<Ticket, Refusal> {
        let mut nonce = [0; 16];
        nonce.iter_mut().zip(self.platform.random()).for_each(|(to, from)| *to = from);
        Ok(self.sealer().await?.mint(nonce, principal.binding(), &server.name))
    }

    /// A new session of `row`, open once this returns.
    pub(crate) async fn open(&self, ticket: &Ticket, row: Row) -> Result<(), Refusal> {
        let reply = self.tell::<Session>(&ticket.name(), &Command::Open(row)).await.map_err(unusable)?;
        let route = Route::of(reply).ok_or(Unknown)?;
        self.remember(ticket, Rc::new(route));
        Ok(())
    }

    /// Ends a session beside the request; its machine tells the upstream if need be.
    pub(crate) fn end(&self, ticket: &Ticket, upstream: Upstream) {
        self.memory.0.borrow_mut().sessions.pop(&ticket.name());
        let (gateway, name) = (self.clone(), ticket.name());
        self.platform.defer(async move {
            // A session that cannot be ended now ends when it has rested long enough.
            let _ = gateway.tell::<Session>(&name, &Command::End(upstream)).await;
        });
    }

    async fn look_up(&self, ticket: &Ticket) -> Result<Rc<Route>, Refusal> {
        let reply = self.tell::<Session>(&ticket.name(), &Command::Use).await.map_err(unusable)?;
        let route = Rc::new(Route::of(reply).ok_or(Unknown)?);
        self.remember(ticket, Rc::clone(&route));
        Ok(route)
    }

    fn remember(&self, ticket: &Ticket, route: Rc<Route>) {
        let known = Known { route, told: self.platform.now() };
        self.memory.0.borrow_mut().sessions.put(ticket.name(), known);
    }

    /// Tells the machine now and then that its session is in use, and learns whether it ended elsewhere.
    fn keep_awake(&self, ticket: &Ticket, known: &Known) {
        let now = self.platform.now();
        let due_ms = TELL_MS.min(known.route.row.idle_ms / 4);
        if now.millis_since(known.told) < due_ms {
            return;
        }
        self.remember(ticket, Rc::clone(&known.route));
        let (gateway, ticket) = (self.clone(), ticket.clone());
        self.platform.defer(async move {
            if let Err(Refusal::Session(Unknown)) = gateway.look_up(&ticket).await {
                gateway.memory.0.borrow_mut().sessions.pop(&ticket.name());
            }
        });
    }

    /// What `make` makes of the gateway's key.
    pub(crate) async fn key<T>(&self, make: impl FnOnce(&str) -> Option<T>) -> Result<T, Refusal> {
        let made = self.platform.secret(KEY).await.and_then(|key| make(&key));
        made.ok_or_else(|| Refusal::Internal(format!("the secret `{KEY}` must be base64url of at least 32 bytes")))
    }

    pub(crate) async fn sealer(&self) -> Result<Sealer, Refusal> {
        if let Some(sealer) = &self.memory.0.borrow().sealer {
            return Ok(sealer.clone());
        }
        let sealer = apart(self.key(Sealer::from_base64url)).await?;
        self.memory.0.borrow_mut().sealer = Some(sealer.clone());
        Ok(sealer)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn unusable(failed: Failed) -> Refusal {
    Refusal::Internal(format!("session: {failed}"))
}

/// The gateway's secret.
const KEY: &str = "TURNPIKE_KEY";
/// How often the machine of a session in use hears of it, at most.
const TELL_MS: u64 = 30_000;
