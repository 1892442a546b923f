//! Does everything still hold? All stages run, whatever fails; the last line counts them.

mod agent;
mod minute;
mod operator;
mod policies;
mod scene;
mod scorecard;
mod spin_up;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{
    artifacts::{self, Build, HostBuild},
    clients::{self, Client},
    command::Command,
    conformance::{Quadrant, Setting},
    platform::Platform,
    run,
    spin::Runtime,
    tools,
    workspace::Workspace,
};

use self::scorecard::Scorecard;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this part; may be said several times
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
}

/// What can be run alone.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Format, lints
    Lints,
    /// Both Workers and what wrangler says of them, the Spin component and its host
    Builds,
    /// Unit tests, property tests, scenarios
    Tests,
    /// The example on each platform, and its first calls
    Run,
    /// Real clients at real servers of each era
    Clients,
    /// Policies, limits, breaker and pins, as real clients meet them
    Policies,
    /// The command line tool on the example
    Operator,
    /// The official suite, on each platform
    Conformance,
}

/// Sets up, then runs every stage, or those that were asked for.
///
/// # Errors
/// If the set-up fails; what fails after it is counted instead.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    tools::set_up(workspace, Platform::Workers).await?;
    tools::set_up_python(workspace).await?;
    let mut card = Scorecard::default();
    let parts: &[Part] = if options.only.is_empty() { Part::value_variants() } else { &options.only };
    for part in parts {
        part.run(workspace, &mut card).await;
    }
    Ok(card.verdict())
}

impl Part {
    async fn run(self, workspace: &Workspace, card: &mut Scorecard) {
        match self {
            Self::Lints => lints(workspace, card).await,
            Self::Builds => builds(workspace, card).await,
            Self::Tests => card.stage("unit tests, property tests, scenarios", tests(workspace)).await,
            Self::Run => runs(workspace, card).await,
            Self::Clients => clients(workspace, card).await,
            Self::Policies => policies::run(workspace, card).await,
            Self::Operator => operator::run(workspace, card).await,
            Self::Conformance => conformance(workspace, card).await,
        }
    }
}

async fn lints(workspace: &Workspace, card: &mut Scorecard) {
    card.stage("format", cargo(workspace, "cargo fmt --check", &FORMAT)).await;
    card.stage("clippy, native", clippy(workspace, &["--all-targets"], &[])).await;
    for (target, others) in [("wasm32-unknown-unknown", &FOR_SPIN[..]), ("wasm32-wasip2", &FOR_WORKERS[..])] {
        let label = format!("clippy, {target}");
        card.stage(&label, clippy(workspace, &["--target", target], &[&PROGRAMS[..], others].concat())).await;
    }
}

async fn builds(workspace: &Workspace, card: &mut Scorecard) {
    card.stage("build of the Worker", async { artifacts::worker(workspace, Build::Gateway).await.map(drop) }).await;
    card.stage("build of the Worker that panics on request", async {
        artifacts::worker(workspace, Build::Faults).await.map(drop)
    })
    .await;
    card.stage("wrangler deploy --dry-run", wrangler(workspace)).await;
    card.stage("build of the Spin component", async { artifacts::spin(workspace).await.map(drop) }).await;
    card.stage("build of the test host for Spin", async {
        artifacts::spin_host(workspace, HostBuild::Quick).await.map(drop)
    })
    .await;
    card.stage("spin up, of spin.toml as it is", spin_up::run(workspace)).await;
}

/// What `cargo xtask run --once` does, on each platform.
async fn runs(workspace: &Workspace, card: &mut Scorecard) {
    for platform in Platform::ALL {
        card.stage(&format!("run --platform {} --once", platform.name()), run::once(workspace, platform)).await;
    }
}

/// Each client is a stage; the table of all of them comes last.
async fn clients(workspace: &Workspace, card: &mut Scorecard) {
    let mut setting = None;
    card.stage("gateway, connector and servers for the clients", async {
        setting = Some(clients::Setting::start(workspace, &[]).await?);
        Ok(())
    })
    .await;
    for &client in Client::value_variants() {
        let seen = async { setting.as_mut().context("the gateway did not start")?.visit(client).await };
        card.stage(&format!("client {}", client.title()), seen).await;
    }
    if let Some(setting) = &setting {
        println!("\n{}", setting.table());
    }
}

/// Each quadrant is a stage on each platform; the tables of all of them come last.
async fn conformance(workspace: &Workspace, card: &mut Scorecard) {
    let mut setting = None;
    card.stage("gateways and servers of either era for the conformance suite", async {
        setting = Some(Setting::start(workspace, &Platform::ALL, None).await?);
        Ok(())
    })
    .await;
    for platform in Platform::ALL {
        for &quadrant in Quadrant::value_variants() {
            let judged =
                async { setting.as_mut().context("the gateways did not start")?.judge(platform, quadrant).await };
            card.stage(&format!("conformance on {}, {quadrant}", platform.name()), judged).await;
        }
    }
    for (setting, platform) in setting.iter().flat_map(|setting| Platform::ALL.map(|platform| (setting, platform))) {
        println!("\non {}:\n{}", platform.name(), setting.table(platform));
    }
}

