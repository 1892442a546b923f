//! Which instance should a new session go to? One that did not just fail, by turns.

use std::collections::BTreeMap;

use mcp::Timestamp;

/// What an isolate remembers of instances that could not be reached.
#[derive(Clone, Debug, Default)]
pub struct Health {
    shunned_until: BTreeMap<String, Timestamp>,
    turn: usize,
}

impl Health {
    /// The instances in the order to try them: every other call begins with the next one, and those that failed lately
    /// come last.
    #[must_use]
    pub fn order<'a>(&mut self, instances: &'a [String], now: Timestamp) -> Vec<&'a str> {
        self.turn = self.turn.wrapping_add(1);
        let start = self.turn % instances.len().max(1);
        let turned = instances.iter().cycle().skip(start).take(instances.len()).map(String::as_str);
        let shunned = |instance: &str| self.shunned_until.get(instance).is_some_and(|until| *until > now);
        let (last, mut first): (Vec<&str>, Vec<&str>) = turned.partition(|instance| shunned(instance));
        first.extend(last);
        first
    }

    /// `instance` could not be reached at `now`.
    pub fn failed(&mut self, instance: &str, now: Timestamp) {
        self.shunned_until.insert(instance.to_owned(), now.plus_millis(SHUN_MS));
    }

    /// `instance` answered.
    pub fn answered(&mut self, instance: &str) {
        if !self.shunned_until.is_empty() {
            self.shunned_until.remove(instance);
        }
    }
}

/// How long an instance that failed comes last.
const SHUN_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_sessions_take_turns_and_avoid_what_failed() {
        let instances = ["a", "b", "c"].map(str::to_owned);
        let mut health = Health::default();
        let now = Timestamp::from_secs(1);
        let firsts: Vec<String> = (0..3).map(|_| health.order(&instances, now)[0].to_owned()).collect();
        assert_eq!(firsts, ["b", "c", "a"]);
        health.failed("b", now);
        assert!((0..6).all(|_| health.order(&instances, now)[2] == "b"));
        assert!((0..3).any(|_| health.order(&instances, now.plus_millis(SHUN_MS))[0] == "b"));
    }
}
