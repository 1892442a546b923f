//! Which revision of the protocol does a message belong to?

use std::fmt;

use serde::{Deserialize, Serialize};

/// A published revision of the Model Context Protocol, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Revision {
    /// The first: stdio and HTTP+SSE.
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
    /// Streamable HTTP, and the only one with JSON-RPC batches.
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    /// The `MCP-Protocol-Version` header, elicitation, structured content.
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    /// SSE polling, URL elicitation, experimental tasks.
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
    /// Stateless: no sessions, no server-to-client requests.
    #[serde(rename = "2026-07-28")]
    V2026_07_28,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// What a request without `MCP-Protocol-Version` speaks (MCP 2025-06-18 basic/transports).
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The revision spelled `text`, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// As it is spelled on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether it has `initialize` and sessions.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        self < Self::V2026_07_28
    }

    /// Whether a body may be a JSON-RPC batch (MCP 2025-03-26 basic: only there).
    #[must_use]
    pub fn allows_batch(self) -> bool {
        self == Self::V2025_03_26
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_reads_back_as_it_is_spelled() {
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
        }
        assert_eq!(Revision::parse("2025-11-26"), None);
    }
}
