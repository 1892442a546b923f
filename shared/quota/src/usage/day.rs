//! Which day was it? UTC, as ISO 8601 writes it: `2026-11-20`.

use std::{fmt, str::FromStr};

use mcp::Timestamp;

/// A UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64);

/// What is no day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no day; write it as `2026-11-20`")]
pub struct NoDay(String);

impl Day {
    /// The day of `at`.
    #[must_use]
    pub const fn of(at: Timestamp) -> Self {
        Self(at.as_secs() / DAY_SECS)
    }

    /// The day after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many days from `earlier` to this one; 0 if `earlier` is later.
    #[must_use]
    pub const fn days_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Day {
    /// By eras of 400 years that begin in March, so that leap days come last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_0000_03 = self.0.saturating_add(DAYS_TO_1970);
        let (era, of_era) = (since_0000_03 / ERA_DAYS, since_0000_03 % ERA_DAYS);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months = (5 * of_year + 2) / 153;
        let day = of_year - (153 * months + 2) / 5 + 1;
        let month = if months < 10 { months + 3 } else { months - 9 };
        write!(f, "{:04}-{month:02}-{day:02}", era * 400 + year_of_era + u64::from(month <= 2))
    }
}

impl FromStr for Day {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        let no_day = || NoDay(text.chars().take(32).collect());
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<u64>().ok());
        let mut part = || parts.next().flatten().ok_or_else(no_day);
        let (year, month, day) = (part()?, part()?, part()?);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(no_day());
        }
        let (year, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let of_year = (153 * months + 2) / 5 + day - 1;
        let (era, of_era) = (year / 400, year % 400);
        let days = era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        // The 30th of February reads as another day: whoever writes it means none.
        let read = days.checked_sub(DAYS_TO_1970).map(Self).ok_or_else(no_day)?;
        if read.to_string() == text { Ok(read) } else { Err(no_day()) }
    }
}

const DAY_SECS: u64 = 86_400;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;
const ERA_DAYS: u64 = 146_097;
