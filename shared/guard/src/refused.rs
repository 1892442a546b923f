//! Why is a request not parsed? Each reason with its HTTP status and, for a body, its JSON-RPC code.

use mcp::jsonrpc::{Malformed, code};

/// Why a request was turned away before anything was done for it. The text is for the caller.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// 405
    #[error("the method must be POST, GET or DELETE")]
    Method,
    /// 403
    #[error("the `Host` header does not name this gateway")]
    Host,
    /// 403
    #[error("pages of this origin may not call the gateway; an operator can add it to `allowed_origins`")]
    Origin,
    /// 400
    #[error("the header `{0}` is not readable text, or comes more than once")]
    Header(&'static str),
    /// 400
    #[error(
        "the protocol version `{0}` is unknown; this endpoint speaks 2024-11-05, 2025-03-26, 2025-06-18 and 2025-11-25"
    )]
    Revision(String),
    /// 415
    #[error("the `Content-Type` must be application/json")]
    ContentType,
    /// 406
    #[error("the `Accept` header must allow {0}")]
    Accept(&'static str),
    /// 413
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// 400
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// 400
    #[error("a batch is only allowed inside a session that negotiated 2025-03-26")]
    Batch,
    /// 400
    #[error("`initialize` must be sent alone, not in a batch")]
    InitializeInBatch,
}

impl Refused {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Host | Self::Origin => 403,
            Self::ContentType => 415,
            Self::Accept(_) => 406,
            Self::TooLarge(_) => 413,
            _ => 400,
        }
    }

    /// The JSON-RPC error code.
    #[must_use]
    pub const fn code(&self) -> i64 {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Batch | Self::InitializeInBatch => code::INVALID_REQUEST,
            _ => code::REFUSED,
        }
    }
}
