//! How is a message changed without spelling it anew? Objects opened one level deep, edited, and written back.
//!
//! What is not touched keeps its bytes: numbers no double can hold, escapes, the order of members. Nothing is parsed into
//! a tree, so that translating a message costs about one pass over it.

mod envelope;

use std::{borrow::Cow, fmt};

use mcp::{Revision, json};
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

pub use envelope::{Envelope, names};
pub use json::quoted;

/// The members of a JSON object in their order, each name once, each value as it was spelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members<'a> {
    entries: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The whole object as it was spelled, as long as nothing was changed.
    source: Option<&'a str>,
}

/// Why a text could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, not of the expected kind, too many members, or one named twice.
    #[error("`{at}` cannot be read: {what}")]
    Shape {
        /// Its beginning.
        at: String,
        /// What is wrong.
        what: String,
    },
    /// A member that some readers take for another one.
    #[error("some readers take `{0}` for `{1}`: spell it so")]
    Disguised(String, &'static str),
}

/// What a result says it is (MCP 2026-07-28 basic, `resultType`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// The answer; also where nothing is said, as older servers do.
    Complete,
    /// Something is asked back first (MCP 2026-07-28 basic/patterns/mrtr).
    InputRequired,
    /// Something else: an extension's, such as `task`, or no string at all.
    Other(String),
}

impl<'a> Members<'a> {
    /// An object without members.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), source: None }
    }

    /// Opens the object `text`. Nothing inside of its members is looked at.
    ///
    /// # Errors
    /// [`Unreadable::Shape`]
    pub fn parse(text: &'a str) -> Result<Self, Unreadable> {
        let Object(entries) = read(text)?;
        Ok(Self { entries, source: Some(text) })
    }

    /// The JSON text of the member `name`, as it was spelled.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The member `name`, if it is a string.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<Cow<'_, str>> {
        unquoted(self.raw(name)?)
    }

    /// The member `name`, opened; empty if it is not there.
    ///
    /// # Errors
    /// [`Unreadable::Shape`] when it is no object.
    pub fn object(&self, name: &str) -> Result<Members<'_>, Unreadable> {
        self.raw(name).map_or_else(|| Ok(Members::new()), Members::parse)
    }

    /// Whether there is a member `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Whether there are no members.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many members there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The names and the JSON texts of the members, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Refuses a member that a reader who does not tell upper from lower case takes for one of `names`.
    ///
    /// # Errors
    /// [`Unreadable::Disguised`]
    pub fn plain(&self, names: &[&'static str]) -> Result<(), Unreadable> {
        let taken = |key: &str| names.iter().find(|name| json::is_disguised(key, name)).copied();
        let found = self.entries.iter().find_map(|(key, _)| taken(key).map(|name| (key, name)));
        found.map_or(Ok(()), |(key, name)| Err(Unreadable::Disguised(json::clip(key).to_owned(), name)))
    }

    /// Gives the member `name` the JSON text `value`: in its place, or as the last one.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let (name, value) = (name.into(), value.into());
        self.source = None;
        match self.entries.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name, value)),
        }
    }

    /// Takes the member `name` out and gives its JSON text.
    pub fn remove(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let index = self.entries.iter().position(|(key, _)| key == name)?;
        self.source = None;
        Some(self.entries.remove(index).1)
    }

    /// Keeps the members that `wanted` wants, by name and JSON text.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str, &str) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|(name, value)| wanted(name, value));
        if self.entries.len() < before {
            self.source = None;
        }
    }

    /// Changes the object under `name` in its place. It is made where it is missing, and gone where nothing is left in it.
    ///
    /// # Errors
    /// [`Unreadable::Shape`] when it is no object; nothing is changed then.
    pub fn edit(
        &mut self,
        name: impl Into<Cow<'a, str>>,
        change: impl FnOnce(&mut Members<'_>),
    ) -> Result<(), Unreadable> {
        let name = name.into();
        let mut inner = self.object(&name)?;
        let source = inner.source;
        change(&mut inner);
        let untouched = inner.source == source && (source.is_some() || inner.is_empty());
        match inner.is_empty() {
            _ if untouched => {}
            true => drop(self.remove(&name)),
            false => {
                let written = inner.write();
                self.set(name, written);
            }
        }
        Ok(())
    }

    /// The object as a JSON text: as it was spelled if nothing was changed.
    #[must_use]
    pub fn write(&self) -> String {
        if let Some(source) = self.source {
            return source.to_owned();
        }
        let bytes: usize = self.entries.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut text = String::with_capacity(bytes + 2);
        text.push('{');
        for (index, (name, value)) in self.entries.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            text.push_str(&quoted(name));
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

impl<'n, 'v, N: Into<Cow<'n, str>>, V: Into<Cow<'v, str>>> FromIterator<(N, V)> for Members<'n>
where
    'v: 'n,
{
    /// Later members replace earlier ones of the same name.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut members = Self::new();
        for (name, value) in entries {
            members.set(name, value.into());
        }
        members
    }
}

/// The items of the array `text`, each as it was spelled; at most [`ITEMS_MAX`].
///
/// # Errors
/// [`Unreadable::Shape`]
pub fn items(text: &str) -> Result<Vec<&str>, Unreadable> {
    read(text).map(|Array(items)| items)
}

/// An array of JSON texts.
#[must_use]
pub fn array<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = "[".to_owned();
    for (index, item) in items.into_iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        text.push_str(item.as_ref());
    }
    text.push(']');
    text
}

