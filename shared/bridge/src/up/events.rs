//! What was said on a stream that may be resumed? The newest events, so many and so large, oldest forgotten first.

use std::collections::VecDeque;

use mcp::Timestamp;

/// The events of a session's streams that can be said again.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    stream: u64,
    number: u64,
    message: String,
    said_at: Timestamp,
}

impl Events {
    /// Keeps `message`, event `number` of `stream`. One that is larger than all there is room for is not kept.
    pub(super) fn keep(&mut self, stream: u64, number: u64, message: &str, now: Timestamp) {
        if message.len() > BYTES_MAX {
            return;
        }
        self.bytes += message.len();
        self.kept.push_back(Kept { stream, number, message: message.to_owned(), said_at: now });
        while self.bytes > BYTES_MAX || self.kept.len() > EVENTS_MAX {
            self.forget_oldest();
        }
    }

    /// The events of `stream` after `number`, in their order.
    pub(super) fn after(&self, stream: u64, number: u64) -> impl Iterator<Item = (u64, &str)> {
        let wanted = move |kept: &&Kept| kept.stream == stream && kept.number > number;
        self.kept.iter().filter(wanted).map(|kept| (kept.number, kept.message.as_str()))
    }

    /// Forgets what is older than [`AGE_MAX_MS`].
    pub(super) fn age(&mut self, now: Timestamp) {
        while self.kept.front().is_some_and(|kept| now.millis_since(kept.said_at) > AGE_MAX_MS) {
            self.forget_oldest();
        }
    }

    /// Whether any event of `stream` is left.
    pub(super) fn has(&self, stream: u64) -> bool {
        self.kept.iter().any(|kept| kept.stream == stream)
    }

    fn forget_oldest(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.bytes -= kept.message.len();
        }
    }
}

/// No more events of a session are kept.
pub(super) const EVENTS_MAX: usize = 1_024;
/// No more bytes of a session are kept.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// An event is kept no longer.
pub(super) const AGE_MAX_MS: u64 = 5 * 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1);

    #[test]
    fn the_events_of_one_stream_are_told_in_their_order() {
        let mut events = Events::default();
        for (stream, number, message) in [(1, 1, "a"), (2, 1, "b"), (1, 2, "c"), (1, 3, "d")] {
            events.keep(stream, number, message, NOW);
        }
        assert_eq!(events.after(1, 1).collect::<Vec<_>>(), [(2, "c"), (3, "d")]);
        assert!(events.has(2) && !events.has(3));
    }

    #[test]
    fn only_so_much_is_kept_and_only_so_long() {
        let mut events = Events::default();
        let half = "x".repeat(BYTES_MAX / 2);
        (1..=3).for_each(|number| events.keep(1, number, &half, NOW));
        events.keep(1, 4, &"x".repeat(BYTES_MAX + 1), NOW);
        assert_eq!(events.after(1, 0).map(|(number, _)| number).collect::<Vec<_>>(), [2, 3]);
        events.age(NOW.plus_millis(AGE_MAX_MS + 1));
        assert!(!events.has(1) && events.bytes == 0);
        (0..=EVENTS_MAX as u64).for_each(|number| events.keep(1, number, "", NOW));
        assert_eq!(events.after(1, 0).count(), EVENTS_MAX);
    }
}
