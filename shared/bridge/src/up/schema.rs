//! What does a legacy caller learn of a tool? An output schema has an object at its root there, or is wrapped in one.

use mcp::Revision;
use serde_json::{Map, Value};

use crate::{
    routing,
    text::{Members, Unreadable},
};

use super::result::{Item, newer};

/// The definition `text` of a tool for `revision`. A tool whose headers are declared wrongly is not told of, as modern
/// clients do not (MCP 2026-07-28 basic/transports/streamable-http): it could not be called.
pub(super) fn tool(text: &str, revision: Revision) -> Result<Item, Unreadable> {
    let mut tool = Members::parse(text)?;
    if text.contains(HEADER) && !tool.raw("inputSchema").is_some_and(is_callable) {
        return Ok(Item::Gone);
    }
    let (fields, len) = (newer(revision), tool.len());
    tool.retain(|name, _| match name {
        "execution" => false,
        "outputSchema" => revision >= Revision::V2025_06_18,
        "annotations" => revision >= Revision::V2025_03_26,
        name => !fields.contains(&name),
    });
    let wrapped = tool.raw("outputSchema").filter(|schema| is_wrapped(schema)).map(wrap);
    match wrapped {
        Some(schema) => tool.set("outputSchema", schema?),
        None if tool.len() == len => return Ok(Item::Same),
        None => {}
    }
    Ok(Item::New(tool.write()))
}

/// The name of the tool `text`, if its output schema is wrapped for legacy callers.
pub(super) fn wrapped_name(text: &str) -> Option<String> {
    let tool = Members::parse(text).ok()?;
    tool.raw("outputSchema").filter(|schema| is_wrapped(schema))?;
    tool.string("name").map(std::borrow::Cow::into_owned)
}

fn is_callable(schema: &str) -> bool {
    serde_json::from_str(schema).is_ok_and(|schema| routing::params_of(&schema).is_ok())
}

/// Whether the root of `schema` is something else than an object.
fn is_wrapped(schema: &str) -> bool {
    !Members::parse(schema).is_ok_and(|schema| schema.string("type").as_deref() == Some("object"))
}

/// A schema of `{"result": …}` around `schema`, whose references to itself still lead where they did.
fn wrap(schema: &str) -> Result<String, Unreadable> {
    let shape = |error: serde_json::Error| Unreadable::Shape { at: "outputSchema".to_owned(), what: error.to_string() };
    let mut inner: Value = serde_json::from_str(schema).map_err(shape)?;
    let dialect = inner.get("$schema").cloned();
    move_references(&mut inner, Position::Schema);
    let mut outer = Map::new();
    outer.extend(dialect.map(|dialect| ("$schema".to_owned(), dialect)));
    outer.insert("type".to_owned(), "object".into());
    outer.insert("properties".to_owned(), Value::Object(Map::from_iter([("result".to_owned(), inner)])));
    outer.insert("required".to_owned(), vec!["result"].into());
    Ok(Value::Object(outer).to_string())
}

/// What the keys of an object are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Keywords (JSON Schema 2020-12 core §4.3).
    Schema,
    /// Names that somebody chose, of schemas.
    Names,
}

/// `#` and `#/…` lead into `properties.result` now. `serde_json` bounds how deep this goes.
fn move_references(value: &mut Value, position: Position) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, Position::Schema)),
        Value::Object(members) if position == Position::Schema && is_document(members) => {}
        Value::Object(members) => {
            for (key, member) in members {
                match (position, key.as_str(), member) {
                    (Position::Names, _, member) => move_references(member, Position::Schema),
                    (_, "$ref" | "$dynamicRef", Value::String(target)) => moved(target),
                    (_, "const" | "enum" | "default" | "examples", _) => {}
                    (_, key, member) if NAMES.contains(&key) => move_references(member, Position::Names),
                    (_, _, member) => move_references(member, Position::Schema),
                }
            }
        }
        _ => {}
    }
}

