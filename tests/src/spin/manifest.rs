//! Under which manifest does a gateway run in the tests? The one at the root, with its own hosts and variables.

use std::{collections::BTreeSet, path::Path};

use toml::Table;

use super::{REDIS, text};
use crate::{program::root, setup::Setup};

/// The manifest of `component` with `setup`, whose documents lie in the folder [`MOUNTED`] beside it. It may reach the hosts
/// that `setup` names, and no other.
pub(super) fn derived(setup: &Setup, component: &Path) -> String {
    let mut manifest: Table = read().parse().expect("`spin.toml` is TOML");
    let ours = at(&mut manifest, &["component", "turnpike"]);
    ours.insert("source".to_owned(), text(component).into());
    ours.insert("allowed_outbound_hosts".to_owned(), hosts(setup).into_iter().collect::<Vec<_>>().into());
    let mount = ours["files"][0].as_table_mut().expect("the manifest mounts a folder");
    mount.insert("source".to_owned(), MOUNTED.into());
    for name in setup.secrets.keys().map(|name| name.to_lowercase()) {
        let declared = Table::from_iter([("required".to_owned(), true.into()), ("secret".to_owned(), true.into())]);
        at(&mut manifest, &["variables"]).insert(name.clone(), declared.into());
        let given = format!("{{{{ {name} }}}}");
        at(&mut manifest, &["component", "turnpike", "variables"]).insert(name, given.into());
    }
    manifest.to_string()
}

fn read() -> String {
    let path = root().join("spin.toml");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// The table at `path`, made if it is not there.
fn at<'a>(manifest: &'a mut Table, path: &[&str]) -> &'a mut Table {
    path.iter().fold(manifest, |table, &key| {
        let inner = table.entry(key).or_insert_with(|| Table::new().into());
        inner.as_table_mut().unwrap_or_else(|| panic!("`{key}` is a table"))
    })
}

/// The origins of the servers, of the issuers whose keys are fetched, and the Redis.
fn hosts(setup: &Setup) -> BTreeSet<String> {
    let instances = setup.raw.servers.iter().flat_map(|server| &server.instances);
    let key_sets = setup.raw.issuers.iter().filter_map(|issuer| issuer.jwks_url.as_ref());
    let redis = setup.secrets.get(REDIS);
    instances.chain(key_sets).chain(redis).map(|url| origin(url)).collect()
}

fn origin(url: &str) -> String {
    let url: http::Uri = url.parse().expect("a server has a URL");
    let (scheme, authority) = (url.scheme_str().unwrap_or_default(), url.authority().expect("a server is somewhere"));
    format!("{scheme}://{authority}")
}

/// The folder of documents.
pub(super) const MOUNTED: &str = "config";
