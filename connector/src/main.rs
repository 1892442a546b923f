//! `turnpike-connector`: runs stdio MCP servers and serves them over Streamable HTTP.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use turnpike_connector::config::{self, Settings};
use turnpike_connector::{serve, warden};

/// Runs stdio MCP servers and serves each at http://127.0.0.1:PORT/{server}/mcp, with sessions (MCP 2025-11-25 and
/// older) and stateless (MCP 2026-07-28), as far as the server speaks them
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the servers of a configuration until SIGTERM or SIGINT
    Serve {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "connector.toml")]
        config: PathBuf,
        /// Listen on this port instead of the configured one; 0 takes a free one
        #[arg(long)]
        port: Option<u16>,
        /// Log as JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Say what `serve` would run, or everything that is wrong with the configuration
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "connector.toml")]
        config: PathBuf,
    },
    /// Watch over one server; only the connector starts this
    #[command(hide = true)]
    Warden(warden::Orders),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve { config, port, json } => run_serve(&config, port, json),
        Command::Check { config } => check(&config),
        Command::Warden(orders) => match warden::run(&orders) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
    }
}

fn run_serve(config: &Path, port: Option<u16>, json: bool) -> ExitCode {
    let Some(mut settings) = load(config) else { return ExitCode::from(CONFIGURATION_WRONG) };
    if let Some(port) = port {
        settings.listen.set_port(port);
    }
    log(json);
    let served = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match served.and_then(|runtime| runtime.block_on(serve::serve(settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnpike-connector: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(config: &Path) -> ExitCode {
    let Some(settings) = load(config) else { return ExitCode::from(CONFIGURATION_WRONG) };
    println!("{} is in order", config.display());
    println!("  listens on {}, at most {} sessions", settings.listen, settings.limits.max_sessions);
    println!("  secret from {}", settings.secret_source);
    for server in &settings.servers {
        println!("{server}");
    }
    ExitCode::SUCCESS
}

fn load(config: &Path) -> Option<Settings> {
    match config::load(config) {
        Ok(settings) => Some(settings),
        Err(problems) => {
            for problem in &problems {
                eprintln!("{}: {problem}", config.display());
            }
            eprintln!("{} problem(s) in {}", problems.len(), config.display());
            None
        }
    }
}

fn log(json: bool) {
    let filter = EnvFilter::try_from_env("TURNPIKE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match json {
        true => log.json().init(),
        false => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
}

const CONFIGURATION_WRONG: u8 = 2;
const EXAMPLES: &str = "\
Examples:
  export TURNPIKE_CONNECTOR_SECRET=$(openssl rand -hex 32)
  turnpike-connector check --config connector.toml
  turnpike-connector serve --config connector.toml
  turnpike-connector serve --port 0 --json 2> connector.log

A configuration:
  [[servers]]
  name = \"memory\"
  command = \"node_modules/.bin/mcp-server-memory\"
  era = \"auto\"   # found out by asking it; \"legacy\" and \"modern\" are believed";