/// The string that the JSON text `raw` spells, if it is one.
#[must_use]
pub fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw).ok().map(|Text(text)| text)
}

/// What the result `members` says it is.
#[must_use]
pub fn result_type(members: &Members<'_>) -> ResultType {
    let Some(raw) = members.raw("resultType") else { return ResultType::Complete };
    match unquoted(raw).as_deref() {
        Some("complete") => ResultType::Complete,
        Some("input_required") => ResultType::InputRequired,
        Some(other) => ResultType::Other(json::clip(other).to_owned()),
        None => ResultType::Other(json::clip(raw).to_owned()),
    }
}

/// The legacy revision that `result`, the JSON text of a result of `initialize`, agrees on.
#[must_use]
pub fn revision_of(result: &str) -> Option<Revision> {
    let agreed = Members::parse(result).ok()?.string("protocolVersion").and_then(|text| Revision::parse(&text));
    agreed.filter(|revision| revision.is_legacy())
}

/// A request: `id` and `params` are JSON texts.
#[must_use]
pub fn request(id: &str, method: &str, params: Option<&str>) -> String {
    let head = ["{\"jsonrpc\":\"2.0\",\"id\":", id, ",\"method\":", &quoted(method)].concat();
    params.map_or_else(|| [&head, "}"].concat(), |params| [&head, ",\"params\":", params, "}"].concat())
}

/// A notification: `params` is a JSON text.
#[must_use]
pub fn notification(method: &str, params: Option<&str>) -> String {
    let head = ["{\"jsonrpc\":\"2.0\",\"method\":", &quoted(method)].concat();
    params.map_or_else(|| [&head, "}"].concat(), |params| [&head, ",\"params\":", params, "}"].concat())
}

/// A response: `id` and `result` are JSON texts.
#[must_use]
pub fn response(id: &str, result: &str) -> String {
    ["{\"jsonrpc\":\"2.0\",\"id\":", id, ",\"result\":", result, "}"].concat()
}

/// An error response: `id` and `data` are JSON texts.
#[must_use]
pub fn error(id: &str, code: i64, message: &str, data: Option<&str>) -> String {
    let mut error = Members::new();
    error.set("code", code.to_string());
    error.set("message", quoted(message));
    if let Some(data) = data {
        error.set("data", data);
    }
    raw_error(id, &error.write())
}

/// An error response with the error object as a JSON text.
#[must_use]
pub fn raw_error(id: &str, error: &str) -> String {
    ["{\"jsonrpc\":\"2.0\",\"id\":", id, ",\"error\":", error, "}"].concat()
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error: serde_json::Error| Unreadable::shape(text, &error.to_string()))
}

impl Unreadable {
    fn shape(text: &str, what: &str) -> Self {
        Self::Shape { at: json::clip(text).to_owned(), what: what.to_owned() }
    }
}

struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if entries.len() == MEMBERS_MAX {
                        return Err(A::Error::custom("it has more than 256 members"));
                    }
                    if entries.iter().any(|(name, _)| *name == key) {
                        return Err(A::Error::custom(format_args!("`{}` is named twice", json::clip(&key))));
                    }
                    entries.push((key, Cow::Borrowed(value.get())));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

struct Array<'a>(Vec<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Array<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element::<&'de RawValue>()? {
                    if items.len() == ITEMS_MAX {
                        return Err(A::Error::custom("it has more than 2000 items"));
                    }
                    items.push(item.get());
                }
                Ok(Array(items))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of `_meta` that the protocol gave a meaning to (MCP 2026-07-28 basic).
pub mod key {
    /// The revision a request speaks.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// What the caller can do.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Which program the caller is.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// The least log level the caller wants to hear of.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Which program a server is, on its results.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// The id of the `subscriptions/listen` a notification belongs to.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// What progress of the request is told by.
    pub const PROGRESS_TOKEN: &str = "progressToken";
}

/// The methods whose results say how long they hold (MCP 2026-07-28 server/utilities/caching).
pub const CACHEABLE: [&str; 6] =
    ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"];
