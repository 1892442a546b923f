//! What may policies name? The tenants, servers and tools of a configuration.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A file of policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name, such as `files.cedar`.
    pub name: String,
    /// What it holds, in Cedar's syntax.
    pub text: String,
}

/// What policies may name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// The tenants there are; empty where that is not known, and then policies may name any.
    pub tenants: Vec<String>,
    /// Every configured server.
    pub servers: Vec<CatalogServer>,
}

/// A server policies may name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogServer {
    /// Its name.
    pub name: String,
    /// The tools that are known of it.
    pub tools: Vec<CatalogTool>,
    /// Whether `tools` is all it has, because they are pinned. Then a policy that names another is an error. Otherwise a
    /// policy may name any tool of the server, but no argument of one that is not in `tools`.
    pub is_complete: bool,
}

/// A tool policies may name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogTool {
    /// Its name.
    pub name: String,
    /// The JSON Schema of its arguments.
    pub input_schema: Value,
}

impl Catalog {
    pub(crate) fn server(&self, name: &str) -> Option<&CatalogServer> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// Whether the definition of `tool` is known.
    pub(crate) fn has(&self, server: &str, tool: &str) -> bool {
        self.server(server).is_some_and(|server| server.tools.iter().any(|known| known.name == tool))
    }
}
