//! What will be recorded of this request? The decision, filled in stage by stage, and its outcome.
//!
//! Stages note what they found as they have it; it is spelled when the record is written, which nobody waits for.

use std::rc::Rc;

use audit::{Called, Decision, Entry, Outcome, Shadow, Verdict, Who};
use http::{Method, StatusCode};
use mcp::{Timestamp, digest, json::clip};
use policy::Permit;
use quota::Amount;
use serde_json::{Value, value::RawValue};
use session::{Route, Ticket};
use telemetry::TraceContext;

use crate::{
    accounts::{Account, Spent},
    config::Config,
    pipeline::Passing,
    quotas::Tolls,
    recall::Recall,
    refusal::Refusal,
    said::Asked,
};

/// A record in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) trace: TraceContext,
    /// The id a refusal answers.
    pub(crate) answers: Option<Box<RawValue>>,
    /// Whether nothing is added to the answer on its way to the caller.
    pub(crate) may_pass_on: bool,
    is_decided: bool,
    bytes_in: u64,
    account: Option<Rc<Account>>,
    /// How much of its answer was remembered.
    recalled: Option<String>,
    facts: Rc<Facts>,
}

/// What is recorded of a request, before it is spelled.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    config: Rc<Config>,
    trace: TraceContext,
    at: Timestamp,
    who: Option<Rc<Who>>,
    server: Rc<str>,
    route: Option<Rc<Route>>,
    session: Option<Ticket>,
    method: Method,
    calls: Vec<Call>,
    permit: Option<Permit>,
}

/// A message that asks for something.
#[derive(Clone, Debug)]
struct Call {
    method: String,
    target: Option<String>,
    arguments: Option<Arguments>,
}

/// What waits to be digested; long ones do not wait.
#[derive(Clone, Debug)]
enum Arguments {
    Short(Rc<Value>),
    Digested([u8; 32]),
}

/// What is known of a request when its outcome is.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    facts: Rc<Facts>,
    bytes_in: u64,
    session: Option<String>,
    instance: Option<String>,
    /// Whom it is charged to; `None` if that never was found out.
    pub(crate) account: Option<Rc<Account>>,
    recalled: Option<String>,
}

impl Draft {
    /// Of a request to the endpoint `server` that came at `at`.
    pub(crate) fn new(
        config: &Rc<Config>,
        server: Rc<str>,
        method: Method,
        trace: TraceContext,
        at: Timestamp,
    ) -> Self {
        let facts = Facts {
            config: Rc::clone(config),
            trace: trace.clone(),
            at,
            who: None,
            server,
            route: None,
            session: None,
            method,
            calls: Vec::new(),
            permit: None,
        };
        let facts = Rc::new(facts);
        Self {
            trace,
            answers: None,
            may_pass_on: false,
            is_decided: false,
            bytes_in: 0,
            account: None,
            recalled: None,
            facts,
        }
    }

    /// A parent of the trace was found.
    pub(crate) fn traced(&mut self, trace: TraceContext) {
        self.facts_mut().trace = trace.clone();
        self.trace = trace;
    }

    /// It is found out which server it is for.
    pub(crate) fn leads_to(&mut self, server: &str) {
        if *self.facts.server != *server {
            self.facts_mut().server = server.into();
        }
    }

    pub(crate) fn called_by(&mut self, who: &Rc<Who>) {
        self.facts_mut().who = Some(Rc::clone(who));
    }

    /// Gives what the request is known to need.
    pub(crate) fn carries(&mut self, bytes_in: usize, passing: &Passing<'_>, tolls: &Rc<Tolls>) -> Amount {
        self.bytes_in = bytes_in as u64;
        self.facts_mut().calls = passing.said.asked.iter().map(Call::of).collect();
        let account = Account::new(passing, tolls);
        let need = account.need();
        self.account = Some(Rc::new(account));
        need
    }

    /// It is known how much of its answer was remembered.
    pub(crate) fn recalled(&mut self, recall: &Recall) {
        self.recalled = recall.said();
    }

    pub(crate) fn permitted(&mut self, permit: &Permit) {
        self.facts_mut().permit = Some(permit.clone());
    }

    pub(crate) fn routed(&mut self, ticket: &Ticket, route: &Rc<Route>) {
        let facts = self.facts_mut();
        facts.session = Some(ticket.clone());
        facts.route = Some(Rc::clone(route));
    }

