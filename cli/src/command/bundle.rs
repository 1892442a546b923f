//! `turnpike bundle`: the immutable JSON a folder makes.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::sound;
use crate::{
    failure::Ending,
    output::{self, Format},
};

#[derive(Args)]
#[command(after_help = "Examples:\n  turnpike bundle infra                   the bundle, on standard output\n  \
turnpike bundle infra -o bundle.json    into a file; its id on standard output\n  \
turnpike bundle infra --json            {\"id\":…,\"bytes\":…,\"bundle\":{…}}")]
pub(crate) struct Options {
    /// The folder with gateway.toml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(options: &Options, format: Format) -> Result<Ending> {
    let bundle = sound(&options.folder)?.bundle;
    if let Some(file) = &options.output {
        fs::write(file, &bundle.json).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    match (format, &options.output) {
        (Format::People, None) => {
            // To the byte what the id addresses, and nothing else.
            output::note(&format!("{} {}", output::dim("id"), bundle.id));
            output::raw(&bundle.json)?;
        }
        (Format::People, Some(_)) => output::say(&bundle.id)?,
        (Format::Json, None) => {
            let parsed: serde_json::Value = serde_json::from_str(&bundle.json)?;
            output::json(&json!({ "id": bundle.id, "bytes": bundle.json.len(), "bundle": parsed }))?;
        }
        (Format::Json, Some(file)) => {
            output::json(&json!({ "id": bundle.id, "bytes": bundle.json.len(), "file": file }))?;
        }
    }
    Ok(Ending::Fine)
}
