//! How does what the clients saw read?

use std::{collections::BTreeSet, fmt};

use crate::markdown;

use super::{
    expected::Expected,
    seen::{ASPECTS, Outcome, Seen},
};

/// Client by server by endpoint, a column for each aspect.
pub(crate) struct Table<'a> {
    seen: &'a [Seen],
    expected: &'a Expected,
    notes: Vec<&'a str>,
}

impl<'a> Table<'a> {
    pub(super) fn of(seen: &'a [Seen], expected: &'a Expected) -> Self {
        let mut notes: Vec<&str> = Vec::new();
        for one in seen {
            if let Some(note) = note(one, expected).filter(|note| !notes.contains(note)) {
                notes.push(note);
            }
        }
        Self { seen, expected, notes }
    }

    fn cell(&self, seen: &Seen) -> String {
        let note = note(seen, self.expected).and_then(|note| self.notes.iter().position(|one| *one == note));
        match (&seen.outcome, note) {
            (Outcome::Ok(saw), _) => saw.clone(),
            (Outcome::None(_), Some(note)) => format!("– ({})", note + 1),
            (_, Some(note)) => format!("no ({})", note + 1),
            (_, None) => "✗".to_owned(),
        }
    }
}

/// What has to be said of a cell that is not ok.
fn note<'a>(seen: &'a Seen, expected: &'a Expected) -> Option<&'a str> {
    match &seen.outcome {
        Outcome::Ok(_) => None,
        Outcome::Failed(_) => expected.reason(seen),
        Outcome::None(reason) => Some(reason),
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: BTreeSet<_> = self.seen.iter().map(|one| (one.client, &one.server, one.endpoint)).collect();
        let heading = ["client", "server", "endpoint"].into_iter().chain(ASPECTS).map(str::to_owned).collect();
        let lines = rows.into_iter().map(|(client, server, endpoint)| {
            let cells = ASPECTS.iter().map(|aspect| {
                let mut all = self.seen.iter();
                let is_it = |one: &&Seen| (one.client, &one.server, one.endpoint) == (client, server, endpoint);
                let cell = all.find(|one| is_it(one) && one.aspect == *aspect);
                cell.map_or_else(String::new, |one| self.cell(one))
            });
            let names = [client.title().to_owned(), server.clone(), endpoint.path(server)];
            names.into_iter().chain(cells).collect()
        });
        let lines: Vec<Vec<String>> = std::iter::once(heading).chain(lines).collect();
        markdown::table(f, &lines)?;
        writeln!(f)?;
        markdown::notes(f, &self.notes)
    }
}
