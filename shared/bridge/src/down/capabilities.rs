//! What may be asked of whom? Capabilities, from one era's terms into the other's.

use serde_json::{Map, Value, json};

pub(super) use crate::demand::{Demand, Permission};

use crate::text::{Members, Unreadable};

/// What a caller that declared `declared` (MCP 2026-07-28 `ClientCapabilities`) can do in the words of a legacy
/// `initialize`: only what a façade brings to it.
pub(super) fn legacy(declared: &Value) -> Value {
    let mut capabilities = Map::new();
    for (name, kept) in [("elicitation", &["form", "url"][..]), ("sampling", &["tools", "context"]), ("roots", &[])] {
        let Some(members) = declared.get(name).and_then(Value::as_object) else { continue };
        let wanted = |(key, value): &(&String, &Value)| kept.contains(&key.as_str()) && value.is_object();
        let members: Map<_, _> = members.iter().filter(wanted).map(|(key, _)| (key.clone(), json!({}))).collect();
        capabilities.insert(name.to_owned(), members.into());
    }
    capabilities.into()
}

/// What a legacy server that declared `declared` offers to a modern caller: without the experimental tasks of 2025-11-25.
pub(super) fn modern(declared: &str) -> Result<String, Unreadable> {
    let mut members = Members::parse(declared)?;
    members.remove("tasks");
    Ok(members.write())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_brought_to_the_caller_is_declared() {
        let declared = json!({
            "elicitation": {"form": {"x": 1}, "url": {}, "voice": {}},
            "sampling": {"tools": {}, "context": {}},
            "roots": {"listChanged": true},
            "extensions": {"io.modelcontextprotocol/tasks": {}},
            "experimental": {"a": {}},
        });
        let expected =
            json!({"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}, "context": {}}, "roots": {}});
        assert_eq!(legacy(&declared), expected);
        for nothing in [json!({}), json!(null), json!({"roots": true, "elicitation": null})] {
            assert_eq!(legacy(&nothing), json!({}));
        }
    }
}
