//! Which part of `spin` do the tests need? `spin up`, with the arguments of the real one.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use turnpike_spin_host::{Application, Start, serve};

#[derive(Parser)]
enum Spin {
    /// Serves the application of a manifest until the process ends.
    Up {
        /// The application's `spin.toml`.
        #[arg(long, short)]
        from: PathBuf,
        #[arg(long, default_value = "127.0.0.1:3000")]
        listen: SocketAddr,
        /// Where the SQLite database and the key-value store are kept.
        #[arg(long)]
        state_dir: PathBuf,
        /// `name=value` or `name=@file`.
        #[arg(long, value_parser = pair)]
        variable: Vec<(String, String)>,
        /// `key=value` or `key=@file`.
        #[arg(long, value_parser = pair)]
        key_value: Vec<(String, String)>,
        /// Drops what the component prints.
        #[arg(long, short)]
        quiet: bool,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Spin::Up { from, listen, state_dir, variable, key_value, quiet } = Spin::parse();
    let application = Application::read(&from, variable)?;
    serve(listen, Start { application, state_dir, key_values: key_value, quiet }).await
}

fn pair(argument: &str) -> Result<(String, String)> {
    let (name, value) = argument.split_once('=').context("write `name=value` or `name=@file`")?;
    let read = |file| fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"));
    Ok((name.to_owned(), value.strip_prefix('@').map_or(Ok(value.to_owned()), read)?))
}
