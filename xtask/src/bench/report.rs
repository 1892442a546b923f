//! What do the figures say?

use std::fmt;

use serde_json::{Value, json};

use super::{
    decide::Timing,
    measure::{CONNECTIONS, Figures, Row},
    module::ModuleSize,
    rows::Way,
    trips::Trips,
    upstream::Upstream,
};

/// All figures of a run; displayed as tables.
pub(super) struct Report {
    pub(super) groups: Vec<Figures>,
    pub(super) trips: Vec<Trips>,
    pub(super) decisions: Vec<Timing>,
    pub(super) module: ModuleSize,
}

impl Report {
    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let rows = self.groups.iter().flat_map(|group| group.rows.iter().map(|row| json_row(group, row)));
        let goals = self.goals().into_iter().map(
            |goal| json!({ "goal": goal.name, "value": goal.value, "at_most": goal.at_most, "met": goal.is_met() }),
        );
        json!({
            "processors": processors(),
            "note": NOTE,
            "module": { "plain_bytes": self.module.plain_bytes, "gzip_bytes": self.module.gzip_bytes },
            "rows": rows.collect::<Vec<_>>(),
            "storage": &self.trips,
            "decisions": &self.decisions,
            "goals": goals.collect::<Vec<_>>(),
        })
    }

    fn goals(&self) -> Vec<Goal> {
        let ratio = |upstream, way| {
            let group = self.groups.iter().find(|group| group.upstream == upstream)?;
            ratio(group, group.rows.iter().find(|row| row.way == way)?)
        };
        let (prompt, slow) = (Upstream::Json { delay_ms: 0 }, Upstream::Json { delay_ms: 5 });
        let dearest = |of: fn(&Trips) -> f64| self.trips.iter().map(of).reduce(f64::max);
        let whole = self.decisions.iter().filter(|timing| timing.is_whole_decision());
        let decision = whole.map(|timing| timing.median_us).reduce(f64::max);
        let mebibytes = self.module.gzip_bytes as f64 / f64::from(1 << 20);
        let goal = |name, value, at_most| Goal { name, value, at_most };
        vec![
            goal("relaxed adds, times the bare Worker", ratio(prompt, Way::Relaxed), 1.6),
            goal(
                "relaxed with policies and two limits adds, times the bare Worker",
                ratio(prompt, Way::RelaxedPoliced),
                1.6,
            ),
            goal("strict adds at a 5 ms upstream, times the bare Worker", ratio(slow, Way::Strict), 1.6),
            goal(
                "strict with them adds at a 5 ms upstream, times the bare Worker",
                ratio(slow, Way::StrictPoliced),
                1.6,
            ),
            goal("storage round trips before upstream, warm, per call", dearest(Trips::before), 0.0),
            goal("Durable Object requests per call, all in", dearest(Trips::objects), 1.1),
            goal("a decision with 100 policies in WebAssembly, nothing remembered, µs", decision, 100.0),
            goal("module, MiB gzip", Some(mebibytes), 1.0),
            goal("module, MiB gzip: the hard limit", Some(mebibytes), 3.0),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            write_group(f, group)?;
        }
        let ModuleSize { plain_bytes, gzip_bytes } = self.module;
        writeln!(f, "\nrequests to storage, {}, warm:", Way::StrictPoliced.title())?;
        for trips in &self.trips {
            writeln!(f, "  {}", trips.line())?;
        }
        writeln!(f, "\ndecisions in WebAssembly, medians:")?;
        for Timing { policies, what, median_us } in &self.decisions {
            writeln!(f, "  {policies:56} {what:24}{median_us:>9.2} µs")?;
        }
        writeln!(f, "\nmodule: {plain_bytes} bytes, {gzip_bytes} gzip\n")?;
        for goal in self.goals() {
            writeln!(f, "{goal}")?;
        }
        write!(f, "\n{NOTE} This machine has {}.", processors())
    }
}

