//! Do the servers hold together? Each with where it is, who may use it, and how its trouble stays its own.

use std::{ops::RangeInclusive, time::Duration};

use registry::Server;
use upstream::{Resilience, Tolerance};

use super::{
    raw::{CONNECT_TIMEOUT_MS, RawBreaker, RawServer},
    validate::Problems,
};
use crate::endpoint::is_name;

impl Problems {
    pub(super) fn server(&mut self, n: usize, raw: RawServer) -> Server {
        let at = |key: &str| format!("servers[{n}].{key}");
        if !is_name(&raw.name) {
            self.add(at("name"), format!("`{}` must be 1 to 64 of a-z, 0-9, `-` and `_`", raw.name));
        }
        if raw.instances.is_empty() {
            self.add(at("instances"), "name at least one URL");
        }
        for (m, instance) in raw.instances.iter().enumerate() {
            self.url(&at(&format!("instances[{m}]")), instance);
        }
        self.within(at("timeout_ms"), raw.timeout_ms, TIMEOUT_MS);
        if !(1_000..=MAX_IDLE_MS).contains(&raw.idle_ms) {
            self.add(at("idle_ms"), "must be from 1000 to 604800000 (a week)");
        }
        self.within(at("question_ms"), raw.question_ms.into(), QUESTION_RANGE_MS);
        self.scopes(at("scopes"), &raw.scopes);
        Server {
            name: raw.name,
            instances: raw.instances,
            tenants: raw.tenants.map(|tenants| tenants.into_iter().collect()),
            scopes: raw.scopes,
            timeout: Duration::from_millis(raw.timeout_ms),
            idle: Duration::from_millis(raw.idle_ms),
            question: Duration::from_millis(raw.question_ms.into()),
            secret: raw.secret,
            era: raw.era,
        }
    }

    pub(super) fn scopes(&mut self, at: String, scopes: &[String]) {
        let is_scope = |scope: &String| {
            !scope.is_empty() && !scope.contains(|c: char| !c.is_ascii_graphic() || c == '"' || c == '\\')
        };
        if !scopes.iter().all(is_scope) {
            self.add(at, "a scope is visible ASCII without quotes and backslashes (RFC 6749 §3.3)");
        }
    }

    pub(super) fn resilience(&mut self, n: usize, raw: &RawServer) -> Resilience {
        let at = |key: &str| format!("servers[{n}].{key}");
        self.within(at("concurrency"), raw.concurrency.into(), 1..=1024);
        self.within(at("queue"), raw.queue.into(), 0..=1024);
        self.within(at("queue_ms"), raw.queue_ms.into(), 0..=60_000);
        self.within(at("retries"), raw.retries.into(), 0..=5);
        self.within(at("connect_timeout_ms"), raw.connect_timeout_ms.into(), TIMEOUT_MS);
        let connect_ms = u64::from(raw.connect_timeout_ms);
        if raw.connect_timeout_ms != CONNECT_TIMEOUT_MS && connect_ms > raw.timeout_ms {
            let first_byte_ms = raw.timeout_ms;
            self.add(
                at("connect_timeout_ms"),
                format!("{connect_ms} is never reached: `timeout_ms` = {first_byte_ms} ends the wait before"),
            );
        }
        if let Some(idle_ms) = raw.stream_idle_ms {
            self.within(at("stream_idle_ms"), idle_ms, TIMEOUT_MS);
        }
        Resilience {
            concurrency: raw.concurrency,
            queue: raw.queue,
            queue_wait: Duration::from_millis(raw.queue_ms.into()),
            connect_timeout: Duration::from_millis(connect_ms.min(raw.timeout_ms)),
            stream_idle: Duration::from_millis(raw.stream_idle_ms.unwrap_or(raw.timeout_ms)),
            retries: raw.retries,
            breaker: self.breaker(n, &raw.breaker, Duration::from_millis(raw.timeout_ms)),
        }
    }

    fn breaker(&mut self, n: usize, raw: &RawBreaker, timeout: Duration) -> Tolerance {
        let at = |key: &str| format!("servers[{n}].breaker.{key}");
        let failure_permille = u32::try_from(raw.failure_rate.micros() / 1_000).unwrap_or(u32::MAX);
        if failure_permille == 0 || !raw.failure_rate.is_within(1) {
            self.add(at("failure_rate"), "is a share: from 0.001 to 1");
        }
        self.within(at("min_requests"), raw.min_requests.into(), 1..=10_000);
        self.within(at("consecutive_failures"), raw.consecutive_failures.into(), 1..=1_000);
        self.within(at("window_ms"), raw.window_ms.into(), 1_000..=600_000);
        self.within(at("open_ms"), raw.open_ms.into(), 100..=60_000);
        Tolerance {
            failure_permille,
            min_requests: raw.min_requests,
            consecutive_failures: raw.consecutive_failures,
            window: Duration::from_millis(raw.window_ms.into()),
            open: Duration::from_millis(raw.open_ms.into()),
            probe: Tolerance::within(timeout).probe,
        }
    }

    fn within(&mut self, at: String, number: u64, bounds: RangeInclusive<u64>) {
        if !bounds.contains(&number) {
            self.add(at, format!("must be from {} to {}", bounds.start(), bounds.end()));
        }
    }
}

/// What was asked is kept in the memory of a live object, or sealed in the caller's hands: for no longer than a person thinks.
const QUESTION_RANGE_MS: RangeInclusive<u64> = 1_000..=600_000;
const TIMEOUT_MS: RangeInclusive<u64> = 100..=600_000;
const MAX_IDLE_MS: u64 = 7 * 24 * 3600 * 1000;
