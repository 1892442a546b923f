//! Where does a caller get a token? Protected resource metadata (RFC 9728 §2).

use serde_json::{Value, json};

/// The metadata of `resource`, an endpoint's URL.
#[must_use]
pub fn metadata(resource: &str, issuers: &[&str], scopes: &[String]) -> Value {
    let scopes_supported = if scopes.is_empty() { Value::Null } else { json!(scopes) };
    let mut document = json!({
        "resource": resource,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
        "resource_name": "Turnpike MCP gateway",
        "scopes_supported": scopes_supported,
    });
    if let Some(members) = document.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_a_client_looks_for() {
        let resource = "https://mcp.example.com/mcp/files";
        let document = metadata(resource, &["https://login.example.com"], &["files:read".to_owned()]);
        assert_eq!(
            document,
            json!({
                "resource": resource,
                "authorization_servers": ["https://login.example.com"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Turnpike MCP gateway",
                "scopes_supported": ["files:read"],
            })
        );
    }

    #[test]
    fn what_there_is_none_of_is_left_out() {
        let document = metadata("https://mcp.example.com", &["https://a.example", "https://b.example"], &[]);
        assert!(document.get("scopes_supported").is_none());
        assert_eq!(document["authorization_servers"].as_array().unwrap().len(), 2);
        // RFC 9728 §2: the client compares it with the URL it was told of, character by character.
        assert_eq!(document["resource"], "https://mcp.example.com");
    }
}
