//! What does `initialize` answer? What `server/discover` says, put into the words of the revision that was agreed on.

use mcp::Revision;

use crate::text::{Members, Unreadable, key, quoted};

use super::terms::Serves;

/// The answer to an `initialize`, and what its server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The result: a JSON object (MCP 2025-11-25 basic/lifecycle).
    pub result: String,
    /// What of the server's capabilities counts later on.
    pub serves: Serves,
}

/// Puts `discovered`, the result of `server/discover`, into the words of `revision`.
///
/// # Errors
/// [`Unreadable`] when it is no discovery.
pub fn opening(discovered: &str, revision: Revision) -> Result<Opening, Unreadable> {
    let discovered = Members::parse(discovered)?;
    let declared = discovered.object("capabilities")?;
    let mut result = Members::new();
    result.set("protocolVersion", quoted(revision.as_str()));
    result.set("capabilities", capabilities(&declared, revision)?);
    let meta = discovered.object("_meta").unwrap_or_default();
    result.set("serverInfo", server_info(&meta, revision));
    if let Some(instructions) = discovered.string("instructions") {
        result.set("instructions", quoted(&instructions));
    }
    Ok(Opening { result: result.write(), serves: Serves::of(&declared) })
}

/// The server capabilities that a session of `revision` has: a JSON object.
///
/// # Errors
/// [`Unreadable`]
pub fn capabilities(declared: &Members<'_>, revision: Revision) -> Result<String, Unreadable> {
    let mut capabilities = declared.clone();
    capabilities.retain(|name, _| match name {
        "extensions" | "tasks" => false,
        "completions" => revision >= Revision::V2025_03_26,
        _ => true,
    });
    Ok(capabilities.write())
}

/// `discovered` without what only a façade can serve that remembers what its caller said before: log levels, and
/// subscriptions to resources.
///
/// # Errors
/// [`Unreadable`] when it is no discovery.
pub fn forgetful(discovered: &str) -> Result<String, Unreadable> {
    let mut told = Members::parse(discovered)?;
    let mut declared = told.object("capabilities")?;
    declared.remove("logging");
    if declared.has("resources") {
        declared.edit("resources", |resources| drop(resources.remove("subscribe")))?;
    }
    let declared = declared.write();
    told.set("capabilities", declared);
    Ok(told.write())
}

fn server_info(meta: &Members<'_>, revision: Revision) -> String {
    let Ok(mut info) = meta.object(key::SERVER_INFO) else { return UNNAMED.to_owned() };
    if info.string("name").is_none() || info.string("version").is_none() {
        return UNNAMED.to_owned();
    }
    info.retain(|name, _| match name {
        "description" | "icons" | "websiteUrl" => revision >= Revision::V2025_11_25,
        "title" => revision >= Revision::V2025_06_18,
        _ => true,
    });
    info.write()
}

/// A legacy session needs a name for its server.
const UNNAMED: &str = "{\"name\":\"unnamed\",\"version\":\"0\"}";

#[cfg(test)]
mod tests {
    use super::*;

    const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"ttlMs":0,"cacheScope":"public",
        "capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"completions":{},"logging":{},"extensions":{"a/b":{}}},
        "instructions":"be kind","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1","title":"S","icons":[]}}}"#;

    #[test]
    fn a_discovery_answers_initialize() {
        let opened = opening(DISCOVERED, Revision::V2025_11_25).unwrap();
        assert_eq!(
            opened.result,
            concat!(
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"#,
                r#""completions":{},"logging":{}},"serverInfo":{"name":"s","version":"1","title":"S","icons":[]},"instructions":"be kind"}"#
            )
        );
        assert_eq!(
            opened.serves,
            Serves { tools_changed: true, subscriptions: true, logging: true, ..Serves::default() }
        );
    }

    #[test]
    fn older_revisions_hear_what_they_know() {
        let opened = opening(DISCOVERED, Revision::V2024_11_05).unwrap().result;
        assert!(opened.contains(r#""serverInfo":{"name":"s","version":"1"}"#), "{opened}");
        assert!(!opened.contains("completions"), "{opened}");
        let unnamed = opening("{}", Revision::V2024_11_05).unwrap().result;
        assert_eq!(
            unnamed,
            r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"unnamed","version":"0"}}"#
        );
    }
}
