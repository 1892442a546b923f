//! What counts against a limit right now? What was spent and is not yet over, and what is leased.
//!
//! A spent request counts until 60 s after it was spent, so that no 60 s hold more than the limit. What is leased counts
//! from the grant on, and if it is never settled, as spent at the last moment the lease allowed.

use std::collections::VecDeque;

use mcp::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    amount::{Amount, Caps, Dimension},
    calendar,
    clock::Clock,
};

/// The state of a ledger: what was spent by the second, what is leased by the second it expires in, and two budgets.
/// About 2 KiB at most, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Counts {
    pub(super) clock: Clock,
    /// In the order of time, at most one for each second.
    spent: VecDeque<Tick>,
    /// In the order of time, one for each second in which leases expire.
    leased: VecDeque<Leased>,
    day: Budget,
    month: Budget,
    /// When the ledger wants to be looked at, in milliseconds of its clock; 0 if no alarm is set.
    pub(super) wake_at: u64,
}

/// A share of a limit, to be spent without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What it is settled under.
    pub id: u64,
    /// How much may be spent.
    pub amount: Amount,
    /// For how long, from the moment it was asked for.
    pub ttl_ms: u64,
}

/// What was spent in one second; it counts until 60 s after the last of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tick {
    at: u64,
    requests: u64,
    tokens: u64,
}

/// What is leased until the same second, to whomever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leased {
    until_secs: u64,
    amount: Amount,
}

/// What was spent in the span that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Budget {
    span: u64,
    tokens: u64,
    money_micros: u64,
}

impl Counts {
    /// Takes note of the time: leases that expired count as spent when they did, what is over is forgotten.
    pub(super) fn advance(&mut self, now: Timestamp, caps: &Caps) {
        self.clock.read(now);
        self.day.turn(calendar::day(now));
        self.month.turn(calendar::month(now));
        while let Some(expired) = self.leased.pop_front_if(|leased| leased.until_ms() <= self.clock.now()) {
            self.spend(expired.amount, expired.until_ms(), caps);
        }
        self.forget();
    }

    fn forget(&mut self) {
        while self.spent.pop_front_if(|tick| tick.at + WINDOW_MS <= self.clock.now()).is_some() {}
    }

    /// Counts `amount` as spent at `at`, wherever `caps` limit it.
    pub(super) fn spend(&mut self, amount: Amount, at: u64, caps: &Caps) {
        let Amount { requests, tokens, money_micros } = caps.limit(amount);
        let host = self.clock.host(at);
        if calendar::day(host) >= self.day.span {
            self.day.add(tokens, money_micros);
        }
        if calendar::month(host) >= self.month.span {
            self.month.add(tokens, money_micros);
        }
        let minute_tokens = if caps.tokens_per_minute.is_some() { tokens } else { 0 };
        if (requests, minute_tokens) != (0, 0) && at + WINDOW_MS > self.clock.now() {
            self.tick(Tick { at, requests, tokens: minute_tokens });
        }
    }

    fn tick(&mut self, new: Tick) {
        let after = self.spent.partition_point(|tick| tick.at / 1_000 <= new.at / 1_000);
        match after.checked_sub(1).and_then(|last| self.spent.get_mut(last)) {
            Some(tick) if tick.at / 1_000 == new.at / 1_000 => {
                tick.at = tick.at.max(new.at);
                tick.requests = tick.requests.saturating_add(new.requests);
                tick.tokens = tick.tokens.saturating_add(new.tokens);
            }
            _ => self.spent.insert(after, new),
        }
    }

    /// Takes back what was counted at `at` and never sent.
    pub(super) fn undo(&mut self, amount: Amount, at: u64) {
        if let Some(tick) = self.spent.iter_mut().find(|tick| tick.at / 1_000 == at / 1_000) {
            tick.requests = tick.requests.saturating_sub(amount.requests);
            tick.tokens = tick.tokens.saturating_sub(amount.tokens);
        }
        self.spent.retain(|tick| (tick.requests, tick.tokens) != (0, 0));
        let host = self.clock.host(at);
        if calendar::day(host) == self.day.span {
            self.day.take(amount);
        }
        if calendar::month(host) == self.month.span {
            self.month.take(amount);
        }
    }

