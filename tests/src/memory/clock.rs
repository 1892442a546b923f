//! What time is it for a gateway in memory? The real time, moved on by hand; or only moved by hand.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mcp::Timestamp;
use tokio::sync::Notify;

/// A clock that tests move.
pub struct Clock {
    /// Where the clock stands still but for [`Clock::advance`]; `None` lets it run.
    stands_at_ms: Option<u64>,
    moved_ms: Cell<u64>,
    moved: Notify,
}

impl Clock {
    /// A clock that runs, and can be moved on.
    #[must_use]
    pub fn running() -> Self {
        Self { stands_at_ms: None, moved_ms: Cell::new(0), moved: Notify::new() }
    }

    /// A clock that starts now and stands still until it is moved.
    #[must_use]
    pub fn standing() -> Self {
        Self { stands_at_ms: Some(real_ms()), ..Self::running() }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.stands_at_ms.unwrap_or_else(real_ms) + self.moved_ms.get())
    }

    /// Moves the clock on; whoever waits for a time that came is woken.
    pub fn advance(&self, by: Duration) {
        self.moved_ms.set(self.moved_ms.get() + millis(by));
        self.moved.notify_waiters();
    }

    /// Resolves once the clock is past `duration` from now.
    pub async fn pause(&self, duration: Duration) {
        self.until(self.now().plus_millis(millis(duration))).await;
    }

    /// Resolves once the clock has reached `time`.
    pub async fn until(&self, time: Timestamp) {
        loop {
            let moved = self.moved.notified();
            let left_ms = time.millis_since(self.now());
            match (left_ms, self.stands_at_ms) {
                (0, _) => return,
                (_, Some(_)) => moved.await,
                (left_ms, None) => {
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(left_ms)) => {}
                        () = moved => {}
                    }
                }
            }
        }
    }
}

fn real_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
