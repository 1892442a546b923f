//! How much trouble does a server put up with, before it is spared? The settings of everything that protects it.

use std::time::Duration;

/// How a server is protected, and those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resilience {
    /// Requests in flight for each instance, as far as one isolate knows.
    pub concurrency: u32,
    /// How many more may wait for a place.
    pub queue: u32,
    /// For how long they wait.
    pub queue_wait: Duration,
    /// How long a connection may take, where the platform can tell.
    pub connect_timeout: Duration,
    /// The longest silence within an answer that has begun.
    pub stream_idle: Duration,
    /// How often a request that is safe to repeat is repeated.
    pub retries: u32,
    /// When its circuits open.
    pub breaker: Tolerance,
}

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// The share of failed requests that opens it, in thousandths.
    pub failure_permille: u32,
    /// With fewer requests in the window the share says nothing.
    pub min_requests: u32,
    /// So many failures in a row open it, too.
    pub consecutive_failures: u32,
    /// How long a request counts.
    pub window: Duration,
    /// How long it stays open at first; each failed probe doubles it, up to a minute.
    pub open: Duration,
    /// How long a probe may take before another one is let through: longer than the first byte may take.
    pub probe: Duration,
}

impl Resilience {
    /// What holds where nothing is configured, for a server whose answers begin within `timeout`.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        Self {
            concurrency: 64,
            queue: 16,
            queue_wait: Duration::from_millis(1000),
            connect_timeout: Duration::from_millis(5000),
            stream_idle: timeout,
            retries: 2,
            breaker: Tolerance::within(timeout),
        }
    }
}

impl Tolerance {
    /// What holds where nothing is configured, for a server whose answers begin within `timeout`.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        Self {
            failure_permille: 500,
            min_requests: 10,
            consecutive_failures: 5,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
            probe: timeout.saturating_add(Duration::from_secs(5)),
        }
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
