//! What does the gateway add to a call, beside what any Worker adds?
//!
//! One run, one machine, one upstream: each call is made directly, through a bare pass-through
//! Worker, and through the gateway on the same workerd. The rounds alternate, so that a machine
//! that grows slower does so for all.

mod cpu;
mod decide;
mod load;
mod measure;
mod module;
mod policed;
mod report;
mod rows;
mod setting;
mod timing;
mod trips;
mod upstream;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};

use crate::{artifacts, progress::Step, tools, workspace::Workspace};

use self::{
    measure::{Effort, Figures},
    module::ModuleSize,
    report::Report,
    setting::Setting,
    timing::Timing,
    trips::Trips,
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fewer calls: some minutes instead of half an hour, and noisier
    #[arg(long)]
    quick: bool,
    /// Where to write the figures, besides target/bench.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the Worker that was built into this folder, and build none
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// Measure this part alone; may be said several times
    #[arg(long = "only", value_name = "PART", value_parser = PARTS)]
    parts: Vec<String>,
    /// Measure only the rows whose title contains this, beside the direct one and the bare Worker
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    async fn timings(&self, workspace: &Workspace) -> Result<[Vec<Timing>; 2]> {
        let decisions = if self.wants(DECISIONS) { decide::measure(workspace).await? } else { Vec::new() };
        let translations = match self.wants(TRANSLATIONS) {
            true => timing::of_example(workspace, "bridge", "translate").await?,
            false => Vec::new(),
        };
        Ok([decisions, translations])
    }

    /// What takes a Worker, if any of it is wanted.
    async fn hosted(&self, workspace: &Workspace) -> Result<Hosted> {
        let groups = self.groups();
        if groups.is_empty() && !self.wants(STORAGE) {
            return Ok(Hosted::default());
        }
        let modules = match &self.modules {
            Some(folder) => folder.canonicalize().with_context(|| format!("no Worker in `{}`", folder.display()))?,
            None => artifacts::worker(workspace, artifacts::Build::Gateway).await?,
        };
        let mut hosted = Hosted { module: Some(module::measure(&modules)?), ..Hosted::default() };
        let effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        let setting = Setting::start(workspace, modules).await?;
        if self.wants(STORAGE) {
            let mut step = Step::begin("requests to storage");
            let courses = trips::COURSES.into_iter().filter(|course| self.wants_row(course));
            hosted.trips = trips::count(&setting, courses, effort, &mut step).await?;
            step.done();
        }
        for group in groups {
            let mut step = Step::begin(group.title);
            hosted.groups.push(measure::group(&setting, &group, effort, &mut step).await?);
            step.done();
        }
        Ok(hosted)
    }

    fn groups(&self) -> Vec<rows::Group> {
        let mut groups: Vec<_> = rows::groups().into_iter().filter(|group| self.wants(group.name)).collect();
        groups
            .iter_mut()
            .for_each(|group| group.courses.retain(|course| course.is_measure() || self.wants_row(course)));
        groups
    }

    fn wants_row(&self, course: &rows::Course) -> bool {
        self.row.as_ref().is_none_or(|text| course.title.contains(text.as_str()))
    }
}

/// What was measured on workerd.
#[derive(Default)]
struct Hosted {
    groups: Vec<Figures>,
    trips: Vec<Trips>,
    module: Option<ModuleSize>,
}

/// Sets up, measures, prints the table and writes the figures. Slow figures are no failure; a modern call that waits for
/// storage is.
///
/// # Errors
/// If something does not start, or a call is not answered as it should be.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    tools::set_up(workspace).await?;
    let [decisions, translations] = options.timings(workspace).await?;
    let Hosted { groups, trips, module } = options.hosted(workspace).await?;
    let report = Report { groups, trips, decisions, translations, module };
    println!("{report}");
    let json = serde_json::to_string_pretty(&report.json())?;
    for file in [Some(workspace.target.join("bench.json")), options.json.clone()].into_iter().flatten() {
        fs::write(&file, &json).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    if report.modern_trips().is_some_and(|trips| trips > 0.0) {
        eprintln!("a modern call waited for storage before it went upstream");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What can be measured by itself: the groups of rows, and what is no row.
const PARTS: [&str; 9] = ["json0", "json5", "json50", "sse", "eras", "lists", STORAGE, DECISIONS, TRANSLATIONS];
const STORAGE: &str = "storage";
const DECISIONS: &str = "decisions";
const TRANSLATIONS: &str = "translations";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_can_be_measured_by_itself() {
        let names: Vec<_> = rows::groups().iter().map(|group| group.name).collect();
        assert_eq!(names, PARTS[..names.len()]);
    }
}
