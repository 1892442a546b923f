//! What is counted, and what is the most of it?

use std::fmt;

use serde::{Deserialize, Serialize};

/// Requests, tokens and money together: what a call costs, what a lease holds, what was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// JSON-RPC requests.
    #[serde(rename = "r", default, skip_serializing_if = "is_default")]
    pub requests: u64,
    /// Tokens, input and output together.
    #[serde(rename = "t", default, skip_serializing_if = "is_default")]
    pub tokens: u64,
    /// Money, in millionths of the currency's unit.
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    pub money_micros: u64,
}

impl Amount {
    /// Only requests.
    #[must_use]
    pub const fn requests(requests: u64) -> Self {
        Self { requests, tokens: 0, money_micros: 0 }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            money_micros: self.money_micros.saturating_add(other.money_micros),
        }
    }

    /// What is left of each when `other` is taken away; never below nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            tokens: self.tokens.saturating_sub(other.tokens),
            money_micros: self.money_micros.saturating_sub(other.money_micros),
        }
    }

    /// The smaller of each.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self {
            requests: self.requests.min(other.requests),
            tokens: self.tokens.min(other.tokens),
            money_micros: self.money_micros.min(other.money_micros),
        }
    }

    /// The larger of each.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            tokens: self.tokens.max(other.tokens),
            money_micros: self.money_micros.max(other.money_micros),
        }
    }

    /// A share of each, rounded down; a `divisor` of 0 counts as 1.
    #[must_use]
    pub fn share(self, divisor: u64) -> Self {
        let divisor = divisor.max(1);
        Self {
            requests: self.requests / divisor,
            tokens: self.tokens / divisor,
            money_micros: self.money_micros / divisor,
        }
    }
}

/// The most a limit allows; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Requests in any 60 seconds.
    #[serde(rename = "rm", default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens in any 60 seconds.
    #[serde(rename = "tm", default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Tokens in a UTC day.
    #[serde(rename = "td", default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Tokens in a UTC month.
    #[serde(rename = "tM", default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    /// Money in a UTC day, in millionths.
    #[serde(rename = "md", default, skip_serializing_if = "Option::is_none")]
    pub money_per_day_micros: Option<u64>,
    /// Money in a UTC month, in millionths.
    #[serde(rename = "mM", default, skip_serializing_if = "Option::is_none")]
    pub money_per_month_micros: Option<u64>,
}

impl Caps {
    /// The most of `dimension`, if it is limited.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> Option<u64> {
        match dimension {
            Dimension::RequestsPerMinute => self.requests_per_minute.map(u64::from),
            Dimension::TokensPerMinute => self.tokens_per_minute,
            Dimension::TokensPerDay => self.tokens_per_day,
            Dimension::TokensPerMonth => self.tokens_per_month,
            Dimension::MoneyPerDay => self.money_per_day_micros,
            Dimension::MoneyPerMonth => self.money_per_month_micros,
        }
    }

    /// What is limited, with its most.
    pub fn limited(&self) -> impl Iterator<Item = (Dimension, u64)> {
        Dimension::ALL.into_iter().filter_map(|dimension| self.of(dimension).map(|cap| (dimension, cap)))
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether tokens are limited in any span.
    #[must_use]
    pub const fn limits_tokens(&self) -> bool {
        self.tokens_per_minute.is_some() || self.tokens_per_day.is_some() || self.tokens_per_month.is_some()
    }

    /// Whether money is limited in any span.
    #[must_use]
    pub const fn limits_money(&self) -> bool {
        self.money_per_day_micros.is_some() || self.money_per_month_micros.is_some()
    }

    /// `amount` without what is not limited here.
    #[must_use]
    pub(crate) fn limit(&self, amount: Amount) -> Amount {
        Amount {
            requests: if self.requests_per_minute.is_some() { amount.requests } else { 0 },
            tokens: if self.limits_tokens() { amount.tokens } else { 0 },
            money_micros: if self.limits_money() { amount.money_micros } else { 0 },
        }
    }
}

/// One of the things a limit may bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Requests in any 60 seconds.
    RequestsPerMinute,
    /// Tokens in any 60 seconds.
    TokensPerMinute,
    /// Tokens in a UTC day.
    TokensPerDay,
    /// Tokens in a UTC month.
    TokensPerMonth,
    /// Money in a UTC day.
    MoneyPerDay,
    /// Money in a UTC month.
    MoneyPerMonth,
}

impl Dimension {
    /// All of them, in the order a limit is described in.
    pub const ALL: [Self; 6] = [
        Self::RequestsPerMinute,
        Self::TokensPerMinute,
        Self::TokensPerDay,
        Self::TokensPerMonth,
        Self::MoneyPerDay,
        Self::MoneyPerMonth,
    ];

    /// The part of `amount` that counts here.
    #[must_use]
    pub const fn part(self, amount: &Amount) -> u64 {
        match self {
            Self::RequestsPerMinute => amount.requests,
            Self::TokensPerMinute | Self::TokensPerDay | Self::TokensPerMonth => amount.tokens,
            Self::MoneyPerDay | Self::MoneyPerMonth => amount.money_micros,
        }
    }

    /// `most` of this, as an operator would say it: `60 requests per minute`.
    #[must_use]
    pub fn describe(self, most: u64) -> String {
        match self {
            Self::RequestsPerMinute => format!("{most} requests per minute"),
            Self::TokensPerMinute => format!("{most} tokens per minute"),
            Self::TokensPerDay => format!("{most} tokens per day"),
            Self::TokensPerMonth => format!("{most} tokens per month"),
            Self::MoneyPerDay => format!("{} of money per day", Micros(most)),
            Self::MoneyPerMonth => format!("{} of money per month", Micros(most)),
        }
    }
}

/// Money as people write it: at least two digits after the point, and no needless ones.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let digits = format!("{fraction:06}");
        write!(f, "{whole}.{:0<2}", digits.trim_end_matches('0'))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_people_write_it() {
        let said: Vec<String> = [5_000_000, 12_500, 0, 100_000_000].map(|n| Micros(n).to_string()).to_vec();
        assert_eq!(said, ["5.00", "0.0125", "0.00", "100.00"]);
    }
}
