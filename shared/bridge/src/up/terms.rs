//! What did a caller and this gateway agree on at `initialize`? Spelled in the session's id, so that it is never forgotten.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mcp::{Revision, json::clip};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::text::{Members, Unreadable, quoted};

/// What a legacy session agreed on (MCP 2025-11-25 basic/lifecycle). Small, whole and spelled by [`Terms::spell`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The revision the session speaks; a legacy one.
    pub revision: Revision,
    /// The caller's capabilities as a modern server is told of them: a JSON object. See [`bridged`].
    pub capabilities: String,
    /// Which program the caller is: a JSON object with `name` and `version`.
    pub client_info: Option<String>,
    /// What the server behind serves.
    pub serves: Serves,
}

/// What of a server's capabilities is needed after `initialize`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serves {
    /// `tools.listChanged`
    pub tools_changed: bool,
    /// `prompts.listChanged`
    pub prompts_changed: bool,
    /// `resources.listChanged`
    pub resources_changed: bool,
    /// `resources.subscribe`
    pub subscriptions: bool,
    /// `logging`
    pub logging: bool,
}

/// What a caller can be asked, by its capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// `elicitation` with a form.
    pub form: bool,
    /// `elicitation` by a URL.
    pub url: bool,
    /// `sampling`
    pub sampling: bool,
    /// `sampling.tools`
    pub sampling_tools: bool,
    /// `roots`
    pub roots: bool,
}

impl Terms {
    /// The terms of an `initialize` with these `params` (a JSON object); what the server serves is not known yet.
    ///
    /// What would make the spelled terms longer than [`SPELLED_MAX_BYTES`] is reduced here, so that the terms are the same
    /// before and after a session was forgotten.
    ///
    /// # Errors
    /// [`Unreadable`] when a member that counts is missing or of the wrong type.
    pub fn of_initialize(params: &str) -> Result<Self, Unreadable> {
        let params = Members::parse(params)?;
        params.plain(&["protocolVersion", "capabilities", "clientInfo"])?;
        let asked = params.string("protocolVersion").ok_or_else(|| missing("protocolVersion"))?;
        let revision = answered(&asked);
        let terms = Self {
            revision,
            capabilities: bridged(&params.object("capabilities")?, revision)?,
            client_info: params.raw("clientInfo").and_then(program),
            serves: Serves::default(),
        };
        Ok(terms.reduced())
    }

    /// The terms as a session id: base64url of JSON, at most [`SPELLED_MAX_BYTES`] long.
    #[must_use]
    pub fn spell(&self) -> String {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).ok();
        let spelled = Spelled {
            revision: self.revision,
            capabilities: raw(&self.capabilities),
            client_info: self.client_info.as_deref().and_then(raw),
            serves: self.serves.spell(),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_string(&spelled).unwrap_or_default())
    }

    /// Reads what [`Terms::spell`] wrote.
    #[must_use]
    pub fn read(session_id: &str) -> Option<Self> {
        if session_id.len() > SPELLED_MAX_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(session_id).ok()?;
        let spelled: Spelled = serde_json::from_slice(&bytes).ok()?;
        let capabilities = spelled.capabilities?;
        Members::parse(capabilities.get()).ok()?;
        spelled.revision.is_legacy().then(|| Self {
            revision: spelled.revision,
            capabilities: capabilities.get().to_owned(),
            client_info: spelled.client_info.map(|info| info.get().to_owned()),
            serves: Serves::read(&spelled.serves),
        })
    }

    /// What the caller can be asked.
    #[must_use]
    pub fn offers(&self) -> Offers {
        let Ok(capabilities) = Members::parse(&self.capabilities) else { return Offers::default() };
        let inside = |name: &str, member: &str| capabilities.object(name).is_ok_and(|inner| inner.has(member));
        let elicitation = capabilities.has("elicitation");
        let url = elicitation && inside("elicitation", "url");
        Offers {
            form: elicitation && (inside("elicitation", "form") || !url),
            url,
            sampling: capabilities.has("sampling"),
            sampling_tools: inside("sampling", "tools"),
            roots: capabilities.has("roots"),
        }
    }

    fn reduced(mut self) -> Self {
        if self.is_too_long() {
            self.client_info = self.client_info.as_deref().and_then(name_and_version);
        }
        if self.is_too_long() {
            self.capabilities = named(&self.capabilities);
        }
        if self.is_too_long() {
            self.client_info = None;
        }
        self
    }

    fn is_too_long(&self) -> bool {
        // What the server serves is agreed on later.
        let serves = Serves::read(SERVES);
        Self { serves, ..self.clone() }.spell().len() > SPELLED_MAX_BYTES
    }
}

