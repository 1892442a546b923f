//! What lies beside `gateway.toml`? Policies, a candidate for them, and the tool definitions that are approved.

use std::collections::{BTreeMap, BTreeSet};

use mcp::{definition::Definition, json};
use policy::Source;
use registry::Pins;
use serde_json::Value;

use super::{
    raw::Raw,
    validate::{Problem, Problems},
};

/// A deployment's folder: two closures, so that nothing here touches a disk. Paths are relative to `gateway.toml`.
pub struct Folder<L, R> {
    /// The names of the files in a folder, in any order; none, if there is no such folder.
    pub list: L,
    /// The text of a file.
    pub read: R,
}

impl<L, R> Folder<L, R>
where
    L: FnMut(&str) -> Result<Vec<String>, String>,
    R: FnMut(&str) -> Result<String, String>,
{
    /// Puts the files of the folder into `raw`, as it was read from `gateway.toml`: key sets, `policies/*.cedar`,
    /// `candidate/*.cedar`, `pins/*.json`.
    ///
    /// # Errors
    /// Every file that cannot be read or is no JSON, each at its path; and what only files may say, at its key.
    pub fn fill(&mut self, raw: &mut Raw) -> Result<(), Vec<Problem>> {
        let mut problems = Problems::default();
        for (key, is_there) in [
            ("policies", !raw.policies.is_empty()),
            ("candidate", !raw.candidate.is_empty()),
            ("pins", !raw.pins.is_empty()),
        ] {
            if is_there {
                problems.add(key, format!("stands in files of the folder `{key}`, not in gateway.toml"));
            }
        }
        self.key_sets(raw, &mut problems);
        raw.policies = self.policies("policies", &mut problems);
        raw.candidate = self.policies("candidate", &mut problems);
        self.pins(raw, &mut problems);
        problems.none()
    }

    fn key_sets(&mut self, raw: &mut Raw, problems: &mut Problems) {
        for (n, issuer) in raw.issuers.iter_mut().enumerate() {
            let Some(file) = &issuer.jwks_file else { continue };
            match (self.read)(file).and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())) {
                Ok(keys) => {
                    issuer.jwks_file = None;
                    issuer.jwks = Some(keys);
                }
                Err(error) => problems.add(format!("issuers[{n}].jwks_file"), format!("`{file}`: {error}")),
            }
        }
    }

    fn policies(&mut self, folder: &str, problems: &mut Problems) -> Vec<Source> {
        let names = self.names(folder, ".cedar", problems);
        let read = names.into_iter().filter_map(|name| {
            let path = format!("{folder}/{name}");
            let text = (self.read)(&path).map_err(|error| problems.add(&path, error)).ok()?;
            Some(Source { name, text })
        });
        read.collect()
    }

    fn pins(&mut self, raw: &mut Raw, problems: &mut Problems) {
        for name in self.names("pins", ".json", problems) {
            let path = format!("pins/{name}");
            let read = (self.read)(&path).map_err(|error| (path.clone(), error)).and_then(|text| {
                let strict = json::strict(&text).and_then(serde_json::from_value::<Vec<Value>>);
                strict.map_err(|error| {
                    let at = format!("{path}:{}:{}", error.line().max(1), error.column().max(1));
                    (at, format!("must be a JSON array of tool definitions: {}", unplaced(&error)))
                })
            });
            match read {
                Ok(definitions) => drop(raw.pins.insert(name.trim_end_matches(".json").to_owned(), definitions)),
                Err((at, error)) => problems.add(at, error),
            }
        }
    }

    /// What ends with `suffix` in `folder`, sorted; a name that begins with a dot is an editor's.
    fn names(&mut self, folder: &str, suffix: &str, problems: &mut Problems) -> Vec<String> {
        let listed = (self.list)(folder).unwrap_or_else(|error| {
            problems.add(folder, error);
            Vec::new()
        });
        let named: BTreeSet<String> =
            listed.into_iter().filter(|name| name.ends_with(suffix) && !name.starts_with('.')).collect();
        named.into_iter().collect()
    }
}

impl Problems {
    /// The pins of `raw`: of servers that are there, each tool once.
    pub(super) fn pinned(&mut self, raw: &Raw) -> BTreeMap<String, Pins> {
        let mut pinned = BTreeMap::new();
        for (server, definitions) in &raw.pins {
            let at = format!("pins.{server}");
            if !raw.servers.iter().any(|configured| configured.name == *server) {
                self.add(&at, format!("there is no server `{server}`; remove `pins/{server}.json` or add the server"));
            }
            let read = definitions.iter().enumerate().filter_map(|(n, value)| {
                let read = Definition::read(&value.to_string());
                read.map_err(|error| self.add(format!("{at}[{n}]"), error.to_string())).ok()
            });
            match Pins::new(read.collect::<Vec<_>>()) {
                Ok(pins) => drop(pinned.insert(server.clone(), pins)),
                Err(twice) => self.add(at, twice.to_string()),
            }
        }
        pinned
    }
}

/// What serde_json says, without where: that is said before it.
fn unplaced(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}
