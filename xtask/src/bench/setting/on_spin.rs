//! One host for each component: an application of Spin's is a process.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::{
    artifacts::{self, HostBuild},
    processes::Processes,
    spin::{Application, Runtime},
};

use super::{
    super::{cpu, rows::Way},
    Bill, Served,
};

/// Starts all of them.
///
/// # Errors
/// If one does not start.
pub(super) async fn serve(bill: Bill<'_>, processes: &mut Processes) -> Result<BTreeMap<Way, Served>> {
    let runtime = Runtime::find(bill.workspace, HostBuild::Optimized).await?;
    let mut applications = vec![(Way::Bare, bare(&bill).await?)];
    for (way, deployment) in bill.gateways {
        let mut application = Application::gateway(bill.workspace, bill.built, deployment);
        application.name = named(way);
        applications.push((way, application));
    }
    let mut served = BTreeMap::new();
    for (way, application) in applications {
        let host = application.start(bill.workspace, &runtime).await?;
        let id = host.id().context("the host has ended")?;
        let process = match runtime {
            Runtime::Spin { .. } => cpu::child_of(id)?,
            Runtime::TestHost { .. } => id,
        };
        processes.add(host);
        served.insert(way, Served { port: application.port, process });
    }
    Ok(served)
}

async fn bare(bill: &Bill<'_>) -> Result<Application> {
    Ok(Application {
        name: named(Way::Bare),
        port: bill.bare_port,
        folder: bill.state.join(Way::Bare.name()),
        manifest: bill.workspace.root.join("tests/spin-bare/spin.toml"),
        module: artifacts::spin_bare(bill.workspace).await?,
        origins: BTreeSet::from([format!("http://{}", bill.upstream)]),
        variables: BTreeMap::from([("upstream".to_owned(), bill.upstream.to_string())]),
        documents: BTreeMap::new(),
    })
}

fn named(way: Way) -> String {
    format!("bench-{}", way.name())
}
