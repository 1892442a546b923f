//! How do the results read, scenario by scenario and quadrant by quadrant?

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use clap::ValueEnum;

use crate::markdown;

use super::{
    quadrant::Quadrant,
    verdict::{Row, Verdict},
};

/// The verdicts as a table in Markdown that reads well as plain text too.
pub(crate) struct Table<'a> {
    columns: Vec<(Quadrant, &'a Verdict)>,
    /// Why checks are not passed; a cell names them by number.
    notes: Vec<&'a str>,
}

impl<'a> Table<'a> {
    pub(super) fn of(verdicts: Option<&'a BTreeMap<Quadrant, Verdict>>) -> Self {
        let judged = |quadrant| verdicts?.get(&quadrant).map(|verdict| (quadrant, verdict));
        let columns: Vec<_> = Quadrant::value_variants().iter().copied().filter_map(judged).collect();
        let mut notes = Vec::new();
        for row in columns.iter().flat_map(|(_, verdict)| &verdict.rows) {
            for reason in row.deviations.iter().filter_map(|deviation| deviation.reason.as_deref()) {
                if !notes.contains(&reason) {
                    notes.push(reason);
                }
            }
        }
        Self { columns, notes }
    }

    fn heading(&self) -> Vec<String> {
        let names = self.columns.iter().map(|(quadrant, _)| quadrant.to_string().replace('-', " → "));
        std::iter::once("scenario".to_owned()).chain(names).collect()
    }

    fn line(&self, scenario: &str) -> Vec<String> {
        let cells = self.columns.iter().map(|(_, verdict)| {
            let row = verdict.rows.iter().find(|row| row.scenario == scenario);
            row.map_or_else(String::new, |row| self.cell(row))
        });
        std::iter::once(self.name(scenario)).chain(cells).collect()
    }

    /// With a star, if no revision requires it.
    fn name(&self, scenario: &str) -> String {
        let mut rows = self.columns.iter().flat_map(|(_, verdict)| &verdict.rows);
        let is_scored = rows.any(|row| row.scenario == scenario && row.is_scored);
        if is_scored { scenario.to_owned() } else { format!("{scenario} \\*") }
    }

    /// `3 of 3`, and what became of the rest.
    fn cell(&self, row: &Row) -> String {
        let mut cell = format!("{} of {}", row.through, row.direct);
        let reasons = row.deviations.iter().map(|deviation| deviation.reason.as_deref());
        let marks: BTreeSet<_> =
            reasons.map(|reason| self.notes.iter().position(|note| Some(*note) == reason)).collect();
        for mark in marks {
            cell += &mark.map_or_else(|| " ✗".to_owned(), |note| format!(" ({})", note + 1));
        }
        cell
    }

    fn totals(&self) -> Vec<String> {
        let sums = self.columns.iter().map(|(_, verdict)| {
            let sum = |of: fn(&Row) -> usize| verdict.rows.iter().map(of).sum::<usize>();
            format!("{} of {}", sum(|row| row.through), sum(|row| row.direct))
        });
        std::iter::once("all".to_owned()).chain(sums).collect()
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.columns.iter().flat_map(|(_, verdict)| &verdict.rows);
        let looked_at = rows.filter(|row| row.direct + row.through > 0);
        let scenarios: BTreeSet<&str> = looked_at.map(|row| &*row.scenario).collect();
        let mut lines = vec![self.heading()];
        lines.extend(scenarios.into_iter().map(|scenario| self.line(scenario)));
        lines.push(self.totals());
        markdown::table(f, &lines)?;
        writeln!(f, "\n\\* extensions, and scenarios the suite itself does not score yet\n")?;
        markdown::notes(f, &self.notes)
    }
}
