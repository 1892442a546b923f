//! How long do parts of the gateway take as WebAssembly?
//!
//! Measured by examples of their crates, which say when a batch of work begins and ends: in workerd the clock stands still
//! between two awaits.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::{command::Command, workspace::Workspace};

/// How long something takes.
#[derive(Serialize)]
pub(super) struct Timing {
    /// With what, or what part of the gateway.
    pub(super) of: String,
    pub(super) what: String,
    pub(super) median_us: f64,
}

/// Builds and runs an example of `package`.
///
/// # Errors
/// If it does not build or run, or tells no times.
pub(super) async fn of_example(workspace: &Workspace, package: &str, example: &str) -> Result<Vec<Timing>> {
    let built = {
        let _lock = workspace.lock().await?;
        Command::new(workspace, &format!("cargo build --release --example {example}"), "cargo")
            .args(["build", "--locked", "--release", "--package", package, "--example", example, "--target", TARGET])
            .run()
            .await
    };
    built.with_context(|| format!("the example `{example}`, which is timed, does not build"))?;
    let module = workspace.target.join(TARGET).join(format!("release/examples/{example}.wasm"));
    let said = Command::new(workspace, &format!("node batches.mjs {example}.wasm"), "node")
        .arg(workspace.root.join("xtask/src/bench/batches.mjs"))
        .arg(module)
        .run()
        .await?;
    let timings = read(&said);
    ensure!(!timings.is_empty(), "the example `{example}` told no times:\n{said}");
    Ok(timings)
}

/// `# OF`, then for each figure `  WHAT  1.23 us`.
fn read(said: &str) -> Vec<Timing> {
    let mut of = "";
    let mut timings = Vec::new();
    for line in said.lines() {
        match line.strip_prefix("# ") {
            Some(name) => of = name,
            None => timings.extend(figure(line).map(|(what, median_us)| Timing {
                of: of.to_owned(),
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
    fn the_figures_belong_to_what_is_above_them() {
        let timings = read(
            "the biggest policies are compiled\n# 100 policies\n  nothing remembered               41.50 us\n# no policy\n  nothing remembered                1.00 us\n",
        );
        let found: Vec<_> =
            timings.iter().map(|timing| (timing.of.as_str(), timing.what.as_str(), timing.median_us)).collect();
        assert_eq!(found, [("100 policies", "nothing remembered", 41.5), ("no policy", "nothing remembered", 1.0)]);
    }
}
