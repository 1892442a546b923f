//! What does a server list? The items of an answer to a list request, and the answer without those nobody may see.
//!
//! What is left out leaves no trace, and everything else stays byte for byte as the server spelled it.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    json,
    jsonrpc::{self, Malformed, Message, Reply},
};

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The list it stands in.
    pub kind: Kind,
    /// What it is called by: a tool's or prompt's name, a resource's URI, a template's URI template.
    pub key: Cow<'a, str>,
    /// The item as it was spelled.
    pub raw: &'a str,
}

/// Whether an item is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays where it is.
    Keep,
    /// It is as if it never was there.
    Drop,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// In their order.
    pub items: Vec<Item<'a>>,
    /// What to ask the next page with (MCP server/utilities/pagination).
    pub next_cursor: Option<String>,
}

/// Why an answer is not shown: nobody can tell what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON-RPC.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// JSON-RPC, but no list.
    #[error("the answer is no list of {member}: {what}")]
    Shape {
        /// The member that should hold the items.
        member: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The server answered with an error, where a page was needed.
    #[error("the server refuses to list: {0}")]
    Refused(String),
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The kind that is asked for with `method`.
    #[must_use]
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// The method that asks for it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the items.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item it is called by.
    const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    fn shape(self, what: impl fmt::Display) -> Unreadable {
        Unreadable::Shape { member: self.member(), what: what.to_string() }
    }
}

/// `text` without the items `fate` drops: a message, or a batch of them, that came where the lists `asked` were asked
/// for. Untouched where nothing is dropped, as in what is no answer: a notification, an error.
///
/// Every response in it is looked at, whatever its `id`: clients differ in which ids they take for one.
///
/// # Errors
/// [`Unreadable`]: a list is not one, is longer than [`ITEMS_MAX`], or has a member two readers could read differently.
pub fn filter<'a>(
    text: &'a str,
    asked: &[Kind],
    mut fate: impl FnMut(&Item<'a>) -> Fate,
) -> Result<Cow<'a, str>, Unreadable> {
    let body = jsonrpc::parse(text.as_bytes())?;
    let mut cuts = Vec::new();
    for message in body.messages() {
        let Message::Response(reply) = message else { continue };
        for &kind in asked {
            let Some(list) = List::of(kind, reply)? else { continue };
            let kept: Vec<&str> =
                list.items.iter().filter(|item| fate(item) == Fate::Keep).map(|item| item.raw).collect();
            if kept.len() < list.items.len() {
                cuts.push((span(text, list.array), format!("[{}]", kept.join(","))));
            }
        }
    }
    Ok(spliced(text, cuts))
}

/// The page in `text`, one response to a request for a list of `kind`.
///
/// # Errors
/// [`Unreadable`]; an answer without a list, too.
pub fn read(kind: Kind, text: &str) -> Result<Page<'_>, Unreadable> {
    let jsonrpc::Body::Single(Message::Response(reply)) = jsonrpc::parse(text.as_bytes())? else {
        return Err(kind.shape("it is not one response"));
    };
    if let Some(error) = reply.error {
        return Err(Unreadable::Refused(json::clip(error.get()).to_owned()));
    }
    let list = List::of(kind, &reply)?.ok_or_else(|| kind.shape("it has none"))?;
    let next_cursor = match list.cursor.map(RawValue::get) {
        None | Some("null") => None,
        Some(cursor) => Some(serde_json::from_str(cursor).map_err(|error| kind.shape(error))?),
    };
    Ok(Page { items: list.items, next_cursor })
}

/// A list within a response.
struct List<'a> {
    array: &'a str,
    items: Vec<Item<'a>>,
    cursor: Option<&'a RawValue>,
}

impl<'a> List<'a> {
    /// The list of `kind` in `reply`, if it has a result and such a member.
    fn of(kind: Kind, reply: &Reply<'a>) -> Result<Option<Self>, Unreadable> {
        let message = Members::read(reply.raw).map_err(|error| kind.shape(error))?;
        for name in ["result", "error", "method"] {
            message.only(name).map_err(|what| kind.shape(what))?;
        }
        let Some(result) = reply.result else { return Ok(None) };
        let result = Members::read(result.get()).map_err(|error| kind.shape(error))?;
        let Some(array) = result.only(kind.member()).map_err(|what| kind.shape(what))? else { return Ok(None) };
        let raws: Raws<'a> = serde_json::from_str(array.get()).map_err(|error| kind.shape(error))?;
        let items = raws.0.into_iter().map(|raw| Item::read(kind, raw)).collect::<Result<_, _>>()?;
        let cursor = result.only("nextCursor").map_err(|what| kind.shape(what))?;
        Ok(Some(Self { array: array.get(), items, cursor }))
    }
}

impl<'a> Item<'a> {
    fn read(kind: Kind, raw: &'a RawValue) -> Result<Self, Unreadable> {
        let members = Members::read(raw.get()).map_err(|error| kind.shape(error))?;
        let key = members.only(kind.key()).map_err(|what| kind.shape(what))?;
        let key = key.ok_or_else(|| kind.shape(format_args!("an item has no `{}`", kind.key())))?;
        let Text(key) = serde_json::from_str(key.get()).map_err(|error| kind.shape(error))?;
        match key.len() {
            0..=KEY_MAX_BYTES => Ok(Self { kind, key, raw: raw.get() }),
            _ => Err(kind.shape(format_args!("an item's `{}` is longer than {KEY_MAX_BYTES} bytes", kind.key()))),
        }
    }
}

/// Where `part`, a slice of `whole`, lies in it.
fn span(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

fn spliced(text: &str, mut cuts: Vec<(Range<usize>, String)>) -> Cow<'_, str> {
    if cuts.is_empty() {
        return Cow::Borrowed(text);
    }
    cuts.sort_by_key(|(span, _)| span.start);
    let mut written = String::with_capacity(text.len());
    let mut at = 0;
    for (span, new) in cuts {
        written.push_str(text.get(at..span.start).unwrap_or_default());
        written.push_str(&new);
        at = span.end;
    }
    written.push_str(text.get(at..).unwrap_or_default());
    Cow::Owned(written)
}

/// The members of an object in their order, each name once.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The member `name`, if no other could be taken for it.
    fn only(&self, name: &str) -> Result<Option<&'a RawValue>, String> {
        if let Some((key, _)) = self.0.iter().find(|(key, _)| json::is_disguised(key, name)) {
            return Err(format!("some clients read its `{}` as `{name}`", json::clip(key)));
        }
        Ok(self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom("an object has more than 64 members"));
                    }
                    if members.iter().any(|(name, _)| *name == key) {
                        return Err(A::Error::custom(format_args!("`{}` is named twice", json::clip(&key))));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The items of an array, none of them read.
struct Raws<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Raws<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Raws<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == ITEMS_MAX {
                        return Err(A::Error::custom("it has more than 2000 items"));
                    }
                    items.push(item);
                }
                Ok(Raws(items))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Longer pages are refused.
pub const ITEMS_MAX: usize = 2_000;
/// Longer names and URIs are refused.
pub const KEY_MAX_BYTES: usize = 4_096;
/// Objects of more members are refused: each name is compared with each other.
const MEMBERS_MAX: usize = 64;

#[cfg(test)]
#[path = "page/tests.rs"]
mod tests;
