//! What is it that is called? A configured server, if there is one for this caller; what its tools were approved as; and
//! which configuration says so.

mod pins;
pub mod release;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use pins::{Admission, Pins, Standing, Twice};
pub use release::Release;

/// The configured servers by name.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    servers: BTreeMap<String, Rc<Server>>,
    /// Endpoints that look like one server and are many.
    endpoints: BTreeMap<String, Rc<Server>>,
}

/// An MCP server behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As it stands in `/mcp/{name}`.
    pub name: String,
    /// The URL of each instance; never empty.
    pub instances: Vec<String>,
    /// Who may use it; `None` is every tenant.
    pub tenants: Option<BTreeSet<String>>,
    /// What a token must be granted to use it.
    pub scopes: Vec<String>,
    /// The longest the server may stay silent while it owes an answer.
    pub timeout: Duration,
    /// How long a session may rest before it ends.
    pub idle: Duration,
    /// How long a call that asks its caller something waits to be answered.
    pub question: Duration,
    /// The name of the secret that is sent to it as bearer token.
    pub secret: Option<String>,
    /// Which era of the protocol it speaks.
    pub era: EraSetting,
}

/// Which era of the protocol a server speaks, as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraSetting {
    /// It is asked, and its answer remembered for a time.
    #[default]
    Auto,
    /// `initialize` and sessions: MCP 2025-11-25 or older.
    Legacy,
    /// `server/discover` and no sessions: MCP 2026-07-28 or newer.
    Modern,
}

/// A server the caller may know of. Only [`Registry::find`] makes one.
#[derive(Clone, Debug)]
pub struct Target(Rc<Server>);

/// No such server, for this caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such MCP server here")]
pub struct NotFound;

impl Registry {
    /// A registry of `servers`; of two with one name the later stays.
    #[must_use]
    pub fn new(servers: Vec<Server>) -> Self {
        Self { servers: by_name(servers), endpoints: BTreeMap::new() }
    }

    /// The same with `endpoints` of many servers, which have no instances. Their names are none of a server's.
    #[must_use]
    pub fn with_endpoints(self, endpoints: Vec<Server>) -> Self {
        Self { endpoints: by_name(endpoints), ..self }
    }

    /// The server or endpoint `name` for a caller of `tenant`. One the tenant may not use does not exist for it.
    ///
    /// # Errors
    /// [`NotFound`]
    pub fn find(&self, name: &str, tenant: &str) -> Result<Target, NotFound> {
        let server = self.servers.get(name).or_else(|| self.endpoints.get(name)).ok_or(NotFound)?;
        let open = server.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant));
        if open { Ok(Target(Rc::clone(server))) } else { Err(NotFound) }
    }

    /// The server or endpoint `name`, whoever may use it.
    ///
    /// # Errors
    /// [`NotFound`]
    pub fn configured(&self, name: &str) -> Result<Target, NotFound> {
        self.servers
            .get(name)
            .or_else(|| self.endpoints.get(name))
            .map(|server| Target(Rc::clone(server)))
            .ok_or(NotFound)
    }

    /// What a token needs for the server `name`, for anyone to read: nothing where there is none, or where it is not for
    /// every tenant, so that nobody learns of it.
    #[must_use]
    pub fn public_scopes(&self, name: &str) -> &[String] {
        let one = self.servers.get(name).or_else(|| self.endpoints.get(name));
        one.filter(|server| server.tenants.is_none()).map_or(&[], |server| &server.scopes)
    }

    /// Every server, by name.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values().map(Rc::as_ref)
    }
}

impl Target {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.0
    }
}

fn by_name(servers: Vec<Server>) -> BTreeMap<String, Rc<Server>> {
    servers.into_iter().map(|server| (server.name.clone(), Rc::new(server))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, tenants: Option<&[&str]>) -> Server {
        Server {
            name: name.to_owned(),
            instances: vec!["http://127.0.0.1:1/mcp".to_owned()],
            tenants: tenants.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            scopes: Vec::new(),
            timeout: Duration::from_secs(30),
            idle: Duration::from_secs(1800),
            question: Duration::from_secs(600),
            secret: None,
            era: EraSetting::Auto,
        }
    }

    #[test]
    fn a_server_of_another_tenant_reads_like_one_that_is_not_there() {
        let registry = Registry::new(vec![server("open", None), server("billing", Some(&["acme"]))]);
        assert!(registry.find("open", "globex").is_ok());
        assert!(registry.find("billing", "acme").is_ok());
        assert_eq!(registry.find("billing", "globex").unwrap_err(), registry.find("absent", "globex").unwrap_err());
    }
}
