//! Whose is a message of a process that many callers share? Their requests in flight, without any I/O.

use std::collections::BTreeMap;

use bridge::text::{self, Members, Unreadable};
use mcp::{Call, Message, Reply};
use serde_json::value::RawValue;

use super::request::{Kind, Logs, Request};

/// The requests in flight, each under a number of its own.
#[derive(Debug)]
pub struct Multiplex {
    pending: BTreeMap<Number, Pending>,
    next: u64,
    timeout_ms: u64,
}

/// What a request is to the process: its id, its progress token and its subscription's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

/// Where a message of the process goes, spelled for whoever it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Belongs to the answer of this request.
    Related(Number, String),
    /// Belongs to this subscription.
    Subscribed(Number, String),
    /// Answers this request, which is in flight no more.
    Answer(Number, String),
    /// To nobody, but the process waits for this: it may not ask anything.
    Refused(String),
    /// To nobody.
    Nowhere(&'static str),
}

/// A request that got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Which.
    pub number: Number,
    /// Its caller's id.
    pub id: Box<str>,
    /// What it was.
    pub kind: Kind,
}

impl Multiplex {
    /// Nothing in flight yet.
    #[must_use]
    pub fn new(timeout_ms: u64) -> Self {
        Self { pending: BTreeMap::new(), next: 0, timeout_ms }
    }

    /// Takes a request; the line is for the process.
    pub fn open(&mut self, request: &Request, now_ms: u64) -> (Number, String) {
        let number = Number(self.next);
        self.next += 1;
        let deadline_ms = match request.kind {
            Kind::Request => now_ms.saturating_add(self.timeout_ms),
            Kind::Subscription => u64::MAX,
        };
        let mut company = Company::Alone;
        if request.kind == Kind::Request {
            for other in self.pending.values_mut().filter(|other| other.kind == Kind::Request) {
                (other.company, company) = (Company::Others, Company::Others);
            }
        }
        let Request { id, token, logs, kind, .. } = request;
        let pending = Pending { id: id.clone(), token: token.clone(), logs: *logs, kind: *kind, company, deadline_ms };
        self.pending.insert(number, pending);
        (number, request.numbered(number.0))
    }

    /// Where `message`, which the process sent, goes.
    pub fn route(&mut self, message: &Message<'_>) -> Route {
        let routed = match message {
            Message::Response(reply) => self.response(reply),
            // It may not (MCP 2026-07-28 basic/transports/stdio).
            Message::Request(Call { id: Some(id), .. }) => {
                let message = "a server asks nothing in MCP 2026-07-28; answer with `input_required`";
                Ok(Route::Refused(text::error(id.get(), mcp::jsonrpc::code::METHOD_NOT_FOUND, message, None)))
            }
            Message::Request(_) => Ok(Route::Nowhere("a request without an id")),
            Message::Notification(call) => self.notification(call),
        };
        routed.unwrap_or(Route::Nowhere("a message that cannot be read"))
    }

    /// Nobody waits for `number` any more; the line, if there is one, tells the process.
    pub fn leave(&mut self, number: Number) -> Option<String> {
        self.pending.remove(&number)?;
        Some(cancelled(number, "the caller left"))
    }

    /// Gives up the requests whose time is over, each with the line that tells the process.
    pub fn expire(&mut self, now_ms: u64) -> Vec<(Unanswered, String)> {
        let over = self.pending.extract_if(.., |_, pending| pending.deadline_ms <= now_ms);
        over.map(|(number, pending)| (pending.unanswered(number), cancelled(number, "it took too long"))).collect()
    }

    /// Gives up everything.
    pub fn end(&mut self) -> Vec<Unanswered> {
        std::mem::take(&mut self.pending).into_iter().map(|(number, pending)| pending.unanswered(number)).collect()
    }

