//! How long does a process that ended rest before it is started again?

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts the processes of a server that ended too soon, one after the other.
#[derive(Debug, Default)]
pub struct Rest(Mutex<u32>);

impl Rest {
    /// The rest after a process that has `lived` so long: none after one that had been well, else twice that of the
    /// one before.
    pub fn after(&self, lived: Duration) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lived >= WELL {
            *failures = 0;
        }
        let rest = match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => SHORTEST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST),
        };
        *failures = failures.saturating_add(1);
        rest
    }
}

/// A process that lived this long did not end of its own start.
const WELL: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_started_at_once_and_the_others_later_and_later() {
        let rest = Rest::default();
        let rests: Vec<_> = (0..6).map(|_| rest.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(rests, [0, 250, 500, 1000, 2000, 4000]);
        for _ in 0..100 {
            assert!(rest.after(Duration::from_secs(59)) <= LONGEST);
        }
        assert_eq!(rest.after(WELL), Duration::ZERO);
        assert_eq!(rest.after(Duration::ZERO), SHORTEST);
    }
}
