//! What time is it for a ledger? A time that never steps back.
//!
//! When the host's clock steps back, the time between the two readings is not counted: everything in the ledger stays
//! as old as it was, which holds it longer than it had to be, and the waits it tells are true on the clock as it is now.

use mcp::Timestamp;
use serde::{Deserialize, Serialize};

/// A clock that stands still where the host's steps back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// The latest reading, in milliseconds of this clock.
    #[serde(rename = "l")]
    latest: u64,
    /// How far the host's clock is behind this one.
    #[serde(rename = "b", default)]
    behind: u64,
}

impl Clock {
    /// Takes a reading of the host's clock.
    pub(crate) fn read(&mut self, now: Timestamp) {
        let reading = now.as_millis().saturating_add(self.behind);
        self.behind += self.latest.saturating_sub(reading);
        self.latest = self.latest.max(reading);
    }

    /// How far the host's clock is behind this one.
    pub(crate) const fn behind(&self) -> u64 {
        self.behind
    }

    /// The time, in milliseconds of this clock.
    pub(crate) const fn now(&self) -> u64 {
        self.latest
    }

    /// A time of this clock on the host's.
    pub(crate) const fn host(&self, at: u64) -> Timestamp {
        Timestamp::from_millis(at.saturating_sub(self.behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_back_counts_no_time_and_what_follows_counts_again() {
        let mut clock = Clock::default();
        for (host, expected) in [(1_000, 1_000), (5_000, 5_000), (2_000, 5_000), (3_000, 6_000), (0, 6_000)] {
            clock.read(Timestamp::from_millis(host));
            assert_eq!(clock.now(), expected);
            assert_eq!(clock.host(clock.now()).as_millis(), host);
        }
    }
}
