//! Does the gateway's component work on Spin, where no registry holds `spin`? Serves it as `spin up` does, for tests.
#![expect(unreachable_pub, reason = "what stands for a resource is exported with its bindings")]

mod instance;
mod manifest;
mod requests;
mod stores;

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;

mod bindings {
    wasmtime::component::bindgen!({
        path: "host.wit",
        imports: { default: trappable },
        with: {
            "spin:key-value/key-value.store": crate::stores::Documents,
            "spin:redis/redis.connection": crate::stores::Redis,
            "spin:sqlite/sqlite.connection": crate::stores::Sqlite,
        },
    });
}

#[derive(Parser)]
enum Arguments {
    /// Serves the application of a manifest until the process ends.
    Up {
        #[arg(long, short)]
        from: PathBuf,
        #[arg(long, default_value = "127.0.0.1:3000")]
        listen: SocketAddr,
        #[arg(long)]
        state_dir: PathBuf,
        #[arg(long, value_parser = pair, help = "name=value or name=@file")]
        variable: Vec<(String, String)>,
        #[arg(long, value_parser = pair, help = "key=value or key=@file")]
        key_value: Vec<(String, String)>,
        #[arg(long, short, help = "Drop what the component prints")]
        quiet: bool,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments::Up { from, listen, state_dir, variable, key_value, quiet } = Arguments::parse();
    let application = manifest::Application::read(&from, &variable.into_iter().collect())?;
    requests::serve(listen, instance::Instances::prepare(application, &state_dir, &key_value, quiet)?).await
}

fn pair(argument: &str) -> Result<(String, String)> {
    let (name, value) = argument.split_once('=').context("write name=value or name=@file")?;
    let read = |file| fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"));
    Ok((name.to_owned(), value.strip_prefix('@').map_or(Ok(value.to_owned()), read)?))
}
