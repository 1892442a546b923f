//! What does the gateway need besides its code: the configuration, the names it
//! expects, the secrets?

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use gateway::config::{self, Bundle, Folder, Problem, Raw};
use serde_json::json;
use toml::{Table, Value};

use crate::{host, token::persisted_secret};

/// A `gateway.toml` being prepared for a local run.
pub(crate) struct Configuration {
    table: Table,
    /// Against which the paths in it are resolved.
    folder: PathBuf,
}

impl Configuration {
    /// # Errors
    /// If the file cannot be read or is no TOML.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read `{}`", file.display()))?;
        let table = text.parse().with_context(|| format!("`{}` is not valid TOML", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { table, folder })
    }

    /// A configuration of our own making; the paths in it are absolute.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        Ok(Self { table: text.parse()?, folder: PathBuf::new() })
    }

    /// The public origin, as the file says it.
    pub(crate) fn url(&self) -> Option<&str> {
        self.table.get("gateway")?.get("url")?.as_str()
    }

    /// The port of the public origin, if that is on this machine.
    pub(crate) fn loopback_port(&self) -> Option<u16> {
        let url = reqwest::Url::parse(self.url()?).ok()?;
        let is_loopback = matches!(url.host_str()?, "127.0.0.1" | "localhost" | "[::1]");
        url.port_or_known_default().filter(|_| is_loopback)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<()> {
        let gateway = self.table.entry("gateway").or_insert_with(|| Value::Table(Table::new()));
        let gateway = gateway.as_table_mut().context("`gateway` is not a table")?;
        gateway.insert(key.to_owned(), value.into());
        Ok(())
    }

    /// Where the server `name` is found from now on.
    pub(crate) fn set_instances(&mut self, name: &str, instances: &[String]) -> Result<()> {
        let servers = self.table.get_mut("servers").and_then(Value::as_array_mut);
        let server = servers
            .into_iter()
            .flatten()
            .filter_map(Value::as_table_mut)
            .find(|server| server.get("name").and_then(Value::as_str) == Some(name))
            .with_context(|| format!("the configuration names no server `{name}`"))?;
        let instances = instances.iter().cloned().map(Value::String).collect();
        server.insert("instances".to_owned(), Value::Array(instances));
        Ok(())
    }

    /// Trusts `issuer` with the key set in `jwks_file`, beside the issuers it trusts already.
    pub(crate) fn trust(&mut self, issuer: &str, jwks_file: &Path) -> Result<()> {
        let issuers = self.table.entry("issuers").or_insert_with(|| Value::Array(Vec::new()));
        let issuers = issuers.as_array_mut().context("`issuers` is not an array of tables")?;
        issuers.retain(|entry| entry.get("issuer").and_then(Value::as_str) != Some(issuer));
        let texts = [
            ("issuer", issuer),
            ("jwks_file", jwks_file.to_str().context("the path of the key set is no text")?),
            ("tenant_claim", "tenant"),
            ("roles_claim", "roles"),
        ];
        let entry = texts.map(|(key, text)| (key.to_owned(), Value::String(text.to_owned())));
        issuers.push(Value::Table(Table::from_iter(entry)));
        Ok(())
    }

    /// Writes it to `folder` with what lies beside it, so that `turnpike` can plan and push what runs, and changes to it.
    pub(crate) fn copy_to(&self, folder: &Path) -> Result<()> {
        for beside in ["policies", "candidate", "pins"] {
            let copy = folder.join(beside);
            if copy.is_dir() {
                fs::remove_dir_all(&copy)?;
            }
            for name in listed(&self.folder.join(beside)).map_err(anyhow::Error::msg)? {
                fs::create_dir_all(&copy)?;
                fs::copy(self.folder.join(beside).join(&name), copy.join(&name))?;
            }
        }
        fs::create_dir_all(folder)?;
        let file = folder.join("gateway.toml");
        fs::write(&file, toml::to_string(&self.table)?).with_context(|| format!("cannot write `{}`", file.display()))
    }

    /// The names of the servers, in their order.
    pub(crate) fn servers(&self) -> Vec<String> {
        self.server_texts("name")
    }

    /// Some tenant that may use a server, if the file restricts any.
    pub(crate) fn tenant(&self) -> Option<String> {
        let servers = self.table.get("servers")?.as_array()?;
        let tenants = servers.iter().filter_map(|server| server.get("tenants")?.as_array()?.first());
        tenants.filter_map(Value::as_str).map(str::to_owned).next()
    }

    /// The tenant whose tokens may operate the gateway, if the file names one.
    pub(crate) fn operators(&self) -> Option<String> {
        self.table.get("gateway")?.get("operators")?.as_str().map(str::to_owned)
    }

    /// The values of the secrets it names, from `known` or the environment.
    ///
    /// # Errors
    /// With the names that are nowhere.
    pub(crate) fn secrets(&self, known: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let mut secrets = BTreeMap::new();
        let mut missing = Vec::new();
        for name in self.secret_names() {
            match known.get(&name).cloned().or_else(|| env::var(&name).ok()) {
                Some(value) => drop(secrets.insert(name, value)),
                None => missing.push(format!("`{name}`")),
            }
        }
        if missing.is_empty() {
            return Ok(secrets);
        }
        bail!("the configuration names the secrets {}: set environment variables of these names", missing.join(", "))
    }

    /// The names of the secrets that servers want.
    pub(crate) fn secret_names(&self) -> BTreeSet<String> {
        self.server_texts("secret").into_iter().collect()
    }

    /// Whom the gateway calls: the origins of every instance, and of issuers' key sets.
    ///
    /// # Errors
    /// With the first that is no URL.
    pub(crate) fn origins(&self) -> Result<BTreeSet<String>> {
        let entries = |key| self.table.get(key).and_then(Value::as_array).into_iter().flatten();
        let instances = entries("servers").filter_map(|server| server.get("instances")?.as_array()).flatten();
        let key_sets = entries("issuers").filter_map(|issuer| issuer.get("jwks_url"));
        instances.chain(key_sets).filter_map(Value::as_str).map(origin).collect()
    }

    fn server_texts(&self, key: &str) -> Vec<String> {
        let servers = self.table.get("servers").and_then(Value::as_array);
        let texts = servers.into_iter().flatten().filter_map(|server| server.get(key)?.as_str());
        texts.map(str::to_owned).collect()
    }
}

