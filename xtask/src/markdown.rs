//! How does a table read in a terminal and in Markdown alike, and how does it get into a document?

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result};

/// Writes the lines with their columns aligned; the first is the heading.
pub(crate) fn table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    for (number, cells) in lines.iter().enumerate() {
        line(f, cells, &widths)?;
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            line(f, &rule, &widths)?;
        }
    }
    Ok(())
}

/// Writes what the numbers in the cells stand for.
pub(crate) fn notes(f: &mut fmt::Formatter<'_>, notes: &[&str]) -> fmt::Result {
    notes.iter().enumerate().try_for_each(|(number, note)| writeln!(f, "{}. {note}", number + 1))
}

/// Puts `text` into `file`, between the two marks that name `command`.
///
/// # Errors
/// If the marks are not there.
pub(crate) fn write(file: &Path, command: &str, text: &str) -> Result<()> {
    let begin = format!("<!-- `{command}` writes from here -->");
    let document = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let (before, rest) =
        document.split_once(&begin).with_context(|| format!("`{}` has no `{begin}`", file.display()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("`{}` has no `{END}`", file.display()))?;
    let written = format!("{before}{begin}\n{}\n{END}{after}", text.trim_end());
    fs::write(file, written).with_context(|| format!("cannot write `{}`", file.display()))
}

fn line(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    for (cell, width) in cells.iter().zip(widths) {
        write!(f, "| {cell:width$} ")?;
    }
    writeln!(f, "|")
}

const END: &str = "<!-- to here -->";
