//! Which policies and limits are in force where the bench measures them?
//!
//! Those of the example, whose servers the configuration therefore has too, and one policy for the bench's own tool. That
//! one asks for an argument, or else its decision would be remembered and Cedar asked only once.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::{configuration::Configuration, workspace::Workspace};

use super::{
    setting::{TENANT, copy},
    upstream::{TOOL, Upstream},
};

/// `text`, which names the gateway and the bench's servers, with the example's servers, policies and pins, ours, and two
/// limits that are never reached; written to `folder`.
///
/// # Errors
/// If the example cannot be read, or `folder` not be written.
pub(super) fn configuration(workspace: &Workspace, folder: &Path, text: &str) -> Result<Configuration> {
    let example = workspace.root.join("infra");
    for beside in ["policies", "pins"] {
        copy(&example.join(beside), &folder.join(beside))?;
    }
    let policies = Upstream::ALL.map(|upstream| policy(&upstream.name())).concat();
    fs::write(folder.join("policies/bench.cedar"), policies)?;
    for upstream in Upstream::ALL {
        fs::write(folder.join(format!("pins/{}.json", upstream.name())), format!("[{TOOL}]"))?;
    }
    let servers = servers(&example.join("gateway.toml"))?;
    let file = folder.join("gateway.toml");
    fs::write(&file, [text, "\n", &servers, LIMITS].concat())?;
    Configuration::read(&file)
}

fn policy(server: &str) -> String {
    format!(
        "@id(\"bench-calls-{server}\")\n\
         permit (principal in Tenant::\"{TENANT}\", action == Action::\"{server}/echo\", resource)\n\
         when {{ context.arguments.text like \"hello*\" }};\n\n"
    )
}

/// The servers of the example, as TOML.
fn servers(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let mut example: Table = text.parse()?;
    let servers = example.remove("servers").unwrap_or_else(|| Value::Array(Vec::new()));
    Ok(toml::to_string(&Table::from_iter([("servers".to_owned(), servers)]))?)
}

const LIMITS: &str = "
[[limits]]
by = [\"agent\"]
requests_per_minute = 6000000
tokens_per_minute = 6000000000

[[limits]]
by = [\"tenant\"]
tokens_per_day = 1000000000000
";