fn origin(url: &str) -> Result<String> {
    let parsed = reqwest::Url::parse(url).with_context(|| format!("`{url}` is no URL"))?;
    Ok(parsed.origin().ascii_serialization())
}

/// What a gateway is given besides its code, whatever it runs on.
#[derive(Clone)]
pub(crate) struct Deployment {
    pub(crate) port: u16,
    /// What puts the configuration in force, by key.
    pub(crate) documents: BTreeMap<String, String>,
    /// By name; the gateway's own key is among them.
    pub(crate) secrets: BTreeMap<String, String>,
    /// Whom it calls.
    pub(crate) origins: BTreeSet<String>,
    /// Where it may keep what it stores.
    pub(crate) state: PathBuf,
}

impl Deployment {
    /// # Errors
    /// With everything that is wrong in the configuration.
    pub(crate) fn of(
        configuration: &Configuration,
        mut secrets: BTreeMap<String, String>,
        state: &Path,
        port: u16,
    ) -> Result<Self> {
        let (documents, origins) = (documents(configuration)?, configuration.origins()?);
        secrets.insert("TURNPIKE_KEY".to_owned(), persisted_secret(&state.join("gateway.key"))?);
        Ok(Self { port, documents, secrets, origins, state: state.to_owned() })
    }

    /// The gateway as a Worker of a local workerd, with the modules in that folder.
    pub(crate) fn worker(self, modules: &Path) -> host::Worker {
        let objects = OBJECTS.map(|(binding, class)| (binding.to_owned(), class.to_owned()));
        host::Worker {
            name: "gateway".to_owned(),
            port: self.port,
            modules: modules.to_owned(),
            main: "entry.mjs".to_owned(),
            compatibility_flags: vec!["enable_request_signal".to_owned()],
            bindings: self.secrets,
            kv: BTreeMap::from([("DOCUMENTS".to_owned(), self.documents)]),
            durable_objects: BTreeMap::from(objects),
        }
    }
}

