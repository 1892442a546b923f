//! Does a folder hold together? Everything that is wrong with it at once, and what its author may not have meant.

use std::{ops::Range, path::Path};

use anyhow::Result;
use gateway::config::{Bundle, Config, Folder, Problem, Raw};
use serde_json::value::RawValue;

use crate::{
    advice,
    diagnostic::{Diagnostic, Severity, Sources},
    folder::Disk,
    gateway_toml::{self, FILE, Reading},
};

/// What was found in a folder.
pub(crate) struct Checked {
    pub(crate) sources: Sources,
    /// Errors first, each kind by file and line.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// What it says, as far as it can be read.
    pub(crate) raw: Option<Raw>,
    /// What it becomes; `None` if there are errors.
    pub(crate) sound: Option<Sound>,
}

/// A configuration that could be put in force.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) bundle: Bundle,
    pub(crate) raw: Raw,
    pub(crate) config: Config,
}

/// Checks the folder `root`.
///
/// # Errors
/// It is none.
pub(crate) fn check(root: &Path) -> Result<Checked> {
    let disk = Disk::open(root)?;
    let text = disk.read(FILE).unwrap_or_default();
    let mut reading = gateway_toml::read(&text);
    let mut diagnostics = std::mem::take(&mut reading.diagnostics);
    let mut problems = Vec::new();
    let mut config = None;
    let mut raw = reading.raw.take();
    if let Some(raw) = &mut raw {
        let mut folder = Folder { list: |folder: &str| disk.list(folder), read: |file: &str| disk.read(file) };
        problems.extend(folder.fill(raw).err().unwrap_or_default());
        let bundle = Bundle::of(raw)?;
        match raw.clone().validate(&bundle.id) {
            Ok(valid) => config = Some((bundle, valid)),
            // What could not be read was said already.
            Err(found) => problems.extend(found.into_iter().filter(|problem| !problem.at.ends_with(".jwks_file"))),
        }
    }
    let sources = disk.sources();
    let problems = problems.iter().filter(|problem| reading.is_sound(&problem.at));
    diagnostics.extend(problems.map(|problem| located(problem, &reading, &sources)));
    let is_sound = diagnostics.is_empty();
    let sound =
        config.zip(raw.clone()).filter(|_| is_sound).map(|((bundle, config), raw)| Sound { bundle, raw, config });
    diagnostics.extend(sound.iter().flat_map(|sound| advice::about(sound, &reading, &text)));
    diagnostics.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(Checked { sources, diagnostics, raw, sound })
}

fn order(one: &Diagnostic) -> (Severity, &str, Option<usize>, Option<usize>, &str) {
    (one.severity, &one.file, one.line, one.column, &one.what)
}

/// A problem the gateway's own judgement found, where it is.
fn located(problem: &Problem, reading: &Reading<'_>, sources: &Sources) -> Diagnostic {
    let (what, hint) =
        problem.what.split_once("; ").map_or((problem.what.as_str(), None), |(what, hint)| (what, Some(hint)));
    let found = match problem.place() {
        Some((file, line, column)) => {
            let text = sources.get(file).map_or("", String::as_str);
            Diagnostic::error(file, what).at_place(text, line as usize, column as usize)
        }
        None => at_key(&problem.at, what, reading, sources),
    };
    match hint.map(str::to_owned).or_else(|| unpinned(what)) {
        Some(hint) => found.hint(hint),
        None => found,
    }
}

/// What helps where a policy reads an argument of a tool nobody pinned.
fn unpinned(what: &str) -> Option<String> {
    let (_, tool) = what.strip_prefix("attribute `arguments.")?.split_once("for Action::\"")?;
    let (server, tool) = tool.split('"').next()?.split_once('/')?;
    let tool = if tool == "*" { "TOOL" } else { tool };
    Some(format!("which arguments a tool has is known of its pin: `turnpike pins approve {server} {tool}`"))
}

fn at_key(at: &str, what: &str, reading: &Reading<'_>, sources: &Sources) -> Diagnostic {
    if [".cedar", ".json"].iter().any(|ending| at.ends_with(ending)) || ["policies", "candidate", "pins"].contains(&at)
    {
        return Diagnostic::error(at, what);
    }
    if let Some(pinned) = at.strip_prefix("pins.") {
        let (server, n) = pinned.split_once('[').unwrap_or((pinned, ""));
        let file = format!("pins/{server}.json");
        let text = sources.get(&file).map_or("", String::as_str);
        let span = n.trim_end_matches(']').parse().ok().and_then(|n| element(text, n)).unwrap_or(0..0);
        return Diagnostic::error(&file, what).at(text, span);
    }
    let text = sources.get(FILE).map_or("", String::as_str);
    // The keys of a file stand in the bundle where the file stands in gateway.toml.
    let span = reading.span(&at.replace(".jwks", ".jwks_file").replace("_file_", "_"));
    let span = if span.is_empty() { reading.span(at) } else { span };
    Diagnostic::error(FILE, what).key(at).at(text, span)
}

/// Where the `n`th item of the JSON array `text` begins, as far as its name.
fn element(text: &str, n: usize) -> Option<Range<usize>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let item = items.get(n)?.get();
    let begin = (item.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let first_line = item.lines().next().unwrap_or_default();
    Some(begin..begin + first_line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_found_in_its_file() {
        let text = "[\n  {\"name\": \"a\"},\n  {\"name\": \"b\"}\n]";
        assert_eq!(element(text, 1).and_then(|span| text.get(span)), Some("{\"name\": \"b\"}"));
        assert!(element(text, 2).is_none() && element("{}", 0).is_none());
    }
}
