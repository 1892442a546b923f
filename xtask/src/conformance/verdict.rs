//! Where does a run through the gateway deviate from the direct one, and was that to be expected?

use std::collections::BTreeSet;

use super::{
    expected::Expected,
    results::{Check, Outcome, Run},
};

/// What came of one quadrant.
pub(super) struct Verdict {
    pub(super) rows: Vec<Row>,
    /// Expected failures that are none.
    stale: Vec<String>,
}

/// One scenario.
pub(super) struct Row {
    pub(super) scenario: String,
    /// Whether the revision requires it.
    pub(super) is_scored: bool,
    /// Checks passed without the gateway.
    pub(super) direct: usize,
    /// Checks passed through it.
    pub(super) through: usize,
    pub(super) deviations: Vec<Deviation>,
}

/// A check that passed directly and not through the gateway, or failed there alone.
pub(super) struct Deviation {
    check: String,
    said: String,
    /// Why it cannot be otherwise, if that is known.
    pub(super) reason: Option<String>,
}

impl Verdict {
    pub(super) fn of(direct: &Run, through: &Run, expected: &Expected, scored: &BTreeSet<String>) -> Self {
        let names: BTreeSet<&str> = direct.scenarios().chain(through.scenarios()).map(|(name, _)| name).collect();
        let rows = names.into_iter().map(|name| Row {
            is_scored: scored.contains(name),
            ..Row::of(name, direct.checks(name), through.checks(name), expected)
        });
        let rows: Vec<Row> = rows.collect();
        let is_stale = |scenario: &str, check: &str| {
            let mut run = rows.iter().filter(|row| row.scenario == scenario);
            run.any(|row| row.deviations.iter().all(|deviation| deviation.check != check))
        };
        let stale = expected.failures.iter().filter(|failure| is_stale(&failure.scenario, &failure.check));
        let stale = stale.map(|failure| format!("{}: `{}`", failure.scenario, failure.check)).collect();
        Self { rows, stale }
    }

    /// What nobody expected, and what was expected in vain.
    pub(super) fn problems(&self) -> Vec<String> {
        let unexpected = self.rows.iter().flat_map(|row| {
            let deviations = row.deviations.iter().filter(|deviation| deviation.reason.is_none());
            deviations.map(|deviation| format!("{}: {}", row.scenario, deviation.said))
        });
        let stale = self.stale.iter().map(|name| format!("{name} passes: take it out of the expected failures"));
        unexpected.chain(stale).collect()
    }
}

impl Row {
    fn of(scenario: &str, direct: &[Check], through: &[Check], expected: &Expected) -> Self {
        let ids: BTreeSet<&str> = direct.iter().chain(through).map(|check| &*check.id).collect();
        let deviates = |id: &&str| {
            count(direct, id, Outcome::Passed) > count(through, id, Outcome::Passed)
                || count(through, id, Outcome::Failed) > count(direct, id, Outcome::Failed)
        };
        let deviations = ids.into_iter().filter(deviates).map(|id| Deviation {
            check: id.to_owned(),
            said: said(through, id),
            reason: expected.reason(scenario, id).map(str::to_owned),
        });
        let passed = |checks: &[Check]| checks.iter().filter(|check| check.outcome() == Outcome::Passed).count();
        Self {
            scenario: scenario.to_owned(),
            is_scored: false,
            direct: passed(direct),
            through: passed(through),
            deviations: deviations.collect(),
        }
    }
}

fn count(checks: &[Check], id: &str, outcome: Outcome) -> usize {
    checks.iter().filter(|check| check.id == id && check.outcome() == outcome).count()
}

/// What the suite said of it through the gateway.
fn said(through: &[Check], id: &str) -> String {
    let others = through.iter().filter(|check| check.id == id && check.outcome() != Outcome::Passed);
    let said: Vec<_> = others.map(ToString::to_string).collect();
    if said.is_empty() { format!("`{id}` was not looked at through the gateway") } else { said.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(direct: Value, through: Value, expected: &str) -> Vec<String> {
        let (direct, through) = (Run::of("s", direct), Run::of("s", through));
        Verdict::of(&direct, &through, &toml::from_str(expected).unwrap(), &BTreeSet::new()).problems()
    }

    const EXPECTED: &str = "[[failure]]\nscenario = \"s\"\ncheck = \"a\"\nreason = \"it has to be so\"";

    #[test]
    fn a_lost_check_is_a_problem_unless_it_is_expected() {
        let passed = json!([{ "id": "a", "status": "SUCCESS" }]);
        let failed = json!([{ "id": "a", "status": "FAILURE", "errorMessage": "no" }]);
        assert_eq!(problems(passed.clone(), failed.clone(), ""), ["s: FAILURE `a`: no"]);
        assert_eq!(problems(passed.clone(), json!([]), ""), ["s: `a` was not looked at through the gateway"]);
        assert!(problems(passed, failed.clone(), EXPECTED).is_empty());
        assert!(problems(failed.clone(), failed, "").is_empty(), "what fails directly may fail");
    }

    #[test]
    fn an_expected_failure_that_passes_is_a_problem() {
        let passed = json!([{ "id": "a", "status": "SUCCESS" }]);
        assert_eq!(
            problems(passed.clone(), passed.clone(), EXPECTED),
            ["s: `a` passes: take it out of the expected failures"]
        );
        let other = EXPECTED.replace("\"s\"", "\"another\"");
        assert!(problems(passed.clone(), passed, &other).is_empty(), "a scenario that was not run tells nothing");
    }
}
