//! What does a modern caller ask, in the words of a legacy server? Parameters without the envelope of 2026-07-28.

use std::collections::BTreeMap;

use crate::level::Level;
use crate::text::{Members, Unreadable, items, key, unquoted};

/// A request of a caller, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// The JSON text of the parameters as the server gets them.
    pub(super) params: String,
    /// `params.name`
    pub(super) name: Option<String>,
    /// `params.uri`
    pub(super) uri: Option<String>,
    pub(super) wishes: Wishes,
    /// How often it was sent before, once URLs were visited.
    pub(super) again: u32,
}

/// What a caller wants to hear of while it waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// The JSON text of `_meta.progressToken`.
    pub(super) progress_token: Option<String>,
    /// `_meta["io.modelcontextprotocol/logLevel"]`
    pub(super) log_level: Option<Level>,
}

/// What came back from a caller that was asked for something.
#[derive(Clone, Debug)]
pub(super) struct Retry {
    /// `params.requestState`
    pub(super) state: String,
    /// JSON texts of objects by the key of their question.
    pub(super) responses: BTreeMap<String, String>,
}

/// Which notifications a caller wants (MCP 2026-07-28 basic/patterns/subscriptions).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// The methods of the lists whose changes are told.
    pub(super) lists: Vec<Topic>,
    /// The resources whose updates are told.
    pub(super) uris: Vec<String>,
}

/// A list whose changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Tools,
    Prompts,
    Resources,
}

/// Why parameters cannot be worked with (-32602).
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("the parameters cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("`{0}` must be {1}")]
    Type(&'static str, &'static str),
    #[error("more than {URIS_MAX} resources cannot be watched on one stream")]
    Uris,
}

impl Asked {
    /// Reads the parameters `params` of `method`. Progress, if it is wanted, is to be told by `token`.
    pub(super) fn read(method: &str, mut params: Members<'_>, token: u64) -> Result<(Self, Option<Retry>), Wrong> {
        params.plain(&NAMES)?;
        let responses = params.remove("inputResponses").map(|raw| responses(&raw)).transpose()?;
        let state = params.remove("requestState");
        let state = state.map(|raw| unquoted(&raw).map(|state| state.into_owned()));
        let state = state.map(|state| state.ok_or(Wrong::Type("requestState", "a string"))).transpose()?;
        // A task of 2025-11-25 would be answered with what no modern caller understands.
        params.remove("task");
        let wishes = wishes(&params.object("_meta")?)?;
        params.edit("_meta", |meta| {
            meta.retain(|name, _| !name.starts_with(RESERVED));
            if wishes.progress_token.is_some() {
                meta.set(key::PROGRESS_TOKEN, token.to_string());
            }
        })?;
        let asked = Self {
            method: method.to_owned(),
            name: params.string("name").map(|name| name.into_owned()),
            uri: params.string("uri").map(|uri| uri.into_owned()),
            params: params.write(),
            wishes,
            again: 0,
        };
        Ok((asked, state.map(|state| Retry { state, responses: responses.unwrap_or_default() })))
    }

    /// Whether it may be answered by asking back (MCP 2026-07-28 basic/patterns/mrtr).
    pub(super) fn may_ask(&self) -> bool {
        ["tools/call", "prompts/get", "resources/read"].contains(&self.method.as_str())
    }
}

/// What a `subscriptions/listen` with `params` wants.
pub(super) fn filter(params: &Members<'_>) -> Result<Filter, Wrong> {
    params.plain(&["notifications"])?;
    let wanted = params.object("notifications")?;
    let mut filter = Filter::default();
    for topic in Topic::ALL {
        match wanted.raw(topic.flag()) {
            None | Some("false" | "null") => {}
            Some("true") => filter.lists.push(topic),
            Some(_) => return Err(Wrong::Type(topic.flag(), "a boolean")),
        }
    }
    for raw in wanted.raw(URIS).map_or_else(|| Ok(Vec::new()), items)? {
        let uri = unquoted(raw).ok_or(Wrong::Type(URIS, "an array of strings"))?;
        let uri = uri.into_owned();
        if !filter.uris.contains(&uri) {
            filter.uris.push(uri);
        }
        if filter.uris.len() > URIS_MAX {
            return Err(Wrong::Uris);
        }
    }
    Ok(filter)
}

