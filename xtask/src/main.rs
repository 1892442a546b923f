//! What can be done to this repository with one command?
//!
//! `cargo xtask run` shows the gateway at work, `cargo xtask test` proves it, `cargo xtask
//! conformance` and `cargo xtask bench` measure it.

mod artifacts;
mod bench;
mod client;
mod clients;
mod command;
mod configuration;
mod conformance;
mod deploy;
mod host;
mod leash;
mod markdown;
mod platform;
mod processes;
mod progress;
mod run;
mod spin;
mod stack;
mod test;
mod token;
mod tools;
mod workspace;

use std::{io::Write, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::workspace::Workspace;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Action::Leash(leash) = cli.action {
        return leash::exec(&leash);
    }
    // One thread: children carry a parent-death signal, which follows the thread that began them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(until_interrupted(cli.action)));
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Dropping the unfinished work ends the processes it began (`processes::Process`).
async fn until_interrupted(action: Action) -> anyhow::Result<ExitCode> {
    tokio::select! {
        ended = perform(action) => ended,
        signal = interruption() => Ok(ExitCode::from(128 + signal?)),
    }
}

/// Waits for a signal that asks to end; gives its number.
async fn interruption() -> anyhow::Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let number = tokio::select! {
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
        _ = hangup.recv() => 1,
    };
    // After a hang-up there may be nobody left to tell.
    let _ = writeln!(std::io::stderr(), "\nending");
    Ok(number)
}

async fn perform(action: Action) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::locate()?;
    match action {
        Action::Run(options) => run::run(&workspace, &options).await,
        Action::Test(options) => test::run(&workspace, &options).await,
        Action::Conformance(options) => conformance::run(&workspace, &options).await,
        Action::Clients(options) => clients::run(&workspace, &options).await,
        Action::Bench(options) => bench::run(&workspace, &options).await,
        Action::Token(options) => token::print(&workspace, &options),
        Action::Build(options) => deploy::build(&workspace, &options).await,
        Action::Bundle(options) => deploy::bundle(&options),
        Action::Leash(leash) => Ok(leash::exec(&leash)),
    }
}

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Run, test and measure Turnpike")]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Set up, build, and put the gateway in front of three MCP servers
    Run(run::Options),
    /// Check format and lints, run all tests, real clients and the conformance suite
    Test(test::Options),
    /// Run the official conformance suite directly and through the gateway, with callers and servers of either era
    Conformance(conformance::Options),
    /// Let real clients use real servers through the gateway, and show what each could do
    Clients(clients::Options),
    /// Measure what the gateway adds to a call, beside a bare pass-through on the same platform
    Bench(bench::Options),
    /// Print a token that a gateway of `cargo xtask run` accepts
    Token(token::Options),
    /// Build the Worker for `wrangler deploy`, or the component for `spin up`, which call this
    Build(deploy::BuildOptions),
    /// Print a configuration as `wrangler kv bulk put` takes it, and as Spin's component reads it
    Bundle(deploy::Options),
    #[command(hide = true)]
    Leash(leash::Leash),
}
