//! How much waits for a caller who reads slowly? A queue that is bounded in bytes, and that nobody waits for who fills it:
//! the process has other callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::router::Part;
use crate::session::Outbound;

/// A queue for at most `max_bytes` that belong to an answer, and the answer itself.
#[must_use]
pub fn outbox(max_bytes: usize) -> (Outbox, Inbox) {
    let (sender, receiver) = unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { sender, waiting: Arc::clone(&waiting), max_bytes }, Inbox { receiver, waiting })
}

/// The end that is filled. Dropping it ends the queue.
#[derive(Debug)]
pub struct Outbox {
    sender: UnboundedSender<Outbound>,
    waiting: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// The end that is read.
#[derive(Debug)]
pub struct Inbox {
    receiver: UnboundedReceiver<Outbound>,
    waiting: Arc<AtomicUsize>,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Outbox {
    /// Adds what belongs to the answer, if there is room.
    ///
    /// # Errors
    /// [`Full`]
    pub fn offer(&self, message: Bytes) -> Result<(), Full> {
        let weight = message.len() + EACH;
        if self.waiting.load(Ordering::Relaxed) + weight > self.max_bytes.max(LEAST) {
            return Err(Full);
        }
        self.waiting.fetch_add(weight, Ordering::Relaxed);
        let _ = self.sender.send(Outbound { message, part: Part::Related });
        Ok(())
    }

    /// Adds the answer, for which there is always room, and ends the queue.
    pub fn finish(self, message: Bytes) {
        self.waiting.fetch_add(message.len() + EACH, Ordering::Relaxed);
        let _ = self.sender.send(Outbound { message, part: Part::Last });
    }
}

impl Inbox {
    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Outbound> {
        let outbound = self.receiver.recv().await?;
        self.waiting.fetch_sub(outbound.message.len() + EACH, Ordering::Relaxed);
        Some(outbound)
    }
}

/// What a message weighs besides its text.
const EACH: usize = 256;
/// Some messages always fit, however small the bound of one is.
const LEAST: usize = 64 * EACH;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_given_back_and_the_answer_always_fits() {
        let (outbox, mut inbox) = outbox(100_000);
        let note = Bytes::from(vec![b'x'; 50_000 - EACH]);
        assert_eq!([outbox.offer(note.clone()), outbox.offer(note.clone())], [Ok(()), Ok(())]);
        assert_eq!(outbox.offer(Bytes::new()), Err(Full));
        assert_eq!(inbox.next().await.unwrap().message, note);
        assert_eq!(outbox.offer(note.clone()), Ok(()));
        outbox.finish(Bytes::from(vec![b'y'; 100_000]));
        let parts =
            [inbox.next().await.unwrap().part, inbox.next().await.unwrap().part, inbox.next().await.unwrap().part];
        assert_eq!(parts, [Part::Related, Part::Related, Part::Last]);
        assert_eq!(inbox.next().await, None);
    }

    #[test]
    fn without_end_there_is_none() {
        let (outbox, _inbox) = outbox(0);
        assert!((0..1000).any(|_| outbox.offer(Bytes::from_static(b"{}")) == Err(Full)));
    }
}
