//! How does a modern result become a legacy one? What the caller's revision does not know is taken out or wrapped.

use std::borrow::Cow;

use mcp::Revision;

use crate::text::{Members, ResultType, Unreadable, array, items, key, quoted, result_type};

use super::{content, schema};

/// What a result says, put so that a legacy caller understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The result: a JSON object.
    Complete(String),
    /// The server asks something back first: the result as it came.
    InputRequired,
    /// A kind of result that no legacy caller asked for.
    Other(String),
}

/// Whether the definition of the tool that was called had its `outputSchema` wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// It has an object at its root, or is not known.
    Plain,
    /// It was wrapped, and so is every result.
    Wrapped,
}

/// Puts `result`, a JSON object that answers `method`, into the words of `revision`.
///
/// # Errors
/// [`Unreadable`] when a part that has to be looked at has another shape than it must have.
pub fn result(method: &str, result: &str, revision: Revision, schema: Schema) -> Result<Outcome, Unreadable> {
    let mut members = Members::parse(result)?;
    match result_type(&members) {
        ResultType::InputRequired => return Ok(Outcome::InputRequired),
        ResultType::Other(kind) => return Ok(Outcome::Other(kind)),
        ResultType::Complete => {}
    }
    members.retain(|name, _| !matches!(name, "resultType" | "ttlMs" | "cacheScope"));
    members.edit("_meta", |meta| drop(meta.remove(key::SERVER_INFO)))?;
    match method {
        "tools/call" => call(&mut members, revision, schema)?,
        "tools/list" => list(&mut members, "tools", |tool| schema::tool(tool, revision))?,
        "prompts/list" if revision < Revision::V2025_11_25 => {
            list(&mut members, "prompts", |one| prompt(one, revision))?
        }
        "resources/list" if revision < Revision::V2025_11_25 => {
            list(&mut members, "resources", |one| named(one, revision))?
        }
        "resources/templates/list" if revision < Revision::V2025_11_25 => {
            list(&mut members, "resourceTemplates", |one| named(one, revision))?;
        }
        "prompts/get" if revision < Revision::V2025_06_18 => {
            list(&mut members, "messages", |one| content::message(one, revision))?;
        }
        _ => {}
    }
    Ok(Outcome::Complete(members.write()))
}

/// The members of a definition that came after `revision`.
pub(super) fn newer(revision: Revision) -> &'static [&'static str] {
    match revision {
        Revision::V2024_11_05 | Revision::V2025_03_26 => &["icons", "title", "_meta"],
        Revision::V2025_06_18 => &["icons"],
        Revision::V2025_11_25 | Revision::V2026_07_28 => &[],
    }
}

/// A tool's result. Before 2026-07-28 structured content is an object, before 2025-06-18 there is none.
fn call(members: &mut Members<'_>, revision: Revision, schema: Schema) -> Result<(), Unreadable> {
    if let Some(structured) = members.raw("structuredContent").map(str::to_owned) {
        let is_object = structured.starts_with('{');
        if !is_object || revision < Revision::V2025_06_18 {
            said_as_text(members, &structured)?;
        }
        if revision < Revision::V2025_06_18 {
            members.remove("structuredContent");
        } else if !is_object || schema == Schema::Wrapped {
            members.set("structuredContent", ["{\"result\":", &structured, "}"].concat());
        }
    }
    match revision < Revision::V2025_06_18 {
        true => list(members, "content", |block| content::block(block, revision)),
        false => Ok(()),
    }
}

/// Callers that cannot read structured content are told it as text, unless the server did.
fn said_as_text(members: &mut Members<'_>, structured: &str) -> Result<(), Unreadable> {
    let content = members.raw("content").unwrap_or("[]").to_owned();
    let blocks = items(&content)?;
    let is_text = |block: &&str| Members::parse(block).is_ok_and(|one| one.string("type").as_deref() == Some("text"));
    if !blocks.iter().any(is_text) {
        let text = content::text(structured);
        members.set("content", array(blocks.iter().copied().chain([text.as_str()])));
    }
    Ok(())
}

fn prompt(text: &str, revision: Revision) -> Result<Item, Unreadable> {
    let mut prompt = Members::parse(text)?;
    if revision < Revision::V2025_06_18 {
        list(&mut prompt, "arguments", |one| named(one, revision))?;
    }
    prompt.retain(|name, _| !newer(revision).contains(&name));
    Ok(Item::New(prompt.write()))
}

fn named(text: &str, revision: Revision) -> Result<Item, Unreadable> {
    Ok(older(Members::parse(text)?, revision))
}

