//! What did a server say while nobody listened? A bounded queue of messages for the next GET stream.

use std::collections::VecDeque;

use bytes::Bytes;

/// Messages that wait for a GET stream, oldest first.
#[derive(Debug)]
pub struct Backlog {
    waiting: VecDeque<(Kind, Bytes)>,
    bytes: usize,
    max_bytes: usize,
}

/// Whether the server waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Request,
    /// It does not, and can be told again or do without.
    Notification,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It waits.
    Yes,
    /// It waits, and this many older notifications no longer do.
    Displacing(usize),
    /// There is no room, and no notification left that could make some.
    No,
}

impl Backlog {
    /// Nothing yet; at most `max_bytes`, and at most 1024 messages.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Keeps `message`; older notifications make room for it.
    pub fn push(&mut self, kind: Kind, message: Bytes) -> Kept {
        if message.len() > self.max_bytes {
            return Kept::No;
        }
        let mut displaced = 0;
        while self.waiting.len() >= MAX_MESSAGES || self.bytes + message.len() > self.max_bytes {
            let oldest = self.waiting.iter().position(|(kind, _)| *kind == Kind::Notification);
            let Some((_, dropped)) = oldest.and_then(|at| self.waiting.remove(at)) else { return Kept::No };
            self.bytes -= dropped.len();
            displaced += 1;
        }
        self.bytes += message.len();
        self.waiting.push_back((kind, message));
        if displaced == 0 { Kept::Yes } else { Kept::Displacing(displaced) }
    }

    /// The oldest message.
    pub fn pop(&mut self) -> Option<Bytes> {
        let (_, message) = self.waiting.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

const MAX_MESSAGES: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notifications_make_room_and_requests_stay() {
        let mut backlog = Backlog::new(10);
        assert_eq!(backlog.push(Kind::Request, "aaaa".into()), Kept::Yes);
        assert_eq!(backlog.push(Kind::Notification, "bbbb".into()), Kept::Yes);
        assert_eq!(backlog.push(Kind::Request, "cccc".into()), Kept::Displacing(1));
        assert_eq!(backlog.push(Kind::Request, "dddd".into()), Kept::No);
        assert_eq!(backlog.push(Kind::Notification, "ee".into()), Kept::Yes);
        let read: Vec<_> = std::iter::from_fn(|| backlog.pop()).collect();
        assert_eq!(read, ["aaaa", "cccc", "ee"]);
    }

    proptest! {
        #[test]
        fn the_bound_holds(pushes in prop::collection::vec((any::<bool>(), 0..40_usize), 0..200)) {
            let mut backlog = Backlog::new(100);
            for (is_request, len) in pushes {
                let kind = if is_request { Kind::Request } else { Kind::Notification };
                let _ = backlog.push(kind, vec![b'x'; len].into());
                let held: usize = backlog.waiting.iter().map(|(_, message)| message.len()).sum();
                prop_assert!(held == backlog.bytes && held <= 100);
            }
        }
    }
}
