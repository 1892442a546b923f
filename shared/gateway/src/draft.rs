//! What will be recorded of this request? The decision, filled in stage by stage, and its outcome.

use std::rc::Rc;

use audit::{Decision, Entry, Outcome, Shadow, Verdict, Who};
use http::{Method, StatusCode};
use mcp::{Timestamp, json::clip};
use policy::Permit;
use quota::Amount;
use serde_json::value::RawValue;
use session::Ticket;
use telemetry::TraceContext;

use crate::{
    accounts::{Account, Spent},
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
    is_decided: bool,
    bytes_in: u64,
    account: Option<Rc<Account>>,
    /// How much of its answer was remembered.
    recalled: Option<String>,
    decision: Decision,
}

/// What is known of a request when its outcome is.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) chain: String,
    request: String,
    at: Timestamp,
    bytes_in: u64,
    session: Option<String>,
    instance: Option<String>,
    /// Whom it is charged to; `None` if that never was found out.
    pub(crate) account: Option<Rc<Account>>,
    /// 1 if the candidate policies would have decided otherwise.
    pub(crate) shadowed: u64,
    recalled: Option<String>,
}

impl Draft {
    pub(crate) fn new(bundle: &str, server: &str, method: &Method, trace: TraceContext, at: Timestamp) -> Self {
        let decision = Decision {
            request: trace.span_id(),
            at,
            who: None,
            server: Some(server.to_owned()),
            instance: None,
            http_method: clip(method.as_str()).to_owned(),
            calls: Vec::new(),
            session: None,
            verdict: Verdict::Allowed,
            reason: String::new(),
            policies: Vec::new(),
            shadow: None,
            status: None,
            trace: trace.trace_id(),
            bundle: bundle.to_owned(),
        };
        Self { trace, answers: None, is_decided: false, bytes_in: 0, account: None, recalled: None, decision }
    }

    /// A parent of the trace was found.
    pub(crate) fn traced(&mut self, trace: TraceContext) {
        self.decision.request = trace.span_id();
        self.decision.trace = trace.trace_id();
        self.trace = trace;
    }

    /// It is found out which server it is for.
    pub(crate) fn leads_to(&mut self, server: &str) {
        self.decision.server = Some(server.to_owned());
    }

    pub(crate) fn called_by(&mut self, who: &Rc<Who>) {
        self.decision.who = Some(Rc::clone(who));
    }

    /// Gives what the request is known to need.
    pub(crate) fn carries(&mut self, bytes_in: usize, passing: &Passing<'_>, tolls: &Rc<Tolls>) -> Amount {
        self.bytes_in = bytes_in as u64;
        self.decision.calls = passing.said.asked.iter().map(Asked::called).collect();
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
        permit.reason.clone_into(&mut self.decision.reason);
        self.decision.policies.clone_from(&permit.policies);
        self.decision.shadow = permit.shadow.as_deref().map(shadow);
    }

    pub(crate) fn routed(&mut self, ticket: &Ticket, instance: &str) {
        self.decision.session = Some(ticket.name());
        self.decision.instance = Some(instance.to_owned());
    }

    /// Whose chain it belongs to; callers that are not known share one.
    pub(crate) fn chain(&self) -> String {
        self.decision.who.as_ref().map_or_else(|| UNKNOWN_CHAIN.to_owned(), |who| chain_of(&who.tenant))
    }

    /// Whom it is charged to, once that is known.
    pub(crate) fn account(&self) -> Option<&Account> {
        self.account.as_deref()
    }

    /// Whether it is known who called.
    pub(crate) const fn is_attributed(&self) -> bool {
        self.decision.who.is_some()
    }

    /// Whether the decision stands; what happens from now on is its outcome.
    pub(crate) const fn is_decided(&self) -> bool {
        self.is_decided
    }

    /// The entry for a request that is sent on.
    pub(crate) fn allow(&mut self) -> Entry {
        self.is_decided = true;
        Entry::Decision(Box::new(self.decision.clone()))
    }

    /// The entry for one that is not.
    pub(crate) fn refuse(&self, refusal: &Refusal) -> Entry {
        let denied = refusal.denied();
        let decision = Decision {
            verdict: refusal.verdict(),
            reason: refusal.reason(),
            policies: denied.map_or_else(Vec::new, |denied| denied.policies().to_vec()),
            shadow: denied.and_then(policy::Denied::shadow).map(shadow),
            status: Some(refusal.status().as_u16()),
            ..self.decision.clone()
        };
        Entry::Decision(Box::new(decision))
    }

    pub(crate) fn ending(&self) -> Ending {
        Ending {
            chain: self.chain(),
            request: self.decision.request.clone(),
            at: self.decision.at,
            bytes_in: self.bytes_in,
            session: None,
            instance: None,
            account: self.account.clone(),
            shadowed: u64::from(self.decision.shadow.is_some()),
            recalled: self.recalled.clone(),
        }
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
            request: self.request,
            at: now,
            status: status.as_u16(),
            session: self.session,
            instance: self.instance,
            end: self.recalled.map_or_else(|| end.to_owned(), |recalled| format!("{end} ({recalled})")),
            duration_ms: now.millis_since(self.at),
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