/// Whether references inside lead into a document of its own (JSON Schema 2020-12 core §8.2.1).
fn is_document(members: &Map<String, Value>) -> bool {
    members.get("$id").and_then(Value::as_str).is_some_and(|id| !id.starts_with('#'))
}

fn moved(target: &mut String) {
    if target == "#" {
        target.push_str(ROOT);
    } else if let Some(rest) = target.strip_prefix("#/") {
        *target = ["#", ROOT, "/", rest].concat();
    }
}

/// The annotation of an argument that a header mirrors.
const HEADER: &str = "x-mcp-header";
/// Where a wrapped schema begins, as a JSON pointer.
const ROOT: &str = "/properties/result";
/// Keywords whose members are named by the schema's author.
const NAMES: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put(tool: &Value, revision: Revision) -> Option<Value> {
        match super::tool(&tool.to_string(), revision).unwrap() {
            Item::New(text) => Some(serde_json::from_str(&text).unwrap()),
            Item::Same | Item::Gone => None,
        }
    }

    #[test]
    fn a_schema_without_an_object_at_its_root_is_wrapped() {
        let tool = json!({"name": "t", "inputSchema": {"type": "object"}, "outputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "array",
            "items": {"$ref": "#/$defs/node"},
            "default": {"$ref": "#/untouched"},
            "$defs": {
                "node": {"properties": {"next": {"$ref": "#"}, "default": {"$ref": "#/$defs/node"}}},
                "other": {"$id": "https://example.com/other", "$ref": "#/a"},
                "anchored": {"$ref": "#name"},
            },
        }});
        let schema = put(&tool, Revision::V2025_11_25).unwrap()["outputSchema"].clone();
        assert_eq!(
            schema,
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "required": ["result"],
                "properties": {"result": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "type": "array",
                    "items": {"$ref": "#/properties/result/$defs/node"},
                    "default": {"$ref": "#/untouched"},
                    "$defs": {
                        "node": {"properties": {
                            "next": {"$ref": "#/properties/result"},
                            "default": {"$ref": "#/properties/result/$defs/node"},
                        }},
                        "other": {"$id": "https://example.com/other", "$ref": "#/a"},
                        "anchored": {"$ref": "#name"},
                    },
                }},
            })
        );
        assert_eq!(wrapped_name(&tool.to_string()).as_deref(), Some("t"));
    }

    #[test]
    fn a_tool_that_no_modern_client_could_call_is_not_told_of() {
        let tool = |header: &str| {
            let property = json!({"type": "string", "x-mcp-header": header});
            json!({"name": "t", "inputSchema": {"type": "object", "properties": {"a": property}}}).to_string()
        };
        let put = |text: &str| super::tool(text, Revision::V2025_11_25).unwrap();
        assert!(matches!(put(&tool("Region")), Item::Same));
        assert!(matches!(put(&tool("not a token")), Item::Gone));
    }

    #[test]
    fn definitions_lose_what_came_later() {
        let tool = json!({"name": "t", "title": "T", "icons": [], "execution": {}, "annotations": {},
            "outputSchema": {"type": "object"}, "inputSchema": {}});
        let keys = |revision| {
            let tool = put(&tool, revision).unwrap();
            let mut keys: Vec<_> = tool.as_object().unwrap().keys().cloned().collect();
            // Whether an object keeps their order is up to who else uses serde_json.
            keys.sort();
            keys.join(" ")
        };
        assert_eq!(keys(Revision::V2025_11_25), "annotations icons inputSchema name outputSchema title");
        assert_eq!(keys(Revision::V2025_06_18), "annotations inputSchema name outputSchema title");
        assert_eq!(keys(Revision::V2025_03_26), "annotations inputSchema name");
        assert_eq!(keys(Revision::V2024_11_05), "inputSchema name");
        assert_eq!(put(&json!({"name": "t", "outputSchema": {"type": "object"}}), Revision::V2025_11_25), None);
    }
}
