//! What may the caller hear of what one server says? The same, with resources called as they are called here.
//!
//! URIs are looked for only where the schema puts a resource's (MCP 2026-07-28 schema): in the content of tool results and
//! prompts, in what was read, in an error of `resources/read`. Text, `structuredContent` and `_meta` are the server's own, and
//! what it asks the caller back (`inputRequests`) returns to it as it was.

use std::borrow::Cow;

use memchr::memmem;

use super::{cache::Scope, uri, view::View};
use crate::text::{self, Members};

/// `message`, which `server` said in answer to a request of `method`, as the caller may hear it. What cannot be read is
/// left as it is.
#[must_use]
pub fn message<'a>(view: &View, server: &str, method: &str, message: &'a str) -> Cow<'a, str> {
    if !may_name_resources(message) {
        return Cow::Borrowed(message);
    }
    let edited = match method {
        "tools/call" => edited(message, |result| each(result, "content", |block| rename_block(server, block))),
        "prompts/get" => edited(message, |result| {
            each(result, "messages", |message| drop(message.edit("content", |block| rename_block(server, block))));
        }),
        "resources/read" => read(view, server, message),
        _ => None,
    };
    edited.map_or(Cow::Borrowed(message), Cow::Owned)
}

/// Whether there may be a member `uri`: most messages are not opened at all.
fn may_name_resources(message: &str) -> bool {
    let message = message.as_bytes();
    memmem::find(message, b"\"uri\"").is_some() || memmem::find(message, b"\\u").is_some()
}

fn edited(message: &str, change: impl FnOnce(&mut Members<'_>)) -> Option<String> {
    let mut message = Members::parse(message).ok()?;
    message.has("result").then_some(())?;
    message.edit("result", change).ok()?;
    Some(message.write())
}

/// The answer to `resources/read`: what was read, or that there is none.
fn read(view: &View, server: &str, message: &str) -> Option<String> {
    let mut message = Members::parse(message).ok()?;
    if message.has("error") {
        let change = |error: &mut Members<'_>| drop(error.edit("data", |data| rename(server, data)));
        message.edit("error", change).ok()?;
    } else if message.has("result") {
        let change = |result: &mut Members<'_>| {
            each(result, "contents", |contents| rename(server, contents));
            if view.scope() == Scope::Private && result.has("cacheScope") {
                result.set("cacheScope", text::quoted(Scope::Private.as_str()));
            }
        };
        message.edit("result", change).ok()?;
    }
    Some(message.write())
}

/// A content block: a link to a resource, or one that is embedded (MCP 2026-07-28 server/tools, Tool Result).
fn rename_block(server: &str, block: &mut Members<'_>) {
    match block.string("type").as_deref() {
        Some("resource_link") => rename(server, block),
        Some("resource") => drop(block.edit("resource", |resource| rename(server, resource))),
        _ => {}
    }
}

/// Calls the resource of the object's `uri` as it is called here.
pub(super) fn rename(server: &str, members: &mut Members<'_>) {
    if let Some(joined) = members.string("uri").map(|own| uri::join(server, &own)) {
        members.set("uri", text::quoted(&joined));
    }
}

/// Changes each object of the array `name`.
fn each(members: &mut Members<'_>, name: &'static str, change: impl Fn(&mut Members<'_>)) {
    let Some(Ok(items)) = members.raw(name).map(text::items) else { return };
    let changed: Vec<Cow<'_, str>> = items
        .iter()
        .map(|item| match Members::parse(item) {
            Ok(mut object) => {
                change(&mut object);
                Cow::Owned(object.write())
            }
            Err(_) => Cow::Borrowed(*item),
        })
        .collect();
    if changed.iter().zip(items).any(|(new, old)| new != old) {
        let array = text::array(changed);
        members.set(name, array);
    }
}
