//! What does the gateway add to a call, beside what its platform adds?
//!
//! One run, one machine, one upstream: each call is made directly, through a bare pass-through,
//! and through the gateway on the same runtime. The rounds alternate, so that a machine that
//! grows slower does so for all.

mod cold;
mod cpu;
mod decide;
mod goals;
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

use anyhow::{Context, Result, ensure};

use crate::{artifacts, platform::Platform, progress::Step, tools, workspace::Workspace};

use self::{
    cold::Cold,
    measure::{Effort, Figures},
    module::ModuleSize,
    report::Report,
    setting::Setting,
    timing::Timing,
    trips::Trips,
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the gateway runs on
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// Fewer calls: some minutes instead of half an hour, and noisier
    #[arg(long)]
    quick: bool,
    /// Where to write the figures, besides target/bench.json or target/bench-spin.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the Worker that was built into this folder, or the component in this file, and build none
    #[arg(long, value_name = "PATH")]
    modules: Option<PathBuf>,
    /// Measure this part alone; may be said several times. On Workers: json0, json5, json50, sse, eras, lists, storage,
    /// decisions, translations; on Spin: json0, json5, sse, modern, starts
    #[arg(long = "only", value_name = "PART")]
    parts: Vec<String>,
    /// Measure only the rows whose title contains this, beside the direct one and the bare pass-through
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    fn check_parts(&self) -> Result<()> {
        let known = parts(self.platform);
        let unknown = self.parts.iter().find(|part| !known.contains(&part.as_str()));
        let name = self.platform.name();
        ensure!(
            unknown.is_none(),
            "there is no `{}` to measure on {name}: {}",
            unknown.map_or("", String::as_str),
            known.join(", ")
        );
        Ok(())
    }

    /// What is the same on every platform is measured once, on the first.
    async fn timings(&self, workspace: &Workspace) -> Result<[Vec<Timing>; 2]> {
        let wants = |part| self.platform == Platform::Workers && self.wants(part);
        let decisions = if wants(DECISIONS) { decide::measure(workspace).await? } else { Vec::new() };
        let translations = match wants(TRANSLATIONS) {
            true => timing::of_example(workspace, "bridge", "translate").await?,
            false => Vec::new(),
        };
        Ok([decisions, translations])
    }

    /// What takes a gateway, if any of it is wanted.
    async fn hosted(&self, workspace: &Workspace) -> Result<Hosted> {
        let groups = self.groups();
        let special = special(self.platform);
        if groups.is_empty() && !self.wants(special) {
            return Ok(Hosted::default());
        }
        let built = match &self.modules {
            Some(path) => path.canonicalize().with_context(|| format!("there is no `{}`", path.display()))?,
            None => artifacts::gateway(workspace, self.platform).await?,
        };
        let mut hosted = Hosted { module: Some(module::measure(&built)?), ..Hosted::default() };
        let effort = if self.quick { Effort::QUICK } else { Effort::FULL };
        let setting = Setting::start(workspace, self.platform, &built).await?;
        if self.wants(special) {
            let mut step = Step::begin(special);
            match self.platform {
                Platform::Workers => {
                    let courses = trips::COURSES.into_iter().filter(|course| self.wants_row(course));
                    hosted.trips = trips::count(&setting, courses, effort, &mut step).await?;
                }
                Platform::Spin => hosted.colds = cold::measure(&setting, effort, &mut step).await?,
            }
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
        let mut groups: Vec<_> =
            rows::groups(self.platform).into_iter().filter(|group| self.wants(group.name)).collect();
        groups
            .iter_mut()
            .for_each(|group| group.courses.retain(|course| course.is_measure() || self.wants_row(course)));
        groups
    }

    fn wants_row(&self, course: &rows::Course) -> bool {
        self.row.as_ref().is_none_or(|text| course.title.contains(text.as_str()))
    }
}

/// What was measured on the runtime.
#[derive(Default)]
struct Hosted {
    groups: Vec<Figures>,
    trips: Vec<Trips>,
    colds: Vec<Cold>,
    module: Option<ModuleSize>,
}

/// Sets up, measures, prints the table and writes the figures. Slow figures are no failure; a modern call that waits for
/// storage is.
///
/// # Errors
/// If something does not start, or a call is not answered as it should be.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let platform = options.platform;
    options.check_parts()?;
    tools::set_up(workspace, platform).await?;
    let [decisions, translations] = options.timings(workspace).await?;
    let Hosted { groups, trips, colds, module } = options.hosted(workspace).await?;
    let report = Report { platform, groups, trips, colds, decisions, translations, module };
    println!("{report}");
    let json = serde_json::to_string_pretty(&report.json())?;
    let file = match platform {
        Platform::Workers => "bench.json",
        Platform::Spin => "bench-spin.json",
    };
    for file in [Some(workspace.target.join(file)), options.json.clone()].into_iter().flatten() {
        fs::write(&file, &json).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    if report.modern_trips().is_some_and(|trips| trips > 0.0) {
        eprintln!("a modern call waited for storage before it went upstream");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What can be measured by itself: the groups of rows, and what is no row.
fn parts(platform: Platform) -> Vec<&'static str> {
    let groups = rows::groups(platform).into_iter().map(|group| group.name);
    let others: &[&str] = match platform {
        Platform::Workers => &[STORAGE, DECISIONS, TRANSLATIONS],
        Platform::Spin => &[STARTS],
    };
    groups.chain(others.iter().copied()).collect()
}

/// What is measured of the running gateway beside its rows.
fn special(platform: Platform) -> &'static str {
    match platform {
        Platform::Workers => STORAGE,
        Platform::Spin => STARTS,
    }
}

const STORAGE: &str = "storage";
const STARTS: &str = "starts";
const DECISIONS: &str = "decisions";
const TRANSLATIONS: &str = "translations";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_names_every_part() {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            _options: Options,
        }
        let help = Alone::command().render_help().to_string();
        for part in [parts(Platform::Workers), parts(Platform::Spin)].concat() {
            assert!(help.contains(part), "`{part}` is not in:\n{help}");
        }
    }
}
