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
mod trips;
mod upstream;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};

use crate::{artifacts, progress::Step, tools, workspace::Workspace};

use self::{measure::Effort, report::Report, rows::Group, setting::Setting};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fewer calls: some minutes instead of a quarter of an hour, and noisier
    #[arg(long)]
    quick: bool,
    /// Where to write the figures, besides target/bench.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the Worker that was built into this folder, and build none
    #[arg(long, value_name = "FOLDER")]
    modules: Option<PathBuf>,
    /// Compare times with these upstreams alone; may be said several times
    #[arg(long = "upstream", value_name = "NAME", value_parser = ["json0", "json5", "json50", "sse"])]
    upstreams: Vec<String>,
}

impl Options {
    fn wants(&self, group: &Group) -> bool {
        self.upstreams.is_empty() || self.upstreams.contains(&group.upstream.name())
    }
}

/// Sets up, measures, prints the table and writes the figures. Slow figures are no failure.
///
/// # Errors
/// If something does not start, or a call is not answered as it should be.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    tools::set_up(workspace).await?;
    let modules = match &options.modules {
        Some(folder) => folder.canonicalize().with_context(|| format!("no Worker in `{}`", folder.display()))?,
        None => artifacts::worker(workspace, artifacts::Build::Gateway).await?,
    };
    let decisions = decide::measure(workspace).await?;
    let module = module::measure(&modules)?;
    let setting = Setting::start(workspace, modules).await?;
    let mut step = Step::begin("requests to storage");
    let trips = trips::count(&setting, &mut step).await?;
    step.done();
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let mut groups = Vec::new();
    for group in rows::groups().into_iter().filter(|group| options.wants(group)) {
        let mut step = Step::begin(&format!("upstream: {}", group.upstream.title()));
        groups.push(measure::group(&setting, &group, effort, &mut step).await?);
        step.done();
    }
    let report = Report { groups, trips, decisions, module };
    println!("{report}");
    let json = serde_json::to_string_pretty(&report.json())?;
    for file in [Some(workspace.target.join("bench.json")), options.json.clone()].into_iter().flatten() {
        fs::write(&file, &json).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
