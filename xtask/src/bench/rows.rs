//! What is compared with what?

use super::upstream::Upstream;

/// Rows with the same upstream, the first of which is the direct one, the second the bare Worker.
pub(super) struct Group {
    pub(super) upstream: Upstream,
    pub(super) ways: Vec<Way>,
}

/// The way a call takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Straight to the upstream.
    Direct,
    /// Through a Worker of a few lines of JavaScript.
    Bare,
    /// Through the gateway, answers not waiting for the record.
    Relaxed,
    /// The same with a limit of requests per minute, which is never reached.
    RelaxedLimited,
    /// Through the gateway, answers waiting for the record.
    Strict,
}

impl Way {
    pub(super) const GATEWAYS: [Self; 3] = [Self::Relaxed, Self::RelaxedLimited, Self::Strict];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare pass-through",
            Self::Relaxed => "gateway, relaxed",
            Self::RelaxedLimited => "gateway, relaxed, limit",
            Self::Strict => "gateway, strict",
        }
    }

    /// The name of the Worker, if there is one.
    pub(super) fn worker(self) -> Option<&'static str> {
        match self {
            Self::Direct => None,
            Self::Bare => Some("bare"),
            Self::Relaxed => Some("relaxed"),
            Self::RelaxedLimited => Some("limited"),
            Self::Strict => Some("strict"),
        }
    }
}

/// An upstream that answers at once leaves strict nothing to hide behind; 5 and 50 ms do.
pub(super) fn groups() -> Vec<Group> {
    use Way::{Bare, Direct, Relaxed, RelaxedLimited, Strict};
    let group = |upstream, ways: &[Way]| Group { upstream, ways: ways.to_vec() };
    vec![
        group(Upstream::Json { delay_ms: 0 }, &[Direct, Bare, Relaxed, RelaxedLimited, Strict]),
        group(Upstream::Json { delay_ms: 5 }, &[Direct, Bare, Relaxed, Strict]),
        group(Upstream::Json { delay_ms: 50 }, &[Direct, Bare, Relaxed, Strict]),
        group(Upstream::Sse, &[Direct, Bare, Relaxed, Strict]),
    ]
}
