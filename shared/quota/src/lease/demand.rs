//! How much will an isolate spend in the next seconds? As much as in the last ones.

use mcp::Timestamp;

use super::amount::Amount;

/// What was spent lately, by spans of [`HORIZON_MS`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    span: u64,
    current: Amount,
    previous: Amount,
}

impl Demand {
    /// Counts what was spent.
    pub(crate) fn spent(&mut self, amount: Amount, now: Timestamp) {
        self.turn(now);
        self.current = self.current.plus(amount);
    }

    /// What the next [`HORIZON_MS`] will ask for.
    pub(crate) fn expected(&mut self, now: Timestamp) -> Amount {
        self.turn(now);
        // Of the span before, the part that is still within the horizon; in 64ths.
        let left = 64 - now.as_millis() % HORIZON_MS * 64 / HORIZON_MS;
        let part = |amount: u64| amount / 64 * left + amount % 64 * left / 64;
        let previous = Amount {
            requests: part(self.previous.requests),
            tokens: part(self.previous.tokens),
            money_micros: part(self.previous.money_micros),
        };
        if self.previous.is_zero() {
            // It has only begun: what was seen is less than what a whole horizon will see.
            return self.current.plus(self.current);
        }
        previous.plus(self.current)
    }

    /// Whether there was more than one call lately: the first tells nothing of those to come.
    pub(crate) fn is_lasting(&mut self, now: Timestamp) -> bool {
        self.turn(now);
        self.previous.requests.saturating_add(self.current.requests) > 1
    }

    fn turn(&mut self, now: Timestamp) {
        let span = now.as_millis() / HORIZON_MS;
        if span != self.span {
            self.previous = if span == self.span + 1 { self.current } else { Amount::default() };
            self.current = Amount::default();
            self.span = span;
        }
    }
}

/// How far ahead an isolate draws.
pub(crate) const HORIZON_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_follows_what_is_spent_and_fades_when_nothing_is() {
        let mut demand = Demand::default();
        for second in 0..20 {
            demand.spent(Amount::requests(8), Timestamp::from_millis(second * 1_000));
        }
        let expected = |demand: &mut Demand, at| demand.expected(Timestamp::from_millis(at)).requests;
        assert!((36..=48).contains(&expected(&mut demand, 19_500)));
        assert!((1..=20).contains(&expected(&mut demand, 23_000)));
        assert_eq!(expected(&mut demand, 30_000), 0);
    }
}