    /// Frees what of a lease was used or returned; gives what of it was still counted as leased. Nothing, if the lease
    /// expired: all of it counts as spent then.
    pub(super) fn free(&mut self, lease: u64, amount: Amount) -> Amount {
        let Some(leased) = self.leased.iter_mut().find(|leased| leased.until_secs == lease) else {
            return Amount::default();
        };
        let freed = amount.least(leased.amount);
        leased.amount = leased.amount.minus(freed);
        self.leased.retain(|leased| !leased.amount.is_zero());
        freed
    }

    /// Leases as much of `wish` as can be spared.
    pub(super) fn lease(&mut self, wish: Amount, caps: &Caps) -> Option<Lease> {
        let wish = caps.limit(wish);
        let amount = wish.least(self.spare(caps));
        // What cannot be spent for want of another part is better left here.
        let lacks = |wished: u64, granted: u64| wished > 0 && granted == 0;
        let is_lame = lacks(wish.requests, amount.requests)
            || lacks(wish.tokens, amount.tokens)
            || lacks(wish.money_micros, amount.money_micros);
        if is_lame || amount.is_zero() {
            return None;
        }
        // A second longer than whoever asked will spend it.
        let until_secs = (self.clock.now() + LEASE_MS) / 1_000 + 2;
        match self.leased.back_mut() {
            Some(leased) if leased.until_secs == until_secs => leased.amount = leased.amount.plus(amount),
            _ => self.leased.push_back(Leased { until_secs, amount }),
        }
        Some(Lease { id: until_secs, amount, ttl_ms: LEASE_MS })
    }

    /// The most that may be leased at once: two thirds of what is left, and of the last of it nothing, so that it goes to
    /// whoever needs it. What is limited to few requests is not leased at all.
    fn spare(&self, caps: &Caps) -> Amount {
        let mut spare = Amount { requests: u64::MAX, tokens: u64::MAX, money_micros: u64::MAX };
        for (dimension, cap) in caps.limited() {
            let left = cap.saturating_sub(self.held(dimension));
            let share = left.saturating_sub(cap / RESERVED_SHARE + 1) / 3 * 2;
            match dimension {
                Dimension::RequestsPerMinute if cap < LEASED_FROM => spare.requests = 0,
                Dimension::RequestsPerMinute => spare.requests = spare.requests.min(share),
                Dimension::TokensPerMinute | Dimension::TokensPerDay | Dimension::TokensPerMonth => {
                    spare.tokens = spare.tokens.min(share);
                }
                Dimension::MoneyPerDay | Dimension::MoneyPerMonth => {
                    spare.money_micros = spare.money_micros.min(share);
                }
            }
        }
        spare
    }

    /// What counts against `dimension`: spent and leased.
    pub(super) fn held(&self, dimension: Dimension) -> u64 {
        let leased = self.leased.iter().map(|leased| dimension.part(&leased.amount));
        let spent: u64 = match dimension {
            Dimension::RequestsPerMinute | Dimension::TokensPerMinute => {
                self.spent.iter().map(|tick| tick.part(dimension)).fold(0, u64::saturating_add)
            }
            Dimension::TokensPerDay => self.day.tokens,
            Dimension::TokensPerMonth => self.month.tokens,
            Dimension::MoneyPerDay => self.day.money_micros,
            Dimension::MoneyPerMonth => self.month.money_micros,
        };
        leased.fold(spent, u64::saturating_add)
    }

    /// How long until `excess` of `dimension` no longer counts, if nothing is added.
    pub(super) fn wait_ms(&self, dimension: Dimension, excess: u64) -> u64 {
        let now = self.clock.host(self.clock.now());
        match dimension {
            Dimension::RequestsPerMinute | Dimension::TokensPerMinute => self.minute_wait_ms(dimension, excess),
            Dimension::TokensPerDay | Dimension::MoneyPerDay => calendar::next_day(now).millis_since(now),
            Dimension::TokensPerMonth | Dimension::MoneyPerMonth => calendar::next_month(now).millis_since(now),
        }
        .max(1)
    }

    /// A second's tick may grow older at its end by what is settled into it: the wait is until all of the second is over.
    fn minute_wait_ms(&self, dimension: Dimension, excess: u64) -> u64 {
        let spent = self.spent.iter().map(|tick| (tick.at / 1_000, tick.part(dimension)));
        let leased = self.leased.iter().map(|leased| (leased.until_secs, dimension.part(&leased.amount)));
        let mut left = 0_u64;
        let leaving = spent.chain(leased).find(|(_, amount)| {
            left = left.saturating_add(*amount);
            left >= excess
        });
        let second = leaving.map_or(self.clock.now() / 1_000, |(second, _)| second);
        ((second + 1) * 1_000 + WINDOW_MS).saturating_sub(self.clock.now())
    }

