//! How does a result reach its reader? For people with colours on a terminal, for machines as one JSON value.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde::Serialize;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    People,
    Json,
}

/// Writes `text` and a line's end to standard output; without colours unless that is a terminal that wants them.
pub(crate) fn say(text: &str) -> Result<()> {
    writeln!(anstream::stdout(), "{text}")?;
    Ok(())
}

/// Writes `text` to standard output, and nothing else.
pub(crate) fn raw(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes to standard error what is no result.
pub(crate) fn note(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes `value` as JSON to standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

pub(crate) fn green(text: &str) -> String {
    paint(AnsiColor::Green.on_default(), text)
}

pub(crate) fn red(text: &str) -> String {
    paint(AnsiColor::Red.on_default(), text)
}

pub(crate) fn yellow(text: &str) -> String {
    paint(AnsiColor::Yellow.on_default(), text)
}

pub(crate) fn bold(text: &str) -> String {
    paint(Style::new().bold(), text)
}

pub(crate) fn dim(text: &str) -> String {
    paint(Style::new().dimmed(), text)
}

/// The first digits of a bundle's id: enough to tell two apart.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// `1 error`, `2 errors`.
pub(crate) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What others wrote, without what a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
