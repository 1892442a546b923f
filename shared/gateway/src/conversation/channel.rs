//! How is a caller answered piece by piece? Through a channel that holds only so much, and tells when the caller left.

use std::{cell::Cell, rc::Rc};

use bridge::facade::{self, Channel};
use bytes::Bytes;
use futures_channel::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};
use futures_util::StreamExt as _;
use mcp::sse::Event;

use crate::conversation::driver::Came;

/// The façade's end of a channel.
pub(super) enum Exit {
    /// Nothing was said yet.
    Waiting(oneshot::Sender<Head>),
    /// It is a stream.
    Open(Outlet),
}

/// How an answer begins.
pub(super) enum Head {
    /// It is all there.
    Whole(facade::Answer),
    /// It is a stream, with this session id.
    Open(Inlet, Option<String>),
}

/// Where the façade writes.
pub(super) struct Outlet {
    pieces: UnboundedSender<Bytes>,
    queued_bytes: Rc<Cell<usize>>,
}

/// Where the caller reads.
pub(super) struct Inlet {
    pieces: UnboundedReceiver<Bytes>,
    queued_bytes: Rc<Cell<usize>>,
}

/// Tells the façade that a caller went, by being dropped; in vain where its channel was closed before.
pub(super) struct Leaving {
    channel: Channel,
    inbox: UnboundedSender<Came>,
}

/// The caller reads too slowly, or not at all any more.
pub(super) struct Overflowed;

impl Outlet {
    /// A stream, from its one end to its other.
    pub(super) fn open() -> (Self, Inlet) {
        let (outgoing, pieces) = mpsc::unbounded();
        let queued_bytes = Rc::new(Cell::new(0));
        let inlet = Inlet { pieces, queued_bytes: Rc::clone(&queued_bytes) };
        (Self { pieces: outgoing, queued_bytes }, inlet)
    }

    /// Says `event`, unless too much waits to be read already.
    pub(super) fn say(&self, event: &Event) -> Result<(), Overflowed> {
        if self.queued_bytes.get() > QUEUED_MAX_BYTES {
            return Err(Overflowed);
        }
        let piece = Bytes::from(event.encode());
        self.queued_bytes.set(self.queued_bytes.get() + piece.len());
        self.pieces.unbounded_send(piece).map_err(|_| Overflowed)
    }
}

impl Inlet {
    /// What is said next; none once that was all.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let piece = self.pieces.next().await?;
        self.queued_bytes.set(self.queued_bytes.get().saturating_sub(piece.len()));
        Some(piece)
    }
}

impl Leaving {
    pub(super) fn new(channel: Channel, inbox: UnboundedSender<Came>) -> Self {
        Self { channel, inbox }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.inbox.unbounded_send(Came::Left(self.channel));
    }
}

/// More than this waits for no caller.
const QUEUED_MAX_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_reads_too_slowly_is_given_up_and_who_reads_is_not() {
        let (outlet, mut inlet) = Outlet::open();
        let event = Event::message(&"x".repeat(QUEUED_MAX_BYTES / 4));
        let said = (0..8).take_while(|_| outlet.say(&event).is_ok()).count();
        assert_eq!(said, 4, "so much may wait");
        inlet.next().now_or_never().flatten().expect("it is there");
        assert!(outlet.say(&event).is_ok());
    }
}
