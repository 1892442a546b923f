//! Why is a server process no longer talked to?

use std::fmt;

use crate::process::Exit;

/// Why a session, or a process that many callers share, is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The caller sent DELETE.
    Deleted,
    /// The caller left before the server had answered `initialize`.
    Abandoned,
    /// The server refused `initialize`.
    Refused,
    /// The server did not answer the first request in time.
    Unanswered,
    /// Nobody used it.
    Idle,
    /// The connector stops.
    ShuttingDown,
    /// It was started to find out which era it speaks.
    Probed,
    /// The process ended.
    Exited(Exit),
    /// The process closed its output and runs on.
    OutputClosed,
    /// A message over the bound.
    Overlong(usize),
    /// The process does not read its input.
    Stuck,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("was ended by a DELETE of its session"),
            Self::Abandoned => f.write_str("was left by its caller before it answered `initialize`"),
            Self::Refused => f.write_str("refused `initialize`"),
            Self::Unanswered => f.write_str("did not answer `initialize` in time"),
            Self::Idle => f.write_str("was ended because nobody used it"),
            Self::ShuttingDown => f.write_str("was ended because the connector stops"),
            Self::Probed => f.write_str("was ended because it was only asked which era it speaks"),
            Self::Exited(exit) => exit.fmt(f),
            Self::OutputClosed => f.write_str("closed its standard output"),
            Self::Overlong(max) => write!(f, "sent a message of more than {max} bytes (`max_message_bytes`)"),
            Self::Stuck => f.write_str("does not read its standard input"),
        }
    }
}
