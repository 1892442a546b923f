//! Do the policies hold together? Against the servers and tools of the same configuration.

use std::collections::BTreeSet;

use policy::{Catalog, CatalogServer, CatalogTool, Policies, Source};
use registry::Admission;

use super::{
    raw::Raw,
    validate::{Checked, Problems},
};

impl Raw {
    /// What policies may name: tenants, if every server names its own, and servers with the tools that are pinned.
    #[must_use]
    pub fn catalog(&self) -> Catalog {
        let named: Option<Vec<&Vec<String>>> = self.servers.iter().map(|server| server.tenants.as_ref()).collect();
        let tenants: BTreeSet<&String> = named.into_iter().flatten().flatten().chain(&self.gateway.operators).collect();
        let is_closed = self.servers.iter().all(|server| server.tenants.is_some());
        let servers = self.servers.iter().map(|server| {
            let pinned = self.pins.get(&server.name);
            let tools = pinned.into_iter().flatten().filter_map(|definition| {
                Some(CatalogTool {
                    name: definition.get("name")?.as_str()?.to_owned(),
                    input_schema: definition.get("inputSchema").cloned().unwrap_or_default(),
                })
            });
            CatalogServer {
                name: server.name.clone(),
                tools: tools.collect(),
                is_complete: pinned.is_some() && server.pins == Admission::Quarantine,
            }
        });
        let tenants = if is_closed { tenants.into_iter().cloned().collect() } else { Vec::new() };
        Catalog { tenants, servers: servers.collect() }
    }
}

impl Problems {
    /// The policies of `raw`, compiled.
    pub(super) fn policies(&mut self, raw: &Raw, checked: Checked) -> Policies {
        if raw.policies.is_empty() && raw.candidate.is_empty() {
            return Policies::open();
        }
        // A candidate beside no policies is compared with what holds without any.
        let open = [Source { name: "open".to_owned(), text: OPEN.to_owned() }];
        let live = if raw.policies.is_empty() { &open[..] } else { &raw.policies };
        // Both sets may hold files of one name: ids and problems have to tell them apart.
        let candidate: Vec<Source> = raw
            .candidate
            .iter()
            .map(|one| Source { name: format!("{CANDIDATE}{}", one.name), text: one.text.clone() })
            .collect();
        if checked == Checked::Before {
            let candidate = Some(candidate).filter(|sources| !sources.is_empty());
            return Policies::recompile(live.to_vec(), candidate, raw.catalog());
        }
        let candidate = Some(&candidate[..]).filter(|sources| !sources.is_empty());
        Policies::compile(live, candidate, &raw.catalog()).unwrap_or_else(|found| {
            for problem in found {
                let file = match problem.file.starts_with(CANDIDATE) {
                    true => problem.file,
                    false => format!("policies/{}", problem.file),
                };
                let hint = problem.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                self.add(format!("{file}:{}:{}", problem.line, problem.column), format!("{}{hint}", problem.what));
            }
            Policies::open()
        })
    }
}

const CANDIDATE: &str = "candidate/";
const OPEN: &str = "@id(\"open\") permit (principal, action, resource);";