/// Objects of more members are refused: each name is compared with each other.
pub const MEMBERS_MAX: usize = 256;
/// Longer arrays are refused.
pub const ITEMS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_not_touched_keeps_its_bytes() {
        let text = r#" { "a" : 1.10, "b":{"x": 12345678901234567890123}, "\u0063":"é" } "#;
        let mut members = Members::parse(text).unwrap();
        assert_eq!(members.write(), text);
        assert!(members.remove("missing").is_none());
        assert_eq!(members.write(), text, "taking out nothing changes nothing");
        members.set("d", "true");
        assert_eq!(members.write(), r#"{"a":1.10,"b":{"x": 12345678901234567890123},"c":"é","d":true}"#);
        members.set("a", "2");
        assert_eq!(members.remove("b").unwrap(), r#"{"x": 12345678901234567890123}"#);
        assert_eq!(members.write(), r#"{"a":2,"c":"é","d":true}"#);
    }

    #[test]
    fn an_inner_object_is_made_changed_and_removed_in_its_place() {
        let edited = |text: &str, change: fn(&mut Members<'_>)| {
            let mut members = Members::parse(text).unwrap();
            members.edit("_meta", change).unwrap();
            members.write()
        };
        assert_eq!(edited(r#"{"a":1}"#, |meta| meta.set("k", "1")), r#"{"a":1,"_meta":{"k":1}}"#);
        assert_eq!(edited(r#"{"_meta":{"k":1},"a":1}"#, |meta| drop(meta.remove("k"))), r#"{"a":1}"#);
        assert_eq!(
            edited(r#"{"_meta":{"k":1,"l":2},"a":1}"#, |meta| drop(meta.remove("k"))),
            r#"{"_meta":{"l":2},"a":1}"#
        );
        for same in [r#"{"_meta":{ },"a":1}"#, r#"{ "a":1}"#, r#"{"_meta":{"l": 2},"a":1}"#] {
            assert_eq!(edited(same, |meta| drop(meta.remove("k"))), same);
        }
        assert!(Members::parse(r#"{"_meta":3}"#).unwrap().edit("_meta", |_| {}).is_err());
    }

    #[test]
    fn members_named_twice_or_in_disguise_are_refused() {
        assert!(Members::parse(r#"{"a":1,"\u0061":2}"#).is_err());
        let members = Members::parse(r#"{"Name":1,"uri":2}"#).unwrap();
        assert_eq!(members.plain(&["name"]), Err(Unreadable::Disguised("Name".into(), "name")));
        assert_eq!(members.plain(&["uri", "arguments"]), Ok(()));
        let wide =
            |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        assert!(Members::parse(&wide(MEMBERS_MAX)).is_ok());
        assert!(Members::parse(&wide(MEMBERS_MAX + 1)).is_err());
        assert!(items(&format!("[{}0]", "0,".repeat(ITEMS_MAX))).is_err());
        assert_eq!(items("[1 , \"a,]\"]").unwrap(), ["1", "\"a,]\""]);
    }

    #[test]
    fn messages_are_spelled_as_json_rpc_says() {
        let value = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(value(response("\"a\"", "{}")), json!({"jsonrpc": "2.0", "id": "a", "result": {}}));
        assert_eq!(
            value(error("7", -32602, "no `a\"b`", Some(r#"{"uri":"x"}"#))),
            json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32602, "message": "no `a\"b`", "data": {"uri": "x"}}})
        );
        assert_eq!(value(request("1", "ping", None)), json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
        assert_eq!(
            value(notification("notifications/cancelled", Some(r#"{"requestId":1}"#))),
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        );
    }

    #[test]
    fn a_result_without_a_type_is_complete() {
        let of = |text: &str| result_type(&Members::parse(text).unwrap());
        assert_eq!(of("{}"), ResultType::Complete);
        assert_eq!(of(r#"{"resultType":"complete"}"#), ResultType::Complete);
        assert_eq!(of(r#"{"resultType":"input_required"}"#), ResultType::InputRequired);
        assert_eq!(of(r#"{"resultType":"task"}"#), ResultType::Other("task".into()));
        assert_eq!(of(r#"{"resultType":null}"#), ResultType::Other("null".into()));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = (Members::parse(&text), items(&text), unquoted(&text));
        }

        #[test]
        fn strings_read_back(text in any::<String>()) {
            let spelled = quoted(&text);
            prop_assert_eq!(unquoted(&spelled).unwrap(), text);
        }

        #[test]
        fn objects_read_back_whatever_is_set(
            members in prop::collection::btree_map(any::<String>(), any::<i64>(), 0..8),
            name in any::<String>(),
        ) {
            let mut expected = json!(members);
            let text = expected.to_string();
            let mut opened = Members::parse(&text).unwrap();
            opened.set(name.clone(), "[1]");
            expected[name] = json!([1]);
            prop_assert_eq!(serde_json::from_str::<Value>(&opened.write()).unwrap(), expected);
        }
    }
}
