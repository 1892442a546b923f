//! How is a caller answered piece by piece? Through a channel that holds only so much, and tells when the caller left.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use bridge::facade::{self, Channel};
use bytes::Bytes;
use futures_channel::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};
use futures_util::{
    Stream, StreamExt as _,
    future::{Either, select},
    stream,
};
use mcp::sse::{self, Event};

use crate::{conversation::driver::Came, platform::Platform};

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
    /// What is said, and a comment now and then while nothing is; tells `leaving` when it is dropped.
    pub(super) fn pieces<P: Platform>(self, leaving: Leaving, platform: P) -> impl Stream<Item = Bytes> {
        stream::unfold((self, leaving, platform, FIRST_QUIET), |(mut inlet, leaving, platform, quiet)| async move {
            let next = {
                let pause = pin!(platform.pause(quiet));
                match select(inlet.pieces.next(), pause).await {
                    Either::Left((piece, _)) => Some(piece?),
                    Either::Right(_) => None,
                }
            };
            let (piece, quiet) = match next {
                Some(piece) => (inlet.passed(piece), FIRST_QUIET),
                None => (Bytes::from_static(sse::HEARTBEAT.as_bytes()), (quiet * 2).min(QUIET_MAX)),
            };
            Some((piece, (inlet, leaving, platform, quiet)))
        })
    }

    fn passed(&self, piece: Bytes) -> Bytes {
        self.queued_bytes.set(self.queued_bytes.get().saturating_sub(piece.len()));
        piece
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
/// How long a stream is quiet before a comment shows whether anybody reads it; twice as long each time after that. So it
/// shows soon where little time has passed, and where much has it takes little more.
const FIRST_QUIET: Duration = Duration::from_secs(1);
const QUIET_MAX: Duration = Duration::from_secs(15);

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
        let piece = inlet.pieces.next().now_or_never().flatten().expect("it is there");
        inlet.passed(piece);
        assert!(outlet.say(&event).is_ok());
    }
}
