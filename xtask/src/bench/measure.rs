//! How is a group of courses measured so that the figures can be compared?

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::progress::Step;

use super::{
    cpu,
    load::{self, Caller, Target},
    rows::{Course, Group, Way},
    setting::{self, Setting},
    upstream::Upstream,
};

/// Measures all courses of a group in short alternating rounds, then the processor time of each.
///
/// # Errors
/// If a call is not answered as it should be.
pub(super) async fn group(setting: &Setting, group: &Group, effort: Effort, step: &mut Step) -> Result<Figures> {
    let mut lanes = Vec::new();
    for course in &group.courses {
        step.note(&format!("warming up: {}", course.title));
        lanes.push(Lane::begin(setting, *course, effort).await?);
    }
    for round in 0..effort.rounds {
        step.note(&format!("round {} of {}", round + 1, effort.rounds));
        for index in 0..CONNECTIONS.len() {
            // Who goes first changes, so that nobody always follows the same neighbour.
            let count = lanes.len();
            for turn in 0..count {
                if let Some(lane) = lanes.get_mut((turn + round) % count) {
                    lane.call(index).await?;
                }
            }
        }
    }
    let is_weighed = |course: &Course| course.upstream.is_prompt() && course.way != Way::Direct;
    for lane in lanes.iter_mut().filter(|lane| is_weighed(&lane.row.course)) {
        step.note(&format!("processor time: {}", lane.row.course.title));
        lane.weigh(setting, effort).await?;
    }
    let rows = lanes.into_iter().map(|lane| lane.row).collect();
    Ok(Figures { name: group.name, title: group.title, rows })
}

/// What was measured in one group.
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: Vec<Row>,
}

/// What was measured on one course.
pub(super) struct Row {
    pub(super) course: Course,
    /// As many as `CONNECTIONS`, in that order.
    pub(super) spreads: Vec<Spread>,
}

/// What was measured on one course at one number of connections, all rounds together.
pub(super) struct Spread {
    pub(super) connections: usize,
    /// The median of each round, in milliseconds: the courses are compared round by round.
    pub(super) medians: Vec<f64>,
    latency: Histogram<u64>,
    calling: Duration,
    processor_per_call: Option<Duration>,
}

impl Spread {
    fn new(connections: usize) -> Result<Self> {
        let latency = load::empty_histogram()?;
        let calling = Duration::ZERO;
        Ok(Self { connections, medians: Vec::new(), latency, calling, processor_per_call: None })
    }

    /// In milliseconds.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        milliseconds(&self.latency, quantile)
    }

    pub(super) fn calls_per_second(&self) -> f64 {
        self.latency.len() as f64 / self.calling.as_secs_f64()
    }

    /// Of the runtime, in microseconds, where it was measured.
    pub(super) fn processor_per_call(&self) -> Option<f64> {
        self.processor_per_call.map(|time| time.as_secs_f64() * 1e6)
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    rounds: usize,
    /// Calls before the first round. V8 optimises a WebAssembly function only once it was called some thousand times.
    warming: u64,
    /// In how many rounds' worth of calls the processor time is measured.
    weighing: u64,
    /// Of how many calls the requests to storage are counted; half as many go before.
    pub(super) counted: u64,
    /// How often an instance is made to start.
    pub(super) starts: usize,
}

impl Effort {
    pub(super) const QUICK: Self = Self { rounds: 10, warming: 5_000, weighing: 4, counted: 800, starts: 8 };
    pub(super) const FULL: Self = Self { rounds: 40, warming: 20_000, weighing: 10, counted: 3_200, starts: 30 };
}

/// A course, those who call on it, and what they found.
struct Lane {
    target: Target,
    callers: Vec<Caller>,
    row: Row,
}

impl Lane {
    async fn begin(setting: &Setting, course: Course, effort: Effort) -> Result<Self> {
        let target = setting.target(course)?;
        let mut callers = setting::callers(&target, WIDEST).await?;
        let is_prompt = course.upstream.is_prompt();
        let warming = if is_prompt { effort.warming } else { calls(course.upstream, WIDEST) };
        load::round(&target, callers.iter_mut(), warming).await?;
        let spreads = CONNECTIONS.map(Spread::new).into_iter().collect::<Result<_>>()?;
        Ok(Self { target, callers, row: Row { course, spreads } })
    }

    async fn call(&mut self, index: usize) -> Result<()> {
        let Some(spread) = self.row.spreads.get_mut(index) else { return Ok(()) };
        let callers = self.callers.iter_mut().take(spread.connections);
        let calls = calls(self.row.course.upstream, spread.connections);
        let sample = load::round(&self.target, callers, calls).await?;
        spread.medians.push(milliseconds(&sample.latency, 0.5));
        spread.calling += sample.elapsed;
        spread.latency.add(sample.latency)?;
        Ok(())
    }

    /// What the gateway does after its answers belongs to the calls, so the end of that is awaited.
    async fn weigh(&mut self, setting: &Setting, effort: Effort) -> Result<()> {
        let Some(process) = setting.process(self.row.course.way) else { return Ok(()) };
        tokio::time::sleep(SETTLE).await;
        let upstream = self.row.course.upstream;
        for spread in self.row.spreads.iter_mut().filter(|spread| WEIGHED.contains(&spread.connections)) {
            let before = cpu::used(process)?;
            let calls = calls(upstream, spread.connections) * effort.weighing;
            let callers = self.callers.iter_mut().take(spread.connections);
            let sample = load::round(&self.target, callers, calls).await?;
            tokio::time::sleep(SETTLE).await;
            let used = cpu::used(process)?.saturating_sub(before);
            spread.processor_per_call = Some(used.div_f64(sample.latency.len() as f64));
        }
        Ok(())
    }
}

/// The calls of a round: few, so that a round takes a tenth of a second or two.
fn calls(upstream: Upstream, connections: usize) -> u64 {
    let (one, each) = match upstream {
        Upstream::Json { delay_ms: 50.. } => (4, 3),
        Upstream::Json { delay_ms: 1.. } => (25, 8),
        _ => (150, 8),
    };
    if connections == 1 { one } else { each * connections as u64 }
}

/// The time that so many calls took at most.
pub(super) fn milliseconds(latency: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_nanos(latency.value_at_quantile(quantile)).as_secs_f64() * 1e3
}

pub(super) const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Where the processor time is measured too.
const WEIGHED: [usize; 2] = [1, 64];
const WIDEST: usize = 64;
/// The gateway gathers outcomes for at most a second.
const SETTLE: Duration = Duration::from_millis(1_200);
