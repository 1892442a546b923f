//! Does the official conformance suite see through the gateway what it sees without it, whichever era either side speaks?
//!
//! Four quadrants: a caller of either era, a server of either era. Each is compared with the direct run of a fixture
//! that speaks the suite's era; what cannot be reached is named, with its reason, in `tests/conformance`.

mod expected;
mod quadrant;
mod results;
mod table;
mod verdict;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{
    command::Command,
    configuration::Configuration,
    host::Busy,
    markdown,
    platform::Platform,
    processes::Processes,
    stack::{self, Plan, Stack, Subject},
    tools,
    workspace::Workspace,
};

pub(crate) use self::{quadrant::Quadrant, table::Table};

use self::{expected::Expected, quadrant::Era, results::Run, verdict::Verdict};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the gateway runs on
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// Only this quadrant (caller-server); may be said several times
    #[arg(long, value_enum, value_name = "CALLER-SERVER")]
    quadrant: Vec<Quadrant>,
    /// Only this scenario, with everything its checks say
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Put the table into tests/README.md
    #[arg(long, conflicts_with_all = ["quadrant", "scenario"])]
    write: bool,
}

/// Sets up, runs the suite in the quadrants that were asked for, and prints the table.
///
/// # Errors
/// If anything cannot be started; what deviates is counted by the exit code instead.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let platform = options.platform;
    tools::set_up(workspace, platform).await?;
    let mut setting = Setting::start(workspace, &[platform], options.scenario.clone()).await?;
    let quadrants: &[Quadrant] =
        if options.quadrant.is_empty() { Quadrant::value_variants() } else { &options.quadrant };
    let mut problems = Vec::new();
    for quadrant in quadrants {
        if let Err(error) = setting.judge(platform, *quadrant).await {
            problems.push(format!("{quadrant}: {error:#}"));
        }
    }
    let table = setting.table(platform);
    println!("\n{table}");
    if options.write {
        let command = match platform {
            Platform::Workers => "cargo xtask conformance --write",
            Platform::Spin => "cargo xtask conformance --platform spin --write",
        };
        markdown::write(&workspace.root.join("tests/README.md"), command, &table.to_string())?;
    }
    for problem in &problems {
        println!("\n✗ {problem}");
    }
    println!("\nevery check, with what was sent and received: {}", setting.folder.display());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The fixtures, a gateway on each platform in front of them, and what the suite has seen so far.
pub(crate) struct Setting<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
    scenario: Option<String>,
    /// The fixtures' own endpoints.
    fixtures: BTreeMap<Era, String>,
    /// The suite's runs against a fixture of its era, without a gateway.
    direct: BTreeMap<Era, Run>,
    verdicts: BTreeMap<Platform, BTreeMap<Quadrant, Verdict>>,
    gateways: BTreeMap<Platform, Stack>,
    _processes: Processes,
}

impl<'a> Setting<'a> {
    /// Starts a fixture of each era, and gateways with a server for each.
    ///
    /// # Errors
    /// If one does not start.
    pub(crate) async fn start(
        workspace: &'a Workspace,
        platforms: &[Platform],
        scenario: Option<String>,
    ) -> Result<Self> {
        let folder = workspace.folder("conformance")?;
        let mut processes = Processes::default();
        let mut fixtures = BTreeMap::new();
        let mut servers = String::new();
        for era in Era::ALL {
            let url = stack::fixture_with(workspace, &mut processes, era.server_name(), &["--era", era.name()]).await?;
            servers += &format!("[[servers]]\nname = \"{}\"\ninstances = [\"{url}\"]\n\n", era.server_name());
            fixtures.insert(era, url);
        }
        let text = format!("[gateway]\nurl = \"http://127.0.0.1:{PORT}\"\nanonymous = true\n\n{servers}");
        let mut gateways = BTreeMap::new();
        for &platform in platforms {
            let state = fresh(&folder.join(format!("state-{}", platform.name())))?;
            let plan = Plan { platform, state, port: None, busy: Busy::Elsewhere };
            let subject = Subject::given(Configuration::from_text(&text)?);
            gateways.insert(platform, Stack::start(workspace, &plan, subject).await?);
        }
        let (direct, verdicts) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { workspace, folder, scenario, fixtures, direct, verdicts, gateways, _processes: processes })
    }

    /// Runs the suite through the gateway, and against the fixture of its era unless that is done already.
    ///
    /// # Errors
    /// With the checks that passed directly and do not through the gateway although nothing says they cannot, and
    /// with those that pass although something does.
    pub(crate) async fn judge(&mut self, platform: Platform, quadrant: Quadrant) -> Result<()> {
        let era = quadrant.caller();
        let scored = era.scored(self.workspace)?;
        if !self.direct.contains_key(&era) {
            let url = self.fixtures.get(&era).context("there is no fixture of that era")?;
            let direct = self.suite(&format!("direct-{}", era.name()), url, era).await?;
            direct.must_pass(&scored)?;
            self.direct.insert(era, direct);
        }
        let gateway = self.gateways.get(&platform).context("there is no gateway on that platform")?;
        let url = format!("{}/mcp/{}", gateway.origin, quadrant.server().server_name());
        let through = self.suite(&format!("{}-{quadrant}", platform.name()), &url, era).await?;
        let direct = self.direct.get(&era).context("there is no direct run of that era")?;
        let expected = Expected::read(self.workspace, platform, quadrant)?;
        let verdict = Verdict::of(direct, &through, &expected, &scored);
        let problems = verdict.problems();
        self.verdicts.entry(platform).or_default().insert(quadrant, verdict);
        if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n  ")) }
    }

    /// What was seen on a platform in the quadrants judged so far.
    pub(crate) fn table(&self, platform: Platform) -> Table<'_> {
        Table::of(self.verdicts.get(&platform))
    }

    /// One run of the suite. Its own verdict is not asked: that it wrote results is what counts here.
    async fn suite(&self, name: &str, url: &str, era: Era) -> Result<Run> {
        let folder = fresh(&self.folder.join(name))?;
        let label = format!("conformance suite {}, {name}", era.revision());
        // The suite needs Node 22, which npm supplies.
        let mut suite = Command::new(self.workspace, &label, self.workspace.npm_bin("node"))
            .arg(self.workspace.npm_bin("conformance"))
            .args(["server", "--url", url, "--timeout", SCENARIO_TIMEOUT_MS, "--output-dir"])
            .arg(&folder);
        suite = match &self.scenario {
            Some(scenario) => suite.args(["--scenario", scenario, "--spec-version", era.revision()]),
            None => suite.args(["--requirements", era.revision()]),
        };
        let output = suite.with_progress().output().await?;
        let run = Run::read(&folder)?;
        if run.is_empty() {
            output.success()?;
            bail!("{label} wrote no results");
        }
        if self.scenario.is_some() {
            println!("{name}:\n{run}");
        }
        Ok(run)
    }
}

fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

const PORT: u16 = 8788;
/// A scenario whose answers do not come would take the suite's own 30 s.
const SCENARIO_TIMEOUT_MS: &str = "15000";