struct Goal {
    name: &'static str,
    /// Absent: not to be told from this run.
    value: Option<f64>,
    at_most: f64,
}

impl Goal {
    fn is_met(&self) -> bool {
        self.value.is_some_and(|value| value <= self.at_most)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_met() { '✓' } else { '✗' };
        let precision = if self.value.is_some_and(|value| value < 0.1) { 4 } else { 2 };
        let value = self.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.precision$}"));
        write!(f, " {sign} {}: {value} (at most {})", self.name, self.at_most)
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, group: &Figures) -> fmt::Result {
    writeln!(f, "\nupstream: {}", group.upstream.title())?;
    write!(f, "{:40}", "connections")?;
    for connections in CONNECTIONS {
        write!(f, " |{connections:>7}: p50     p99  calls/s")?;
    }
    writeln!(f, " | CPU/call at 1, 64 |   adds  × bare")?;
    for row in &group.rows {
        write_row(f, group, row)?;
    }
    Ok(())
}

fn write_row(f: &mut fmt::Formatter<'_>, group: &Figures, row: &Row) -> fmt::Result {
    write!(f, "{:40}", row.way.title())?;
    for spread in &row.spreads {
        let (p50, p99) = (spread.quantile(0.5), spread.quantile(0.99));
        write!(f, " |{p50:>9.2} ms{p99:>8.2} {:>8.0}", spread.calls_per_second())?;
    }
    match processor(row) {
        Some((one, wide)) => write!(f, " |{one:>8.0} µs{wide:>5.0} µs")?,
        None => write!(f, " |{:>18}", "")?,
    }
    match adds(group, row) {
        Some(adds) => write!(f, " |{adds:>7.3}")?,
        None => write!(f, " |{:>7}", "")?,
    }
    match ratio(group, row) {
        Some(ratio) => writeln!(f, "{ratio:>8.2}"),
        None => writeln!(f),
    }
}

fn json_row(group: &Figures, row: &Row) -> Value {
    let connections = row.spreads.iter().map(|spread| {
        json!({
            "connections": spread.connections,
            "p50_ms": spread.quantile(0.5),
            "p99_ms": spread.quantile(0.99),
            "calls_per_second": spread.calls_per_second(),
            "workerd_cpu_us_per_call": spread.processor_per_call(),
        })
    });
    json!({
        "upstream": group.upstream.name(),
        "way": row.way.title(),
        "at": connections.collect::<Vec<_>>(),
        "adds_p50_ms": adds(group, row),
        "adds_times_bare": ratio(group, row),
    })
}

/// What a way adds to the direct one at one connection, in milliseconds: the median, over the
/// rounds, of the difference between their medians.
fn adds(group: &Figures, row: &Row) -> Option<f64> {
    let (direct, own) = (group.rows.first()?.spreads.first()?, row.spreads.first()?);
    let mut differences: Vec<f64> = own.medians.iter().zip(&direct.medians).map(|(own, direct)| own - direct).collect();
    differences.sort_by(f64::total_cmp);
    differences.get(differences.len() / 2).copied().filter(|_| row.way != Way::Direct)
}

/// How many times as much a way adds as the bare Worker.
fn ratio(group: &Figures, row: &Row) -> Option<f64> {
    let bare = group.rows.iter().find(|row| row.way == Way::Bare)?;
    let ratio = adds(group, row)? / adds(group, bare)?;
    (ratio.is_finite() && row.way > Way::Bare).then_some(ratio)
}

/// Workerd's time per call, narrow and wide.
fn processor(row: &Row) -> Option<(f64, f64)> {
    let (one, wide) = (row.spreads.first()?, row.spreads.last()?);
    one.processor_per_call().zip(wide.processor_per_call())
}

fn processors() -> String {
    std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |count| format!("{count} processors"))
}

const NOTE: &str = "Callers, upstream and workerd share the processors: calls per second at 16 and 64 \
                    connections measure all of them together. CPU/call is workerd's alone, the work after the answer included.";
