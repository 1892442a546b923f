//! What do the figures say?

use std::fmt;

use serde_json::{Value, json};

use crate::platform::Platform;

use super::{
    cold::Cold,
    goals,
    measure::{CONNECTIONS, Figures, Row},
    module::ModuleSize,
    rows::Way,
    timing::Timing,
    trips::Trips,
};

/// All figures of a run; displayed as tables.
pub(super) struct Report {
    pub(super) platform: Platform,
    pub(super) groups: Vec<Figures>,
    pub(super) trips: Vec<Trips>,
    pub(super) colds: Vec<Cold>,
    pub(super) decisions: Vec<Timing>,
    pub(super) translations: Vec<Timing>,
    /// Absent where no gateway was needed.
    pub(super) module: Option<ModuleSize>,
}

impl Report {
    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let rows = self.groups.iter().flat_map(|group| group.rows.iter().map(|row| json_row(group, row)));
        let goals = goals::of(self).into_iter().map(
            |goal| json!({ "goal": goal.name, "value": goal.value, "at_most": goal.at_most, "met": goal.is_met() }),
        );
        json!({
            "processors": processors(),
            "platform": self.platform.name(),
            "note": note(self.platform),
            "module": self.module.map(|size| json!({ "plain_bytes": size.plain_bytes, "gzip_bytes": size.gzip_bytes })),
            "rows": rows.collect::<Vec<_>>(),
            "storage": &self.trips,
            "starts": &self.colds,
            "decisions": &self.decisions,
            "translations": &self.translations,
            "goals": goals.collect::<Vec<_>>(),
        })
    }

    /// Round trips to storage before the upstream is called, for each call of a modern caller; at worst.
    pub(super) fn modern_trips(&self) -> Option<f64> {
        self.trips.iter().filter(|trips| trips.is_modern()).map(Trips::before).reduce(f64::max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            write_group(f, group)?;
        }
        if !self.trips.is_empty() {
            writeln!(f, "\nrequests to storage, {}, warm:", Way::StrictPoliced.title())?;
        }
        for trips in &self.trips {
            writeln!(f, "  {}", trips.line())?;
        }
        if !self.colds.is_empty() {
            writeln!(f, "\na modern call that starts an instance, and those that follow, medians:")?;
        }
        for cold in &self.colds {
            writeln!(f, "  {}", cold.line())?;
        }
        write_timings(f, "decisions", &self.decisions)?;
        write_timings(f, "translations", &self.translations)?;
        if let Some(ModuleSize { plain_bytes, gzip_bytes }) = self.module {
            writeln!(f, "\nmodule: {plain_bytes} bytes, {gzip_bytes} gzip")?;
        }
        writeln!(f)?;
        for goal in goals::of(self) {
            writeln!(f, "{goal}")?;
        }
        write!(f, "\n{} This machine has {}.", note(self.platform), processors())
    }
}

fn write_timings(f: &mut fmt::Formatter<'_>, title: &str, timings: &[Timing]) -> fmt::Result {
    if !timings.is_empty() {
        writeln!(f, "\n{title} in WebAssembly, medians:")?;
    }
    for Timing { of, what, median_us } in timings {
        writeln!(f, "  {of:56} {what:32}{median_us:>9.2} µs")?;
    }
    Ok(())
}

fn write_group(f: &mut fmt::Formatter<'_>, group: &Figures) -> fmt::Result {
    writeln!(f, "\n{}", group.title)?;
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
    write!(f, "{:40}", row.course.title)?;
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
            "cpu_us_per_call": spread.processor_per_call(),
        })
    });
    json!({
        "group": group.name,
        "upstream": row.course.upstream.name(),
        "way": row.course.title,
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
    differences.get(differences.len() / 2).copied().filter(|_| row.course.way != Way::Direct)
}

/// How many times as much a way adds as the bare pass-through.
pub(super) fn ratio(group: &Figures, row: &Row) -> Option<f64> {
    let bare = group.rows.iter().find(|row| row.course.way == Way::Bare)?;
    let ratio = adds(group, row)? / adds(group, bare)?;
    (ratio.is_finite() && row.course.way > Way::Bare).then_some(ratio)
}

/// The runtime's time per call, narrow and wide.
fn processor(row: &Row) -> Option<(f64, f64)> {
    let (one, wide) = (row.spreads.first()?, row.spreads.last()?);
    one.processor_per_call().zip(wide.processor_per_call())
}

fn processors() -> String {
    std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |count| format!("{count} processors"))
}

fn note(platform: Platform) -> String {
    let runtime = match platform {
        Platform::Workers => "workerd",
        Platform::Spin => "the host",
    };
    format!(
        "Callers, upstream and {runtime} share the processors: calls per second at 16 and 64 connections measure all of \
         them together. CPU/call is that of {runtime} alone, the work after the answer included."
    )
}
