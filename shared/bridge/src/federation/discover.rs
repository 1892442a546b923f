//! What is the one server that is made of many? Its capabilities are those of any of them, its instructions those of all.
//!
//! `experimental` and `extensions` are left out: what they name travels by ids and methods nobody here could route. For the
//! same reason nothing is said of `logging` and `completions` but that they are there.

use std::collections::{BTreeMap, BTreeSet};

use mcp::{Revision, page::Kind};

use super::{
    part::{Heard, Merged, Part},
    view::View,
};
use crate::text::{self, Members};

/// What the gateway says of an endpoint itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// `serverInfo`, a JSON object.
    pub server_info: &'a str,
    /// What the endpoint's configuration says instead of the servers' own instructions.
    pub instructions: Option<&'a str>,
}

/// The result of `server/discover` that is made of what the servers said, as a JSON text.
#[must_use]
pub fn merge(view: &View, parts: &[Part<'_>], about: About<'_>) -> String {
    let mut merged = Merged::new(view.scope());
    let mut capabilities = Capabilities::default();
    let mut chapters = BTreeMap::new();
    for part in parts {
        match part.hear() {
            // A server without `server/discover` is none that can be asked.
            Heard::Nothing => merged.miss(part.server, super::Reason::Error),
            Heard::Missing(reason) => merged.miss(part.server, reason),
            Heard::Result(result) => {
                merged.take(&result);
                capabilities.take(view, part.server, &result);
                if let Some(text) = result.string("instructions").filter(|text| !text.trim().is_empty()) {
                    chapters.insert(part.server, clipped(text.trim(), CHAPTER_CHARS_MAX));
                }
            }
        }
    }
    let mut result = Members::new();
    result.set("resultType", "\"complete\"");
    let versions = Revision::ALL.into_iter().filter(|revision| !revision.is_legacy());
    result.set("supportedVersions", text::array(versions.map(|revision| text::quoted(revision.as_str()))));
    result.set("capabilities", capabilities.write());
    let instructions = instructions(about.instructions, &chapters, &merged.missing().collect::<Vec<_>>());
    if !instructions.is_empty() {
        result.set("instructions", text::quoted(&instructions));
    }
    merged.seal(&mut result, about.server_info);
    result.write()
}

/// What any of the servers can do.
#[derive(Default)]
struct Capabilities {
    has: BTreeSet<&'static str>,
    flags: BTreeSet<(&'static str, &'static str)>,
}

impl Capabilities {
    fn take(&mut self, view: &View, server: &str, result: &Members<'_>) {
        let Ok(said) = result.object("capabilities") else { return };
        let Some(share) = view.share(server) else { return };
        for (name, kind, flags) in LISTS {
            let Some(Ok(inner)) = said.raw(name).filter(|_| share.shows(kind)).map(Members::parse) else { continue };
            self.has.insert(name);
            self.flags.extend(flags.iter().filter(|flag| inner.raw(flag) == Some("true")).map(|flag| (name, *flag)));
        }
        self.has.extend(PLAIN.into_iter().filter(|name| said.has(name)));
    }

    fn write(&self) -> String {
        let inner = |name: &str| {
            let flags = self.flags.iter().filter(|(of, _)| *of == name);
            flags.map(|(_, flag)| (*flag, "true")).collect::<Members<'_>>().write()
        };
        self.has.iter().map(|name| (*name, inner(name))).collect::<Members<'_>>().write()
    }
}

/// The endpoint's own instructions, or each server's under its name; and who is missing.
fn instructions(own: Option<&str>, chapters: &BTreeMap<&str, String>, missing: &[&str]) -> String {
    let mut sections = match own {
        Some(own) => vec![own.trim().to_owned()],
        None => chapters.iter().map(|(server, text)| format!("## {server}\n\n{text}")).collect(),
    };
    if !missing.is_empty() {
        let missing = missing.iter().map(|server| format!("`{server}`")).collect::<Vec<_>>().join(", ");
        sections.insert(0, format!("Not available at the moment: {missing}."));
    }
    clipped(&sections.join("\n\n"), CHARS_MAX)
}

fn clipped(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => [text.get(..end).unwrap_or_default().trim_end(), " …"].concat(),
    }
}

/// The capabilities that speak of lists, and what they may say.
const LISTS: [(&str, Kind, &[&str]); 3] = [
    ("prompts", Kind::Prompts, &["listChanged"]),
    ("resources", Kind::Resources, &["listChanged", "subscribe"]),
    ("tools", Kind::Tools, &["listChanged"]),
];
/// The capabilities that are there or not.
const PLAIN: [&str; 2] = ["completions", "logging"];
/// The longest instructions of one server that are read out to a model, in characters.
const CHAPTER_CHARS_MAX: usize = 4_000;
/// The longest instructions of all servers together.
const CHARS_MAX: usize = 32_000;
