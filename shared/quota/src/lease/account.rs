//! What does an isolate hold of one ledger, and what does it owe it?

use mcp::Timestamp;

use super::{
    amount::{Amount, Caps, Dimension},
    counts::Lease,
    demand::Demand,
    ledger::{Draw, Exchange, Settled, Undo},
    wallet::{Leases, Refused},
};

/// An isolate's side of one ledger.
#[derive(Debug, Default)]
pub(crate) struct Account {
    caps: Caps,
    drawn: Leases,
    /// In the order they expire.
    leases: Vec<Held>,
    reports: Vec<Report>,
    undone: Vec<Undo>,
    /// Spent beyond the leases.
    beyond: Amount,
    /// The part of that, told or not, that was spent while a lease was on its way.
    strayed: Amount,
    demand: Demand,
    /// When there was last a call.
    called: Timestamp,
    /// Since when an errand is on its way.
    sent: Option<Timestamp>,
    /// The ledger had less than was wished for: it is left alone until then.
    scarce_until: Timestamp,
    refused: Option<Refusal>,
}

/// A lease that is being spent.
#[derive(Debug)]
struct Held {
    id: u64,
    until: Timestamp,
    left: Amount,
}

/// What became of a lease, not yet told.
#[derive(Debug)]
struct Report {
    lease: u64,
    used: Amount,
    returned: Amount,
    /// When there was last something to add.
    at: Timestamp,
}

/// A part of a lease that was taken out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    lease: u64,
    amount: Amount,
}

/// Whether a call for which ledgers were asked is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All of them admitted it.
    Sent,
    /// One of them did not.
    Dropped,
}

/// What the ledger refused, remembered for a moment.
#[derive(Debug)]
struct Refusal {
    /// Of how many.
    requests: u64,
    dimension: Dimension,
    retry_at: Timestamp,
    until: Timestamp,
}

impl Account {
    /// Takes note of the limit in force and the time: what expired is gone.
    pub(crate) fn open(&mut self, caps: Caps, leases: Leases, now: Timestamp) {
        (self.caps, self.drawn) = (caps, leases);
        self.expire(now);
    }

