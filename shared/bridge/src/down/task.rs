//! How is a tool called that only runs as a task? The experimental tasks of MCP 2025-11-25, for callers that know none.
//!
//! A tool with `execution.taskSupport: "required"` fails when it is called plainly. It is called with `params.task`, and the
//! request for its result, which the server answers when the task is done, takes the call's place: questions, progress
//! and cancellation work as with any call. Which tools are such is read from `tools/list`, once for a session whose server
//! declares tasks, and again when the list changes.

use std::collections::BTreeSet;

use super::{Down, request::Asked, wire::Purpose};
use crate::{
    facade::Hop,
    text::{self, Members, Unreadable, items, quoted, unquoted},
};

/// Which tools can only be called as tasks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tasks {
    /// None, by the server's capabilities.
    None,
    /// Not all pages were read.
    Unlisted(Listing),
    /// These.
    Listed(BTreeSet<String>),
}

/// The pages read so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    names: BTreeSet<String>,
    pages: usize,
    cursor: Option<String>,
}

/// How an exchange has to do with a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    /// Not at all.
    #[default]
    None,
    /// The call asks for one.
    Asked,
    /// The server made one of this id, and its result is waited for.
    Followed(String),
}

impl Tasks {
    /// Whether `asked` has to be called as a task.
    pub(super) fn demands(&self, asked: &Asked) -> bool {
        let Self::Listed(names) = self else { return false };
        asked.method == "tools/call" && asked.name.as_ref().is_some_and(|name| names.contains(name))
    }

    /// Forgets what was listed.
    pub(super) fn forget(&mut self) {
        if let Self::Listed(_) = self {
            *self = Self::Unlisted(Listing::default());
        }
    }

    /// Takes note of a page; any that cannot be read is the last.
    fn read(&mut self, page: Result<(Vec<String>, Option<String>), Unreadable>) {
        let Self::Unlisted(listing) = self else { return };
        let (names, cursor) = page.unwrap_or_default();
        listing.names.extend(names.into_iter().filter(|name| name.len() <= NAME_MAX_BYTES));
        listing.pages += 1;
        let is_over = listing.pages >= PAGES_MAX || listing.names.len() >= NAMES_MAX;
        match cursor.filter(|_| !is_over) {
            Some(cursor) => listing.cursor = Some(cursor),
            None => *self = Self::Listed(std::mem::take(&mut listing.names)),
        }
    }
}

impl Task {
    /// The parameters `params` of a call that is to be a task.
    pub(super) fn call(params: &str) -> Result<String, Unreadable> {
        let mut params = Members::parse(params)?;
        params.set("task", TERMS);
        Ok(params.write())
    }

    /// The id of the task that `result`, the answer to a call that asked for one, says was made.
    pub(super) fn created(&self, result: &Members<'_>) -> Option<String> {
        if *self != Self::Asked {
            return None;
        }
        let id = result.object("task").ok()?.string("taskId")?.into_owned();
        (id.len() <= NAME_MAX_BYTES).then_some(id)
    }

    /// Whether a task was made.
    pub(super) const fn is_followed(&self) -> bool {
        matches!(self, Self::Followed(_))
    }

    /// The parameters that name it.
    pub(super) fn reference(&self) -> Option<String> {
        let Self::Followed(id) = self else { return None };
        Some(Members::from_iter([("taskId", quoted(id))]).write())
    }
}

impl Down {
    /// Asks for the next page of tools; until it came nothing else is sent.
    pub(super) fn learn(&mut self, listing_cursor: Option<&str>) {
        let id = self.wire.number();
        let params = listing_cursor.map(|cursor| Members::from_iter([("cursor", quoted(cursor))]).write());
        let body = text::request(&id.to_string(), "tools/list", Some(params.as_deref().unwrap_or("{}")));
        self.session.barrier = Some(self.wire.post(&self.session.peer(), Purpose::Learn(id), body));
    }

    /// Takes note of a page.
    pub(super) fn learned(&mut self, hop: Hop, result: Option<&Members<'_>>) {
        if self.session.barrier != Some(hop) {
            return;
        }
        self.session.barrier = None;
        self.wire.release(hop);
        let page = result.map_or_else(|| Ok((Vec::new(), None)), page);
        if let Some(agreement) = self.session.agreement_mut() {
            agreement.tasks.read(page);
        }
    }

    /// Asks for the result of the task `task_id` instead of that of the exchange `number`.
    pub(super) fn follow(&mut self, number: u64, task_id: &str) {
        if let Some(exchange) = self.exchanges.get_mut(&number) {
            exchange.task = Task::Followed(task_id.to_owned());
            exchange.trail = super::call::Trail::default();
            let params = exchange.task.reference().unwrap_or_default();
            self.request(number, "tasks/result", &params);
        }
    }
}

impl Tasks {
    /// The cursor of the next page, if one is missing; the first page has none.
    pub(super) fn missing(&self) -> Option<Option<&str>> {
        match self {
            Self::Unlisted(listing) => Some(listing.cursor.as_deref()),
            Self::None | Self::Listed(_) => None,
        }
    }
}

/// The tools in the result of `tools/list` that need a task, and the cursor of the next page.
fn page(members: &Members<'_>) -> Result<(Vec<String>, Option<String>), Unreadable> {
    let mut names = Vec::new();
    for raw in members.raw("tools").map_or_else(|| Ok(Vec::new()), items)? {
        let tool = Members::parse(raw)?;
        let support = tool.object("execution")?.string("taskSupport").map(|support| support.into_owned());
        if support.as_deref() == Some("required") {
            names.extend(tool.string("name").map(|name| name.into_owned()));
        }
    }
    let cursor = members.raw("nextCursor").and_then(unquoted).map(|cursor| cursor.into_owned());
    Ok((names, cursor))
}

/// What is asked of a task: to be kept for ten minutes, as a parked exchange is.
const TERMS: &str = r#"{"ttl":600000}"#;
/// No more pages are read.
const PAGES_MAX: usize = 20;
/// No more names are kept.
const NAMES_MAX: usize = 1_000;
/// Longer names and ids are not worked with.
const NAME_MAX_BYTES: usize = 512;