    /// When, on the ledger's clock, all that is kept now will be over; `None` if nothing is kept.
    pub(super) fn over_at(&self) -> Option<u64> {
        let now = self.clock.now();
        let host = self.clock.host(now);
        let until = |end: Timestamp| now + end.millis_since(host);
        let last = self.spent.back().map(|tick| tick.at + WINDOW_MS);
        let leased = self.leased.back().map(|leased| leased.until_ms() + WINDOW_MS);
        let day = self.day.is_used().then(|| until(calendar::next_day(host)));
        let month = self.month.is_used().then(|| until(calendar::next_month(host)));
        [last, leased, day, month].into_iter().flatten().max()
    }
}

impl Tick {
    const fn part(&self, dimension: Dimension) -> u64 {
        match dimension {
            Dimension::RequestsPerMinute => self.requests,
            _ => self.tokens,
        }
    }
}

impl Leased {
    const fn until_ms(&self) -> u64 {
        self.until_secs.saturating_mul(1_000)
    }
}

impl Budget {
    /// A clock that steps back into an earlier span takes what was counted with it.
    const fn turn(&mut self, span: u64) {
        if span > self.span {
            self.tokens = 0;
            self.money_micros = 0;
        }
        self.span = span;
    }

    const fn add(&mut self, tokens: u64, money_micros: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.money_micros = self.money_micros.saturating_add(money_micros);
    }

    const fn take(&mut self, amount: Amount) {
        self.tokens = self.tokens.saturating_sub(amount.tokens);
        self.money_micros = self.money_micros.saturating_sub(amount.money_micros);
    }

    const fn is_used(&self) -> bool {
        self.tokens > 0 || self.money_micros > 0
    }
}

/// How counts are written: ticks by their age, which is short.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "c", default)]
    clock: Clock,
    #[serde(rename = "s", default)]
    spent: Vec<(u64, u64, u64)>,
    #[serde(rename = "l", default)]
    leased: Vec<(u64, u64, u64, u64)>,
    #[serde(rename = "d", default)]
    day: (u64, u64, u64),
    #[serde(rename = "m", default)]
    month: (u64, u64, u64),
    #[serde(rename = "w", default)]
    wake_at: u64,
}

impl From<Counts> for Stored {
    fn from(counts: Counts) -> Self {
        let now = counts.clock.now();
        let tick = |tick: &Tick| (now.saturating_sub(tick.at), tick.requests, tick.tokens);
        let leased =
            |Leased { until_secs, amount }: &Leased| (*until_secs, amount.requests, amount.tokens, amount.money_micros);
        let budget = |budget: Budget| (budget.span, budget.tokens, budget.money_micros);
        Self {
            clock: counts.clock,
            spent: counts.spent.iter().map(tick).collect(),
            leased: counts.leased.iter().map(leased).collect(),
            day: budget(counts.day),
            month: budget(counts.month),
            wake_at: counts.wake_at,
        }
    }
}

impl From<Stored> for Counts {
    fn from(stored: Stored) -> Self {
        let now = stored.clock.now();
        let tick = |(age, requests, tokens)| Tick { at: now.saturating_sub(age), requests, tokens };
        let leased = |(until_secs, requests, tokens, money_micros)| Leased {
            until_secs,
            amount: Amount { requests, tokens, money_micros },
        };
        let budget = |(span, tokens, money_micros)| Budget { span, tokens, money_micros };
        Self {
            clock: stored.clock,
            spent: stored.spent.into_iter().map(tick).collect(),
            leased: stored.leased.into_iter().map(leased).collect(),
            day: budget(stored.day),
            month: budget(stored.month),
            wake_at: stored.wake_at,
        }
    }
}

/// How long a lease may be spent.
pub const LEASE_MS: u64 = 8_000;
const WINDOW_MS: u64 = 60_000;
/// Fewer requests a minute than this are never leased: each call asks, and the limit is met to the call.
const LEASED_FROM: u64 = 60;
/// The last of a limit, one part in this many, is not leased but drawn call by call.
const RESERVED_SHARE: u64 = 40;
