//! May this request be sent again, and when? Only where a second time does no more than the first, and not for long.

use std::time::UNIX_EPOCH;

use mcp::{Timestamp, definition::Hints};

use crate::backoff;

/// The attempts a request has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    left: u32,
    made: u32,
    deadline: Timestamp,
}

/// Whether carrying a request out twice does no more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    /// It reads, or says that it is idempotent.
    Yes,
    /// Who knows.
    No,
}

/// Why an attempt did not succeed, before a byte of its answer was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection could not be made, or broke.
    Broken,
    /// The first byte did not come in time.
    Deadline,
    /// It was answered with this status.
    Status {
        /// The HTTP status.
        status: u16,
        /// What the answer says of when to come again; see [`retry_after_ms`].
        retry_after_ms: Option<u64>,
    },
}

/// Whether a request of `method` may be repeated; `hints` are those of the tool it calls, if it is known.
#[must_use]
pub fn repeatable(method: &str, hints: Option<Hints>) -> Repeatable {
    let harmless = |hints: Hints| hints.read_only || hints.idempotent;
    match method {
        "tools/call" if hints.is_some_and(harmless) => Repeatable::Yes,
        _ if READS.contains(&method) => Repeatable::Yes,
        _ => Repeatable::No,
    }
}

/// How long a `Retry-After` field asks to wait, from `now` on (RFC 9110 §10.2.3): seconds, or a date.
#[must_use]
pub fn retry_after_ms(field: &str, now: Timestamp) -> Option<u64> {
    let field = field.trim();
    if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds ask for longer than anybody waits.
        return Some(field.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1000));
    }
    let date = httpdate::parse_http_date(field).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(date.as_secs()).millis_since(now))
}

impl Retry {
    /// At most `retries` more attempts after the first, none of them at `deadline` or later; none at all where
    /// repeating is not safe.
    #[must_use]
    pub fn new(retries: u32, repeatable: Repeatable, deadline: Timestamp) -> Self {
        let left = match repeatable {
            Repeatable::Yes => retries.min(RETRIES_MAX),
            Repeatable::No => 0,
        };
        Self { left, made: 0, deadline }
    }

    /// Whether no other attempt may follow: whatever comes of this one is the answer.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// A byte of an answer was handed on: there is no other attempt.
    pub fn handed_on(&mut self) {
        self.left = 0;
    }

    /// How many milliseconds to wait before the next attempt; `None`: this failure is the answer. The wait has full
    /// jitter, so that those who failed together do not come again together, unless the upstream asks for a longer one.
    pub fn after(&mut self, failure: Failure, now: Timestamp, random: u64) -> Option<u64> {
        let asked_ms = match failure {
            Failure::Broken | Failure::Deadline => 0,
            Failure::Status { status: 429 | 502..=504, retry_after_ms } => retry_after_ms.unwrap_or(0),
            Failure::Status { .. } => return None,
        };
        if self.left == 0 || asked_ms > RETRY_AFTER_MAX_MS {
            return None;
        }
        let backoff_ms = backoff::up_to(backoff::doubled(BASE_MS, self.made, BACKOFF_MAX_MS) + 1, random);
        let pause_ms = if asked_ms == 0 { backoff_ms } else { asked_ms + backoff_ms.min(BASE_MS) };
        if now.plus_millis(pause_ms) >= self.deadline {
            return None;
        }
        (self.left, self.made) = (self.left - 1, self.made + 1);
        Some(pause_ms)
    }
}