/// What becomes of an item of a list.
pub(super) enum Item {
    /// It stays as it was spelled.
    Same,
    /// It is put so.
    New(String),
    /// It is not told.
    Gone,
}

/// Puts each item of the array `name` anew. An array of too many items stays as a whole.
pub(super) fn list(
    members: &mut Members<'_>,
    name: &'static str,
    mut change: impl FnMut(&str) -> Result<Item, Unreadable>,
) -> Result<(), Unreadable> {
    let Some(items) = members.raw(name).and_then(|raw| items(raw).ok()) else { return Ok(()) };
    let mut changed = false;
    let mut written: Vec<Cow<'_, str>> = Vec::with_capacity(items.len());
    for item in items {
        match change(item)? {
            Item::Same => written.push(Cow::Borrowed(item)),
            Item::New(new) => {
                changed = true;
                written.push(Cow::Owned(new));
            }
            Item::Gone => changed = true,
        }
    }
    if changed {
        let written = array(written);
        members.set(name, written);
    }
    Ok(())
}

/// `members` without those that came after `revision`.
fn older(mut members: Members<'_>, revision: Revision) -> Item {
    let len = members.len();
    members.retain(|name, _| !newer(revision).contains(&name));
    if members.len() == len { Item::Same } else { Item::New(members.write()) }
}

/// A tool's result that says what went wrong (MCP 2025-11-25 server/tools, Error Handling).
#[must_use]
pub fn failed(why: &str) -> String {
    ["{\"content\":[{\"type\":\"text\",\"text\":", &quoted(why), "}],\"isError\":true}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(method: &str, text: &str, revision: Revision, schema: Schema) -> String {
        match result(method, text, revision, schema).unwrap() {
            Outcome::Complete(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_only_a_modern_result_says_is_taken_out() {
        let text = r#"{"resultType":"complete","ttlMs":5,"cacheScope":"public","resources":[ {"uri":"a:b"} ],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#;
        assert_eq!(
            put("resources/list", text, Revision::V2025_11_25, Schema::Plain),
            r#"{"resources":[ {"uri":"a:b"} ]}"#
        );
        let text = r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{},"a/b":1}}"#;
        assert_eq!(put("anything", text, Revision::V2025_11_25, Schema::Plain), r#"{"_meta":{"a/b":1}}"#);
    }

    #[test]
    fn structured_content_is_an_object_or_absent() {
        let array = r#"{"content":[],"structuredContent":[1,2]}"#;
        assert_eq!(
            put("tools/call", array, Revision::V2025_11_25, Schema::Plain),
            r#"{"content":[{"type":"text","text":"[1,2]"}],"structuredContent":{"result":[1,2]}}"#
        );
        assert_eq!(
            put("tools/call", array, Revision::V2025_03_26, Schema::Plain),
            r#"{"content":[{"type":"text","text":"[1,2]"}]}"#
        );
        let object = r#"{"content":[{"type":"text","text":"t"}],"structuredContent":{"a":1}}"#;
        assert_eq!(put("tools/call", object, Revision::V2025_06_18, Schema::Plain), object);
        assert_eq!(
            put("tools/call", object, Revision::V2025_06_18, Schema::Wrapped),
            r#"{"content":[{"type":"text","text":"t"}],"structuredContent":{"result":{"a":1}}}"#
        );
        assert_eq!(
            put("tools/call", object, Revision::V2024_11_05, Schema::Plain),
            r#"{"content":[{"type":"text","text":"t"}]}"#
        );
    }

    #[test]
    fn definitions_lose_what_came_later() {
        let text = r#"{"prompts":[{"name":"p","title":"P","icons":[],"arguments":[{"name":"a","title":"A"}]}]}"#;
        assert_eq!(put("prompts/list", text, Revision::V2025_11_25, Schema::Plain), text);
        assert_eq!(
            put("prompts/list", text, Revision::V2025_06_18, Schema::Plain),
            r#"{"prompts":[{"name":"p","title":"P","arguments":[{"name":"a","title":"A"}]}]}"#
        );
        assert_eq!(
            put("prompts/list", text, Revision::V2025_03_26, Schema::Plain),
            r#"{"prompts":[{"name":"p","arguments":[{"name":"a"}]}]}"#
        );
    }

    #[test]
    fn results_of_other_kinds_are_told_apart() {
        let of = |text: &str| result("tools/call", text, Revision::V2025_11_25, Schema::Plain).unwrap();
        assert_eq!(of(r#"{"resultType":"input_required"}"#), Outcome::InputRequired);
        assert_eq!(of(r#"{"resultType":"task"}"#), Outcome::Other("task".into()));
    }
}
