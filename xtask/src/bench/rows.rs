//! What is compared with what?

use crate::platform::Platform;

use super::upstream::Upstream;

/// Rows that are compared, the first of which is the direct one, the second the bare pass-through.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) courses: Vec<Course>,
}

/// What is asked, by whom, of what, and on which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    pub(super) title: &'static str,
    pub(super) way: Way,
    pub(super) upstream: Upstream,
    pub(super) caller: Era,
    pub(super) asked: Asked,
}

/// The way a call takes: straight, or through something on the platform.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Straight to the upstream.
    Direct,
    /// Through what only passes it on: a Worker of a few lines of JavaScript, or a component of a few lines of Rust.
    Bare,
    /// Through the gateway, answers not waiting for the record.
    Relaxed,
    /// The same, with three modern servers.
    RelaxedThree,
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

/// Which revisions somebody speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// Those with sessions.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A tool of the upstream's server, at that server.
    Call,
    /// The same, at the endpoint of all servers.
    CallOfAll,
    /// The tools of the upstream's server.
    List,
    /// The tools of all servers.
    ListOfAll,
}

impl Course {
    /// Whether others are compared with it.
    pub(super) fn is_measure(&self) -> bool {
        self.way <= Way::Bare
    }

    /// A legacy caller's call of a legacy server.
    pub(super) const fn legacy(way: Way, upstream: Upstream) -> Self {
        Self { title: way.title(), way, upstream, caller: Era::Legacy, asked: Asked::Call }
    }

    /// A modern caller and a modern server.
    pub(super) const fn modern(title: &'static str, way: Way, asked: Asked) -> Self {
        Self { title, way, upstream: Upstream::Modern, caller: Era::Modern, asked }
    }
}

impl Way {
    /// Those that lead through a gateway.
    pub(super) const fn gateways(platform: Platform) -> &'static [Self] {
        match platform {
            Platform::Workers => &[
                Self::Relaxed,
                Self::RelaxedThree,
                Self::RelaxedLimited,
                Self::RelaxedPoliced,
                Self::Strict,
                Self::StrictPoliced,
                Self::Counted,
            ],
            Platform::Spin => &[Self::Relaxed, Self::RelaxedPoliced, Self::Strict, Self::StrictPoliced],
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare pass-through",
            Self::Relaxed => "gateway, relaxed",
            Self::RelaxedThree => "gateway, relaxed, three servers",
            Self::RelaxedLimited => "gateway, relaxed, limit",
            Self::RelaxedPoliced => "gateway, relaxed, policies + two limits",
            Self::Strict => "gateway, strict",
            Self::StrictPoliced => "gateway, strict, policies + two limits",
            Self::Counted => "gateway, strict, policies + two limits, counted",
        }
    }

    /// The name of what serves it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::Relaxed => "relaxed",
            Self::RelaxedThree => "three",
            Self::RelaxedLimited => "limited",
            Self::RelaxedPoliced => "relaxed-policed",
            Self::Strict => "strict",
            Self::StrictPoliced => "strict-policed",
            Self::Counted => "counted",
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

/// What is compared on a platform.
pub(super) fn groups(platform: Platform) -> Vec<Group> {
    match platform {
        Platform::Workers => on_workers(),
        Platform::Spin => on_spin(),
    }
}

/// An upstream that answers at once leaves strict nothing to hide behind; 5 and 50 ms do.
fn on_workers() -> Vec<Group> {
    use Way::{Bare, Direct, Relaxed, RelaxedLimited, RelaxedPoliced, Strict, StrictPoliced};
    let all = [Direct, Bare, Relaxed, RelaxedLimited, RelaxedPoliced, Strict, StrictPoliced];
    vec![
        legacy("json0", "upstream: JSON after 0 ms", Upstream::Json { delay_ms: 0 }, &all),
        legacy("json5", "upstream: JSON after 5 ms", Upstream::Json { delay_ms: 5 }, &UNLIMITED),
        legacy(
            "json50",
            "upstream: JSON after 50 ms",
            Upstream::Json { delay_ms: 50 },
            &[Direct, Bare, Relaxed, Strict],
        ),
        legacy("sse", "upstream: an event stream, at once", Upstream::Sse, &[Direct, Bare, Relaxed, Strict]),
        eras(),
        lists(),
    ]
}

fn on_spin() -> Vec<Group> {
    let title = |way| match way {
        Way::Direct => "direct, modern",
        Way::Bare => "bare pass-through, modern",
        Way::Relaxed => "gateway, relaxed, modern",
        Way::RelaxedPoliced => "same, policies + two limits",
        Way::Strict => "gateway, strict, modern",
        _ => "same, strict, policies + two limits",
    };
    let modern = UNLIMITED.map(|way| Course::modern(title(way), way, Asked::Call));
    vec![
        legacy("json0", "upstream: JSON after 0 ms", Upstream::Json { delay_ms: 0 }, &UNLIMITED),
        legacy("json5", "upstream: JSON after 5 ms", Upstream::Json { delay_ms: 5 }, &UNLIMITED),
        legacy(
            "sse",
            "upstream: an event stream, at once",
            Upstream::Sse,
            &[Way::Direct, Way::Bare, Way::Relaxed, Way::Strict],
        ),
        Group { name: "modern", title: "a modern caller and server, JSON after 0 ms", courses: modern.to_vec() },
    ]
}

fn legacy(name: &'static str, title: &'static str, upstream: Upstream, ways: &[Way]) -> Group {
    Group { name, title, courses: ways.iter().map(|way| Course::legacy(*way, upstream)).collect() }
}

/// A call in each quadrant, and at `/mcp`. Both upstreams answer with JSON at once, of about the same size.
fn eras() -> Group {
    let legacy = Upstream::Json { delay_ms: 0 };
    let crossing = |title, caller, upstream| Course { title, way: Way::Relaxed, upstream, caller, asked: Asked::Call };
    Group {
        name: "eras",
        title: "a tool's call, caller → server, JSON after 0 ms",
        courses: vec![
            Course::modern("direct, modern", Way::Direct, Asked::Call),
            Course::modern("bare pass-through, modern", Way::Bare, Asked::Call),
            crossing("gateway, relaxed, legacy → legacy", Era::Legacy, legacy),
            crossing("gateway, relaxed, modern → modern", Era::Modern, Upstream::Modern),
            crossing("gateway, relaxed, modern → legacy", Era::Modern, legacy),
            crossing("gateway, relaxed, legacy → modern", Era::Legacy, Upstream::Modern),
            Course::modern("gateway, relaxed, /mcp of 3 modern", Way::RelaxedThree, Asked::CallOfAll),
        ],
    }
}

/// Lists that every server of an endpoint is asked for.
fn lists() -> Group {
    Group {
        name: "lists",
        title: "tools/list of a modern caller, JSON after 0 ms",
        courses: vec![
            Course::modern("direct, list", Way::Direct, Asked::List),
            Course::modern("bare pass-through, list", Way::Bare, Asked::List),
            Course::modern("gateway, relaxed, modern → modern, list", Way::Relaxed, Asked::List),
            Course::modern("gateway, relaxed, /mcp of 3 modern, list", Way::RelaxedThree, Asked::ListOfAll),
            Course::modern("same, /mcp of 1 modern, 4 legacy, list", Way::Relaxed, Asked::ListOfAll),
        ],
    }
}

const UNLIMITED: [Way; 6] =
    [Way::Direct, Way::Bare, Way::Relaxed, Way::RelaxedPoliced, Way::Strict, Way::StrictPoliced];
