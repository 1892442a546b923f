//! What does a `spin.toml` say, and what does a local run have it say instead?

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::{configuration::Configuration, token::write_private};

/// A `spin.toml` with one component.
pub(crate) struct Manifest {
    table: Table,
    /// Against which the paths in it are resolved.
    folder: PathBuf,
}

/// What differs between a local run and what is deployed.
pub(crate) struct Local<'a> {
    /// The built component.
    pub(crate) module: &'a Path,
    /// Whom it may call, and nobody else.
    pub(crate) origins: &'a BTreeSet<String>,
    /// The values of variables. Those that are required and not among them are taken out.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// What it finds under `/config`: a folder beside the file, since Spin mounts nothing from elsewhere.
    pub(crate) mounted: &'a str,
}

impl Manifest {
    /// # Errors
    /// If the file cannot be read or is no TOML.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let table = text.parse().with_context(|| format!("`{}` is not valid TOML", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { table, folder })
    }

    /// Where the component is expected once it is built.
    ///
    /// # Errors
    /// If it does not say.
    pub(crate) fn source(&self) -> Result<PathBuf> {
        let source = self.component()?.get("source").and_then(Value::as_str);
        Ok(self.folder.join(source.context("the component has no `source`")?))
    }

    /// The folder whose files the component finds under `/config`.
    ///
    /// # Errors
    /// If none is mounted there.
    pub(crate) fn mounted(&self) -> Result<PathBuf> {
        let files = self.component()?.get("files").and_then(Value::as_array);
        let mut mounts = files.into_iter().flatten().filter_map(Value::as_table);
        let mount = mounts.find(|mount| mount.get("destination").and_then(Value::as_str) == Some(DESTINATION));
        let source = mount.and_then(|mount| mount.get("source")?.as_str());
        Ok(self.folder.join(source.with_context(|| format!("no folder is mounted at `{DESTINATION}`"))?))
    }

    /// The variables that somebody has to give a value.
    ///
    /// # Errors
    /// If there are no variables at all.
    pub(crate) fn required(&self) -> Result<Vec<String>> {
        let declared = self.table.get("variables").and_then(Value::as_table).context("there are no `variables`")?;
        let required = declared.iter().filter(|(_, variable)| variable.get("default").is_none());
        Ok(required.map(|(name, _)| name.clone()).collect())
    }

    /// Makes it that of a local run.
    ///
    /// # Errors
    /// If it has not exactly one component, or a path is no text.
    pub(crate) fn localize(&mut self, local: &Local<'_>) -> Result<()> {
        let declared = self.table.entry("variables").or_insert_with(|| Value::Table(Table::new()));
        let declared = declared.as_table_mut().context("`variables` is not a table")?;
        let is_given = |name: &str| local.variables.contains_key(name);
        declared.retain(|name, variable| is_given(name) || variable.get("default").is_some());
        for (name, value) in local.variables {
            let entry = Table::from_iter([text("default", value), ("secret".to_owned(), Value::Boolean(true))]);
            declared.insert(name.clone(), Value::Table(entry));
        }
        let templates = declared.keys().map(|name| text(name, &template(name))).collect();

        let component = self.component_mut()?;
        component.insert("variables".to_owned(), Value::Table(templates));
        component.extend([text("source", local.module.to_str().context("the component's path is no text")?)]);
        let origins = local.origins.iter().cloned().map(Value::String).collect();
        component.insert("allowed_outbound_hosts".to_owned(), Value::Array(origins));
        if component.contains_key("files") {
            let mount = Table::from_iter([text("source", local.mounted), text("destination", DESTINATION)]);
            component.insert("files".to_owned(), Value::Array(vec![Value::Table(mount)]));
        }
        component.remove("build");
        Ok(())
    }

    /// Writes it so that nobody else can read it: it has the values of secrets.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        write_private(file, &toml::to_string(&self.table)?)
    }

    /// In what it does not fit a configuration: hosts that may not be called, or need not be, and secrets without a variable.
    ///
    /// # Errors
    /// If it has not exactly one component.
    pub(crate) fn misfits(&self, configuration: &Configuration) -> Result<Vec<String>> {
        let (allowed, named) = (self.allowed()?, configuration.origins()?);
        let missing = named.difference(&allowed).map(|origin| format!("`allowed_outbound_hosts` lacks `{origin}`"));
        let needless = allowed.difference(&named);
        let needless = needless.map(|host| format!("`allowed_outbound_hosts` has `{host}`, which nothing needs"));
        let mut misfits: Vec<String> = missing.chain(needless).collect();
        for secret in configuration.secret_names() {
            misfits.extend(self.misfit_of(&variable(&secret), &secret)?);
        }
        Ok(misfits)
    }

    /// What is wrong with the variable that holds a secret.
    fn misfit_of(&self, name: &str, secret: &str) -> Result<Option<String>> {
        let templates = self.component()?.get("variables");
        let passed = templates.and_then(|templates| templates.get(name)?.as_str());
        let Some(declared) = self.table.get("variables").and_then(|declared| declared.get(name)) else {
            return Ok(Some(format!("no variable `{name}` is declared for the secret `{secret}`")));
        };
        let is_secret = declared.get("secret").and_then(Value::as_bool) == Some(true);
        Ok(match passed {
            _ if !is_secret => Some(format!("the variable `{name}` does not say `secret = true`")),
            Some(passed) if passed == template(name) => None,
            _ => Some(format!("the component does not get the variable `{name}` as `{}`", template(name))),
        })
    }

    fn allowed(&self) -> Result<BTreeSet<String>> {
        let hosts = self.component()?.get("allowed_outbound_hosts").and_then(Value::as_array);
        Ok(hosts.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn component(&self) -> Result<&Table> {
        let components = self.table.get("component").and_then(Value::as_table);
        let mut components = components.into_iter().flat_map(Table::values);
        components.next().and_then(Value::as_table).context("there is no component")
    }

    fn component_mut(&mut self) -> Result<&mut Table> {
        let components = self.table.get_mut("component").and_then(Value::as_table_mut);
        let mut components = components.into_iter().flat_map(|components| components.iter_mut());
        components.next().and_then(|(_, component)| component.as_table_mut()).context("there is no component")
    }
}

/// The variable of the secret `name`: Spin's have no capitals.
pub(crate) fn variable(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn template(name: &str) -> String {
    format!("{{{{ {name} }}}}")
}

fn text(key: &str, text: &str) -> (String, Value) {
    (key.to_owned(), Value::String(text.to_owned()))
}

/// Where the component looks for `bundle.json`.
const DESTINATION: &str = "/config";

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = r#"
        spin_manifest_version = 2
        [variables]
        turnpike_key = { required = true, secret = true }
        connector_secret = { required = true, secret = true }
        turnpike_redis = { default = "" }
        [component.turnpike]
        source = "target/a.wasm"
        files = [{ source = "target/spin", destination = "/config" }]
        allowed_outbound_hosts = ["http://127.0.0.1:3101"]
        [component.turnpike.variables]
        connector_secret = "{{ connector_secret }}"
        [component.turnpike.build]
        command = "make"
    "#;

    fn given() -> Manifest {
        Manifest { table: GIVEN.parse().unwrap(), folder: PathBuf::from("/app") }
    }

    fn configuration(text: &str) -> Configuration {
        Configuration::from_text(text).unwrap()
    }

    #[test]
    fn it_says_where_things_are_expected() {
        assert_eq!(given().source().unwrap(), Path::new("/app/target/a.wasm"));
        assert_eq!(given().mounted().unwrap(), Path::new("/app/target/spin"));
        assert_eq!(given().required().unwrap(), ["connector_secret", "turnpike_key"]);
    }

    #[test]
    fn a_local_run_calls_nobody_else_and_has_its_values() {
        let mut manifest = given();
        let origins = BTreeSet::from(["http://127.0.0.1:9".to_owned()]);
        let variables = BTreeMap::from([("turnpike_key".to_owned(), "k".to_owned())]);
        let (module, mounted) = (Path::new("/built.wasm"), "config");
        manifest.localize(&Local { module, origins: &origins, variables: &variables, mounted }).unwrap();
        let expected: Table = r#"
            spin_manifest_version = 2
            [variables]
            turnpike_key = { default = "k", secret = true }
            turnpike_redis = { default = "" }
            [component.turnpike]
            source = "/built.wasm"
            files = [{ source = "config", destination = "/config" }]
            allowed_outbound_hosts = ["http://127.0.0.1:9"]
            [component.turnpike.variables]
            turnpike_key = "{{ turnpike_key }}"
            turnpike_redis = "{{ turnpike_redis }}"
        "#
        .parse()
        .unwrap();
        assert_eq!(manifest.table, expected);
    }

    #[test]
    fn it_fits_a_configuration_that_calls_whom_it_allows() {
        let fits = "[[servers]]\ninstances = [\"http://127.0.0.1:3101/a/mcp\"]\nsecret = \"CONNECTOR_SECRET\"";
        assert!(given().misfits(&configuration(fits)).unwrap().is_empty());
    }

    #[test]
    fn it_does_not_fit_one_that_calls_others_or_has_other_secrets() {
        let other = "[[servers]]\ninstances = [\"http://127.0.0.1:3102/mcp\"]\nsecret = \"TURNPIKE_KEY\"\n\
                     [[servers]]\nsecret = \"A\"\n[[servers]]\nsecret = \"TURNPIKE_REDIS\"";
        assert_eq!(
            given().misfits(&configuration(other)).unwrap(),
            [
                "`allowed_outbound_hosts` lacks `http://127.0.0.1:3102`",
                "`allowed_outbound_hosts` has `http://127.0.0.1:3101`, which nothing needs",
                "no variable `a` is declared for the secret `A`",
                "the component does not get the variable `turnpike_key` as `{{ turnpike_key }}`",
                "the variable `turnpike_redis` does not say `secret = true`",
            ]
        );
    }

    #[test]
    fn the_committed_one_fits_the_example() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = Manifest::read(&root.join("spin.toml")).unwrap();
        let example = Configuration::read(&root.join("infra/gateway.toml")).unwrap();
        assert_eq!(manifest.misfits(&example).unwrap(), Vec::<String>::new());
        assert_eq!(manifest.misfit_of("turnpike_key", "TURNPIKE_KEY").unwrap(), None);
        for (name, declared) in manifest.table["variables"].as_table().unwrap() {
            assert!(declared["description"].as_str().is_some_and(|text| !text.is_empty()), "`{name}` is described");
            assert_eq!(manifest.component().unwrap()["variables"][name].as_str(), Some(&*template(name)));
        }
        assert_eq!(
            manifest.component().unwrap()["build"]["command"].as_str(),
            Some("cargo xtask build --platform spin")
        );
    }
}