    /// Whom it is charged to, once that is known.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_deref()
    }

    /// Whether it is known who called.
    pub(crate) fn is_attributed(&self) -> bool {
        self.facts.who.is_some()
    }

    /// Whether the decision stands; what happens from now on is its outcome.
    pub(crate) const fn is_decided(&self) -> bool {
        self.is_decided
    }

    /// What is recorded of a request that is sent on.
    pub(crate) fn allow(&mut self) -> Rc<Facts> {
        self.is_decided = true;
        Rc::clone(&self.facts)
    }

    /// Whose chain it belongs to, and the entry for a request that is not sent on.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> (String, Entry) {
        let denied = refusal.denied();
        let decision = Decision {
            verdict: refusal.verdict(),
            reason: refusal.reason(),
            policies: denied.map_or_else(Vec::new, |denied| denied.policies().to_vec()),
            shadow: denied.and_then(policy::Denied::shadow).map(shadow),
            status: Some(refusal.status().as_u16()),
            ..self.facts.decision()
        };
        (self.facts.chain(), Entry::Decision(Box::new(decision)))
    }

    pub(crate) fn ending(&self) -> Ending {
        Ending {
            facts: Rc::clone(&self.facts),
            bytes_in: self.bytes_in,
            session: None,
            instance: None,
            account: self.account.clone(),
            recalled: self.recalled.clone(),
        }
    }

    fn facts_mut(&mut self) -> &mut Facts {
        Rc::make_mut(&mut self.facts)
    }
}

impl Facts {
    /// Whose chain they belong to; callers that are not known share one.
    pub(crate) fn chain(&self) -> String {
        self.who.as_ref().map_or_else(|| UNKNOWN_CHAIN.to_owned(), |who| chain_of(&who.tenant))
    }

    /// The entry for a request that is sent on.
    pub(crate) fn allowed(&self) -> Entry {
        Entry::Decision(Box::new(self.decision()))
    }

    fn decision(&self) -> Decision {
        Decision {
            request: self.trace.span_id(),
            at: self.at,
            who: self.who.clone(),
            server: Some(self.server.to_string()),
            instance: self.route.as_ref().map(|route| route.row.instance.clone()),
            http_method: clip(self.method.as_str()).to_owned(),
            calls: self.calls.iter().map(Call::called).collect(),
            session: self.session.as_ref().map(Ticket::name),
            verdict: Verdict::Allowed,
            reason: self.permit.as_ref().map_or("", |permit| permit.reason).to_owned(),
            policies: self.permit.as_ref().map_or_else(Vec::new, |permit| permit.policies.clone()),
            shadow: self.permit.as_ref().and_then(|permit| permit.shadow.as_deref()).map(shadow),
            status: None,
            trace: self.trace.trace_id(),
            bundle: self.config.bundle.clone(),
        }
    }
}

impl Call {
    fn of(asked: &Asked<'_>) -> Self {
        Self {
            method: clip(asked.method).to_owned(),
            target: asked.target.as_deref().map(|target| clip(target).to_owned()),
            arguments: asked.arguments.as_ref().map(|arguments| match asked.spelled {
                Some(spelled) if spelled.get().len() <= SHORT_BYTES => Arguments::Short(Rc::clone(arguments)),
                _ => Arguments::Digested(digest::canonical(arguments)),
            }),
        }
    }

    fn called(&self) -> Called {
        let digest = self.arguments.as_ref().map(|arguments| match arguments {
            Arguments::Short(arguments) => digest::canonical(arguments),
            Arguments::Digested(digest) => *digest,
        });
        Called::new(&self.method, self.target.as_deref(), digest)
    }
}

fn shadow(shadow: &policy::Shadow) -> Shadow {
    let verdict = match shadow.outcome {
        policy::Outcome::Permit => Verdict::Allowed,
        policy::Outcome::Deny => Verdict::Denied,
        policy::Outcome::Fail => Verdict::Failed,
    };
    Shadow { verdict, policies: shadow.policies.clone() }
}

impl Ending {
    /// Whose chain it belongs to.
    pub(crate) fn chain(&self) -> String {
        self.facts.chain()
    }

    /// 1 if the candidate policies would have decided otherwise.
    pub(crate) fn shadowed(&self) -> u64 {
        self.facts.permit.as_ref().is_some_and(|permit| permit.shadow.is_some()).into()
    }

    /// An ending that tells which session was opened, and where.
    pub(crate) fn opened(mut self, ticket: Option<&Ticket>, instance: &str) -> Self {
        self.session = ticket.map(Ticket::name);
        self.instance = Some(instance.to_owned());
        self
    }

    /// The entry for how the request ended.
    pub(crate) fn entry(
        self,
        now: Timestamp,
        (status, end): (StatusCode, &str),
        bytes_out: u64,
        spent: Spent,
    ) -> Entry {
        Entry::Outcome(Outcome {
            request: self.facts.trace.span_id(),
            at: now,
            status: status.as_u16(),
            session: self.session,
            instance: self.instance,
            end: self.recalled.map_or_else(|| end.to_owned(), |recalled| format!("{end} ({recalled})")),
            duration_ms: now.millis_since(self.facts.at),
            bytes_in: self.bytes_in,
            bytes_out,
            tokens_in: spent.tokens_in,
            tokens_out: spent.tokens_out,
            money_micros: spent.money_micros,
        })
    }
}

/// The chain of a tenant.
pub(crate) fn chain_of(tenant: &str) -> String {
    format!("tenant:{tenant}")
}

/// The chain of requests whose caller is not known.
pub(crate) const UNKNOWN_CHAIN: &str = "unknown";
const SHORT_BYTES: usize = 2048;
