//! How many of the last requests failed? Counted in tenths of a window that slides.

use mcp::Timestamp;

/// Requests of the last while, in a fixed amount of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window([Tenth; TENTHS]);

/// What a window counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u32,
    pub(crate) failures: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tenth {
    number: u64,
    counts: Counts,
}

impl Window {
    /// Adds `counts` at `now` to a window of `window_ms`.
    pub(crate) fn add(&mut self, counts: Counts, window_ms: u64, now: Timestamp) {
        let number = number(window_ms, now);
        let place = usize::try_from(number % TENTHS as u64).unwrap_or_default();
        let Some(tenth) = self.0.get_mut(place) else { return };
        if tenth.number != number {
            *tenth = Tenth { number, counts: Counts::default() };
        }
        tenth.counts = tenth.counts.plus(counts);
    }

    /// What the last `window_ms` hold. What lies in the future, because the clock stepped back, does not count.
    pub(crate) fn counts(&self, window_ms: u64, now: Timestamp) -> Counts {
        let newest = number(window_ms, now);
        let inside = self.0.iter().filter(|tenth| (tenth.number..tenth.number + TENTHS as u64).contains(&newest));
        inside.fold(Counts::default(), |sum, tenth| sum.plus(tenth.counts))
    }
}

impl Counts {
    /// The share of failures in thousandths.
    pub(crate) fn permille(self) -> u32 {
        let share = u64::from(self.failures) * 1000 / u64::from(self.requests.max(1));
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            failures: self.failures.saturating_add(other.failures),
        }
    }
}

/// Which tenth of all time `now` lies in.
fn number(window_ms: u64, now: Timestamp) -> u64 {
    now.as_millis() / (window_ms / TENTHS as u64).max(1)
}

const TENTHS: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_at_least_nine_tenths_of_the_window_and_nothing_older_than_it(
            requests in prop::collection::vec((0_u64..400, any::<bool>()), 1..200),
        ) {
            let (mut window, mut now, mut all) = (Window::default(), 1_000_000, Vec::new());
            for (gap_ms, fails) in requests {
                now += gap_ms;
                window.add(Counts { requests: 1, failures: u32::from(fails) }, 1_000, Timestamp::from_millis(now));
                all.push((now, fails));
            }
            let counted = window.counts(1_000, Timestamp::from_millis(now));
            let since = |age: u64| all.iter().filter(|(at, _)| *at + age > now).count() as u32;
            prop_assert!(since(900) <= counted.requests && counted.requests <= since(1_000));
            prop_assert!(counted.failures <= counted.requests);
        }
    }

    #[test]
    fn a_clock_that_steps_back_leaves_nothing_that_counts_forever() {
        let mut window = Window::default();
        let one = Counts { requests: 1, failures: 1 };
        window.add(one, 1_000, Timestamp::from_millis(10_000_000));
        assert_eq!(window.counts(1_000, Timestamp::from_millis(5_000_000)), Counts::default());
        window.add(one, 1_000, Timestamp::from_millis(5_000_000));
        assert_eq!(window.counts(1_000, Timestamp::from_millis(5_000_000)), one);
    }
}
