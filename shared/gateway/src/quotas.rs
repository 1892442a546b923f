//! Have they anything left? A request passes every limit at once, out of the leases this isolate holds; only where one
//! does not cover it is its ledger asked.

use std::{rc::Rc, time::Duration};

use futures_util::future::join_all;
use quota::{Amount, Ask, Caller, Errand, Exceeded, Grant, Ledger, Spend, Toll, Verdict};

use crate::{apart::apart, config::Config, platform::Platform, refusal::Refusal, serve::Gateway};

/// The limits that concern a caller, and its ledgers there.
#[derive(Debug, Default)]
pub(crate) struct Tolls {
    tolls: Vec<Toll>,
    /// Which of the configured limits each is of.
    limits: Vec<usize>,
}

impl Tolls {
    pub(crate) fn of(config: &Config, caller: Caller<'_>) -> Rc<Self> {
        let concerned = config
            .limits
            .iter()
            .enumerate()
            .filter_map(|(limit, one)| Some((Toll { ledger: one.ledger(caller)?, caps: one.caps }, limit)));
        let (tolls, limits) = concerned.unzip();
        Rc::new(Self { tolls, limits })
    }

    /// Whether any of them counts what is said, and not only how often.
    pub(crate) fn count_tokens(&self) -> bool {
        self.tolls.iter().any(|toll| toll.caps.limits_tokens() || toll.caps.limits_money())
    }
}

impl<P: Platform> Gateway<P> {
    /// Leave for a request that is known to need so much.
    pub(crate) async fn draw(&self, config: &Config, tolls: &Tolls, need: Amount) -> Result<Grant, Refusal> {
        let now = self.platform.now();
        let spend = self.memory.0.borrow_mut().wallet.spend(&tolls.tolls, need, now);
        let verdict = match spend {
            Spend::Granted(grant) => {
                self.run_errands();
                return Ok(grant);
            }
            Spend::Refused(refused) => Verdict::Refused(refused),
            Spend::Ask(ask) => apart(self.ask_ledgers(ask)).await,
        };
        self.run_errands();
        match verdict {
            Verdict::Granted(grant) => Ok(grant),
            Verdict::Refused(refused) => {
                let limit = tolls.limits.get(refused.toll).and_then(|limit| config.limits.get(*limit));
                let limit = limit.ok_or_else(|| Refusal::Internal("a refusal names no limit".to_owned()))?;
                Err(Refusal::Exceeded(Exceeded::new(limit, refused)))
            }
            // A ledger that cannot be asked refuses: deny when unsure.
            Verdict::Unknown => Err(Refusal::Internal("a ledger did not answer".to_owned())),
        }
    }

    /// Counts what an answer cost beyond what was known before.
    pub(crate) fn settle(&self, tolls: &Tolls, cost: Amount) {
        let now = self.platform.now();
        self.memory.0.borrow_mut().wallet.settle(&tolls.tolls, cost, now);
        self.run_errands();
    }

    async fn ask_ledgers(&self, ask: Ask) -> Verdict {
        let replies = join_all(ask.errands().map(|errand| self.tell::<Ledger>(&errand.ledger, &errand.command))).await;
        let replies = replies.into_iter().map(|reply| {
            reply.inspect_err(|failed| self.platform.log(&format!("a ledger cannot be asked: {failed}"))).ok()
        });
        let replies = replies.collect();
        self.memory.0.borrow_mut().wallet.finish(ask, replies, self.platform.now())
    }

    /// Fills leases up that run low and gives back what is not needed, beside the request, when it is time.
    fn run_errands(&self) {
        let now = self.platform.now();
        let mut memory = self.memory.0.borrow_mut();
        let Some(due) = memory.wallet.due_at() else { return };
        if due > now {
            // What is due later is seen to by one task of one request, unless that was cut off.
            if memory
                .errands_expected
                .is_some_and(|expected| expected <= due && now.millis_since(expected) < OVERDUE_MS)
            {
                return;
            }
            memory.errands_expected = Some(due);
            drop(memory);
            let (gateway, wait_ms) = (self.clone(), due.millis_since(now));
            self.platform.defer(async move {
                gateway.platform.pause(Duration::from_millis(wait_ms)).await;
                gateway.memory.0.borrow_mut().errands_expected = None;
                gateway.run_errands();
            });
            return;
        }
        let errands = memory.wallet.due(now);
        drop(memory);
        let gateway = self.clone();
        self.platform.defer(async move {
            join_all(errands.into_iter().map(|errand| gateway.run_errand(errand))).await;
            gateway.run_errands();
        });
    }

    async fn run_errand(&self, errand: Errand) {
        let reply = self.tell::<Ledger>(&errand.ledger, &errand.command).await;
        let reply = reply.inspect_err(|failed| self.platform.log(&format!("a ledger cannot be told: {failed}"))).ok();
        self.memory.0.borrow_mut().wallet.accept(errand, reply, self.platform.now());
    }
}

/// How late a task may be before another one is begun.
const OVERDUE_MS: u64 = 5_000;
