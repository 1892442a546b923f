//! What if a server asks something back first? Its `requestState` leaves sealed, and comes back to where it belongs
//! (MCP 2026-07-28 basic/patterns/mrtr).

use std::{borrow::Cow, rc::Rc};

use bridge::{
    claim::{Claim, Envelope},
    demand,
    seal::{self, Binding, Sealed, Sealer},
    text::{self, Members, ResultType},
};
use http::Response;
use mcp::{Body, Call, Message, Timestamp};

use crate::{
    answer::is_type,
    apart::apart,
    course::At,
    draft::Draft,
    faults::Fault,
    instances::Reached,
    pipeline::{Cleared, Passing},
    platform::Platform,
    refusal::Refusal,
    serve::Gateway,
};

/// A retry whose state was opened: the request as the server knows it, and where it leads.
pub(crate) struct Resumed {
    pub(crate) text: String,
    pub(crate) at: At,
}

impl<P: Platform> Gateway<P> {
    /// Opens the state of a retry; nothing where the request carries none.
    pub(crate) async fn resumed(
        &self,
        passing: &Passing<'_>,
        (body, envelope): (&Body<'_>, &Envelope<'_>),
        at: &At,
    ) -> Result<Option<Resumed>, Refusal> {
        let (Some(state), Body::Single(Message::Request(call))) = (&envelope.request_state, body) else {
            return Ok(None);
        };
        let binding = self.binding(passing, call)?;
        let sealed = self.keeper().await?.open(state, &binding, self.platform.now())?;
        let at = match (sealed.conversation, at) {
            (None, at) => at.clone(),
            (Some(name), At::Conversation(made)) => At::Conversation(Rc::new(made.named(name))),
            // What was parked there cannot be reached any more, and is not begun anew.
            (Some(_), _) => return Err(seal::Refusal::Request.into()),
        };
        let mut request = Members::parse(call.raw).map_err(unreadable)?;
        request
            .edit("params", |params| match &sealed.inner {
                Some(inner) => params.set("requestState", text::quoted(inner)),
                None => drop(params.remove("requestState")),
            })
            .map_err(unreadable)?;
        Ok(Some(Resumed { text: request.write(), at }))
    }