/// Documents as `wrangler kv bulk put` takes them, and as the Spin component reads them in `bundle.json`.
pub(crate) fn keyed(documents: &BTreeMap<String, String>) -> serde_json::Value {
    documents.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

/// The documents that put a configuration in force, by their keys.
///
/// # Errors
/// With everything that is wrong in the configuration.
pub(crate) fn documents(configuration: &Configuration) -> Result<BTreeMap<String, String>> {
    let bundle = bundle(configuration)?;
    Ok(BTreeMap::from([(config::key(&bundle.id), bundle.json), (config::LIVE_KEY.to_owned(), bundle.id)]))
}

/// The configuration as the gateway will read it, with what lies beside the file, after the gateway's own judgement.
fn bundle(configuration: &Configuration) -> Result<Bundle> {
    let raw = configuration.table.clone().try_into::<Raw>();
    let mut raw = raw.map_err(|error| anyhow!("the configuration is not valid: {}", error.message()))?;
    let wrong = |problems: Vec<Problem>| {
        let problems: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow!("the configuration is not valid:\n{}", problems.join("\n"))
    };
    let folder = &configuration.folder;
    let mut beside =
        Folder { list: |name: &str| listed(&folder.join(name)), read: |name: &str| text(&folder.join(name)) };
    beside.fill(&mut raw).map_err(wrong)?;
    let bundle = Bundle::of(&raw)?;
    raw.validate(&bundle.id).map_err(wrong)?;
    Ok(bundle)
}

/// The names in a folder; none where there is none.
fn listed(folder: &Path) -> Result<Vec<String>, String> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(|error| format!("cannot read `{}`: {error}", folder.display()))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn text(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read `{}`: {error}", file.display()))
}

const OBJECTS: [(&str, &str); 7] = [
    ("SESSION", "Session"),
    ("LEDGER", "Ledger"),
    ("USAGE", "Usage"),
    ("BREAKER", "Breaker"),
    ("RELEASE", "Release"),
    ("CHAIN", "Chain"),
    ("CONVERSATION", "Conversation"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        Configuration { table: text.parse().unwrap(), folder: PathBuf::new() }
    }

    #[test]
    fn a_loopback_url_gives_its_port() {
        let port = |url: &str| configuration(&format!("[gateway]\nurl = \"{url}\"")).loopback_port();
        assert_eq!(port("http://127.0.0.1:8787"), Some(8787));
        assert_eq!(port("http://localhost"), Some(80));
        assert_eq!(port("https://gateway.example.com"), None);
    }

    #[test]
    fn secrets_that_are_nowhere_are_named() {
        let configuration = configuration(
            "[[servers]]\nname = \"a\"\nsecret = \"KNOWN\"\n[[servers]]\nname = \"b\"\nsecret = \"TURNPIKE_TEST_NOWHERE\"",
        );
        let known = BTreeMap::from([("KNOWN".to_owned(), "x".to_owned())]);
        let error = configuration.secrets(&known).unwrap_err().to_string();
        assert!(error.contains("`TURNPIKE_TEST_NOWHERE`") && !error.contains("KNOWN`,"), "{error}");
    }

    #[test]
    fn origins_are_those_of_instances_and_key_sets() {
        let configuration = configuration(
            "[[issuers]]\njwks_url = \"https://login.example.com/jwks\"\n[[issuers]]\njwks_file = \"dev.jwks.json\"\n\
             [[servers]]\ninstances = [\"http://127.0.0.1:3101/a/mcp\", \"http://127.0.0.1:3101/b/mcp\", \"https://x.example:443/\"]",
        );
        let origins: Vec<_> = configuration.origins().unwrap().into_iter().collect();
        assert_eq!(origins, ["http://127.0.0.1:3101", "https://login.example.com", "https://x.example"]);
    }

    #[test]
    fn instances_are_replaced_by_name() {
        let mut configuration = configuration("[[servers]]\nname = \"a\"\ninstances = [\"http://x/mcp\"]");
        configuration.set_instances("a", &["http://y/mcp".to_owned()]).unwrap();
        assert_eq!(configuration.table["servers"][0]["instances"][0].as_str(), Some("http://y/mcp"));
        assert!(configuration.set_instances("b", &[]).is_err());
    }
}
