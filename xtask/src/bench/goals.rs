//! What is enough?

use std::fmt;

use crate::platform::Platform;

use super::{
    cold::Cold,
    decide,
    report::{Report, ratio},
    rows::Way,
    timing::Timing,
    trips::Trips,
};

/// A figure, and the most it may be.
pub(super) struct Goal {
    pub(super) name: &'static str,
    /// Absent: not to be told from this run.
    pub(super) value: Option<f64>,
    pub(super) at_most: f64,
}

/// What is wanted of the figures on their platform.
pub(super) fn of(report: &Report) -> Vec<Goal> {
    match report.platform {
        Platform::Workers => added(report).into_iter().chain(stored(report)).chain(computed(report)).collect(),
        Platform::Spin => added(report).into_iter().chain(started(report)).collect(),
    }
}

/// What calls take longer than through something bare.
fn added(report: &Report) -> [Goal; 4] {
    let ratio = |group, way| {
        let group = report.groups.iter().find(|figures| figures.name == group)?;
        ratio(group, group.rows.iter().find(|row| row.course.way == way)?)
    };
    let (prompt, slow) = ("json0", "json5");
    [
        goal("relaxed adds, times the bare pass-through", ratio(prompt, Way::Relaxed), 1.6),
        goal(
            "relaxed with policies and two limits adds, times the bare pass-through",
            ratio(prompt, Way::RelaxedPoliced),
            1.6,
        ),
        goal("strict adds at a 5 ms upstream, times the bare pass-through", ratio(slow, Way::Strict), 1.6),
        goal(
            "strict with them adds at a 5 ms upstream, times the bare pass-through",
            ratio(slow, Way::StrictPoliced),
            1.6,
        ),
    ]
}

fn stored(report: &Report) -> Vec<Goal> {
    let legacy = report.trips.iter().filter(|trips| !trips.is_modern());
    let objects = report.trips.iter().map(Trips::objects).reduce(f64::max);
    vec![
        goal("storage round trips before upstream, warm, per call", legacy.map(Trips::before).reduce(f64::max), 0.0),
        goal("storage round trips before upstream, warm, per modern call", report.modern_trips(), 0.0),
        goal("Durable Object requests per call, all in", objects, 1.1),
    ]
}

fn computed(report: &Report) -> Vec<Goal> {
    let slowest = |timings: &mut dyn Iterator<Item = &Timing>| timings.map(|timing| timing.median_us).reduce(f64::max);
    let decision = slowest(&mut report.decisions.iter().filter(|timing| decide::is_whole_decision(timing)));
    let translation = slowest(&mut report.translations.iter());
    let mebibytes = report.module.map(|module| module.gzip_bytes as f64 / f64::from(1 << 20));
    vec![
        goal("a decision with 100 policies in WebAssembly, nothing remembered, µs", decision, 100.0),
        goal("the slowest translation of a message of 4 KiB in WebAssembly, µs", translation, 50.0),
        goal("module, MiB gzip", mebibytes, 1.0),
        goal("module, MiB gzip: the hard limit", mebibytes, 3.0),
    ]
}

/// What the gateway takes of a processor until a new instance has answered, beyond what any component takes.
fn started(report: &Report) -> Option<Goal> {
    let bare = report.colds.iter().find(|cold| cold.is_bare()).map(Cold::start_ms);
    let gateway = report.colds.iter().filter(|cold| !cold.is_bare()).map(Cold::start_ms).reduce(f64::max);
    let more = gateway.zip(bare).map(|(gateway, bare)| gateway - bare);
    Some(goal("a start takes more of a processor than a bare one's, ms", more, 5.0))
}

impl Goal {
    pub(super) fn is_met(&self) -> bool {
        self.value.is_some_and(|value| value <= self.at_most)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.value {
            None => '?',
            Some(_) if self.is_met() => '✓',
            Some(_) => '✗',
        };
        let precision = if self.value.is_some_and(|value| value < 0.1) { 4 } else { 2 };
        let value = self.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.precision$}"));
        write!(f, " {sign} {}: {value} (at most {})", self.name, self.at_most)
    }
}

fn goal(name: &'static str, value: Option<f64>, at_most: f64) -> Goal {
    Goal { name, value, at_most }
}