/// What changes nothing, by its definition (MCP 2025-11-25).
const READS: [&str; 8] = [
    "ping",
    "tools/list",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
];
/// The first wait is at most this, each next one at most twice the one before.
const BASE_MS: u64 = 100;
const BACKOFF_MAX_MS: u64 = 2_000;
/// Who is asked to wait longer had better tell the caller.
const RETRY_AFTER_MAX_MS: u64 = 5_000;
const RETRIES_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn hints(read_only: bool, idempotent: bool) -> Option<Hints> {
        Some(Hints { read_only, idempotent, ..Hints::default() })
    }

    #[test]
    fn only_what_does_no_more_the_second_time_is_repeated() {
        for method in READS {
            assert_eq!(repeatable(method, None), Repeatable::Yes, "{method}");
        }
        for method in ["initialize", "tools/call", "logging/setLevel", "resources/subscribe", "tasks/cancel", "x"] {
            assert_eq!(repeatable(method, None), Repeatable::No, "{method}");
        }
        assert_eq!(repeatable("tools/call", hints(false, false)), Repeatable::No);
        assert_eq!(repeatable("tools/call", hints(true, false)), Repeatable::Yes);
        assert_eq!(repeatable("tools/call", hints(false, true)), Repeatable::Yes);
        assert_eq!(repeatable("initialize", hints(true, true)), Repeatable::No);
        let unsafe_one = &mut Retry::new(5, Repeatable::No, NOW.plus_millis(60_000));
        assert_eq!((unsafe_one.is_over(), unsafe_one.after(Failure::Broken, NOW, 0)), (true, None));
    }

    #[test]
    fn nothing_is_repeated_once_a_byte_was_handed_on() {
        let mut retry = Retry::new(2, Repeatable::Yes, NOW.plus_millis(60_000));
        assert!(retry.after(Failure::Broken, NOW, 0).is_some());
        retry.handed_on();
        assert_eq!(retry.after(Failure::Broken, NOW, 0), None);
    }

    #[test]
    fn what_the_upstream_asks_for_is_waited_for_or_left_to_the_caller() {
        let status = |status, retry_after_ms| Failure::Status { status, retry_after_ms };
        let after = |failure| Retry::new(2, Repeatable::Yes, NOW.plus_millis(60_000)).after(failure, NOW, 77);
        assert_eq!(after(status(503, Some(2_000))), Some(2_077));
        assert_eq!(after(status(429, Some(5_000))), Some(5_077));
        assert_eq!(after(status(503, Some(5_001))), None);
        assert_eq!(after(status(503, None)), Some(77));
        for answered in [400, 401, 404, 409, 500, 501] {
            assert_eq!(after(status(answered, None)), None, "{answered}");
        }
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        // RFC 9110 §5.6.7
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = Timestamp::from_secs(784_111_777 - 90);
        assert_eq!(retry_after_ms(date, before), Some(90_000));
        assert_eq!(retry_after_ms(date, NOW.plus_millis(1_000_000_000_000)), Some(0));
        assert_eq!(retry_after_ms(" 120 ", NOW), Some(120_000));
        assert_eq!(retry_after_ms("99999999999999999999999", NOW), Some(u64::MAX));
        for garbage in ["", "-1", "soon", "1.5", "Sun, 06 Nov"] {
            assert_eq!(retry_after_ms(garbage, NOW), None, "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn attempts_and_waits_stay_within_their_bounds(
            retries in 0_u32..9,
            deadline_ms in 0_u64..10_000,
            steps in prop::collection::vec((any::<u64>(), 0_u64..400, prop::option::of(0_u64..8_000)), 0..20),
        ) {
            let deadline = NOW.plus_millis(deadline_ms);
            let (mut retry, mut now, mut attempts) = (Retry::new(retries, Repeatable::Yes, deadline), NOW, 0);
            for (random, took_ms, retry_after_ms) in steps {
                now = now.plus_millis(took_ms);
                let failure = Failure::Status { status: 503, retry_after_ms };
                let Some(pause_ms) = retry.after(failure, now, random) else { continue };
                attempts += 1;
                now = now.plus_millis(pause_ms);
                prop_assert!(now < deadline);
                prop_assert!(pause_ms >= retry_after_ms.unwrap_or(0));
                prop_assert!(pause_ms <= retry_after_ms.unwrap_or(0) + (BASE_MS << (attempts - 1)));
            }
            prop_assert!(attempts <= retries.min(RETRIES_MAX));
        }
    }
}
