//! How often does a call ask storage, and does it wait for any of that before it goes upstream?
//!
//! Counted inside the Worker (`counting.mjs`), in the dearest of the measured configurations, once all is warm.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::progress::Step;

use super::{
    load::{self, Caller, Target},
    measure::Effort,
    rows::{Asked, Course, Way},
    setting::{self, Setting},
    upstream::Upstream,
};

/// What calls asked of storage.
#[derive(Serialize)]
pub(super) struct Trips {
    pub(super) what: &'static str,
    pub(super) connections: usize,
    #[serde(flatten)]
    counts: Counts,
}

/// As `counting.mjs` tells them.
#[derive(Serialize, Deserialize)]
struct Counts {
    /// Those that were sent on.
    calls: u64,
    /// What they began to ask before they were sent on, by binding: some of it runs beside them.
    begun_before: BTreeMap<String, u64>,
    /// What of that was answered by then: all that they may have waited for.
    answered_before: BTreeMap<String, u64>,
    /// All requests to Durable Objects until everything was written, by binding.
    objects: BTreeMap<String, u64>,
    /// All reads of documents (KV).
    documents: BTreeMap<String, u64>,
}

impl Trips {
    /// Round trips to storage before the upstream was called, for each call.
    pub(super) fn before(&self) -> f64 {
        self.per_call(&self.counts.answered_before)
    }

    /// Whether it is about modern callers, who have no session that could be looked up.
    pub(super) fn is_modern(&self) -> bool {
        self.what.starts_with("modern")
    }

    /// Requests to Durable Objects, for each call.
    pub(super) fn objects(&self) -> f64 {
        self.per_call(&self.counts.objects)
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let Counts { calls, begun_before, answered_before, objects, documents } = &self.counts;
        let (before, objects_per_call) = (self.before(), self.objects());
        let tallies = [answered_before, begun_before, objects, documents].map(by_binding);
        let [answered, begun, objects, documents] = tallies;
        format!(
            "{}: {calls} calls, {} at a time: round trips before upstream {before:.4} a call ({answered}); begun before it: \
             {begun}; Durable Objects, all in, {objects_per_call:.4} a call ({objects}); documents: {documents}",
            self.what, self.connections,
        )
    }

    fn per_call(&self, tally: &BTreeMap<String, u64>) -> f64 {
        tally.values().sum::<u64>() as f64 / self.counts.calls.max(1) as f64
    }
}

/// What is counted: a call in a legacy session, a modern one, and a modern one at the endpoint of all servers.
pub(super) const COURSES: [Course; 3] = [
    Course { title: "legacy", ..Course::legacy(Way::Counted, Upstream::Json { delay_ms: 0 }) },
    Course::modern("modern", Way::Counted, Asked::Call),
    Course::modern("modern, /mcp", Way::Counted, Asked::CallOfAll),
];

/// Makes warm calls, one after the other and some at a time, and gives what they asked of storage.
///
/// # Errors
/// If a call is not answered as it should be, or is not found among the counted.
pub(super) async fn count(
    setting: &Setting,
    courses: impl Iterator<Item = Course>,
    effort: Effort,
    step: &mut Step,
) -> Result<Vec<Trips>> {
    let mut trips = Vec::new();
    for course in courses {
        let target = setting.target(course)?;
        let mut callers = setting::callers(&target, WIDEST).await?;
        for connections in CONNECTIONS {
            step.note(&format!("{}: {} calls, {connections} at a time", course.title, effort.counted));
            let counts = drive(&target, &mut callers, connections, effort.counted).await?;
            trips.push(Trips { what: course.title, connections, counts });
        }
    }
    Ok(trips)
}

async fn drive(target: &Target, callers: &mut [Caller], connections: usize, calls: u64) -> Result<Counts> {
    // After a rest, or when suddenly more is asked for, leases do not cover what comes: that is not yet warm.
    load::round(target, callers.iter_mut().take(connections), calls / 2).await?;
    let url = format!("http://{}/counts", target.address);
    let http = reqwest::Client::builder().no_proxy().build()?;
    http.delete(&url).send().await?.error_for_status()?;
    let sample = load::round(target, callers.iter_mut().take(connections), calls).await?;
    tokio::time::sleep(SETTLE).await;
    let counts = http.get(&url).send().await?.error_for_status()?.json::<Counts>().await;
    let counts = counts.context("the counting Worker does not tell")?;
    let (made, found) = (sample.latency.len(), counts.calls);
    ensure!(made == found, "{made} calls were made, but {found} were seen on their way upstream");
    Ok(counts)
}

fn by_binding(tally: &BTreeMap<String, u64>) -> String {
    if tally.is_empty() {
        return "none".to_owned();
    }
    let parts: Vec<_> = tally.iter().map(|(binding, count)| format!("{binding} {count}")).collect();
    parts.join(", ")
}

const CONNECTIONS: [usize; 2] = [1, WIDEST];
const WIDEST: usize = 16;
/// The gateway gathers outcomes for at most a second, and settles with its ledgers in the next.
const SETTLE: Duration = Duration::from_millis(2_500);
