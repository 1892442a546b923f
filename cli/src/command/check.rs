//! `turnpike check`: everything that is wrong with a folder, at once.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{
    check::{self, Checked, Sound},
    diagnostic::Severity,
    failure::{Ending, Failure},
    output::{self, Format},
};

#[derive(Args)]
#[command(after_help = "Examples:\n  turnpike check                    the folder one is in\n  \
turnpike check infra              another one\n  \
turnpike check infra --json       for machines: {\"ok\":…,\"problems\":[…]}\n  \
turnpike check infra --schema     what its policies may name, in Cedar's schema language")]
pub(crate) struct Options {
    /// The folder with gateway.toml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print the Cedar schema that policies are validated against
    #[arg(long)]
    schema: bool,
}

pub(crate) fn run(options: &Options, format: Format) -> Result<Ending> {
    let checked = check::check(&options.folder)?;
    if options.schema {
        return schema(&checked, format);
    }
    let ending = if checked.sound.is_some() { Ending::Fine } else { Ending::Refused };
    match format {
        Format::Json => output::json(&json!({
            "ok": checked.sound.is_some(),
            "bundle": checked.sound.as_ref().map(|sound| &sound.bundle.id),
            "problems": checked.diagnostics,
        }))?,
        Format::People => output::say(&told(&checked))?,
    }
    Ok(ending)
}

/// What policies may name, also where they do not hold together yet: that is when it is needed.
fn schema(checked: &Checked, format: Format) -> Result<Ending> {
    let Some(raw) = &checked.raw else {
        output::note(&told(checked));
        return Ok(Ending::Refused);
    };
    let schema = policy::Policies::schema(&raw.catalog(), &raw.policies).map_err(Failure::Refused)?;
    match format {
        Format::People => output::say(schema.trim_end())?,
        Format::Json => output::json(&json!({ "schema": schema }))?,
    }
    Ok(Ending::Fine)
}

fn told(checked: &Checked) -> String {
    let count = |severity| checked.diagnostics.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut parts: Vec<String> =
        checked.diagnostics.iter().map(|one| format!("{}\n", one.render(&checked.sources))).collect();
    let warned = if warnings == 0 { String::new() } else { format!(", {}", output::count(warnings, "warning")) };
    parts.push(match &checked.sound {
        Some(sound) => format!("{} {}{warned}", output::green("✓"), summary(sound)),
        None => format!("{} {}{warned}", output::red("✗"), output::count(errors, "error")),
    });
    parts.join("\n")
}

/// What a configuration holds, in a line.
pub(crate) fn summary(sound: &Sound) -> String {
    let raw = &sound.raw;
    let pinned: usize = raw.pins.values().map(Vec::len).sum();
    let parts = [
        output::count(raw.servers.len(), "server"),
        output::count(raw.issuers.len(), "issuer"),
        output::count(raw.limits.len(), "limit"),
        output::count(raw.policies.len(), "policy file"),
        output::count(pinned, "pinned tool"),
    ];
    format!("{}, bundle {}", parts.join(", "), output::short(&sound.bundle.id))
}
