//! What do a façade and its host say to each other?
//!
//! A façade speaks one era to its callers and another to the server behind it. It is pure: it is told what came and
//! answers with what is to be done. Its host, in `gateway::conversation`, holds the connections and keeps the time.

use mcp::{Revision, Timestamp, sse};

/// Speaks one dialect to its callers and another to the server behind it.
pub trait Facade {
    /// Takes note of `event` and says what is to be done, in order.
    fn handle(&mut self, event: Event<'_>, moment: &Moment) -> Vec<Action>;

    /// Whether nothing is under way: nobody waits for it, and nothing is parked. What it keeps (a session behind) does
    /// not count.
    fn is_idle(&self) -> bool;

    /// Takes leave of the server behind: what is to be done before the façade is dropped, such as ending a session.
    /// Events may still come after it; no caller's do.
    fn farewell(&mut self) -> Vec<Action>;
}

/// For how long a façade is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// As long as anybody needs it: requests meet in it.
    #[default]
    Conversation,
    /// For one request, and its answer: nothing can wait in it for what comes later, so nothing is offered that would.
    Request,
}

/// When something came, and bytes nobody can predict.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// Fresh for each event.
    pub random: [u8; 32],
}

/// One request of a caller, and the answer it waits for; numbered by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u64);

/// One request to the server behind, and its answer; numbered by the façade, never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop(pub u64);

/// What came.
#[derive(Debug)]
pub enum Event<'a> {
    /// A caller POSTed a JSON-RPC message, or a batch where its revision has them.
    Posted {
        /// Where it waits.
        channel: Channel,
        /// The body: JSON that [`mcp::jsonrpc::parse`] accepts.
        body: &'a str,
        /// The façade's own session id, if the caller has one.
        session_id: Option<&'a str>,
    },
    /// A caller opened the stream of the server's own messages (GET), or resumes one.
    Listened {
        /// Where it waits.
        channel: Channel,
        /// `Last-Event-ID`.
        last_event_id: Option<&'a str>,
        /// The façade's own session id, if the caller has one.
        session_id: Option<&'a str>,
    },
    /// A caller ended its session (DELETE).
    Deleted {
        /// Where it waits.
        channel: Channel,
        /// The façade's own session id, if the caller has one.
        session_id: Option<&'a str>,
    },
    /// A caller went away before its channel was closed. Nothing can be said on it any more.
    Left {
        /// Which.
        channel: Channel,
    },
    /// The head of an answer.
    Answered {
        /// To which request.
        hop: Hop,
        /// The HTTP status.
        status: u16,
        /// `Mcp-Session-Id`, if there is one.
        session_id: Option<&'a str>,
    },
    /// One JSON-RPC message of an answer, whole; or an event without one, which only brings an id.
    Said {
        /// To which request.
        hop: Hop,
        /// The message; empty for an event without data.
        message: &'a str,
        /// The event's id, if it came as one.
        event_id: Option<&'a str>,
        /// The pause before a reconnection the event asks for.
        retry_ms: Option<u64>,
    },
    /// A server of MCP 2024-11-05 says on its stream where messages are POSTed. The host has made sure that this is at the
    /// origin the stream comes from ([`crate::old::endpoint`]).
    Pointed {
        /// On which stream.
        hop: Hop,
        /// Path and query.
        path_and_query: &'a str,
    },
    /// An answer is over. Always the last event of a hop, also of one that never had an answer.
    Ended {
        /// To which request.
        hop: Hop,
        /// How.
        end: End,
    },
    /// The time that was asked for has come.
    Woken,
}

/// How the answer to a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it came.
    Complete,
    /// The connection could not be made: nothing was carried out.
    Unreachable(String),
    /// The connection broke; what was asked may have been carried out.
    Broken(String),
    /// Nothing came for so many milliseconds.
    Silent(u64),
    /// It was no MCP, or larger than is read.
    Garbage(String),
    /// The façade cut it off.
    Aborted,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a request to the server behind.
    Request(Request),
    /// Cut a hop off, if it still runs. [`Event::Ended`] follows.
    Abort(Hop),
    /// Answer a channel whole; it is closed by that.
    Answer(Answer),
    /// Begin the answer of a channel as an event stream with status 200.
    Open {
        /// Which.
        channel: Channel,
        /// `Mcp-Session-Id` to say.
        session_id: Option<String>,
    },
    /// Say something on a channel that was opened.
    Say {
        /// Which.
        channel: Channel,
        /// The event.
        event: sse::Event,
    },
    /// End the stream of a channel that was opened.
    Close(Channel),
    /// Tell [`Event::Woken`] at this time; replaces the time asked for before.
    Wake(Timestamp),
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which channel's.
    pub channel: Channel,
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC message, or batch; none for 202 and the like.
    pub message: Option<String>,
    /// `Mcp-Session-Id` to say.
    pub session_id: Option<String>,
}

/// A request to the server behind. The host adds credential, trace and, for a modern revision, the headers that mirror
/// the body ([`crate::routing`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub hop: Hop,
    /// POST, GET or DELETE.
    pub method: Method,
    /// Where at the origin of what is behind it goes, if not to the URL that is configured; from [`Event::Pointed`].
    pub path_and_query: Option<String>,
    /// `MCP-Protocol-Version`; none before a legacy session has agreed on one.
    pub revision: Option<Revision>,
    /// `Mcp-Session-Id` of the server's own.
    pub session_id: Option<String>,
    /// `Last-Event-ID`, for a stream that resumes.
    pub last_event_id: Option<String>,
    /// The body of a POST.
    pub body: String,
}

/// What a request to the server behind does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Sends a message.
    Post,
    /// Opens or resumes a stream.
    Get,
    /// Ends a session.
    Delete,
}