impl Serves {
    /// What a server with these `capabilities` serves, as far as it matters here.
    #[must_use]
    pub fn of(capabilities: &Members<'_>) -> Self {
        let is_true =
            |group: &str, name: &str| capabilities.object(group).is_ok_and(|one| one.raw(name) == Some("true"));
        Self {
            tools_changed: is_true("tools", "listChanged"),
            prompts_changed: is_true("prompts", "listChanged"),
            resources_changed: is_true("resources", "listChanged"),
            subscriptions: is_true("resources", "subscribe"),
            logging: capabilities.has("logging"),
        }
    }

    fn spell(self) -> String {
        let flags =
            [self.tools_changed, self.prompts_changed, self.resources_changed, self.subscriptions, self.logging];
        SERVES.chars().zip(flags).filter(|(_, serves)| *serves).map(|(letter, _)| letter).collect()
    }

    fn read(text: &str) -> Self {
        let has = |letter| text.contains(letter);
        Self {
            tools_changed: has('t'),
            prompts_changed: has('p'),
            resources_changed: has('r'),
            subscriptions: has('s'),
            logging: has('l'),
        }
    }
}

/// The revision that answers one that was asked for: itself if it is a legacy one, else the newest of those.
#[must_use]
pub fn answered(asked: &str) -> Revision {
    Revision::parse(asked).filter(|revision| revision.is_legacy()).unwrap_or(Revision::V2025_11_25)
}

/// The client capabilities that can be bridged for a caller of `revision`, as a modern server is told of them: a JSON object
/// (MCP 2026-07-28 basic, `clientCapabilities`).
///
/// Tasks are never among them: no legacy client knows the extension they became.
///
/// # Errors
/// [`Unreadable`] when one that counts is no object.
pub fn bridged(capabilities: &Members<'_>, revision: Revision) -> Result<String, Unreadable> {
    let mut told = Members::new();
    if capabilities.has("roots") {
        told.set("roots", "{}");
    }
    if capabilities.has("sampling") {
        let mut sampling = capabilities.object("sampling")?;
        sampling.retain(|name, _| revision >= Revision::V2025_11_25 && matches!(name, "context" | "tools"));
        told.set("sampling", sampling.write());
    }
    if capabilities.has("elicitation") && revision >= Revision::V2025_06_18 {
        let mut elicitation = capabilities.object("elicitation")?;
        elicitation.retain(|name, _| revision >= Revision::V2025_11_25 && matches!(name, "form" | "url"));
        told.set("elicitation", elicitation.write());
    }
    if capabilities.has("experimental") {
        told.set("experimental", capabilities.object("experimental")?.write());
    }
    if capabilities.has("extensions") {
        let mut extensions = capabilities.object("extensions")?;
        extensions.retain(|name, _| name != TASKS);
        told.set("extensions", extensions.write());
    }
    Ok(told.write())
}

/// `info` if it names a program as a modern request does.
fn program(info: &str) -> Option<String> {
    let members = Members::parse(info).ok()?;
    (members.string("name").is_some() && members.string("version").is_some()).then(|| members.write())
}

fn name_and_version(info: &str) -> Option<String> {
    let members = Members::parse(info).ok()?;
    let (name, version) = (members.string("name")?, members.string("version")?);
    let entries = [("name", quoted(clip(&name))), ("version", quoted(clip(&version)))];
    Some(Members::from_iter(entries).write())
}

/// The capabilities that are known here, without anything but their names.
fn named(capabilities: &str) -> String {
    let Ok(capabilities) = Members::parse(capabilities) else { return "{}".to_owned() };
    let mut names = Members::new();
    for (name, known) in KNOWN {
        let Ok(inner) = capabilities.object(name) else { continue };
        let inside = known.iter().filter(|one| inner.has(one)).map(|one| (*one, "{}"));
        if capabilities.has(name) {
            names.set(name, Members::from_iter(inside).write());
        }
    }
    names.write()
}

fn missing(name: &str) -> Unreadable {
    Unreadable::Shape { at: "params".to_owned(), what: format!("`{name}` has to be a string") }
}

#[derive(Serialize, Deserialize)]
struct Spelled {
    #[serde(rename = "r")]
    revision: Revision,
    #[serde(rename = "c")]
    capabilities: Option<Box<RawValue>>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    client_info: Option<Box<RawValue>>,
    #[serde(rename = "s", default)]
    serves: String,
}

