//! When does a budget start anew? UTC days and months, by the proleptic Gregorian calendar.

use mcp::Timestamp;

/// The UTC day of `at`, counted from 1970-01-01.
pub(crate) const fn day(at: Timestamp) -> u64 {
    at.as_secs() / DAY_SECS
}

/// The UTC month of `at`, counted from January of the year 0.
pub(crate) const fn month(at: Timestamp) -> u64 {
    month_of_day(day(at))
}

/// When the day of `at` is over.
pub(crate) const fn next_day(at: Timestamp) -> Timestamp {
    Timestamp::from_secs((day(at) + 1).saturating_mul(DAY_SECS))
}

/// When the month of `at` is over.
pub(crate) const fn next_month(at: Timestamp) -> Timestamp {
    let (today, this) = (day(at), month(at));
    let mut next = today + 1;
    while month_of_day(next) == this {
        next += 1;
    }
    Timestamp::from_secs(next.saturating_mul(DAY_SECS))
}

/// A day and its month, by eras of 400 years that begin in March so that leap days come last.
const fn month_of_day(day: u64) -> u64 {
    let since_0000_03 = day + 719_468;
    let (era, of_era) = (since_0000_03 / 146_097, since_0000_03 % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * of_year + 2) / 153;
    (era * 400 + year_of_era) * 12 + months_since_march + 2
}

const DAY_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_where_the_calendar_says() {
        let ends = |at: u64| next_month(Timestamp::from_secs(at)).as_secs();
        assert_eq!(ends(0), 2_678_400, "January 1970");
        assert_eq!(ends(1_709_164_800), 1_709_251_200, "29 February 2024");
        assert_eq!(ends(1_740_700_800), 1_740_787_200, "28 February 2025");
        assert_eq!(ends(1_795_132_800), 1_796_083_200, "20 November 2026");
        assert_eq!(ends(4_107_456_000), 4_107_542_400, "28 February 2100, no leap year");
    }

    #[test]
    fn a_month_is_one_number_from_its_first_to_its_last_day() {
        let (mut changes, mut last) = (0, month_of_day(0));
        for day in 0..146_097 {
            let this = month_of_day(day);
            assert!(this == last || this == last + 1);
            changes += u64::from(this != last);
            last = this;
        }
        assert_eq!(changes, 400 * 12 - 1);
    }

    #[test]
    fn a_day_ends_at_midnight() {
        assert_eq!(next_day(Timestamp::from_secs(86_399)).as_secs(), 86_400);
        assert_eq!(next_day(Timestamp::from_secs(86_400)).as_secs(), 172_800);
    }
}