/// Of the whole workspace, but for what is not for that target.
async fn clippy(workspace: &Workspace, of: &[&str], excluded: &[&str]) -> Result<()> {
    let excluded = excluded.iter().flat_map(|package| ["--exclude", package]);
    let arguments = ["clippy", "--workspace", "--locked"].into_iter().chain(of.iter().copied()).chain(excluded);
    let arguments: Vec<&str> = arguments.chain(["--", "-D", "warnings"]).collect();
    cargo(workspace, &format!("cargo clippy {}", of.join(" ")), &arguments).await
}

async fn cargo(workspace: &Workspace, label: &str, arguments: &[&str]) -> Result<()> {
    Command::new(workspace, label, "cargo").args(arguments).run().await.map(drop)
}

/// What an operator deploys is what `wrangler.toml` says: it must be valid, and build.
async fn wrangler(workspace: &Workspace) -> Result<()> {
    let folder = workspace.folder("wrangler")?;
    Command::new(workspace, "wrangler deploy --dry-run", workspace.npm_bin("wrangler"))
        .args(["deploy", "--dry-run", "--outdir"])
        .args([folder])
        .folder(workspace.root.clone())
        .env("WRANGLER_SEND_METRICS", "false")
        .run()
        .await
        .map(drop)
}

/// The scenarios start what was built themselves; the variables say where it is, and how.
async fn tests(workspace: &Workspace) -> Result<()> {
    for build in [Build::Gateway, Build::Faults] {
        artifacts::worker(workspace, build).await?;
    }
    let (component, host) =
        (artifacts::spin(workspace).await?, Runtime::find(workspace, HostBuild::Quick).await?.program());
    let output = Command::new(workspace, "cargo test --workspace", "cargo")
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .env("RUST_BACKTRACE", "0")
        .env("TURNPIKE_WORKER_DIR", artifacts::folder(workspace, Build::Gateway))
        .env("TURNPIKE_FAULTS_DIR", artifacts::folder(workspace, Build::Faults))
        .env("TURNPIKE_HOST_MJS", workspace.root.join("xtask/src/host.mjs"))
        .env("TURNPIKE_SPIN_WASM", component)
        .env("TURNPIKE_SPIN_HOST", host)
        .env("TURNPIKE_SPIN_CACHE", workspace.folder("spin-cache")?)
        .with_progress()
        .output()
        .await?;
    let passed = passed(&output.stdout);
    println!("   {passed} tests passed");
    let (failures, said) = (failures(&output.stdout), output.stdout.clone());
    if let Err(error) = output.success() {
        bail!("{failures}\n{error:#}");
    }
    if passed == 0 {
        bail!("cargo test ran no tests");
    }
    for line in tables(&said) {
        println!("   {line}");
    }
    Ok(())
}

/// What tests say beside that they passed: the tables of the simulation and of the token counts.
fn tables(said: &str) -> impl Iterator<Item = &str> {
    let is_routine = |line: &&str| line.is_empty() || ["running ", "test "].iter().any(|word| line.starts_with(word));
    said.lines().filter(move |line| !is_routine(line))
}

/// The sum over `test result: ok. 12 passed; 0 failed; ...`.
fn passed(said: &str) -> usize {
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    let counts = results.filter_map(|result| result.split_whitespace().nth(1)?.parse::<usize>().ok());
    counts.sum()
}

/// What the failed tests said: in each crate's output it stands between two headings.
fn failures(said: &str) -> String {
    let mut lines = Vec::new();
    let mut is_failure = false;
    for line in said.lines() {
        is_failure = line == "failures:" || (is_failure && !line.starts_with("test result: "));
        if is_failure {
            lines.push(line);
        }
    }
    lines.join("\n")
}

const FORMAT: [&str; 5] = ["fmt", "--all", "--check", "--", "--color=never"];
/// They run on the machine itself.
const PROGRAMS: [&str; 5] = ["xtask", "turnpike-tests", "turnpike-spin-host", "turnpike", "turnpike-connector"];
const FOR_WORKERS: [&str; 1] = ["turnpike-worker"];
const FOR_SPIN: [&str; 2] = ["turnpike-spin", "turnpike-spin-bare"];

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_failed_tests_said_is_kept() {
        let said = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nboom\n\ntest result: FAILED. 0 passed\nrunning 1 test\n";
        let failures = failures(said);
        assert!(failures.contains("boom") && !failures.contains("running"), "{failures}");
    }

    #[test]
    fn passed_tests_are_summed_over_the_crates() {
        let said = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\
                    test result: ok. 40 passed; 0 failed; 1 ignored\nother\n";
        assert_eq!(passed(said), 42);
    }
}
