//! What was used since the last flush? Gathered in the isolate, taken when it is written.

use std::collections::BTreeMap;

use super::{Command, Counts, Day, Key, Row, name};

/// Usage that waits to be written, by tenant and day.
#[derive(Debug, Default)]
pub struct Tally {
    accounts: BTreeMap<(String, Day), Account>,
    rows: usize,
}

#[derive(Debug, Default)]
struct Account {
    rows: BTreeMap<Key, Counts>,
    other: Counts,
}

impl Tally {
    /// Adds what was used. When too much waits, it is added up without telling who it was.
    pub fn add(&mut self, tenant: &str, day: Day, key: Key, counts: &Counts) {
        let account = self.accounts.entry((tenant.to_owned(), day)).or_default();
        match account.rows.get_mut(&key) {
            Some(known) => known.add(counts),
            None if self.rows < WAITING_MAX => {
                self.rows += 1;
                account.rows.insert(key, *counts);
            }
            None => account.other.add(counts),
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// What waits, as commands for the machines of these names; then nothing does.
    pub fn take(&mut self) -> Vec<(String, Command)> {
        self.rows = 0;
        let add = |Account { rows, other }: Account| Command::Add {
            rows: rows.into_iter().map(|(key, counts)| Row { key, counts }).collect(),
            other,
        };
        let accounts = std::mem::take(&mut self.accounts).into_iter();
        accounts.map(|((tenant, day), account)| (name(&tenant, day), add(account))).collect()
    }
}

const WAITING_MAX: usize = 4_096;
