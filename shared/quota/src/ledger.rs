//! How many requests were there in the last minute? One ledger for each limit and each of those it counts.
//!
//! Requests are counted by the second they came in. A second leaves the window once all of it is older than a minute,
//! so that in no 60 seconds more than the limit is admitted, and the wait it tells is true.

use std::collections::VecDeque;

use machine::{Alarm, Machine, Transition};
use mcp::Timestamp;
use serde::{Deserialize, Serialize};

/// The machine that counts against one limit.
#[derive(Debug)]
pub enum Ledger {}

/// The seconds in which requests were admitted: at most 61 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    seconds: VecDeque<(u64, u32)>,
}

/// What a ledger is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Count `requests`, if all of them fit under `limit` in any 60 seconds.
    Draw {
        /// How many; a batch is admitted whole or not at all.
        requests: u32,
        /// The limit in force.
        limit: u32,
    },
    /// Take back requests drawn at `at`: another limit refused them and nothing was sent.
    Return {
        /// How many.
        requests: u32,
        /// When they were drawn.
        at: Timestamp,
    },
    /// Forget what is out of the window.
    Sweep,
}

/// What a ledger answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// They are counted.
    Admitted,
    /// None is counted.
    Refused {
        /// How long until they fit, if nobody else takes their place.
        retry_after_ms: u64,
    },
}

impl Machine for Ledger {
    const KIND: &'static str = "ledger";
    type State = Counts;
    type Command = Command;
    type Reply = Reply;

    fn apply(mut state: Counts, command: Command, now: Timestamp) -> Transition<Counts, Reply> {
        state.forget(now);
        match command {
            Command::Draw { requests, limit } => match state.draw(requests, limit, now) {
                Reply::Admitted => keep(state, Reply::Admitted),
                refused @ Reply::Refused { .. } => Transition::reply(refused),
            },
            Command::Return { requests, at } => {
                state.give_back(requests, at);
                keep(state, Reply::Admitted)
            }
            Command::Sweep => keep(state, Reply::Admitted),
        }
    }

    fn wake() -> Option<Command> {
        Some(Command::Sweep)
    }
}

/// A ledger nobody drew from for a minute is as if never used: its row is freed.
fn keep(state: Counts, reply: Reply) -> Transition<Counts, Reply> {
    match state.seconds.back() {
        None => Transition { state: machine::Next::Clear, alarm: Alarm::Off, ..Transition::reply(reply) },
        Some((second, _)) => {
            let alarm = Alarm::At(Timestamp::from_secs(second + WINDOW_SECS + 1));
            Transition { alarm, ..Transition::put(state, reply) }
        }
    }
}

impl Counts {
    fn forget(&mut self, now: Timestamp) {
        while self.seconds.front().is_some_and(|(second, _)| second + WINDOW_SECS < now.as_secs()) {
            self.seconds.pop_front();
        }
    }

    fn draw(&mut self, requests: u32, limit: u32, now: Timestamp) -> Reply {
        let used: u64 = self.seconds.iter().map(|(_, count)| u64::from(*count)).sum();
        let excess = (used + u64::from(requests)).saturating_sub(u64::from(limit));
        if excess > 0 {
            return Reply::Refused { retry_after_ms: self.wait(excess, now) };
        }
        // A clock that steps back counts into the newest second: the order of the seconds holds.
        let newest = self.seconds.back().map_or(0, |(second, _)| *second);
        let second = now.as_secs().max(newest);
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count = count.saturating_add(requests),
            _ => self.seconds.push_back((second, requests)),
        }
        Reply::Admitted
    }

    /// Until `excess` requests have left the window. What is larger than the limit itself never fits: a whole window.
    fn wait(&self, excess: u64, now: Timestamp) -> u64 {
        let mut left = 0;
        let leaving = self.seconds.iter().find(|(_, count)| {
            left += u64::from(*count);
            left >= excess
        });
        let gone = leaving.map_or(now.as_secs(), |(second, _)| *second) + WINDOW_SECS + 1;
        Timestamp::from_secs(gone).millis_since(now).max(1)
    }

    fn give_back(&mut self, requests: u32, at: Timestamp) {
        let drawn = self.seconds.iter_mut().rev().find(|(second, _)| *second <= at.as_secs());
        if let Some((_, count)) = drawn {
            *count = count.saturating_sub(requests);
        }
    }
}

