//! `turnpike push`: a folder is put in force, if what it was planned against still is.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    plan::{self, Look},
    sound,
};
use crate::{
    client::{Address, Gateway},
    failure::{Ending, Failure},
    output::{self, Format, short},
    progress::Step,
};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  turnpike push infra          shows the plan, asks, puts it in force and waits until it is\n  \
turnpike push infra --yes    without asking\n  \
turnpike push infra --yes --expected $(turnpike plan infra --json | jq -r .live)\n\n\
If somebody else pushed after the plan was made, nothing changes and it says who."
)]
pub(crate) struct Options {
    /// The folder with gateway.toml
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only if this bundle is live: the one an earlier plan was made against
    #[arg(long, value_name = "ID")]
    expected: Option<String>,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    address: Address,
}

pub(crate) async fn run(options: &Options, format: Format) -> Result<Ending> {
    let sound = sound(&options.folder)?;
    let gateway = Gateway::at(&options.address)?;
    let (live, plan) = plan::of(&gateway, &sound, &options.look).await?;
    if format == Format::People {
        output::say(&format!("{}\n", plan.told()))?;
    }
    let id = &sound.bundle.id;
    if !plan.is_empty() {
        agree(&format!("Put {} in force at {}?", short(id), gateway.name()), options.yes)?;
        let mut step = Step::begin("the bundle is stored");
        step.watch(gateway.store(&sound.bundle)).await?;
        let planned_against = options.expected.as_deref().or(live.as_ref().map(|live| live.id.as_str()));
        step.watch(gateway.promote(id, planned_against)).await?;
        drop(step);
        gateway.until_live(id).await?;
    }
    match format {
        Format::People if plan.is_empty() => {}
        Format::People => {
            let place = gateway.name();
            output::say(&format!(
                "{} {} is live at {place}; all of it follows within 30 s",
                output::green("✓"),
                short(id)
            ))?;
        }
        Format::Json => output::json(&json!({ "live": id, "previous": live.map(|live| live.id), "plan": plan }))?,
    }
    Ok(Ending::Fine)
}

/// Goes on if the operator says so: by `--yes`, or on a terminal.
pub(super) fn agree(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody is there to be asked: say --yes".to_owned()).into());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::Refused("nothing was changed".to_owned()).into())
}
