//! What is the application? Its `spin.toml` (manifest version 2), with the values of its variables put in.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use url::Url;

use crate::variables::{fill, is_name};

/// The one component of a manifest, and what it is granted.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Application {
    pub(crate) source: PathBuf,
    pub(crate) key_value_stores: Vec<String>,
    pub(crate) sqlite_databases: Vec<String>,
    pub(crate) files: Vec<Mount>,
    /// By the names that the component reads them by.
    pub variables: BTreeMap<String, String>,
    allowed_outbound_hosts: Vec<String>,
    #[serde(rename = "description")]
    _description: String,
    #[serde(rename = "build")]
    _build: toml::Table,
}

/// A file or a folder, and where the component sees it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    pub(crate) destination: PathBuf,
}

impl Application {
    /// Reads a manifest. Values that are given go before those of the environment (`SPIN_VARIABLE_NAME`).
    pub fn read(manifest: &Path, given: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let text = fs::read_to_string(manifest).with_context(|| format!("cannot read `{}`", manifest.display()))?;
        let Manifest { spin_manifest_version: 2, variables, trigger, mut component, .. } = toml::from_str(&text)?
        else {
            bail!("`spin_manifest_version` has to be 2");
        };
        let [Trigger { route, component: id }] = trigger.http.as_slice() else {
            bail!("there is more than one trigger")
        };
        ensure!(route == "/...", "the test host serves the route `/...`, not `{route}`");
        let given = given.into_iter().collect();
        let values = variables.iter().map(|(name, variable)| Ok((name.clone(), variable.value(name, &given)?)));
        let application = component.remove(id).with_context(|| format!("there is no component `{id}`"))?;
        application.filled(manifest.parent().unwrap_or(Path::new(".")), &values.collect::<Result<_>>()?)
    }

    /// Whether the component may call this URL.
    pub fn allows(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return false };
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        let port = url.port().map(|port| port.to_string());
        let port = port.as_deref().or_else(|| known_port(scheme)).unwrap_or_default();
        self.allowed_outbound_hosts.iter().filter_map(|entry| origin(entry)).any(|origin| {
            let is_below = origin.1.strip_prefix('*').is_some_and(|domain| host.ends_with(domain));
            ["*", scheme].contains(&origin.0) && (is_below || host == origin.1) && ["*", port].contains(&origin.2)
        })
    }

    fn filled(mut self, folder: &Path, values: &BTreeMap<String, String>) -> Result<Self> {
        let other = self.key_value_stores.iter().chain(&self.sqlite_databases).find(|label| *label != "default");
        ensure!(other.is_none(), "the test host has the store and the database `default`, not {other:?}");
        self.source = folder.join(self.source);
        self.files.iter_mut().for_each(|mount| mount.source = folder.join(&mount.source));
        for template in self.variables.values_mut().chain(&mut self.allowed_outbound_hosts) {
            *template = fill(template, values)?;
        }
        let unknown = self.allowed_outbound_hosts.iter().find(|entry| origin(entry).is_none());
        ensure!(unknown.is_none(), "{unknown:?} is no `scheme://host:port`, or one that the test host does not know");
        Ok(self)
    }
}

/// The scheme, the host and the port that an entry allows, each of which may be `*`, the host also `*.domain`.
fn origin(entry: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = entry.split_once("://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, known_port(scheme)?));
    let is_known = !["", "self"].contains(&host) && !host.contains('/') && (port == "*" || port.parse::<u16>().is_ok());
    is_known.then_some((scheme, host, port))
}

fn known_port(scheme: &str) -> Option<&'static str> {
    let known = [("http", "80"), ("https", "443"), ("redis", "6379")];
    known.into_iter().find(|(name, _)| *name == scheme).map(|(_, port)| port)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    spin_manifest_version: u32,
    #[serde(rename = "application")]
    _application: toml::Table,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    component: BTreeMap<String, Application>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    http: Vec<Trigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    route: String,
    component: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(rename = "secret")]
    _secret: Option<bool>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

impl Variable {
    fn value(&self, name: &str, given: &HashMap<String, String>) -> Result<String> {
        ensure!(is_name(name), "`{name}` is no name of a variable; use lower case letters, digits, underscores");
        ensure!(self.required || self.default.is_some(), "variable `{name}` needs `default` or `required = true`");
        let environment = || env::var(format!("SPIN_VARIABLE_{}", name.to_uppercase())).ok();
        let value = given.get(name).cloned().or_else(environment).or_else(|| self.default.clone());
        value.with_context(|| format!("variable `{name}` has no value; pass `--variable {name}=…`"))
    }
}
