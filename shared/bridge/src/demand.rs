//! What may a server ask of its caller? What that caller declared it can do (MCP 2026-07-28 basic/patterns/mrtr).

use mcp::json::clip;
use serde_json::{Map, Value, json};

use crate::text::{Members, Unreadable};

/// What a caller that declared `declared` (`ClientCapabilities`) lacks to answer the `input_required` result `result`: a
/// `ClientCapabilities` object, as the error -32021 names it. `None` if nothing.
///
/// # Errors
/// [`Unaskable`]
pub fn lacking(result: &Members<'_>, declared: &Value) -> Result<Option<Value>, Unaskable> {
    let mut lacking: Map<String, Value> = Map::new();
    for (_, request) in result.object("inputRequests")?.iter() {
        let request = Members::parse(request)?;
        let method = request.string("method").unwrap_or_default();
        let demand = Demand::of(&method).ok_or_else(|| Unaskable::Method(clip(&method).to_owned()))?;
        let params = request.object("params")?;
        if demand.permission(declared, &params) != Permission::Granted {
            let (name, needed) = demand.needs(&params);
            match (lacking.get_mut(name).and_then(Value::as_object_mut), needed) {
                (Some(known), Value::Object(needed)) => known.extend(needed),
                (_, needed) => drop(lacking.insert(name.to_owned(), needed)),
            }
        }
    }
    Ok((!lacking.is_empty()).then(|| lacking.into()))
}

/// Whether a caller that declared `declared` lacks any of `required`, both `ClientCapabilities`.
#[must_use]
pub fn lacks(required: &Value, declared: &Value) -> bool {
    let Some(required) = required.as_object() else { return false };
    required.iter().any(|(name, needed)| match declared.get(name).and_then(Value::as_object) {
        None => true,
        // Who names no mode can show forms (MCP client/elicitation, Capabilities).
        Some(has) if name == "elicitation" && !has.contains_key("url") => needed.get("url").is_some(),
        Some(has) => needed.as_object().into_iter().flatten().any(|(key, _)| !has.contains_key(key)),
    })
}

/// Why what a server asks cannot be put to any caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// Not among the three kinds there are.
    #[error("it asks `{0}`, which is no question of the protocol")]
    Method(String),
    /// It cannot be read.
    #[error("it asks in a way that cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
}

/// What a server asks of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// `elicitation/create`
    Elicitation,
    /// `sampling/createMessage`
    Sampling,
    /// `roots/list`
    Roots,
}

/// Whether a server may ask something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// The caller declared nothing of it.
    Undeclared,
    /// The caller declared it, but not in this mode (MCP 2025-11-25 client/elicitation: -32602).
    Unsupported,
}

impl Demand {
    /// What is asked with `method`.
    #[must_use]
    pub fn of(method: &str) -> Option<Self> {
        [Self::Elicitation, Self::Sampling, Self::Roots].into_iter().find(|demand| demand.method() == method)
    }

    /// The method that asks for it.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Whether it may be asked with `params` of a caller that declared `declared`.
    #[must_use]
    pub fn permission(self, declared: &Value, params: &Members<'_>) -> Permission {
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

    /// The capabilities it takes to be asked with `params`.
    fn needs(self, params: &Members<'_>) -> (&'static str, Value) {
        match self {
            Self::Elicitation => match params.string("mode").as_deref() {
                Some("url") => ("elicitation", json!({ "url": {} })),
                _ => ("elicitation", json!({ "form": {} })),
            },
            Self::Sampling if params.has("tools") || params.has("toolChoice") => ("sampling", json!({ "tools": {} })),
            Self::Sampling => ("sampling", json!({})),
            Self::Roots => ("roots", json!({})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_asked_without_leave_is_named() {
        let ask = |requests: Value, declared: Value| {
            let result = json!({ "resultType": "input_required", "inputRequests": requests }).to_string();
            lacking(&Members::parse(&result).unwrap(), &declared)
        };
        let form = || json!({ "method": "elicitation/create", "params": { "mode": "form", "message": "?" } });
        let page =
            || json!({ "method": "elicitation/create", "params": { "mode": "url", "url": "https://a.example" } });
        let sample = || json!({ "method": "sampling/createMessage", "params": { "messages": [] } });
        let roots = || json!({ "method": "roots/list" });
        let everything = json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} });
        let all = || json!({ "a": form(), "b": page(), "c": sample(), "d": roots() });
        assert_eq!(ask(all(), everything), Ok(None));
        assert_eq!(
            ask(all(), json!({})),
            Ok(Some(json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} })))
        );
        assert_eq!(
            ask(all(), json!({ "elicitation": {}, "roots": {} })),
            Ok(Some(json!({ "elicitation": { "url": {} }, "sampling": {} })))
        );
        assert_eq!(ask(json!({}), json!({})), Ok(None));
        assert!(matches!(ask(json!({ "a": { "method": "tools/call" } }), json!({})), Err(Unaskable::Method(_))));
        assert!(matches!(ask(json!([]), json!({})), Err(Unaskable::Unreadable(_))));
    }

    #[test]
    fn a_caller_lacks_what_it_did_not_declare() {
        for (required, declared, is_lacking) in [
            (json!({}), json!({}), false),
            (json!({ "sampling": {} }), json!({}), true),
            (json!({ "sampling": {} }), json!({ "sampling": {} }), false),
            (json!({ "sampling": { "tools": {} } }), json!({ "sampling": {} }), true),
            (json!({ "elicitation": { "form": {} } }), json!({ "elicitation": {} }), false),
            (json!({ "elicitation": { "url": {} } }), json!({ "elicitation": {} }), true),
            (json!({ "elicitation": { "form": {} } }), json!({ "elicitation": { "url": {} } }), true),
            (json!({ "extensions": { "a/b": {} } }), json!({ "extensions": {} }), true),
            (json!("nonsense"), json!({}), false),
        ] {
            assert_eq!(lacks(&required, &declared), is_lacking, "{required} {declared}");
        }
    }
}
