//! What does a call cost that finds no instance, so that one has to start?
//!
//! Spin drops an instance that rested for a second, and whatever it remembered: its configuration, keys, tokens.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::progress::Step;

use super::{
    cpu,
    load::{self, Caller, Target},
    measure::{Effort, milliseconds},
    rows::{Asked, Course, Way},
    setting::Setting,
};

/// Medians of one course.
#[derive(Serialize)]
pub(super) struct Cold {
    pub(super) what: &'static str,
    cold: Cost,
    warm: Cost,
}

/// Of a call.
#[derive(Clone, Copy, Serialize)]
struct Cost {
    latency_ms: f64,
    /// Of the whole process, up to the answer.
    cpu_ms: f64,
}

impl Cold {
    /// Whether the gateway has no part in it.
    pub(super) fn is_bare(&self) -> bool {
        self.what == COURSES[0].title
    }

    /// What the start takes of a processor, in milliseconds.
    pub(super) fn start_ms(&self) -> f64 {
        self.cold.cpu_ms - self.warm.cpu_ms
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let (Cost { latency_ms: cold, cpu_ms: cold_cpu }, Cost { latency_ms: warm, cpu_ms: warm_cpu }) =
            (self.cold, self.warm);
        format!(
            "{:40}{cold:>8.2} ms cold {warm:>8.2} ms warm   processor {cold_cpu:>8.2} ms cold {warm_cpu:>8.2} ms warm",
            self.what
        )
    }
}

/// Lets all rest until their instances are gone, calls each once and then some more; and again.
///
/// # Errors
/// If a call is not answered as it should be.
pub(super) async fn measure(setting: &Setting, effort: Effort, step: &mut Step) -> Result<Vec<Cold>> {
    let mut seen = Vec::new();
    for course in COURSES {
        seen.push((course, setting.target(course)?, Vec::new(), Vec::new()));
    }
    for round in 0..effort.starts {
        step.note(&format!("start {} of {}", round + 1, effort.starts));
        tokio::time::sleep(REST).await;
        for (course, target, cold, warm) in &mut seen {
            cold.push(call(setting, *course, target).await?);
            for _ in 0..WARM {
                warm.push(call(setting, *course, target).await?);
            }
        }
    }
    let of = |(course, _, cold, warm): (Course, Target, Vec<Cost>, Vec<Cost>)| Cold {
        what: course.title,
        cold: median(&cold),
        warm: median(&warm),
    };
    Ok(seen.into_iter().map(of).collect())
}

/// By a new connection each: those that rested for so long may be closed.
async fn call(setting: &Setting, course: Course, target: &Target) -> Result<Cost> {
    let used = || setting.process(course.way).map_or(Ok(Duration::ZERO), cpu::used);
    let before = used()?;
    let sample = load::round(target, [Caller::new(None)].iter_mut(), 1).await?;
    let cpu_ms = used()?.saturating_sub(before).as_secs_f64() * 1e3;
    Ok(Cost { latency_ms: milliseconds(&sample.latency, 0.5), cpu_ms })
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Cost { latency_ms: middle(|cost| cost.latency_ms), cpu_ms: middle(|cost| cost.cpu_ms) }
}

/// The bare component first: what the others take more is the gateway's.
const COURSES: [Course; 3] = [
    Course::modern("bare pass-through", Way::Bare, Asked::Call),
    Course::modern("gateway, relaxed", Way::Relaxed, Asked::Call),
    Course::modern("gateway, relaxed, policies + two limits", Way::RelaxedPoliced, Asked::Call),
];
/// A second after the last work, which the gateway may gather for two.
const REST: Duration = Duration::from_millis(3_500);
const WARM: usize = 10;