    /// Hands on the answer to a request in which a server may ask something back.
    pub(crate) async fn asked_back(
        &self,
        cleared: &Cleared<'_>,
        (at, call): (&At, &Call<'_>),
        draft: &Draft,
        reached: Reached<P::Body>,
    ) -> Result<Response<P::Body>, Refusal> {
        let seal = self.seal(&cleared.passing, call, at).await?;
        let silence = cleared.passing.config().resilience(cleared.server()).stream_idle;
        let Reached { mut answer, seat } = reached;
        if is_type(answer.response.headers(), mcp::header::TEXT_EVENT_STREAM) {
            let edit = move |message: &str| seal.said(message);
            return Ok(self.handed_on(draft, Reached { answer, seat }, silence, edit));
        }
        if answer.peeked().is_some_and(|bytes| memchr::memmem::find(&bytes, MARK).is_none()) {
            return Ok(self.metered(draft, Reached { answer, seat }, silence));
        }
        let heard = self.hear(answer, 1, silence).await?;
        drop(seat);
        let (status, headers) = (heard.status, heard.headers.clone());
        let body = heard.rewritten(|text| seal.seal(text))?;
        Ok(self.finished(draft, status, &headers, body))
    }

    /// Seals what the answers to one request carry.
    pub(crate) async fn seal(&self, passing: &Passing<'_>, call: &Call<'_>, at: &At) -> Result<Seal, Refusal> {
        let mut nonce = [0; 24];
        nonce.iter_mut().zip(self.platform.random()).for_each(|(to, from)| *to = from);
        Ok(Seal {
            keeper: self.keeper().await?,
            nonce,
            capabilities: match &passing.claim {
                Claim::Modern(envelope) => envelope.capabilities.to_owned(),
                Claim::Legacy => "{}".to_owned(),
            },
            binding: self.binding(passing, call)?,
            conversation: match at {
                At::Conversation(made) => Some(made.name.clone()),
                At::Session(_) | At::Instances | At::Federation(_) => None,
            },
            server: passing.server().name.clone(),
            expires: self
                .platform
                .now()
                .plus_millis(u64::try_from(passing.server().question.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    fn binding(&self, passing: &Passing<'_>, call: &Call<'_>) -> Result<Binding, Refusal> {
        let principal = passing.principal().binding();
        let bound = Binding::of(principal, &passing.arrival.aim.target.server().name, call);
        bound.map_err(|unreadable| Refusal::Params(unreadable.to_string()))
    }

    async fn keeper(&self) -> Result<Sealer, Refusal> {
        if let Some(keeper) = &self.memory.0.borrow().keeper {
            return Ok(keeper.clone());
        }
        let keeper = apart(self.key(Sealer::from_base64url)).await?;
        self.memory.0.borrow_mut().keeper = Some(keeper.clone());
        Ok(keeper)
    }
}

/// What it takes to seal the states of one request's answers.
pub(crate) struct Seal {
    keeper: Sealer,
    nonce: [u8; 24],
    /// What the caller declared: a JSON object.
    capabilities: String,
    binding: Binding,
    conversation: Option<String>,
    server: String,
    expires: Timestamp,
}

impl Seal {
    /// `message` as the caller hears it on a stream, or why that is cut off.
    pub(crate) fn said(&self, message: &str) -> Result<String, String> {
        let fault = memchr::memmem::find(message.as_bytes(), FAULT).and_then(|_| Fault::of(message.as_bytes()));
        let told = match fault {
            Some(fault) => fault.blame(&self.declared()).map(|()| Cow::Borrowed(message)),
            None => self.seal(message),
        };
        match told {
            Ok(message) => Ok(message.into_owned()),
            Err(refusal @ (Refusal::Lacks(_) | Refusal::Misfit(_))) => {
                let id = Members::parse(message).ok().and_then(|message| message.raw("id").map(str::to_owned));
                Ok(refusal.message(id.as_deref().unwrap_or("null")))
            }
            Err(refusal) => Err(refusal.reason()),
        }
    }

    fn declared(&self) -> serde_json::Value {
        serde_json::from_str(&self.capabilities).unwrap_or_default()
    }

    /// `message` with its `requestState` sealed, if it has one.
    ///
    /// # Errors
    /// [`Refusal::Lacks`]: it asks for what the caller did not declare on this very request.
    pub(crate) fn seal<'a>(&self, message: &'a str) -> Result<Cow<'a, str>, Refusal> {
        if memchr::memmem::find(message.as_bytes(), MARK).is_none() {
            return Ok(Cow::Borrowed(message));
        }
        let mut response = Members::parse(message).map_err(garbage)?;
        let result = response.object("result").map_err(garbage)?;
        if text::result_type(&result) != ResultType::InputRequired {
            return Ok(Cow::Borrowed(message));
        }
        let lacking =
            demand::lacking(&result, &self.declared()).map_err(|error| Refusal::Garbage(error.to_string()))?;
        if let Some(lacking) = lacking {
            return Err(Refusal::Lacks(lacking));
        }
        let inner = result.string("requestState").map(Cow::into_owned);
        if inner.is_none() {
            return Ok(Cow::Borrowed(message));
        }
        let sealed = Sealed {
            inner,
            conversation: self.conversation.clone(),
            server: self.server.clone(),
            expires: self.expires,
        };
        let state = self.keeper.seal(self.nonce, &self.binding, &sealed);
        let state = state.map_err(|too_long| Refusal::Garbage(too_long.to_string()))?;
        response.edit("result", |result| result.set("requestState", text::quoted(&state))).map_err(garbage)?;
        Ok(Cow::Owned(response.write()))
    }
}

/// Whether a server may answer a request of `method` by asking something back.
pub(crate) fn may_ask(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

fn unreadable(unreadable: text::Unreadable) -> Refusal {
    Refusal::Params(unreadable.to_string())
}

fn garbage(unreadable: text::Unreadable) -> Refusal {
    Refusal::Garbage(unreadable.to_string())
}

/// Without it no answer is one of the errors about a hop.
const FAULT: &[u8] = b"-3202";
/// Without it no answer asks anything.
const MARK: &[u8] = b"input_required";
