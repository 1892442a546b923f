//! A configuration for tests: three servers, one of them with tools that are not all known.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Catalog, CatalogServer, CatalogTool, Circumstances, Policies, Problem, Source, Tool, Who};

pub(crate) fn catalog() -> Catalog {
    let tool = |name: &str, properties: Value, required: Value| CatalogTool {
        name: name.to_owned(),
        input_schema: json!({ "type": "object", "properties": properties, "required": required }),
    };
    let text = json!({ "type": "string" });
    let files = CatalogServer {
        name: "files".to_owned(),
        tools: vec![
            tool("read", json!({ "path": text }), json!(["path"])),
            tool("write", json!({ "path": text, "content": text, "mode": { "type": "integer" } }), json!(["path"])),
            tool("list", json!({}), json!([])),
        ],
        is_complete: true,
    };
    let amount = json!({ "type": "number" });
    let tags = json!({ "type": "array", "items": text });
    let pay = json!({ "amount": amount, "cents": { "type": "integer" }, "tags": tags, "to": { "type": "object",
        "properties": { "iban": text, "name": text }, "required": ["iban"] }, "dry": { "type": "boolean" } });
    let billing = CatalogServer {
        name: "billing".to_owned(),
        tools: vec![tool("pay", pay, json!([])), tool("report", json!({}), json!([]))],
        is_complete: true,
    };
    let open = CatalogServer {
        name: "open".to_owned(),
        tools: vec![tool("echo", json!({ "message": text }), json!(["message"]))],
        is_complete: false,
    };
    Catalog { tenants: ["acme", "globex"].map(str::to_owned).to_vec(), servers: vec![files, billing, open] }
}

pub(crate) fn source(text: &str) -> Source {
    Source { name: "a.cedar".to_owned(), text: text.to_owned() }
}

pub(crate) fn policies(text: &str) -> Policies {
    Policies::compile(&[source(text)], None, &catalog()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

pub(crate) fn problems(text: &str) -> Vec<Problem> {
    Policies::compile(&[source(text)], None, &catalog()).unwrap_err()
}

/// The names a principal has, owned.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) tenant: String,
    pub(crate) agent: String,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) scopes: BTreeSet<String>,
}

impl Names {
    pub(crate) fn of(id: &str) -> Self {
        let (tenant, agent) = id.split_once('/').unwrap();
        Self { tenant: tenant.to_owned(), agent: agent.to_owned(), roles: BTreeSet::new(), scopes: BTreeSet::new() }
    }

    pub(crate) fn who(&self) -> Who<'_> {
        Who {
            tenant: &self.tenant,
            agent: &self.agent,
            user: "ada",
            issuer: "https://login.example.com",
            roles: &self.roles,
            scopes: &self.scopes,
        }
    }
}

pub(crate) const READ_ONLY: Tool =
    Tool { read_only: true, destructive: false, idempotent: true, open_world: false, pinned: true };

pub(crate) const NOON: Circumstances<'static> = Circumstances {
    revision: "2025-11-25",
    client: Some("probe"),
    hour: 12,
    trace: "0af7651916cd43dd8448eb211c80319c",
};
