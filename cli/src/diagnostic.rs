//! What is wrong, where, and what helps? One finding about a file, for people and for machines.

use std::{collections::BTreeMap, ops::Range};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// Something to know about a configuration.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    /// From the folder that was checked.
    pub(crate) file: String,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    /// The key, such as `servers[2].instances[0]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(skip)]
    span: Option<Range<usize>>,
}

/// Whether a configuration with it can be put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// The text of each file, by its path from the folder.
pub(crate) type Sources = BTreeMap<String, String>;

impl Diagnostic {
    pub(crate) fn new(severity: Severity, file: &str, what: impl Into<String>) -> Self {
        let (file, what) = (file.to_owned(), what.into());
        Self { severity, file, line: None, column: None, key: None, what, hint: None, span: None }
    }

    pub(crate) fn error(file: &str, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, file, what)
    }

    /// It is about the bytes `span` of `text`, the file's.
    pub(crate) fn at(mut self, text: &str, span: Range<usize>) -> Self {
        let (line, column) = place(text, span.start);
        (self.line, self.column, self.span) = (Some(line), Some(column), Some(span));
        self
    }

    /// It is about the word that begins at `line` and `column`.
    pub(crate) fn at_place(mut self, text: &str, line: usize, column: usize) -> Self {
        (self.line, self.column) = (Some(line), Some(column));
        let begin: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let of_line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let skipped: usize = of_line.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
        let word = of_line.get(skipped..).unwrap_or_default();
        let in_word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let length: usize = word.chars().take_while(in_word).map(char::len_utf8).sum();
        let length = if length == 0 { word.chars().next().map_or(0, char::len_utf8) } else { length };
        self.span = Some(begin + skipped..begin + skipped + length);
        self
    }

    pub(crate) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As people read it, with the lines it is about.
    pub(crate) fn render(&self, sources: &Sources) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = self.key.as_ref().map_or_else(|| self.what.clone(), |key| format!("{key}: {}", self.what));
        let title = level.primary_title(title);
        let snippet = self.span.clone().zip(sources.get(&self.file)).map(|(span, text)| {
            let annotation = AnnotationKind::Primary.span(span);
            Snippet::source(text.as_str()).path(self.file.as_str()).line_start(1).fold(true).annotation(annotation)
        });
        let group = match snippet {
            Some(snippet) => title.element(snippet),
            None => title.element(annotate_snippets::Origin::path(self.file.as_str())),
        };
        let hints = self.hint.iter().map(|hint| Level::HELP.message(hint.as_str()));
        Renderer::styled().render(&[group.elements(hints)])
    }
}

/// Line and column, from 1, of the byte `offset`.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_as_editors_do() {
        assert_eq!(place("ab\ncd", 0), (1, 1));
        assert_eq!(place("ab\ncd", 3), (2, 1));
        assert_eq!(place("é\né x", 6), (2, 3));
    }

    #[test]
    fn a_place_is_found_again_in_its_text() {
        let text = "permit (\n  prïncipal == x\n);\n";
        let found = Diagnostic::error("a.cedar", "x").at_place(text, 2, 3);
        assert_eq!(found.span.and_then(|span| text.get(span)), Some("prïncipal"));
        let beyond = Diagnostic::error("a.cedar", "x").at_place(text, 9, 9);
        assert!(beyond.span.is_some_and(|span| span.is_empty() && span.end <= text.len()));
        assert!(!Diagnostic::error("a.cedar", "x").at_place("", 1, 1).render(&Sources::new()).is_empty());
    }
}
