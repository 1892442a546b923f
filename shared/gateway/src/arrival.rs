//! Who comes, and where to? What follows from a request's head alone is worked out once for heads that come again: within
//! a session all but the trace and the length of its requests stays the same.

use std::{
    cell::{OnceCell, RefCell},
    hash::Hasher as _,
    rc::Rc,
};

use guard::{Admitted, Verb};
use http::{HeaderValue, Request, Response, header, request::Parts};
use mcp::Revision;
use policy::Permit;
use session::{Route, Ticket};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::{
    aim::Aim, apart::apart, config::Config, cors, draft::Draft, identify::Caller, platform::Platform, quotas::Tolls,
    refusal::Refusal, serve::Gateway,
};

/// A head that is good, of a caller that is known, to something that is there. It holds as long as the configuration is
/// the same and the token has not expired.
pub(crate) struct Arrival {
    pub(crate) config: Rc<Config>,
    /// What its path names.
    pub(crate) endpoint: Rc<str>,
    pub(crate) admitted: Admitted,
    pub(crate) caller: Caller,
    pub(crate) aim: Aim,
    /// The leave its scopes give.
    pub(crate) scoped: Permit,
    /// The session it belongs to, once that was checked.
    pub(crate) ticket: OnceCell<Ticket>,
    /// The head that was sent on for it.
    pub(crate) sent: RefCell<Option<Sent>>,
    /// The limits it met last: a session calls the same tool again and again.
    met: RefCell<Option<Met>>,
    origin: Option<HeaderValue>,
}

/// A head that was sent on, of what it was made, and so how long it holds.
pub(crate) struct Sent {
    pub(crate) route: Rc<Route>,
    pub(crate) revision: Option<Revision>,
    pub(crate) head: Rc<Request<()>>,
}

/// Limits that were met, and where.
struct Met {
    server: String,
    tool: Option<String>,
    tolls: Rc<Tolls>,
}

/// A request's head as a platform spells it.
#[derive(Clone, Copy, Debug)]
pub struct Spelled<'a> {
    /// Method, URL and headers. What spells the same has to mean the same; what differs from request to request is left
    /// out: the length of the body, and the trace.
    pub lasting: &'a str,
    /// `traceparent` and `tracestate` as they came.
    pub parent: Option<(&'a str, Option<&'a str>)>,
}

/// What a head is remembered by: a digest under a key that only this isolate has, so that a lookup tells nothing of the
/// token that it was made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HeadKey(u128);

/// `traceparent` and `tracestate` as they came.
pub(crate) type Parent = (String, Option<String>);

impl<P: Platform> Gateway<P> {
    /// Answers a request by what is remembered of its head; only where that is nothing, `read` makes a request of `body`
    /// and the head.
    ///
    /// # Errors
    /// What `read` fails with.
    pub async fn serve_spelled<E>(
        &self,
        head: Spelled<'_>,
        body: P::Body,
        read: impl FnOnce(P::Body) -> Result<Request<P::Body>, E>,
    ) -> Result<Response<P::Body>, E> {
        let key = self.head_key(head.lasting);
        if let Some(arrival) = self.remembered_arrival(key).await {
            return Ok(self.serve_again(&arrival, head.parent, body).await);
        }
        let mut request = read(body)?;
        request.extensions_mut().insert(key);
        Ok(apart(self.serve(request)).await)
    }

    async fn serve_again(
        &self,
        arrival: &Rc<Arrival>,
        parent: Option<(&str, Option<&str>)>,
        body: P::Body,
    ) -> Response<P::Body> {
        let config = &arrival.config;
        let mut draft = self.draft(config, Rc::clone(&arrival.endpoint), arrival.admitted.verb.into());
        draft.called_by(&arrival.caller.who);
        draft.may_pass_on = arrival.origin.is_none();
        let parent = parent.map(|(parent, state)| (parent.to_owned(), state.map(str::to_owned)));
        self.trace(&mut draft, parent.as_ref());
        let mut response = match self.pass(arrival, body, &mut draft).await {
            Ok(response) => response,
            Err(refusal) => apart(self.turn_away(config, &arrival.endpoint, &draft, refusal)).await,
        };
        cors::expose(&config.site, arrival.origin.as_ref(), response.headers_mut());
        response
    }

    /// Looks at a request's head, and at nothing else.
    pub(crate) async fn arrive(
        &self,
        config: &Rc<Config>,
        endpoint: &Rc<str>,
        head: &Parts,
        draft: &mut Draft,
    ) -> Result<Rc<Arrival>, Refusal> {
        let mut admitted = guard::admit_any_era(&config.site, head)?;
        self.trace(draft, admitted.trace.take().as_ref());
        let caller = self.identify(config, &admitted, &config.resource(endpoint)).await?;
        // The token has done its duty.
        admitted.authorization = None;
        draft.called_by(&caller.who);
        let aim = config.aim(endpoint, &caller.principal)?;
        let scoped = policy::scoped(&caller.principal.scopes, &aim.target.server().scopes)?;
        if declared_length(head).is_some_and(|length| length > config.max_body_bytes as u64) {
            return Err(guard::Refused::TooLarge(config.max_body_bytes).into());
        }
        let arrival = Rc::new(Arrival {
            config: Rc::clone(config),
            endpoint: Rc::clone(endpoint),
            admitted,
            caller,
            aim,
            scoped,
            ticket: OnceCell::new(),
            sent: RefCell::default(),
            met: RefCell::default(),
            origin: head.headers.get(header::ORIGIN).cloned(),
        });
        if let Some(key) = head.extensions.get::<HeadKey>() {
            self.memory.0.borrow_mut().arrivals.put(*key, Rc::clone(&arrival));
        }
        Ok(arrival)
    }

    async fn remembered_arrival(&self, key: HeadKey) -> Option<Rc<Arrival>> {
        let config = self.config().await.ok()?;
        let arrival = self.memory.0.borrow_mut().arrivals.get(&key).cloned()?;
        let is_good = Rc::ptr_eq(&arrival.config, &config) && arrival.caller.is_current(self.platform.now());
        is_good.then_some(arrival)
    }

    fn head_key(&self, text: &str) -> HeadKey {
        let key = *self.memory.0.borrow_mut().head_key.get_or_insert_with(|| {
            let mut key = [0; 16];
            key.iter_mut().zip(self.platform.random()).for_each(|(to, from)| *to = from);
            key
        });
        let mut hasher = SipHasher13::new_with_key(&key);
        hasher.write(text.as_bytes());
        HeadKey(hasher.finish128().as_u128())
    }
}

impl Arrival {
    /// Whether a body comes with it.
    pub(crate) fn has_body(&self) -> bool {
        self.admitted.verb == Verb::Post
    }

    /// The limits that concern `caller`, who is the one that arrived.
    pub(crate) fn tolls(&self, caller: quota::Caller<'_>) -> Rc<Tolls> {
        let mut met = self.met.borrow_mut();
        if let Some(met) = met.as_ref().filter(|met| met.server == caller.server && met.tool.as_deref() == caller.tool)
        {
            return Rc::clone(&met.tolls);
        }
        let tolls = Tolls::of(&self.config, caller);
        if caller.tool.is_none_or(|tool| tool.len() <= NAME_MAX_BYTES) {
            let (server, tool) = (caller.server.to_owned(), caller.tool.map(str::to_owned));
            *met = Some(Met { server, tool, tolls: Rc::clone(&tolls) });
        }
        tolls
    }
}

/// How long a body says it is: one that is too long is not even begun to be read.
fn declared_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What is called something longer is not remembered.
const NAME_MAX_BYTES: usize = 256;