const WINDOW_SECS: u64 = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Applies draws one after another, each `(gap_ms, requests)`, and gives what was admitted when.
    fn admitted(limit: u32, draws: &[(u64, u32)]) -> Vec<(u64, u32)> {
        let (mut state, mut now, mut admitted) = (Counts::default(), 1_000_000, Vec::new());
        for (gap_ms, requests) in draws {
            now += gap_ms;
            let command = Command::Draw { requests: *requests, limit };
            let transition = Ledger::apply(state.clone(), command, Timestamp::from_millis(now));
            if let machine::Next::Put(next) = transition.state {
                state = next;
            }
            if transition.reply == Reply::Admitted {
                admitted.push((now, *requests));
            }
        }
        admitted
    }

    proptest! {
        #[test]
        fn no_minute_admits_more_than_the_limit(
            limit in 1_u32..40,
            draws in prop::collection::vec((0_u64..9_000, 1_u32..4), 1..200),
        ) {
            let admitted = admitted(limit, &draws);
            for (start, _) in &admitted {
                let inside = admitted.iter().filter(|(at, _)| (*start..start + 60_000).contains(at));
                prop_assert!(inside.map(|(_, requests)| requests).sum::<u32>() <= limit);
            }
        }

        #[test]
        fn a_caller_that_waits_as_told_is_admitted(
            limit in 1_u32..20,
            draws in prop::collection::vec((0_u64..3_000, 1_u32..3), 1..100),
            requests in 1_u32..3,
        ) {
            prop_assume!(requests <= limit);
            let (mut state, mut now) = (Counts::default(), Timestamp::from_millis(5_000_000));
            for (gap_ms, requests) in draws {
                now = now.plus_millis(gap_ms);
                if let machine::Next::Put(next) = Ledger::apply(state.clone(), Command::Draw { requests, limit }, now).state {
                    state = next;
                }
            }
            let ask = |state: &Counts, now| Ledger::apply(state.clone(), Command::Draw { requests, limit }, now).reply;
            if let Reply::Refused { retry_after_ms } = ask(&state, now) {
                prop_assert_eq!(ask(&state, now.plus_millis(retry_after_ms)), Reply::Admitted);
                prop_assert!(retry_after_ms <= 61_000);
            }
        }

        #[test]
        fn the_state_stays_within_a_row(draws in prop::collection::vec((0_u64..2_000, 1_u32..3), 1..300)) {
            let mut state = Counts::default();
            let mut now = Timestamp::from_millis(1_700_000_000_000);
            for (gap_ms, requests) in draws {
                now = now.plus_millis(gap_ms);
                if let machine::Next::Put(next) = Ledger::apply(state.clone(), Command::Draw { requests, limit: u32::MAX }, now).state {
                    state = next;
                }
            }
            prop_assert!(state.seconds.len() <= 62);
            prop_assert!(serde_json::to_string(&state).unwrap().len() <= 2048);
        }
    }

    #[test]
    fn what_another_limit_refused_is_given_back() {
        let now = Timestamp::from_secs(1_000);
        let machine::Next::Put(state) =
            Ledger::apply(Counts::default(), Command::Draw { requests: 2, limit: 2 }, now).state
        else {
            panic!("not admitted")
        };
        let machine::Next::Put(state) = Ledger::apply(state, Command::Return { requests: 2, at: now }, now).state
        else {
            panic!("not given back")
        };
        assert_eq!(Ledger::apply(state, Command::Draw { requests: 2, limit: 2 }, now).reply, Reply::Admitted);
    }

    #[test]
    fn an_unused_ledger_frees_its_row() {
        let machine::Next::Put(state) =
            Ledger::apply(Counts::default(), Command::Draw { requests: 1, limit: 1 }, Timestamp::from_secs(1_000))
                .state
        else {
            panic!("not admitted")
        };
        let swept = Ledger::apply(state, Command::Sweep, Timestamp::from_secs(1_061));
        assert_eq!(swept.state, machine::Next::Clear);
    }
}
