//! How long is a wait that doubles, and how is it kept from being everybody's?

/// `base_ms`, doubled `times` times, at most `max_ms`.
pub(crate) fn doubled(base_ms: u64, times: u32, max_ms: u64) -> u64 {
    // 2^20 times any base is beyond every bound used here.
    base_ms.saturating_mul(1 << times.min(20)).min(max_ms)
}

/// A number from 0 to `below` (not reached, unless it is 0), as `random` has it.
pub(crate) fn up_to(below: u64, random: u64) -> u64 {
    random.checked_rem(below).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_bound() {
        let waits: Vec<u64> = (0..6).map(|times| doubled(5_000, times, 60_000)).collect();
        assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
        assert_eq!(doubled(u64::MAX, u32::MAX, 60_000), 60_000);
        assert_eq!((up_to(0, 7), up_to(5, 7), up_to(5, u64::MAX)), (0, 2, 0));
    }
}
