//! What may be asked of whom? Capabilities, from one era's terms into the other's.

use serde_json::{Map, Value, json};

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

/// What a server asks of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Elicitation,
    Sampling,
    Roots,
}

/// Whether a server may ask something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    /// The caller declared nothing of it.
    Undeclared,
    /// The caller declared it, but not in this mode (MCP 2025-11-25 client/elicitation: -32602).
    Unsupported,
}

impl Demand {
    /// What is asked with `method`.
    pub(super) fn of(method: &str) -> Option<Self> {
        [Self::Elicitation, Self::Sampling, Self::Roots].into_iter().find(|demand| demand.method() == method)
    }

    /// The method that asks for it.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Whether it may be asked with `params` of a caller that declared `declared`.
    pub(super) fn permission(self, declared: &Value, params: &Members<'_>) -> Permission {
        let members = |name: &str| declared.get(name).and_then(Value::as_object);
        let granted = |is: bool| if is { Permission::Granted } else { Permission::Unsupported };
        match self {
            Self::Elicitation => members("elicitation").map_or(Permission::Undeclared, |modes| {
                granted(match params.string("mode").as_deref() {
                    Some("url") => modes.contains_key("url"),
                    None | Some("form") => modes.contains_key("form") || !modes.contains_key("url"),
                    Some(_) => false,
                })
            }),
            Self::Sampling => members("sampling").map_or(Permission::Undeclared, |extras| {
                let with_tools = params.has("tools") || params.has("toolChoice");
                granted(!with_tools || extras.contains_key("tools"))
            }),
            Self::Roots => members("roots").map_or(Permission::Undeclared, |_| Permission::Granted),
        }
    }
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

    #[test]
    fn each_mode_has_to_be_declared() {
        let ask = |demand: Demand, declared: Value, params: &str| {
            demand.permission(&declared, &Members::parse(params).unwrap())
        };
        let url = r#"{"mode":"url"}"#;
        assert_eq!(ask(Demand::Elicitation, json!({}), url), Permission::Undeclared);
        assert_eq!(ask(Demand::Elicitation, json!({"elicitation": {}}), url), Permission::Unsupported);
        assert_eq!(ask(Demand::Elicitation, json!({"elicitation": {}}), "{}"), Permission::Granted);
        assert_eq!(ask(Demand::Elicitation, json!({"elicitation": {"url": {}}}), url), Permission::Granted);
        assert_eq!(ask(Demand::Elicitation, json!({"elicitation": {"url": {}}}), "{}"), Permission::Unsupported);
        assert_eq!(ask(Demand::Sampling, json!({"sampling": {}}), r#"{"tools":[]}"#), Permission::Unsupported);
        assert_eq!(ask(Demand::Sampling, json!({"sampling": {"tools": {}}}), r#"{"tools":[]}"#), Permission::Granted);
        assert_eq!(ask(Demand::Roots, json!({"sampling": {}}), "{}"), Permission::Undeclared);
        assert_eq!(ask(Demand::Roots, json!({"roots": {}}), "{}"), Permission::Granted);
    }
}
