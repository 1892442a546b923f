//! What did a request cost, and who is charged? Counted once its answer is known, for every limit, record and bill at once.

use std::{cell::OnceCell, rc::Rc};

use audit::Who;
use futures_util::future::join_all;
use http::StatusCode;
use quota::{
    Amount, Price,
    answer::{self, Format, Measured},
    usage::{Counts, Day, Key, Usage},
};
use serde_json::value::RawValue;

use crate::{
    draft::Ending,
    pipeline::Passing,
    platform::{Arrived, Platform},
    quotas::Tolls,
    refusal::Refusal,
    serve::Gateway,
};

/// Whom a request is charged to, and what of its cost is known before it is answered.
#[derive(Debug)]
pub(crate) struct Account {
    who: Rc<Who>,
    server: String,
    tool: Option<String>,
    tolls: Rc<Tolls>,
    requests: u32,
    price: Price,
    /// The arguments as they were spelled, until they are counted.
    arguments: Vec<Box<str>>,
    tokens_in: OnceCell<u64>,
}

/// What a request cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) tokens_in: u64,
    pub(crate) tokens_out: u64,
    pub(crate) money_micros: u64,
}

impl Account {
    pub(crate) fn new(passing: &Passing<'_>, tolls: &Rc<Tolls>) -> Self {
        let (server, tool) = (passing.server().name.as_str(), passing.said.tool());
        let spelled = || passing.said.asked.iter().filter_map(|asked| asked.spelled).map(RawValue::get);
        // What no limit waits for is counted later; what is long is not kept for that.
        let is_awaited = tolls.count_tokens() || spelled().map(str::len).sum::<usize>() > KEPT_MAX_BYTES;
        let (arguments, tokens_in) = match is_awaited {
            true => (Vec::new(), OnceCell::from(spelled().map(answer::of_request).sum::<u64>())),
            false => (spelled().map(Box::from).collect(), OnceCell::new()),
        };
        Self {
            who: Rc::clone(&passing.arrival.caller.who),
            server: server.to_owned(),
            tool: tool.map(str::to_owned),
            tolls: Rc::clone(tolls),
            requests: passing.said.requests,
            price: passing.config().prices.of(server, tool),
            arguments,
            tokens_in,
        }
    }

    /// What is known to be spent before anything is sent.
    pub(crate) fn need(&self) -> Amount {
        let requests = u64::from(self.requests);
        let money_micros = self.price.per_call_micros.saturating_mul(requests);
        let tokens = if self.tolls.count_tokens() { self.tokens_in() } else { 0 };
        Amount { requests, tokens, money_micros }
    }

    fn tokens_in(&self) -> u64 {
        *self.tokens_in.get_or_init(|| self.arguments.iter().map(|text| answer::of_request(text)).sum())
    }

    fn spent(&self, measured: &Measured) -> Spent {
        let tokens = measured.tokens(self.tokens_in());
        let calls_micros = self.need().money_micros;
        let tokens_micros = self.price.of_tokens(tokens.input.saturating_add(tokens.output));
        Spent {
            tokens_in: tokens.input,
            tokens_out: tokens.output,
            money_micros: calls_micros.saturating_add(tokens_micros),
        }
    }

    /// For whom it counts in the usage of its tenant.
    fn key(&self) -> Key {
        Key {
            agent: self.who.agent.clone(),
            user: self.who.user.clone(),
            server: self.server.clone(),
            tool: self.tool.clone(),
        }
    }
}

impl<P: Platform> Gateway<P> {
    /// A request has ended whose whole answer is here. Its tokens are counted off the caller's path: with other entries,
    /// or beside this request if a limit waits for them.
    pub(crate) fn ended_whole(&self, ending: Ending, status: StatusCode, answer: (Format, Arrived)) {
        let is_awaited = ending.account.as_ref().is_some_and(|account| account.tolls.count_tokens());
        if !is_awaited {
            return self.keep_uncounted(ending, status, answer);
        }
        let gateway = self.clone();
        self.platform.defer(async move { gateway.count(ending, status, answer) });
    }

    /// Counts a whole answer.
    pub(crate) fn count(&self, ending: Ending, status: StatusCode, (format, answer): (Format, Arrived)) {
        let bytes_out = answer.size;
        let measured = match ending.account {
            Some(_) => answer::of_answer(&answer.read(), format),
            None => Measured::default(),
        };
        self.ended(ending, (status, "complete"), bytes_out, &measured);
    }

    /// A request has ended: it is charged and recorded.
    pub(crate) fn ended(&self, ending: Ending, end: (StatusCode, &str), bytes_out: u64, measured: &Measured) {
        let now = self.platform.now();
        let spent = ending.account.as_ref().map(|account| account.spent(measured)).unwrap_or_default();
        if let Some(account) = &ending.account {
            let Spent { tokens_in, tokens_out, money_micros } = spent;
            let tokens = tokens_in.saturating_add(tokens_out);
            let cost = Amount { requests: account.requests.into(), tokens, money_micros };
            self.settle(&account.tolls, cost.minus(account.need()));
            let calls = account.requests.into();
            let shadowed = ending.shadowed();
            self.tally(account, &Counts { calls, denied: 0, shadowed, tokens_in, tokens_out, money_micros });
        }
        self.gather(ending.chain(), ending.entry(now, end, bytes_out, spent));
    }

    /// A request was refused.
    pub(crate) fn refused(&self, account: &Account, refusal: &Refusal) {
        let denied = account.requests.max(1).into();
        let shadowed = refusal.denied().and_then(policy::Denied::shadow).map_or(0, |_| 1);
        self.tally(account, &Counts { denied, shadowed, ..Counts::default() });
    }

    /// Writes what was used since the last time.
    pub(crate) async fn flush_usage(&self) {
        let used = self.memory.0.borrow_mut().tally.take();
        let written = used.iter().map(|(name, command)| async move {
            if let Err(failed) = self.tell::<Usage>(name, command).await {
                self.platform.log(&format!("usage of `{name}` is lost: {failed}"));
            }
        });
        join_all(written).await;
    }

    fn tally(&self, account: &Account, counts: &Counts) {
        if *counts == Counts::default() {
            return;
        }
        let day = Day::of(self.platform.now());
        self.memory.0.borrow_mut().tally.add(&account.who.tenant, day, account.key(), counts);
    }
}

/// Arguments that are kept until they are counted are no longer than that.
const KEPT_MAX_BYTES: usize = 2048;