impl Topic {
    pub(super) const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// Its member in a filter.
    pub(super) const fn flag(self) -> &'static str {
        match self {
            Self::Tools => "toolsListChanged",
            Self::Prompts => "promptsListChanged",
            Self::Resources => "resourcesListChanged",
        }
    }

    /// The capability that goes with it.
    pub(super) const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
        }
    }

    /// The notification that tells of it.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }
}

impl Filter {
    /// As it is spelled in `notifications`.
    pub(super) fn write(&self) -> String {
        let mut members = Members::new();
        for topic in &self.lists {
            members.set(topic.flag(), "true");
        }
        if !self.uris.is_empty() {
            members.set(URIS, crate::text::array(self.uris.iter().map(|uri| crate::text::quoted(uri))));
        }
        members.write()
    }
}

fn responses(raw: &str) -> Result<BTreeMap<String, String>, Wrong> {
    let members = Members::parse(raw).map_err(|_| Wrong::Type("inputResponses", "an object"))?;
    Ok(members.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn wishes(meta: &Members<'_>) -> Result<Wishes, Wrong> {
    meta.plain(&[key::PROGRESS_TOKEN, key::LOG_LEVEL])?;
    let progress_token = meta.raw(key::PROGRESS_TOKEN).map(str::to_owned);
    if progress_token.as_deref().is_some_and(|token| !token.starts_with('"') && token.parse::<i64>().is_err()) {
        return Err(Wrong::Type("_meta.progressToken", "a string or an integer"));
    }
    let level = meta.raw(key::LOG_LEVEL).map(|raw| unquoted(raw).and_then(|level| Level::parse(&level)));
    let log_level = level.map(|level| level.ok_or(Wrong::Type(key::LOG_LEVEL, "a log level"))).transpose()?;
    Ok(Wishes { progress_token, log_level })
}

/// What the gateway decides by, and what it takes out.
const NAMES: [&str; 7] = ["name", "uri", "arguments", "_meta", "inputResponses", "requestState", "task"];
/// The members of `_meta` that are the protocol's own.
const RESERVED: &str = "io.modelcontextprotocol/";
const URIS: &str = "resourceSubscriptions";
/// More resources are not watched on one stream.
pub(super) const URIS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(params: &str) -> Result<(Asked, Option<Retry>), Wrong> {
        Asked::read("tools/call", Members::parse(params).map_err(Wrong::from)?, 7)
    }

    #[test]
    fn the_envelope_is_taken_off_and_the_rest_stays_as_it_was_spelled() {
        let (asked, retry) = read(
            r#"{"name":"a","arguments":{"n": 1.10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"00-a","progressToken":"p","io.modelcontextprotocol/logLevel":"info"},"task":{}}"#,
        )
        .unwrap();
        assert!(retry.is_none());
        assert_eq!(
            asked.params,
            r#"{"name":"a","arguments":{"n": 1.10},"_meta":{"traceparent":"00-a","progressToken":7}}"#
        );
        assert_eq!(asked.wishes.progress_token.as_deref(), Some("\"p\""));
        assert_eq!(asked.wishes.log_level, Some(Level::Info));
    }

    #[test]
    fn a_retry_is_told_apart_from_a_call() {
        let (asked, retry) =
            read(r#"{"name":"a","inputResponses":{"k1":{"action":"accept"}},"requestState":"1.1"}"#).unwrap();
        assert_eq!(asked.params, r#"{"name":"a"}"#);
        let retry = retry.unwrap();
        assert_eq!((retry.state.as_str(), retry.responses["k1"].as_str()), ("1.1", r#"{"action":"accept"}"#));
        assert!(read(r#"{"name":"a","inputResponses":{"k1":3}}"#).unwrap().1.is_none(), "nothing was asked");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for params in [
            r#"{"name":"a","RequestState":"1.1"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"requestState":1}"#,
            r#"{"inputResponses":null}"#,
            r#"{"_meta":{"progressToken":{}}}"#,
            r#"{"_meta":{"progressToken":1.5}}"#,
            r#"{"_meta":{"io.modelcontextprotocol/logLevel":"loud"}}"#,
            r#"{"_meta":[]}"#,
        ] {
            assert!(read(params).is_err(), "{params}");
        }
    }
}
