//! What do the figures say?

use std::fmt;

use serde_json::{Value, json};

use super::{
    measure::{CONNECTIONS, Figures, Row},
    module::ModuleSize,
    rows::Way,
    upstream::Upstream,
};

/// All figures of a run; displayed as tables.
pub(super) struct Report {
    groups: Vec<Figures>,
    module: ModuleSize,
}

impl Report {
    pub(super) fn new(groups: Vec<Figures>, module: ModuleSize) -> Self {
        Self { groups, module }
    }

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
            "goals": goals.collect::<Vec<_>>(),
        })
    }

    fn goals(&self) -> Vec<Goal> {
        let ratio = |upstream, way| {
            let group = self.groups.iter().find(|group| group.upstream == upstream)?;
            ratio(group, group.rows.iter().find(|row| row.way == way)?)
        };
        let relaxed = ratio(Upstream::Json { delay_ms: 0 }, Way::Relaxed);
        let strict = ratio(Upstream::Json { delay_ms: 5 }, Way::Strict);
        let mebibytes = self.module.gzip_bytes as f64 / f64::from(1 << 20);
        vec![
            Goal { name: "relaxed adds, times the bare Worker", value: relaxed, at_most: 1.6 },
            Goal { name: "strict adds at a 5 ms upstream, times the bare Worker", value: strict, at_most: 1.6 },
            Goal { name: "module, MiB gzip", value: Some(mebibytes), at_most: 1.0 },
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            write_group(f, group)?;
        }
        let ModuleSize { plain_bytes, gzip_bytes } = self.module;
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
        let value = self.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.2}"));
        write!(f, " {sign} {}: {value} (at most {})", self.name, self.at_most)
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, group: &Figures) -> fmt::Result {
    writeln!(f, "\nupstream: {}", group.upstream.title())?;
    write!(f, "{:24}", "connections")?;
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
    write!(f, "{:24}", row.way.title())?;
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
