//! What does the core need of the place it runs in? The seam between Turnpike and a platform.

use std::{fmt::Display, future::Future, time::Duration};

pub use bridge::facade::Life;
use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response};
use mcp::Timestamp;
pub use upstream::Departure;

/// A place the gateway runs in: a Worker, a Spin component, a test.
///
/// Futures carry no `Send` bound: a Worker's belong to one thread. Nothing here has a default.
pub trait Platform: Clone + 'static {
    /// A body as the platform has it, of a request or of a response. Relayed untouched it never enters Rust.
    type Body: http_body::Body<Data = Bytes, Error: Display> + From<Bytes> + Unpin + 'static;

    /// How long a live object lives that [`Platform::converse`] reaches. Where it is there for one request only, nothing
    /// can be asked of a caller on behalf of a server of another era.
    const LIFE: Life;

    /// The time. It may stand still between two awaits.
    fn now(&self) -> Timestamp;

    /// Unpredictable bytes.
    fn random(&self) -> [u8; 32];

    /// The secret of this name, if the operator set it.
    fn secret(&self, name: &str) -> impl Future<Output = Option<String>>;

    /// Resolves after `duration`.
    fn pause(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Sends `departure` and gives the answer once its head is there, at the latest after `deadline`; a platform may wait
    /// for all of a small body within the same deadline. Redirects are not followed.
    ///
    /// A small answer that [may pass on](Departure::may_pass_on) a platform may hand to the caller as it comes, but not
    /// before [`Platform::release`]. What [`crate::Gateway`] answers is then nobody's any more; an answer that breaks
    /// off is given as one whose body fails, for nothing may be sent again.
    fn send(
        &self,
        departure: Departure,
        deadline: Duration,
    ) -> impl Future<Output = Result<Answer<Self::Body>, Unanswered>>;

    /// The decision on this request stands: answers may leave.
    fn release(&self);

    /// Sends `request` to the live object `name`, which [`crate::Gateway::host`] answers for; made anew if it is not
    /// there. Gives the answer as [`Platform::send`] does. When the caller leaves, or the answer is cut off, the object
    /// is told.
    fn converse(
        &self,
        name: &str,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> impl Future<Output = Result<Answer<Self::Body>, Unanswered>>;

    /// A body that is made piece by piece; each piece leaves at once. Whoever reads it sets the pace, and drops `stream`
    /// by going away; on some platforms that shows with the next piece only.
    fn body(&self, stream: impl Stream<Item = Bytes> + 'static) -> Self::Body;

    /// The same bytes twice: for the caller, and for the meter.
    fn split(&self, body: Self::Body) -> (Self::Body, Self::Body);

    /// All of `body`, if it is no larger than `max_bytes`.
    fn whole(&self, body: Self::Body, max_bytes: usize) -> impl Future<Output = Result<Bytes, Unread>>;

    /// The document `key`, as it was some seconds ago.
    fn read(&self, key: &str) -> impl Future<Output = Result<Option<String>, Failed>>;

    /// Stores the document `key`; readers find it some seconds later.
    fn write(&self, key: &str, text: &str) -> impl Future<Output = Result<(), Failed>>;

    /// Tells the machine of `kind` and `name` a command and gives its reply, both JSON; see [`machine::run`].
    fn object(&self, kind: &str, name: &str, command: String) -> impl Future<Output = Result<String, Failed>>;

    /// At most `limit` rows of the machine of `kind` and `name` after the first `after`, each JSON.
    fn rows(&self, kind: &str, name: &str, after: u64, limit: u32)
    -> impl Future<Output = Result<Vec<String>, Failed>>;

    /// Tells the operator what no caller is told; never a secret.
    fn log(&self, text: &str);

    /// Runs `task` beside the answer and after it.
    fn defer(&self, task: impl Future<Output = ()> + 'static);
}

/// An answer whose head is there.
pub struct Answer<B> {
    /// The answer.
    pub response: Response<B>,
    /// Its body once more, if all of it is here already.
    pub arrived: Option<Arrived>,
    /// Cuts the rest of it off, for whoever reads it.
    pub abort: Abort,
}

impl<B> Answer<B> {
    /// The bytes of its body, if all of it is here already; they stay where they are.
    pub(crate) fn peeked(&mut self) -> Option<Bytes> {
        let bytes = self.arrived.take()?.read();
        let again = bytes.clone();
        self.arrived = Some(Arrived::new(bytes.len() as u64, move || again));
        Some(bytes)
    }
}

/// A small body that is here already: its size, and its bytes for whoever wants to look at them later.
pub struct Arrived {
    /// In bytes.
    pub size: u64,
    read: Box<dyn FnOnce() -> Bytes>,
}

impl Arrived {
    /// A body of `size` bytes, which `read` brings.
    pub fn new(size: u64, read: impl FnOnce() -> Bytes + 'static) -> Self {
        Self { size, read: Box::new(read) }
    }

    /// The bytes.
    #[must_use]
    pub fn read(self) -> Bytes {
        (self.read)()
    }
}

/// Cuts an exchange off when called; dropped, it does nothing.
pub struct Abort(Box<dyn FnOnce()>);

impl Abort {
    /// An abort that runs `cut`.
    pub fn new(cut: impl FnOnce() + 'static) -> Self {
        Self(Box::new(cut))
    }

    /// Cuts the exchange off.
    pub fn abort(self) {
        (self.0)();
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The connection could not be made, or broke before the head of an answer came.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// The deadline passed.
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
}

/// Why a body was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is larger than was allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The other side stopped in the middle.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// The platform's own storage failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage failed: {0}")]
pub struct Failed(pub String);
