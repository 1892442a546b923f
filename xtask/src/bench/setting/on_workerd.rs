//! One workerd with all Workers: they share its process, as they share a machine of Cloudflare's.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::{
    configuration::Deployment,
    host::{self, Description, Worker},
    processes::Processes,
};

use super::{
    super::{cpu, rows::Way},
    Bill, Served, copy,
};

/// Starts workerd.
///
/// # Errors
/// If it does not start.
pub(super) async fn serve(bill: Bill<'_>, processes: &mut Processes) -> Result<BTreeMap<Way, Served>> {
    let mut ports = BTreeMap::from([(Way::Bare, bill.bare_port)]);
    let mut workers = vec![bare(&bill)?];
    for (way, deployment) in &bill.gateways {
        ports.insert(*way, deployment.port);
        workers.push(gateway(&bill, *way, deployment)?);
    }
    let description = Description { persist: Some(bill.state.join("storage")), workers };
    let host = host::start(bill.workspace, bill.state, "bench", &description).await?;
    let process = cpu::child_of(host.id().context("the host has ended")?)?;
    processes.add(host);
    Ok(ports.into_iter().map(|(way, port)| (way, Served { port, process })).collect())
}

fn bare(bill: &Bill<'_>) -> Result<Worker> {
    let modules = bill.state.join("bare");
    fs::create_dir_all(&modules)?;
    fs::write(modules.join("index.js"), include_str!("../bare.js"))?;
    let bindings = BTreeMap::from([("UPSTREAM".to_owned(), format!("http://{}", bill.upstream))]);
    let (name, main) = (Way::Bare.name().to_owned(), "index.js".to_owned());
    Ok(Worker { name, port: bill.bare_port, modules, main, bindings, ..Worker::default() })
}

fn gateway(bill: &Bill<'_>, way: Way, deployment: &Deployment) -> Result<Worker> {
    let mut worker = deployment.clone().worker(bill.built);
    worker.name = way.name().to_owned();
    if way == Way::Counted {
        worker.modules = bill.state.join("counting");
        worker.main = "counting.mjs".to_owned();
        copy(bill.built, &worker.modules)?;
        fs::write(worker.modules.join(&worker.main), include_str!("../counting.mjs"))?;
    }
    Ok(worker)
}
