//! Which policies and pins come, go or change?

use std::collections::{BTreeMap, BTreeSet};

use gateway::config::{Raw, RawPolicy};
use mcp::definition::Definition;
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::settings::Kind;

/// A file of policies that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileChange {
    pub(crate) file: String,
    pub(crate) kind: Kind,
    pub(crate) lines_added: usize,
    pub(crate) lines_removed: usize,
}

/// A pin that changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct PinChange {
    pub(crate) server: String,
    pub(crate) tool: String,
    pub(crate) kind: Kind,
    /// The members of the definition that are not the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<&'static str>,
}

pub(super) fn changes(old: &[RawPolicy], new: &[RawPolicy]) -> Vec<FileChange> {
    let texts = |files: &[RawPolicy]| -> BTreeMap<String, String> {
        files.iter().map(|file| (file.name.clone(), file.text.clone())).collect()
    };
    let (old, new) = (texts(old), texts(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let changes = changed.map(|name| {
        let (old, new) = (old.get(name), new.get(name));
        let diff = TextDiff::from_lines(old.map_or("", String::as_str), new.map_or("", String::as_str));
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let kind = kind(old.is_some(), new.is_some());
        FileChange {
            file: name.clone(),
            kind,
            lines_added: count(ChangeTag::Insert),
            lines_removed: count(ChangeTag::Delete),
        }
    });
    changes.collect()
}

pub(super) fn pins(old: Option<&Raw>, new: &Raw) -> Vec<PinChange> {
    let (old, new) = (old.map(pinned).unwrap_or_default(), pinned(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let (old, new) = (old.get(name), new.get(name));
        if old.zip(new).is_some_and(|(old, new)| is_same(old, new)) {
            return None;
        }
        let members = old.zip(new).map(|(old, new)| differing(old, new)).unwrap_or_default();
        let kind = kind(old.is_some(), new.is_some());
        Some(PinChange { server: name.0.to_owned(), tool: name.1.to_owned(), kind, members })
    });
    changes.collect()
}

/// The members of a definition that count and are not the same.
pub(crate) fn differing(old: &Value, new: &Value) -> Vec<&'static str> {
    mcp::definition::DIGESTED.into_iter().filter(|member| old.get(member) != new.get(member)).collect()
}

fn pinned(raw: &Raw) -> BTreeMap<(&str, &str), &Value> {
    let pins = raw.pins.iter().flat_map(|(server, definitions)| {
        definitions.iter().filter_map(move |one| Some(((server.as_str(), one.get("name")?.as_str()?), one)))
    });
    pins.collect()
}

fn is_same(old: &Value, new: &Value) -> bool {
    let digest = |value: &Value| Definition::read(&value.to_string()).map(|definition| definition.digest).ok();
    digest(old).is_some_and(|old| digest(new) == Some(old))
}

fn kind(was: bool, is: bool) -> Kind {
    match (was, is) {
        (false, _) => Kind::Added,
        (true, true) => Kind::Changed,
        (true, false) => Kind::Removed,
    }
}