/// No spelled terms are longer.
pub const SPELLED_MAX_BYTES: usize = 700;

/// What a server may serve, one letter each, in the order of [`Serves`].
const SERVES: &str = "tprsl";
/// The capabilities that are kept when there is no room for all.
const KNOWN: [(&str, &[&str]); 3] =
    [("roots", &[]), ("sampling", &["context", "tools"]), ("elicitation", &["form", "url"])];
/// The extension that tasks became (MCP extension SEP-2663).
const TASKS: &str = "io.modelcontextprotocol/tasks";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn terms(capabilities: &serde_json::Value, info: &serde_json::Value) -> Terms {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info});
        Terms::of_initialize(&params.to_string()).unwrap()
    }

    #[test]
    fn terms_read_back_as_they_were_spelled() {
        let mut agreed = terms(
            &json!({"roots": {"listChanged": true}, "sampling": {}, "elicitation": {"url": {}}, "tasks": {}}),
            &json!({"name": "c", "version": "1"}),
        );
        agreed.serves = Serves { tools_changed: true, logging: true, ..Serves::default() };
        assert_eq!(agreed.capabilities, r#"{"roots":{},"sampling":{},"elicitation":{"url":{}}}"#);
        assert_eq!(agreed.offers(), Offers { url: true, sampling: true, roots: true, ..Offers::default() });
        assert_eq!(Terms::read(&agreed.spell()), Some(agreed));
    }

    #[test]
    fn long_terms_are_reduced_to_what_is_bridged() {
        let long = "x".repeat(900);
        let agreed = terms(
            &json!({"sampling": {"tools": {"a": long}}, "elicitation": {}, "experimental": {"y": long}}),
            &json!({"name": long, "version": long}),
        );
        assert_eq!(agreed.capabilities, r#"{"sampling":{"tools":{}},"elicitation":{}}"#);
        assert!(agreed.client_info.as_ref().unwrap().len() < 200);
        assert!(agreed.offers().form && agreed.offers().sampling_tools);
    }

    #[test]
    fn a_name_that_does_not_fit_is_left_out() {
        let long = "\u{1}".repeat(64);
        let agreed =
            terms(&json!({"sampling": {}, "experimental": {"a": {}}}), &json!({"name": long, "version": long}));
        assert_eq!((agreed.client_info.as_deref(), agreed.capabilities.as_str()), (None, r#"{"sampling":{}}"#));
        assert!(agreed.spell().len() <= SPELLED_MAX_BYTES);
    }

    #[test]
    fn what_a_revision_does_not_know_is_not_told() {
        let params = |revision: &str| {
            format!(
                r#"{{"protocolVersion":"{revision}","capabilities":{{"elicitation":{{"url":{{}}}},"sampling":{{"tools":{{}}}}}}}}"#
            )
        };
        let told = |revision: &str| Terms::of_initialize(&params(revision)).unwrap().capabilities;
        assert_eq!(told("2025-06-18"), r#"{"sampling":{},"elicitation":{}}"#);
        assert_eq!(told("2025-03-26"), r#"{"sampling":{}}"#);
        assert_eq!(told("2025-11-25"), r#"{"sampling":{"tools":{}},"elicitation":{"url":{}}}"#);
    }

    #[test]
    fn only_a_legacy_revision_is_answered() {
        assert_eq!(answered("2024-11-05"), Revision::V2024_11_05);
        for asked in ["2026-07-28", "1.0", ""] {
            assert_eq!(answered(asked), Revision::V2025_11_25);
        }
        let modern = Terms { revision: Revision::V2026_07_28, ..terms(&json!({}), &json!({})) };
        assert_eq!(Terms::read(&modern.spell()), None);
    }

    proptest! {
        #[test]
        fn whatever_a_caller_says_of_itself_fits_and_reads_back(
            name in "\\PC{0,900}",
            inner in "\\PC{0,900}",
            keys in prop::collection::vec("roots|sampling|elicitation|experimental|extensions|tasks|[a-z]{1,9}", 0..9),
        ) {
            let capabilities: serde_json::Map<_, _> = keys.into_iter().map(|key| (key, json!({"tools": inner}))).collect();
            let agreed = terms(&json!(capabilities), &json!({"name": name, "version": "1"}));
            prop_assert!(agreed.spell().len() <= SPELLED_MAX_BYTES);
            prop_assert_eq!(Terms::read(&agreed.spell()), Some(agreed));
        }

        #[test]
        fn arbitrary_session_ids_never_panic(text in "\\PC{0,80}") {
            let _ = Terms::read(&text);
        }
    }
}
