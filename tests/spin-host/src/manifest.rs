//! What is the application? Its `spin.toml` (manifest version 2), with the values of its variables put in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

/// The one component of a manifest, and what it is granted.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Application {
    pub(crate) source: PathBuf,
    pub(crate) files: Vec<Mount>,
    pub(crate) key_value_stores: Vec<String>,
    pub(crate) sqlite_databases: Vec<String>,
    pub(crate) variables: BTreeMap<String, String>,
    allowed_outbound_hosts: Vec<String>,
    #[serde(rename = "build")]
    _build: Table,
}

/// A folder, and where the component sees it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    pub(crate) destination: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    spin_manifest_version: u8,
    #[serde(rename = "application")]
    _application: Table,
    #[serde(default)]
    variables: BTreeMap<String, Table>,
    trigger: Table,
    component: BTreeMap<String, Application>,
}

impl Application {
    /// Reads a manifest. A value that is `given` goes before that of the environment (`SPIN_VARIABLE_NAME`).
    pub(crate) fn read(file: &Path, given: &BTreeMap<String, String>) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let Manifest { spin_manifest_version, variables, trigger, component, .. } = toml::from_str(&text)?;
        let (id, mut application) = component.into_iter().next().context("there is no component")?;
        let known = toml::toml! { http = [{ route = "/...", component = id }] };
        ensure!(trigger == known, "the test host knows one trigger: {known}");
        ensure!(spin_manifest_version == 2, "`spin_manifest_version` has to be 2");
        let values = variables.iter().map(|(name, variable)| Ok((name.clone(), value(name, variable, given)?)));
        let values = values.collect::<Result<_>>()?;
        let folder = file.parent().unwrap_or(Path::new("."));
        application.source = folder.join(application.source);
        application.files.iter_mut().for_each(|mount| mount.source = folder.join(&mount.source));
        for template in application.variables.values_mut().chain(&mut application.allowed_outbound_hosts) {
            *template = fill(template, &values)?;
        }
        let unknown = application.allowed_outbound_hosts.iter().find(|entry| origin(entry).is_none());
        ensure!(unknown.is_none(), "{unknown:?} is no `scheme://host:port` of those the test host knows");
        let mut labels = application.key_value_stores.iter().chain(&application.sqlite_databases);
        ensure!(labels.all(|label| label == "default"), "the test host has the store and the database `default`");
        Ok(application)
    }

    /// Whether the component may call this URL.
    pub(crate) fn allows(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return false };
        let port = url.port().map(|port| port.to_string());
        let port = port.as_deref().or_else(|| known_port(url.scheme())).unwrap_or_default();
        let parts = [url.scheme(), url.host_str().unwrap_or_default(), port];
        let is = |(of, part): (&str, &str)| of == part || of.strip_prefix('*').is_some_and(|end| part.ends_with(end));
        let mut origins = self.allowed_outbound_hosts.iter().filter_map(|entry| origin(entry));
        url.has_host() && origins.any(|origin| origin.into_iter().zip(parts).all(is))
    }
}

fn value(name: &str, variable: &Table, given: &BTreeMap<String, String>) -> Result<String> {
    let default = variable.get("default").and_then(Value::as_str).map(str::to_owned);
    let is_known = is_name(name) && (default.is_some() || variable.get("required") == Some(&Value::Boolean(true)));
    ensure!(is_known, "variable `{name}` needs a lower case name, and `default` or `required = true`");
    let environment = env::var(format!("SPIN_VARIABLE_{}", name.to_uppercase())).ok();
    let value = given.get(name).cloned().or(environment).or(default);
    value.with_context(|| format!("variable `{name}` has no value; pass `--variable {name}=…`"))
}

/// Words of lower case letters and digits with one underscore between them; a letter is first.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('_').all(is_word)
}

/// Puts the values of variables where a text names them, such as `{{ name }}`.
fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let Some((before, rest)) = template.split_once("{{") else { return Ok(template.to_owned()) };
    let (name, after) = rest.split_once("}}").with_context(|| format!("`{template}` lacks `}}}}`"))?;
    let value = values.get(name.trim()).with_context(|| format!("`{template}` names no variable"))?;
    Ok(format!("{before}{value}{}", fill(after, values)?))
}

/// The scheme, host and port of an entry, each of which may be `*`, the host `*.domain` too.
fn origin(entry: &str) -> Option<[&str; 3]> {
    let (scheme, rest) = entry.split_once("://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').or_else(|| Some((rest, known_port(scheme)?)))?;
    let is_known = !["", "self"].contains(&host) && !host.contains('/') && (port == "*" || port.parse::<u16>().is_ok());
    is_known.then_some([scheme, host, port])
}

fn known_port(scheme: &str) -> Option<&'static str> {
    let known = [("http", "80"), ("https", "443"), ("redis", "6379")];
    known.into_iter().find(|known| known.0 == scheme).map(|known| known.1)
}
