//! Do limits and prices hold together? Each limit once and with an amount, each price for something that is there.

use std::collections::BTreeSet;

use quota::{By, Caps, Limit, Price, Prices};

use super::{
    decimal::Decimal,
    raw::{Raw, RawLimit, RawPrice},
    validate::Problems,
};

impl Problems {
    /// The limits and prices of `raw`.
    pub(super) fn spend(&mut self, raw: &Raw) -> (Vec<Limit>, Prices) {
        self.distinct(&raw.limits);
        let limits = raw.limits.iter().enumerate().map(|(n, limit)| self.limit(n, limit, raw)).collect();
        self.priced_once(&raw.prices);
        let mut prices = Prices::default();
        for (n, price) in raw.prices.iter().enumerate() {
            prices.set(&price.server, price.tool.as_deref(), self.price(n, price, raw));
        }
        (limits, prices)
    }

    /// Two limits that tell the same apart would count every request twice, in one ledger.
    fn distinct(&mut self, limits: &[RawLimit]) {
        let mut seen = BTreeSet::new();
        for (n, limit) in limits.iter().enumerate() {
            let by: BTreeSet<By> = limit.by.iter().copied().collect();
            if by.len() < limit.by.len() || !seen.insert(by) {
                self.add(format!("limits[{n}].by"), "names what this or another limit tells apart already");
            }
        }
    }

    fn limit(&mut self, n: usize, limit: &RawLimit, raw: &Raw) -> Limit {
        if limit.by.is_empty() {
            self.add(format!("limits[{n}].by"), "name at least one of tenant, agent, user, server, tool");
        }
        let counts = [
            ("requests_per_minute", limit.requests_per_minute.map(u64::from)),
            ("tokens_per_minute", limit.tokens_per_minute),
            ("tokens_per_day", limit.tokens_per_day),
            ("tokens_per_month", limit.tokens_per_month),
        ];
        let sums = [("money_per_day", limit.money_per_day), ("money_per_month", limit.money_per_month)];
        for (key, amount) in counts {
            self.count(&format!("limits[{n}].{key}"), amount);
        }
        for (key, amount) in sums {
            self.sum(&format!("limits[{n}].{key}"), amount, raw);
        }
        if counts.iter().all(|(_, amount)| amount.is_none()) && sums.iter().all(|(_, amount)| amount.is_none()) {
            self.add(
                format!("limits[{n}]"),
                "name at least one amount, such as `requests_per_minute = 60` or `tokens_per_day = 1000000`",
            );
        }
        let caps = Caps {
            requests_per_minute: limit.requests_per_minute,
            tokens_per_minute: limit.tokens_per_minute,
            tokens_per_day: limit.tokens_per_day,
            tokens_per_month: limit.tokens_per_month,
            money_per_day_micros: limit.money_per_day.map(Decimal::micros),
            money_per_month_micros: limit.money_per_month.map(Decimal::micros),
        };
        Limit { by: limit.by.clone(), caps }
    }

    fn count(&mut self, at: &str, amount: Option<u64>) {
        match amount {
            Some(0) => self.add(at, "must be at least 1; to forbid something altogether, write a policy"),
            Some(amount) if amount > MAX_COUNT => self.add(at, format!("must be at most {MAX_COUNT}")),
            _ => {}
        }
    }

    fn sum(&mut self, at: &str, amount: Option<Decimal>, raw: &Raw) {
        let Some(amount) = amount else { return };
        if !amount.is_within(MAX_MONEY) {
            self.add(at, format!("must be from 0.000001 to {MAX_MONEY}"));
        } else if raw.prices.is_empty() {
            self.add(at, "nothing has a price: add `[[prices]]`, or count tokens instead");
        }
    }

    fn priced_once(&mut self, prices: &[RawPrice]) {
        let mut seen = BTreeSet::new();
        for (n, price) in prices.iter().enumerate() {
            if !seen.insert((&price.server, &price.tool)) {
                let (key, named) = price.tool.as_ref().map_or(("server", &price.server), |tool| ("tool", tool));
                self.add(format!("prices[{n}].{key}"), format!("`{named}` has a price already"));
            }
        }
    }

    fn price(&mut self, n: usize, price: &RawPrice, raw: &Raw) -> Price {
        let at = |key: &str| format!("prices[{n}].{key}");
        if !raw.servers.iter().any(|server| server.name == price.server) {
            self.add(at("server"), format!("there is no server `{}`; add it to `[[servers]]`", price.server));
        }
        if price.tool.as_ref().is_some_and(String::is_empty) {
            self.add(at("tool"), "leave it out for every tool of the server");
        }
        if price.per_call.is_none() && price.per_million_tokens.is_none() {
            self.add(format!("prices[{n}]"), "name `per_call`, `per_million_tokens` or both");
        }
        for (key, amount) in [("per_call", price.per_call), ("per_million_tokens", price.per_million_tokens)] {
            if amount.is_some_and(|amount| amount != Decimal::default() && !amount.is_within(MAX_PRICE)) {
                self.add(at(key), format!("must be from 0 to {MAX_PRICE}"));
            }
        }
        Price {
            per_call_micros: price.per_call.map_or(0, Decimal::micros),
            per_million_tokens_micros: price.per_million_tokens.map_or(0, Decimal::micros),
        }
    }
}

/// Sums of it stay exact wherever they are kept, in JavaScript numbers too.
const MAX_COUNT: u64 = 1_000_000_000_000;
const MAX_MONEY: u32 = 1_000_000_000;
const MAX_PRICE: u32 = 1_000_000;
