//! What stands under a heading of the file, and what is wrong with it? One table read key by key; every problem is
//! kept, none stops the reading.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file it is about, counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " (hint: {hint})"))
    }
}

/// A table of the file, and the problems found in it so far.
#[derive(Debug)]
pub(super) struct Section<'t> {
    source: &'t str,
    title: &'static str,
    table: &'t DeTable<'t>,
    start: usize,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub(super) fn root(source: &'t str, table: &'t DeTable<'t>) -> Self {
        Self { source, title: "the file", table, start: 0, known: Vec::new(), problems: Vec::new() }
    }

    /// The table `[key]`, or `empty` where there is none.
    pub(super) fn section(&mut self, key: &'static str, title: &'static str, empty: &'t DeTable<'t>) -> Self {
        let found = self.read(key, "a table", |value| value.as_table());
        let start = self.value(key).map_or(self.start, |value| value.span().start);
        self.below(title, found.unwrap_or(empty), start)
    }

    /// The tables `[[key]]`.
    pub(super) fn sections(&mut self, key: &'static str, title: &'static str) -> Vec<Self> {
        let kind = "an array of tables (`[[...]]`)";
        let found = self.read(key, kind, |value| {
            let items = value.as_array()?.iter();
            items.map(|item| Some((item.get_ref().as_table()?, item.span().start))).collect::<Option<Vec<_>>>()
        });
        found.unwrap_or_default().into_iter().map(|(table, start)| self.below(title, table, start)).collect()
    }

    fn below(&self, title: &'static str, table: &'t DeTable<'t>, start: usize) -> Self {
        Self { source: self.source, title, table, start, known: Vec::new(), problems: Vec::new() }
    }

    /// Keeps a problem with `key`, or with the section where it has no such key.
    pub(super) fn problem(&mut self, key: &str, message: String, hint: &str) {
        let at = self.value(key).map_or(self.start, |value| value.span().start);
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.problems.push(Problem { line: Some(line_of(self.source, at)), message, hint });
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn required_text(&mut self, key: &'static str) -> String {
        if self.value(key).is_none() {
            self.problem(key, format!("`{key}` is missing in {}", self.title), "");
        }
        self.text(key).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.read(key, "true or false", DeValue::as_bool).unwrap_or(false)
    }

    /// A whole number from 1 to `max`.
    pub(super) fn count(&mut self, key: &'static str, default: u64, max: u64) -> u64 {
        let read = self.read(key, "a whole number", |value| {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok()
        });
        match read.map(u64::try_from) {
            None => default,
            Some(Ok(number)) if (1..=max).contains(&number) => number,
            Some(_) => {
                self.problem(key, format!("`{key}` must be from 1 to {max}"), &format!("the default is {default}"));
                default
            }
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, "an array of strings", |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        })
    }

    pub(super) fn text_pairs(&mut self, key: &'static str) -> Vec<(String, String)> {
        let read = self.read(key, "a table of strings", |value| {
            let pair = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.to_string(), value.get_ref().as_str()?.to_owned()))
            };
            value.as_table()?.iter().map(pair).collect()
        });
        read.unwrap_or_default()
    }

    /// Every problem of the section; a key that nobody asked for is one.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !self.known.contains(&name) {
                let hint = nearest(name, &self.known);
                self.problem(name, format!("unknown key `{name}` in {}", self.title), &hint);
            }
        }
        self.problems
    }

    fn read<T>(&mut self, key: &'static str, kind: &str, read: impl Fn(&'t DeValue<'t>) -> Option<T>) -> Option<T> {
        self.known.push(key);
        let value = self.value(key)?.get_ref();
        let found = read(value);
        if found.is_none() {
            let message = format!("`{key}` in {} must be {kind}, not of type {}", self.title, value.type_str());
            self.problem(key, message, "");
        }
        found
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }
}

/// The line that holds the byte `at`, counted from 1.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn nearest(name: &str, known: &[&'static str]) -> String {
    let mut near: Vec<_> = known.iter().map(|key| (strsim::jaro_winkler(name, key), key)).collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    match near.first() {
        Some((likeness, key)) if *likeness > 0.8 => format!("did you mean `{key}`?"),
        _ => format!("known keys are {}", known.join(", ")),
    }
}
