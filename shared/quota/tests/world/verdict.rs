//! Was everything as it should be? Judged by what was truly admitted and truly used.

use std::collections::BTreeMap;

use super::{Account, Call, World};

/// What was true of one ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Truth {
    /// The most requests in any 60 seconds.
    pub(crate) requests_max: u64,
    /// The most tokens in any 60 seconds.
    pub(crate) tokens_max: u64,
    /// The largest part of an excess that no call in flight explains.
    pub(crate) unexplained: u64,
    /// The largest excess of tokens over the limit.
    pub(crate) overshoot: u64,
}

impl World {
    pub(crate) fn truth(&self, account: &Account, ledger: &str) -> Truth {
        let mut decided: Vec<(u64, u64)> = account.admitted.iter().map(|(at, _)| (*at, 1)).collect();
        decided.sort_unstable();
        let uses = account.admitted.iter().flat_map(|(decided, call)| {
            let Call { isolate, ended, need, answer, .. } = &self.calls[*call];
            let of_need = Use { at: *decided, tokens: *need, decided: *decided, isolate: *isolate };
            [of_need, Use { at: *ended, tokens: *answer, ..of_need }]
        });
        let mut used: Vec<Use> = uses.filter(|used| used.at <= self.now).collect();
        used.sort_unstable();
        let tokens: Vec<(u64, u64)> = used.iter().map(|used| (used.at, used.tokens)).collect();
        let mut truth = Truth { requests_max: largest(&decided), tokens_max: largest(&tokens), ..Truth::default() };
        let Some(cap) = account.caps.tokens_per_minute.filter(|cap| truth.tokens_max > *cap) else { return truth };
        truth.overshoot = truth.tokens_max - cap;
        for (first, last, sum) in windows(&tokens) {
            if sum > cap {
                let in_flight = self.in_flight(account, ledger, &used[first..=last]);
                truth.unexplained = truth.unexplained.max((sum - cap).saturating_sub(in_flight));
            }
        }
        truth
    }

    /// What was in flight when an isolate admitted its last call of a minute, or when the ledger granted the last of it: the
    /// calls that were admitted by then, and of whose answers the ledger had not heard.
    fn in_flight(&self, account: &Account, ledger: &str, minute: &[Use]) -> u64 {
        let mut newest = BTreeMap::new();
        for Use { decided, isolate, .. } in minute {
            let at = newest.entry(*isolate).or_insert(*decided);
            *at = (*at).max(*decided);
        }
        let end = newest.values().max().copied().unwrap_or_default();
        let granted = account.granted.partition_point(|at| *at <= end).checked_sub(1).map(|last| account.granted[last]);
        let in_flight = account.admitted.iter().filter(|(decided, call)| {
            let call = &self.calls[*call];
            let is_in_flight =
                |at: u64| *decided <= at && call.settled.get(ledger).is_none_or(|settled| *settled >= at);
            newest.get(&call.isolate).is_some_and(|at| is_in_flight(*at)) || granted.is_some_and(is_in_flight)
        });
        let in_flight: u64 = in_flight.map(|(_, call)| self.calls[*call].answer).sum();
        // The last call that was let pass with something left may itself ask for more than that.
        in_flight + minute.iter().filter(|used| used.at == used.decided).map(|used| used.tokens).max().unwrap_or(0)
    }
}

/// Tokens that were used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    at: u64,
    tokens: u64,
    decided: u64,
    isolate: (usize, u64),
}

/// The most in any 60 seconds; `events` in the order of time.
fn largest(events: &[(u64, u64)]) -> u64 {
    windows(events).map(|(_, _, sum)| sum).max().unwrap_or_default()
}

/// For each event the 60 seconds that end with it: the first inside, the last, and the sum.
fn windows(events: &[(u64, u64)]) -> impl Iterator<Item = (usize, usize, u64)> {
    let (mut first, mut sum) = (0, 0);
    events.iter().enumerate().map(move |(last, (at, amount))| {
        sum += amount;
        while events[first].0 + 60_000 <= *at {
            sum -= events[first].1;
            first += 1;
        }
        (first, last, sum)
    })
}
