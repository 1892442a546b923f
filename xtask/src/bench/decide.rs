//! How long does Cedar take for a decision with 100 policies?

use anyhow::{Result, ensure};

use crate::workspace::Workspace;

use super::timing::{self, Timing};

/// Times policy's example `decide`.
///
/// # Errors
/// If it does not build or run, or does not say what was asked.
pub(super) async fn measure(workspace: &Workspace) -> Result<Vec<Timing>> {
    let timings = timing::of_example(workspace, "policy", "decide").await?;
    ensure!(timings.iter().any(is_whole_decision), "the example `decide` told no decision's time");
    Ok(timings)
}

/// Whether it is a whole decision with 100 policies.
pub(super) fn is_whole_decision(timing: &Timing) -> bool {
    timing.of.starts_with("100 ") && timing.what == "nothing remembered"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_decision_has_100_policies_and_remembers_nothing() {
        let timing = |of: &str, what: &str| Timing { of: of.to_owned(), what: what.to_owned(), median_us: 1.0 };
        assert!(is_whole_decision(&timing("100 policies of many scopes", "nothing remembered")));
        assert!(!is_whole_decision(&timing("1 policy", "nothing remembered")));
        assert!(!is_whole_decision(&timing("100 policies", "outlook remembered")));
    }
}
