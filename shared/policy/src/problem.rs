//! What is wrong with the policies, where, and what to do?

use std::fmt;

use miette::Diagnostic;

use crate::text::position;

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, what, hint } = self;
        write!(f, "{file}:{line}:{column}: {what}")?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Problem {}

/// A place in a file that problems are found at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) file: &'a str,
    /// The whole file.
    pub(crate) text: &'a str,
    /// Where the policy begins, in bytes.
    pub(crate) offset: usize,
}

impl Spot<'_> {
    /// A problem `at` bytes into the policy.
    pub(crate) fn problem(&self, at: usize, what: impl Into<String>, hint: Option<String>) -> Problem {
        let (line, column) = position(self.text, self.offset + at);
        Problem { file: self.file.to_owned(), line, column, what: what.into(), hint }
    }

    /// What Cedar found in the policy, told where Cedar says.
    pub(crate) fn diagnosed(&self, found: &dyn Diagnostic) -> Problem {
        let label = found.labels().and_then(|mut labels| labels.next());
        let at = label.as_ref().map_or(0, miette::LabeledSpan::offset);
        let told = label.as_ref().and_then(|label| label.label()).map(|label| format!(": {label}"));
        let hint = found.help().map(|help| without_id(&help.to_string()).to_owned());
        self.problem(at, format!("{}{}", without_id(&found.to_string()), told.unwrap_or_default()), hint)
    }
}

/// What Cedar says of a policy; where that stands is told already.
fn without_id(text: &str) -> &str {
    text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")).map_or(text, |(_, rest)| rest)
}

/// `did you mean …`, if one of `names` is near `name`.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = |other: &&str| strsim::normalized_damerau_levenshtein(name, other);
    let best = names.into_iter().max_by(|a, b| near(a).total_cmp(&near(b)))?;
    (near(&best) >= LIKENESS_MIN).then(|| format!("did you mean `{best}`?"))
}

/// How alike two names are that are taken for each other; 1 is the same.
const LIKENESS_MIN: f64 = 0.6;
