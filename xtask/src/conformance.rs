//! Does the official conformance suite see the same through the gateway as without it?

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};

use crate::{
    command::Command,
    configuration::Configuration,
    host::Busy,
    processes::Processes,
    stack::{self, Plan, Stack, Subject},
    tools,
    workspace::Workspace,
};

/// Sets up, runs the suite directly and through the gateway, and prints the table.
///
/// # Errors
/// If a check fails in either run, or is missing in one.
pub(crate) async fn run(workspace: &Workspace) -> Result<ExitCode> {
    tools::set_up(workspace).await?;
    println!("{}", compare(workspace).await?);
    Ok(ExitCode::SUCCESS)
}

/// Runs the suite against the fixture and against the gateway in front of it; gives the table.
///
/// # Errors
/// With the table, if a check fails in either run, or is missing in one.
pub(crate) async fn compare(workspace: &Workspace) -> Result<String> {
    let folder = fresh(workspace.folder("conformance")?)?;
    let mut processes = Processes::default();
    let fixture = stack::fixture(workspace, &mut processes).await?;
    let configuration = Configuration::from_text(&format!(
        "[gateway]\nurl = \"http://127.0.0.1:{PORT}\"\nanonymous = true\n\n\
         [[servers]]\nname = \"fixture\"\ninstances = [\"{fixture}\"]\n"
    ))?;
    let plan = Plan { state: folder.join("state"), port: None, busy: Busy::Elsewhere };
    let gateway = Stack::start(workspace, &plan, Subject::given(configuration)).await?;
    let through = format!("{}/mcp/fixture", gateway.origin);
    let (direct_results, gateway_results) = (folder.join("direct"), folder.join("gateway"));
    suite(workspace, "conformance suite, directly", &fixture, &direct_results).await?;
    suite(workspace, "conformance suite, through the gateway", &through, &gateway_results).await?;
    let table = Command::new(workspace, "comparison of the two conformance runs", "node")
        .arg("tests/clients/compare-conformance.mjs")
        .args([direct_results, gateway_results])
        .run()
        .await?;
    // The comparison forgives what fails both times; the fixture must fail nothing.
    let totals = table.lines().find(|line| line.starts_with("total: ")).unwrap_or_default();
    if totals.matches(" 0 failed").count() != 2 {
        bail!("not every check passed:\n{table}");
    }
    Ok(table)
}

/// One run of the suite. Its own verdict is the comparison's to judge: that it wrote results is what counts here.
async fn suite(workspace: &Workspace, label: &str, url: &str, results: &Path) -> Result<()> {
    // The suite needs Node 22, which npm supplies.
    let output = Command::new(workspace, label, workspace.npm_bin("node"))
        .arg(workspace.npm_bin("conformance"))
        .args(["server", "--url", url, "--requirements", REQUIREMENTS, "--output-dir"])
        .arg(results)
        .with_progress()
        .output()
        .await?;
    let is_empty = fs::read_dir(results).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        output.success()?;
        bail!("{label} wrote no results");
    }
    Ok(())
}

fn fresh(folder: PathBuf) -> Result<PathBuf> {
    fs::remove_dir_all(&folder)?;
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

const REQUIREMENTS: &str = "2025-11-25";
const PORT: u16 = 8788;
