//! How do the lists of many servers become one? Each item under its name here, by server, in the server's own order.

use std::collections::{BTreeMap, BTreeSet};

use mcp::{Call, page::Kind};

use super::{
    cursor,
    part::{Heard, Merged, Part, Reason},
    route::{Unroutable, with_params},
    view::{Naming, View},
};
use crate::text::{self, Members};

/// What one server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which.
    pub server: String,
    /// The request: the caller's, with this server's cursor or none.
    pub body: String,
}

/// What is to be asked of whom to answer `call`, a request for a list of `kind`, by the servers' names. Nobody, if no
/// server shows any.
///
/// # Errors
/// [`Unroutable::Params`] for a cursor that is none of ours.
pub fn asks(view: &View, kind: Kind, call: &Call<'_>) -> Result<Vec<Ask>, Unroutable> {
    let params = call.params.map_or("{}", |params| params.get());
    let params = Members::parse(params).map_err(|error| Unroutable::Params(error.to_string()))?;
    params.plain(&["cursor", "_meta"]).map_err(|error| Unroutable::Params(error.to_string()))?;
    let at = match params.raw("cursor") {
        None | Some("null") => None,
        Some(raw) => {
            let cursor = text::unquoted(raw).ok_or(cursor::Unknown);
            let at = cursor.and_then(|cursor| cursor::read(kind, &cursor));
            Some(at.map_err(|unknown| Unroutable::Params(unknown.to_string()))?)
        }
    };
    let asked = view.listing(kind).filter_map(|server| {
        let mut params = params.clone();
        match &at {
            None => drop(params.remove("cursor")),
            Some(at) => params.set("cursor", text::quoted(at.get(server)?)),
        }
        Some((server, params))
    });
    asked.map(|(server, params)| Ok(Ask { server: server.to_owned(), body: with_params(call, &params)? })).collect()
}

/// The result that is made of what the servers said, as a JSON text. `server_info` is the gateway's, a JSON object.
#[must_use]
pub fn merge(view: &View, kind: Kind, parts: &[Part<'_>], server_info: &str) -> String {
    let mut merged = Merged::new(view.scope());
    let mut items = Items { view, kind, seen: BTreeSet::new(), written: Vec::new(), bytes: 0 };
    let mut next = BTreeMap::new();
    let by_server: BTreeMap<&str, &Part<'_>> = parts.iter().map(|part| (part.server, part)).collect();
    for (server, part) in by_server {
        let taken = match part.hear() {
            Heard::Nothing => continue,
            Heard::Missing(reason) => Err(reason),
            Heard::Result(result) => items.take(server, &result).map(|cursor| {
                merged.take(&result);
                next.extend(cursor.map(|cursor| (server.to_owned(), cursor)));
            }),
        };
        if let Err(reason) = taken {
            merged.miss(server, reason);
        }
    }
    let cursor = cursor::write(kind, &mut next);
    // The rest of these lists cannot be asked for.
    next.keys().for_each(|server| merged.miss(server, Reason::TooLarge));
    let mut result = Members::new();
    result.set("resultType", "\"complete\"");
    result.set(kind.member(), text::array(&items.written));
    if let Some(cursor) = cursor {
        result.set("nextCursor", text::quoted(&cursor));
    }
    merged.seal(&mut result, server_info);
    result.write()
}

/// The items so far.
struct Items<'a> {
    view: &'a View,
    kind: Kind,
    seen: BTreeSet<String>,
    written: Vec<String>,
    bytes: usize,
}

impl Items<'_> {
    /// Takes in a server's page, whole or not at all, and gives its cursor.
    fn take(&mut self, server: &str, result: &Members<'_>) -> Result<Option<String>, Reason> {
        let list = result.raw(self.kind.member()).ok_or(Reason::Unreadable)?;
        if self.bytes + list.len() > BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        let items = text::items(list).map_err(|_| Reason::Unreadable)?;
        let items: Vec<_> = items.into_iter().map(|item| self.shown(server, item)).collect::<Result<_, _>>()?;
        let cursor = match result.raw("nextCursor") {
            None | Some("null") => None,
            Some(raw) => Some(text::unquoted(raw).ok_or(Reason::Unreadable)?.into_owned()),
        };
        self.bytes += list.len();
        for (called, item) in items.into_iter().flatten() {
            // A name that is there already cannot be told apart: the first stays, as it is the first that is found.
            if self.seen.insert(called) {
                self.written.push(item);
            }
        }
        Ok(cursor)
    }

    /// An item as it is shown and what it is called; `None` if it is not shown.
    fn shown(&self, server: &str, item: &str) -> Result<Option<(String, String)>, Reason> {
        let mut members = Members::parse(item).map_err(|_| Reason::Unreadable)?;
        let key = key(self.kind);
        members.plain(&[key]).map_err(|_| Reason::Unreadable)?;
        let own = members.string(key).ok_or(Reason::Unreadable)?.into_owned();
        let Some(called) = self.view.called(self.kind, server, &own) else { return Ok(None) };
        let naming = self.view.naming(server, &own).filter(|_| self.kind == Kind::Tools);
        let Some(naming) = naming else {
            let spliced = members.raw(key).and_then(|raw| spliced(item, raw, &text::quoted(&called)));
            return Ok(Some((called, spliced.ok_or(Reason::Unreadable)?)));
        };
        members.set(key, text::quoted(&called));
        rename(&mut members, naming);
        Ok(Some((called, members.write())))
    }
}

/// `text` with `new` in the place of `part`, which is a slice of it.
fn spliced(text: &str, part: &str, new: &str) -> Option<String> {
    let begin = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    Some([text.get(..begin)?, new, text.get(begin + part.len()..)?].concat())
}

/// Gives a tool the title and the description an endpoint gave it.
fn rename(tool: &mut Members<'_>, naming: &Naming) {
    if let Some(title) = &naming.title {
        tool.set("title", text::quoted(title));
    }
    if let Some(description) = &naming.description {
        tool.set("description", text::quoted(description));
    }
}

/// The member of an item it is called by.
const fn key(kind: Kind) -> &'static str {
    match kind {
        Kind::Tools | Kind::Prompts => "name",
        Kind::Resources => "uri",
        Kind::Templates => "uriTemplate",
    }
}

/// What all items of one answer may have together.
const BYTES_MAX: usize = 8 * 1024 * 1024;
