//! How long does Cedar take for a decision with 100 policies, as WebAssembly?
//!
//! Measured by policy's example `decide`: in workerd the clock stands still between two awaits.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{command::Command, workspace::Workspace};

/// How long something takes with one set of policies.
#[derive(Serialize)]
pub(super) struct Timing {
    /// The set of policies.
    pub(super) policies: String,
    /// What is done, and what is remembered of it.
    pub(super) what: String,
    pub(super) median_us: f64,
}

impl Timing {
    /// Whether it is a whole decision with 100 policies.
    pub(super) fn is_whole_decision(&self) -> bool {
        self.policies.starts_with("100 ") && self.what == "nothing remembered"
    }
}

/// Builds and runs the example.
///
/// # Errors
/// If it does not build or run, or does not say what was asked.
pub(super) async fn measure(workspace: &Workspace) -> Result<Vec<Timing>> {
    let built = {
        let _lock = workspace.lock().await?;
        Command::new(workspace, "cargo build --release --example decide", "cargo")
            .args(["build", "--locked", "--release", "--package", "policy", "--example", "decide", "--target", TARGET])
            .run()
            .await
    };
    built.context("the example that times decisions does not build")?;
    let module = workspace.target.join(TARGET).join("release/examples/decide.wasm");
    let said = Command::new(workspace, "node decide.mjs", "node")
        .arg(workspace.root.join("shared/policy/examples/decide.mjs"))
        .arg(module)
        .run()
        .await?;
    let timings = read(&said);
    ensure!(timings.iter().any(Timing::is_whole_decision), "the example `decide` told no decision's time:\n{said}");
    Ok(timings)
}

/// `# POLICIES`, then for each figure `  WHAT  1.23 us`.
fn read(said: &str) -> Vec<Timing> {
    let mut policies = "";
    let mut timings = Vec::new();
    for line in said.lines() {
        match line.strip_prefix("# ") {
            Some(name) => policies = name,
            None => timings.extend(figure(line).map(|(what, median_us)| Timing {
                policies: policies.to_owned(),
                what: what.to_owned(),
                median_us,
            })),
        }
    }
    timings
}

fn figure(line: &str) -> Option<(&str, f64)> {
    let (what, number) = line.strip_suffix(" us")?.trim().rsplit_once(' ')?;
    Some((what.trim(), number.parse().ok()?))
}

const TARGET: &str = "wasm32-wasip1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_belong_to_the_policies_above_them() {
        let timings = read(
            "the biggest policies are compiled\n# 100 policies\n  nothing remembered               41.50 us\n# no policy\n  nothing remembered                1.00 us\n",
        );
        let found: Vec<_> =
            timings.iter().map(|timing| (timing.policies.as_str(), timing.what.as_str(), timing.median_us)).collect();
        assert_eq!(found, [("100 policies", "nothing remembered", 41.5), ("no policy", "nothing remembered", 1.0)]);
        assert!(timings[0].is_whole_decision() && !timings[1].is_whole_decision());
    }
}
