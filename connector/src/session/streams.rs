//! What does a caller read? The answer to a POST, and the GET stream.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Outbound, Session};
use crate::router::{ExchangeId, Listener, Part};

/// The answer to a POST. Dropping it before its last part means that the caller left, which cancels nothing.
#[derive(Debug)]
pub struct Exchange {
    session: Arc<Session>,
    id: ExchangeId,
    outbound: mpsc::Receiver<Outbound>,
    lost: Option<VecDeque<Outbound>>,
    progress: Progress,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Open,
    Complete,
}

impl Exchange {
    pub(super) fn new(session: Arc<Session>, id: ExchangeId, outbound: mpsc::Receiver<Outbound>) -> Self {
        Self { session, id, outbound, lost: None, progress: Progress::Open }
    }

    /// The next message; `None` after the last one. If the session ends meanwhile, what is left are errors.
    pub async fn next(&mut self) -> Option<Outbound> {
        if self.progress == Progress::Complete {
            return None;
        }
        let next = match self.outbound.recv().await {
            Some(outbound) => Some(outbound),
            None => self.lost.get_or_insert_with(|| self.session.lost(self.id)).pop_front(),
        };
        if next.as_ref().is_none_or(|outbound| outbound.part == Part::Last) {
            self.progress = Progress::Complete;
        }
        next
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.progress == Progress::Open {
            self.session.leave(self.id);
        }
    }
}

/// The GET stream. What it has not read when it is dropped waits for the next one.
#[derive(Debug)]
pub struct Listening(Arc<Session>);

impl Listening {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self(session)
    }

    /// The next message; `None` when the session is over.
    pub async fn next(&mut self) -> Option<Bytes> {
        let session = &self.0;
        loop {
            let waiting = session.state().backlog.pop();
            if waiting.is_some() {
                return waiting;
            }
            session.ended.run_until_cancelled(session.said.notified()).await?;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.state().listener = Listener::Absent;
    }
}

impl Session {
    fn lost(&self, id: ExchangeId) -> VecDeque<Outbound> {
        self.state().lost.remove(&id).unwrap_or_default().into()
    }
}