    /// How many wait for an answer, subscriptions too.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    fn response(&mut self, reply: &Reply<'_>) -> Result<Route, Unreadable> {
        let number = reply.id.and_then(|id| number(id.get()));
        let Some((number, pending)) = number.and_then(|number| Some((number, self.pending.remove(&number)?))) else {
            return Ok(Route::Nowhere("a response to no request in flight"));
        };
        let answer = match (reply.result, reply.error) {
            (Some(result), _) if pending.kind == Kind::Subscription => {
                text::response(&pending.id, &last_of_subscription(result, &pending.id)?)
            }
            (Some(result), _) => text::response(&pending.id, result.get()),
            (None, error) => text::raw_error(&pending.id, error.map_or("{}", RawValue::get)),
        };
        Ok(Route::Answer(number, answer))
    }

    fn notification(&self, call: &Call<'_>) -> Result<Route, Unreadable> {
        let params = Members::parse(call.params.map_or("{}", RawValue::get))?;
        let subscription = params.object("_meta")?.raw(SUBSCRIPTION_ID).map(number);
        match (subscription, call.method.as_ref()) {
            (Some(number), _) => self.subscribed(call, params, number),
            (None, "notifications/progress") => Ok(self.progress(params)),
            (None, "notifications/message") => Ok(self.log(call)),
            (None, _) => Ok(Route::Nowhere("a notification that is no subscription's")),
        }
    }

    fn subscribed(
        &self,
        call: &Call<'_>,
        mut params: Members<'_>,
        number: Option<Number>,
    ) -> Result<Route, Unreadable> {
        let found = number.and_then(|number| Some((number, self.pending.get(&number)?)));
        let Some((number, pending)) = found.filter(|(_, pending)| pending.kind == Kind::Subscription) else {
            return Ok(Route::Nowhere("a notification of no open subscription"));
        };
        params.edit("_meta", |meta| meta.set(SUBSCRIPTION_ID, pending.id.to_string()))?;
        Ok(Route::Subscribed(number, text::notification(&call.method, Some(&params.write()))))
    }

    fn progress(&self, mut params: Members<'_>) -> Route {
        let number = params.raw("progressToken").and_then(number);
        let found = number.and_then(|number| Some((number, self.pending.get(&number)?.token.as_deref()?)));
        let Some((number, token)) = found else { return Route::Nowhere("progress of no request in flight") };
        params.set("progressToken", token.to_owned());
        Route::Related(number, text::notification("notifications/progress", Some(&params.write())))
    }

    /// Nothing in a log message says whose it is, and it may hold what is another caller's: it is handed on only where
    /// nobody else has been served meanwhile.
    fn log(&self, call: &Call<'_>) -> Route {
        let mut requests = self.pending.iter().filter(|(_, pending)| pending.kind == Kind::Request);
        match (requests.next(), requests.next()) {
            (Some((number, Pending { logs: Logs::Wanted, company: Company::Alone, .. })), None) => {
                Route::Related(*number, text::notification(&call.method, call.params.map(RawValue::get)))
            }
            _ => Route::Nowhere("a log message that could be of several callers, or that nobody wants"),
        }
    }
}

#[derive(Debug)]
struct Pending {
    id: Box<str>,
    token: Option<Box<str>>,
    logs: Logs,
    kind: Kind,
    company: Company,
    deadline_ms: u64,
}

impl Pending {
    fn unanswered(self, number: Number) -> Unanswered {
        Unanswered { number, id: self.id, kind: self.kind }
    }
}

/// Whether another request has been in flight at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Alone,
    Others,
}

/// The result that ends a subscription (MCP 2026-07-28 basic/patterns/subscriptions).
pub(super) fn end_of_subscription(id: &str) -> String {
    text::response(id, &[r#"{"resultType":"complete","_meta":{""#, SUBSCRIPTION_ID, r#"":"#, id, "}}"].concat())
}

fn last_of_subscription(result: &RawValue, id: &str) -> Result<String, Unreadable> {
    let mut result = Members::parse(result.get())?;
    if result.object("_meta")?.has(SUBSCRIPTION_ID) {
        result.edit("_meta", |meta| meta.set(SUBSCRIPTION_ID, id.to_owned()))?;
    }
    Ok(result.write())
}

fn cancelled(Number(number): Number, reason: &str) -> String {
    let params = format!(r#"{{"requestId":{number},"reason":{}}}"#, text::quoted(reason));
    text::notification("notifications/cancelled", Some(&params))
}

fn number(raw: &str) -> Option<Number> {
    raw.parse().ok().map(Number)
}

/// Says which `subscriptions/listen` a notification belongs to.
pub(super) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

#[cfg(test)]
mod tests;
