//! How does a stranger see the gateway at work with one command?

mod calls;
mod instructions;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail};

use crate::{
    configuration::Configuration,
    host::Busy,
    platform::Platform,
    stack::{Plan, Stack, Subject},
    token::write_private,
    tools,
    workspace::Workspace,
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What the gateway runs on
    #[arg(long, value_enum, default_value_t)]
    platform: Platform,
    /// The port of the gateway [default: the one in the configuration's url]
    #[arg(long)]
    port: Option<u16>,
    /// A gateway.toml of yours: only the gateway starts, in front of what the file names. With a
    /// loopback url it also accepts the development token
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End after the first calls: with 0 if all were answered, else with 1
    #[arg(long)]
    once: bool,
}

/// Sets up, builds, starts, calls, and stays until Ctrl-C.
///
/// # Errors
/// If anything on the way fails, or one of the programs ends by itself.
pub(crate) async fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let (platform, state) = (options.platform, workspace.folder("run")?);
    let plan = Plan { platform, state, port: options.port, busy: Busy::Refuse };
    let subject = match &options.config {
        Some(file) => Subject::given(Configuration::read(file)?),
        None => Subject::example(workspace)?,
    };
    // Before the long steps, and before anything of a gateway that runs already is touched.
    plan.gateway_port(&subject)?;
    Env::forget(&plan.state);
    tools::set_up(workspace, platform).await?;
    let mut stack = Stack::start(workspace, &plan, subject).await?;
    let answered = calls::make(&stack).await;
    if options.once {
        return answered.map(|()| ExitCode::SUCCESS);
    }
    match answered {
        // A server of the user's may well come later.
        Err(error) if options.config.is_some() => eprintln!("warning: {error:#}"),
        answered => answered?,
    }
    let env = Env::write(&plan.state, &stack)?;
    println!("{}", instructions::ready(&stack, &env.0));
    bail!(stack.processes.first_to_end().await)
}

/// Starts the example from nothing, makes its first calls and ends it: what `--once` does, beside a run that stays.
///
/// # Errors
/// If something does not start, or a server does not answer.
pub(crate) async fn once(workspace: &Workspace, platform: Platform) -> Result<()> {
    let state = workspace.folder(&format!("test-run-{}", platform.name()))?;
    fs::remove_dir_all(&state)?;
    let stack = Stack::start(workspace, &Plan::anywhere(platform, state), Subject::example(workspace)?).await?;
    calls::make(&stack).await
}

/// The file scripts read; it goes when the run ends.
struct Env(PathBuf);

impl Env {
    fn write(state: &Path, stack: &Stack) -> Result<Self> {
        let path = Self::forget(state);
        let text = format!(
            "TURNPIKE_URL={}\nTURNPIKE_TOKEN={}\nTURNPIKE_OPERATOR_TOKEN={}\nTURNPIKE_PID={}\n",
            stack.origin,
            stack.token.as_deref().unwrap_or_default(),
            stack.operator.as_deref().unwrap_or_default(),
            std::process::id()
        );
        write_private(&path, &text)?;
        Ok(Self(path))
    }

    /// One that a killed run left behind tells of a gateway that is gone.
    fn forget(state: &Path) -> PathBuf {
        let path = state.join("env");
        let _ = fs::remove_file(&path);
        path
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
