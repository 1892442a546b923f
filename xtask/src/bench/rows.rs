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
    /// The same with the example's policies and two limits, which are never reached.
    RelaxedPoliced,
    /// Through the gateway, answers waiting for the record.
    Strict,
    /// The same with the example's policies and two limits, which are never reached.
    StrictPoliced,
    /// The same, with its requests to storage counted: for no comparison of times.
    Counted,
}

impl Way {
    pub(super) const GATEWAYS: [Self; 6] =
        [Self::Relaxed, Self::RelaxedLimited, Self::RelaxedPoliced, Self::Strict, Self::StrictPoliced, Self::Counted];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare pass-through",
            Self::Relaxed => "gateway, relaxed",
            Self::RelaxedLimited => "gateway, relaxed, limit",
            Self::RelaxedPoliced => "gateway, relaxed, policies + two limits",
            Self::Strict => "gateway, strict",
            Self::StrictPoliced => "gateway, strict, policies + two limits",
            Self::Counted => "gateway, strict, policies + two limits, counted",
        }
    }

    /// The name of the Worker, if there is one.
    pub(super) fn worker(self) -> Option<&'static str> {
        match self {
            Self::Direct => None,
            Self::Bare => Some("bare"),
            Self::Relaxed => Some("relaxed"),
            Self::RelaxedLimited => Some("limited"),
            Self::RelaxedPoliced => Some("relaxed-policed"),
            Self::Strict => Some("strict"),
            Self::StrictPoliced => Some("strict-policed"),
            Self::Counted => Some("counted"),
        }
    }

    /// Whether an answer waits for its record.
    pub(super) fn is_strict(self) -> bool {
        self >= Self::Strict
    }

    /// Whether policies decide.
    pub(super) fn is_policed(self) -> bool {
        matches!(self, Self::RelaxedPoliced | Self::StrictPoliced | Self::Counted)
    }
}

/// An upstream that answers at once leaves strict nothing to hide behind; 5 and 50 ms do.
pub(super) fn groups() -> Vec<Group> {
    use Way::{Bare, Direct, Relaxed, RelaxedLimited, RelaxedPoliced, Strict, StrictPoliced};
    let group = |upstream, ways: &[Way]| Group { upstream, ways: ways.to_vec() };
    let all = [Direct, Bare, Relaxed, RelaxedLimited, RelaxedPoliced, Strict, StrictPoliced];
    vec![
        group(Upstream::Json { delay_ms: 0 }, &all),
        group(Upstream::Json { delay_ms: 5 }, &[Direct, Bare, Relaxed, RelaxedPoliced, Strict, StrictPoliced]),
        group(Upstream::Json { delay_ms: 50 }, &[Direct, Bare, Relaxed, Strict]),
        group(Upstream::Sse, &[Direct, Bare, Relaxed, Strict]),
    ]
}
