//! What can an operator do with a deployment? Check it, see what a change would do, put it in force, take it back.
//!
//! Exit codes: 0 all is well, 1 the configuration is wrong or somebody said no, 2 it never came to that: called wrongly,
//! or the gateway cannot be reached.

mod advice;
mod check;
mod client;
mod command;
mod diagnostic;
mod failure;
mod folder;
mod gateway_toml;
mod output;
mod plan;
mod progress;
mod record;
mod release;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{failure::Ending, output::Format};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = if cli.json { Format::Json } else { Format::People };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(perform(cli.action, format)));
    match ended {
        Ok(ending) => ending.code(),
        // Whoever read has enough.
        Err(error) if failure::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if format == Format::Json {
                // Standard output is read by a machine, which may look nowhere else.
                let _ = output::json(&serde_json::json!({ "error": format!("{error:#}") }));
            }
            output::note(&format!("{}: {error:#}", output::red("error")));
            failure::code(&error)
        }
    }
}

async fn perform(action: Action, format: Format) -> anyhow::Result<Ending> {
    match action {
        Action::Check(options) => command::check::run(&options, format),
        Action::Bundle(options) => command::bundle::run(&options, format),
        Action::Plan(options) => command::plan::run(&options, format).await,
        Action::Push(options) => command::push::run(&options, format).await,
        Action::Rollback(options) => command::rollback::run(&options, format).await,
        Action::Pins(options) => command::pins::run(&options, format).await,
        Action::Usage(options) => command::usage::run(&options, format).await,
    }
}

#[derive(Parser)]
#[command(name = "turnpike", version, about = "Operates Turnpike, the gateway for the Model Context Protocol")]
#[command(
    after_help = "Commands that speak with a gateway want its URL in TURNPIKE_URL or --gateway, and a token of its \
operators in TURNPIKE_TOKEN or a file named by --token-file.\n\nExit codes: 0 fine, 1 wrong or refused, 2 called wrongly \
or cannot reach the gateway."
)]
struct Cli {
    /// Print JSON for machines
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Say everything that is wrong with a deployment's folder
    Check(command::check::Options),
    /// Print the bundle a folder makes: one immutable JSON, addressed by its SHA-256
    Bundle(command::bundle::Options),
    /// Show what a folder would change, and which past calls would be decided otherwise
    Plan(command::plan::Options),
    /// Put a folder in force, if what it was planned against still is
    Push(command::push::Options),
    /// Put in force again what was before
    Rollback(command::rollback::Options),
    /// Compare what servers offer with what was approved, and approve it
    Pins(command::pins::Options),
    /// Show what a tenant used and what it cost
    Usage(command::usage::Options),
}