    /// What expired is gone: it counts as spent.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.leases.retain(|held| held.until > now);
    }

    /// What is known to be refused.
    /// A smaller need may still fit.
    pub(crate) fn refusal(&self, need: Amount, now: Timestamp) -> Option<(Dimension, u64)> {
        let refusal = self.refused.as_ref().filter(|refusal| now < refusal.until)?;
        if need.requests < refusal.requests {
            return None;
        }
        Some((refusal.dimension, refusal.retry_at.millis_since(now).max(1)))
    }

    /// Whether the leases suffice for `need`: of tokens and money something has to be left.
    pub(crate) fn covers(&self, need: Amount) -> bool {
        let left = self.left();
        let least = Amount { tokens: need.tokens.max(1), money_micros: need.money_micros.max(1), ..need };
        self.caps.limit(least).minus(left).is_zero()
    }

    /// Takes `amount`, or what there is of it, out of the leases.
    pub(crate) fn take(&mut self, amount: Amount) -> Vec<Part> {
        let mut missing = self.caps.limit(amount);
        let mut parts = Vec::new();
        for held in &mut self.leases {
            let amount = held.left.least(missing);
            if !amount.is_zero() {
                held.left = held.left.minus(amount);
                missing = missing.minus(amount);
                parts.push(Part { lease: held.id, amount });
            }
        }
        parts
    }

    /// How a call ended for which `parts` were taken and other ledgers were asked.
    pub(crate) fn conclude(&mut self, fate: Fate, need: Amount, parts: &[Part], now: Timestamp) {
        match fate {
            Fate::Sent => self.spent(need, parts, now),
            Fate::Dropped => self.put_back(parts, now),
        }
    }

    /// How a call ended for which the ledger counted `need` at `at` of its clock.
    pub(crate) fn counted(&mut self, fate: Fate, need: Amount, at: u64, now: Timestamp) {
        self.refused = None;
        match fate {
            Fate::Sent => self.spent(need, &[], now),
            Fate::Dropped => self.undone.push(Undo { at, amount: self.caps.limit(need) }),
        }
    }

    /// What was taken is spent.
    pub(crate) fn spent(&mut self, need: Amount, parts: &[Part], now: Timestamp) {
        if need.requests > 0 {
            self.called = now;
        }
        self.demand.spent(need, now);
        for part in parts {
            let report = self.report(part.lease, now);
            report.used = report.used.plus(part.amount);
        }
    }

    /// What was taken is not needed.
    fn put_back(&mut self, parts: &[Part], now: Timestamp) {
        for part in parts {
            if let Some(held) = self.leases.iter_mut().find(|held| held.id == part.lease) {
                held.left = held.left.plus(part.amount);
            } else {
                let report = self.report(part.lease, now);
                report.returned = report.returned.plus(part.amount);
            }
        }
    }

    /// Counts what an answer cost.
    pub(crate) fn settle(&mut self, cost: Amount, now: Timestamp) {
        let cost = self.caps.limit(Amount { requests: 0, ..cost });
        let parts = self.take(cost);
        self.spent(cost, &parts, now);
        let covered = parts.iter().fold(Amount::default(), |sum, part| sum.plus(part.amount));
        let beyond = cost.minus(covered);
        self.beyond = self.beyond.plus(beyond);
        if self.sent.is_some() {
            self.strayed = self.strayed.plus(beyond);
        }
    }

    /// Asks the ledger for `need`. All that is held goes back with it, so that the ledger decides knowing everything.
    pub(crate) fn ask(&mut self, need: Amount, now: Timestamp) -> Exchange {
        self.give_back(|_| true, now);
        let wish = if self.is_waiting(now) { Amount::default() } else { self.expected(now) };
        if !wish.is_zero() {
            self.sent = Some(now);
        }
        self.exchange(Some(Draw { need: Some(self.caps.limit(need)), wish }))
    }

    /// What is to be told beside requests: leases about to expire go back, what was spent beyond them is counted, and
    /// more is drawn when they run low.
    pub(crate) fn errand(&mut self, now: Timestamp) -> Option<Exchange> {
        if self.due_at(now).is_none_or(|due| due > now) {
            return None;
        }
        self.give_back(|held| held.until.millis_since(now) <= MARGIN_MS, now);
        // An idle isolate gives back and asks for nothing.
        let is_busy = now.millis_since(self.called) < IDLE_MS;
        let expected = if is_busy && self.is_quiet(now) { self.expected(now) } else { Amount::default() };
        let wish = expected.minus(self.left());
        let draw = (!wish.is_zero()).then_some(Draw { need: None, wish });
        self.sent = Some(now);
        Some(self.exchange(draw))
    }

    /// When there is something to be told, if nothing else happens until then.
    pub(crate) fn due_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let owes = !self.beyond.is_zero() || !self.undone.is_empty();
        let owed_at = owes.then(|| self.sent.map_or(now, |sent| sent.plus_millis(LOST_MS)).max(now));
        let is_busy = now.millis_since(self.called) < IDLE_MS;
        let low_at = (is_busy && self.is_quiet(now) && self.runs_low(now)).then_some(now);
        let idle = self.leases.iter().filter(|held| !held.left.is_zero()).map(|held| held.until.as_millis());
        let return_at = idle.min().map(|until| Timestamp::from_millis(until.saturating_sub(MARGIN_MS)));
        [owed_at, low_at, return_at].into_iter().flatten().min()
    }

    /// What came of an exchange that was asked for at `asked`. `None`: nobody knows whether it was carried out.
    pub(crate) fn accept(&mut self, wish: Amount, lease: Option<Lease>, (asked, now): (Timestamp, Timestamp)) {
        if wish.is_zero() {
            return;
        }
        let granted = lease.map_or_else(Amount::default, |lease| lease.amount);
        if !self.caps.limit(wish).share(2).minus(granted).is_zero() || granted.is_zero() {
            self.scarce_until = now.plus_millis(SCARCE_MS);
        }
        let Some(Lease { id, amount, ttl_ms }) = lease else { return };
        if self.sent != Some(asked) {
            // It was taken for lost, and another asked for since.
            let report = self.report(id, now);
            report.returned = report.returned.plus(amount);
            return;
        }
        let left = self.cover(id, amount, now);
        // It lasts from when it was asked for: by any clock it ends here before it ends at the ledger.
        let until = asked.plus_millis(ttl_ms);
        match self.leases.iter_mut().find(|held| held.id == id) {
            // Of two grants in one second the earlier's end holds for both.
            Some(held) => {
                held.left = held.left.plus(left);
                held.until = held.until.min(until);
            }
            None => self.leases.push(Held { id, until, left }),
        }
        self.leases.sort_by_key(|held| held.until);
    }

    /// What of a lease is left once it has covered what was spent while it was on its way. What of that was told
    /// meanwhile is counted: that part of the lease goes back.
    fn cover(&mut self, lease: u64, amount: Amount, now: Timestamp) -> Amount {
        let used = self.beyond.least(amount);
        let returned = self.strayed.minus(used).least(amount.minus(used));
        self.beyond = self.beyond.minus(used);
        if !used.plus(returned).is_zero() {
            let report = self.report(lease, now);
            report.used = report.used.plus(used);
            report.returned = report.returned.plus(returned);
        }
        amount.minus(used).minus(returned)
    }

    /// What was sent at `asked` is over.
    pub(crate) fn answered(&mut self, asked: Timestamp) {
        if self.sent == Some(asked) {
            self.sent = None;
            self.strayed = Amount::default();
        }
    }

    /// The ledger refused: remembered for a moment, so that a flood costs it nothing.
    pub(crate) fn refuse(&mut self, need: Amount, refused: Refused, (asked, now): (Timestamp, Timestamp)) {
        let retry_at = now.plus_millis(refused.retry_after_ms);
        let until = now.plus_millis(REMEMBERED_MS).min(asked.plus_millis(refused.retry_after_ms));
        self.refused = Some(Refusal { requests: need.requests, dimension: refused.dimension, retry_at, until });
    }

    /// Nobody knows whether an exchange was carried out. What its leases covered counts in any case; what was beyond
    /// them is told again: it may count twice, never not at all.
    pub(crate) fn lost(&mut self, beyond: Amount, now: Timestamp) {
        self.beyond = self.beyond.plus(beyond);
        self.scarce_until = now.plus_millis(SCARCE_MS);
    }

    /// Nothing that was drawn by a clock that has since stepped back is spent any more.
    pub(crate) fn forget(&mut self) {
        self.leases.clear();
        self.refused = None;
        self.sent = None;
        self.scarce_until = Timestamp::default();
    }

    /// All it holds and owes, when it is forgotten.
    pub(crate) fn close(&mut self, now: Timestamp) -> Option<Exchange> {
        self.give_back(|_| true, now);
        let owes = !(self.reports.is_empty() && self.undone.is_empty() && self.beyond.is_zero());
        owes.then(|| self.exchange(None))
    }

    fn exchange(&mut self, draw: Option<Draw>) -> Exchange {
        let settled = |report: Report| Settled { lease: report.lease, used: report.used, returned: report.returned };
        Exchange {
            caps: self.caps,
            settled: self.reports.drain(..).map(settled).collect(),
            undone: std::mem::take(&mut self.undone),
            beyond: std::mem::take(&mut self.beyond),
            draw,
        }
    }

    fn give_back(&mut self, is_over: impl Fn(&Held) -> bool, now: Timestamp) {
        for held in self.leases.extract_if(.., |held| is_over(held)).collect::<Vec<_>>() {
            if !held.left.is_zero() {
                let report = self.report(held.id, now);
                report.returned = report.returned.plus(held.left);
            }
        }
    }

    fn report(&mut self, lease: u64, now: Timestamp) -> &mut Report {
        // A lease that ended long ago counts as spent: there is nothing more to say of it.
        self.reports.retain(|report| now.millis_since(report.at) < STALE_MS);
        let at = self.reports.iter().position(|report| report.lease == lease);
        let at = at.unwrap_or_else(|| {
            self.reports.push(Report { lease, used: Amount::default(), returned: Amount::default(), at: now });
            self.reports.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed above")]
        let report = &mut self.reports[at];
        report.at = now;
        report
    }

    fn left(&self) -> Amount {
        self.leases.iter().fold(Amount::default(), |sum, held| sum.plus(held.left))
    }

    /// What the next seconds will ask for; nothing before there were requests to tell by. A little of everything, since
    /// the first answers may still be on their way.
    fn expected(&mut self, now: Timestamp) -> Amount {
        let expected = self.demand.expected(now);
        if expected.requests == 0
            || self.drawn == Leases::None
            || self.caps.requests_per_minute.is_some_and(|cap| cap < LEASED_FROM)
        {
            return Amount::default();
        }
        let floor = Amount {
            requests: expected.requests,
            tokens: expected.requests.saturating_mul(TOKENS_PER_REQUEST),
            money_micros: expected.requests,
        };
        self.caps.limit(expected.most(floor))
    }

    /// Whether less than a quarter is left of what the next seconds will ask for.
    fn runs_low(&mut self, now: Timestamp) -> bool {
        self.demand.is_lasting(now) && !self.expected(now).share(4).minus(self.left()).is_zero()
    }

    /// Whether the ledger may be asked for a lease, and for nothing else.
    fn is_quiet(&self, now: Timestamp) -> bool {
        now >= self.scarce_until && !self.is_waiting(now)
    }

    /// Whether a lease is on its way.
    fn is_waiting(&self, now: Timestamp) -> bool {
        self.sent.is_some_and(|sent| now.millis_since(sent) < LOST_MS)
    }
}

/// Leases go back when this little of them is left.
const MARGIN_MS: u64 = 1_500;
/// After this long without a call, an isolate is idle.
const IDLE_MS: u64 = 1_000;
/// How long a ledger that had little is not asked for leases again.
const SCARCE_MS: u64 = 1_000;
/// How long a refusal is remembered.
const REMEMBERED_MS: u64 = 1_000;
/// After this long without a reply, a command is taken for lost.
const LOST_MS: u64 = 5_000;
const STALE_MS: u64 = 20_000;
/// What an answer is taken to cost before one came.
const TOKENS_PER_REQUEST: u64 = 64;
const LEASED_FROM: u32 = 60;
