//! `turnpike plan`: what a folder would change, before it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use clap::Args;
use gateway::config::Raw;
use mcp::definition::Definition;
use serde::Deserialize;
use serde_json::Value;

use super::sound;
use crate::{
    check::Sound,
    client::{Address, Gateway},
    failure::Ending,
    output::{self, Format, printable},
    plan::{self, Call, Observed, Offers, Plan, Principal, Side, principals},
    progress::Step,
    record::Since,
    release::{Live, Stored},
};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  turnpike plan infra                      against what is live, over the last 10000 rows of each tenant\n  \
turnpike plan infra --since 7d           over the calls of the last 7 days\n  \
turnpike plan infra --since 0            without the record\n  \
turnpike plan infra --tenant umbrella    also for a tenant the configuration does not name\n  \
turnpike plan infra --principals who.json   also for these: [{\"tenant\":\"acme\",\"agent\":\"coder\",\"scopes\":[\"mcp\"]}]\n\n\
A past call is judged without its arguments, of which the record holds only a digest: where they decide, it says so."
)]
pub(crate) struct Options {
    /// The folder with gateway.toml
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(flatten)]
    pub(crate) address: Address,
}

/// What to look at beside the configurations.
#[derive(Args)]
pub(crate) struct Look {
    /// How far back in the record: rows of each tenant, or a time such as 24h
    #[arg(long, default_value = "10000", value_name = "ROWS|TIME")]
    since: Since,
    /// A tenant whose record is read, beside those the configuration names
    #[arg(long, value_name = "NAME")]
    tenant: Vec<String>,
    /// A JSON file with principals, beside those in the record
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
}

impl Look {
    /// At no record.
    pub(super) const NOWHERE: Self = Self { since: Since::Rows(0), tenant: Vec::new(), principals: None };
}

pub(crate) async fn run(options: &Options, format: Format) -> Result<Ending> {
    let sound = sound(&options.folder)?;
    let gateway = Gateway::at(&options.address)?;
    let (_, plan) = of(&gateway, &sound, &options.look).await?;
    match format {
        Format::People => output::say(&plan.told())?,
        Format::Json => output::json(&plan)?,
    }
    Ok(Ending::Fine)
}

/// What is live at `gateway`, and what `sound` would change.
pub(crate) async fn of(gateway: &Gateway, sound: &Sound, look: &Look) -> Result<(Option<Live>, Plan)> {
    let mut step = Step::begin("what is live");
    let live = step.watch(gateway.live()).await?;
    let stored = match &live {
        Some(live) => Some(step.watch(gateway.bundle(&live.id)).await?),
        None => None,
    };
    drop(step);
    let raws: Vec<&Raw> = stored.iter().map(|live| &live.raw).chain([&sound.raw]).collect();
    let observed = observe(gateway, &raws, stored.as_ref(), look).await?;
    let old = live.as_ref().zip(stored.as_ref());
    let old = old.map(|(live, Stored { raw, config })| Side { id: &live.id, raw, config });
    let new = Side { id: &sound.bundle.id, raw: &sound.raw, config: &sound.config };
    let plan = plan::plan(old, new, &observed);
    Ok((live, plan))
}

/// What is known of those who call and what they may call, for the configurations `raws`.
pub(super) async fn observe(gateway: &Gateway, raws: &[&Raw], live: Option<&Stored>, look: &Look) -> Result<Observed> {
    let mut tenants: BTreeSet<String> = raws.iter().flat_map(|raw| principals::tenants(raw)).collect();
    tenants.extend(look.tenant.iter().cloned());
    let mut known: BTreeSet<Principal> = given(look)?.into_iter().collect();
    let mut calls: Vec<Call> = Vec::new();
    if look.since != Since::Rows(0) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        for tenant in &tenants {
            let mut step = Step::begin(format!("the record of {}", printable(tenant)));
            let notes = step.notes();
            let read = gateway.calls(tenant, look.since, now, &notes);
            match step.watch(read).await {
                Ok(read) => calls.extend(read),
                // What is planned is worth knowing without it.
                Err(error) => output::note(&format!(
                    "{}: no record of `{}`: {error:#}",
                    output::yellow("warning"),
                    printable(tenant)
                )),
            }
        }
    }
    known.extend(calls.iter().map(|call| call.principal.clone()));
    let offers = offers(gateway, live).await;
    let mut principals = principals::with_named(known, raws);
    if principals.len() > PRINCIPALS_MAX {
        let all = principals.len();
        output::note(&format!(
            "{}: of {all} principals only {PRINCIPALS_MAX} are looked at",
            output::yellow("warning")
        ));
        principals.truncate(PRINCIPALS_MAX);
    }
    Ok(Observed { principals, offers, calls })
}

fn given(look: &Look) -> Result<Vec<Principal>> {
    let Some(file) = &look.principals else { return Ok(Vec::new()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("`{}` must be an array of {{\"tenant\", \"agent\", \"user\", \"roles\", \"scopes\"}}", file.display())
    })
}

/// What the servers offer at the moment, as far as the gateway can list it.
async fn offers(gateway: &Gateway, live: Option<&Stored>) -> Offers {
    let mut offers = BTreeMap::new();
    for server in live.into_iter().flat_map(|live| &live.raw.servers) {
        let mut step = Step::begin(format!("the tools of {}", server.name));
        match step.watch(gateway.definitions(&server.name)).await {
            Ok(tools) => drop(offers.insert(server.name.clone(), tools.iter().filter_map(definition).collect())),
            Err(error) => output::note(&format!(
                "{}: the tools of `{}` are not known: {error:#}",
                output::yellow("warning"),
                server.name
            )),
        }
    }
    offers
}

fn definition(tool: &Offered) -> Option<(String, Definition)> {
    let definition = Definition::read(&tool.definition.to_string()).ok()?;
    Some((definition.name.clone(), definition))
}

/// A tool as the gateway finds it at its server.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Offered {
    pub(crate) definition: Value,
}

impl Gateway {
    /// What `server` offers.
    pub(crate) async fn definitions(&self, server: &str) -> Result<Vec<Offered>> {
        #[derive(Deserialize)]
        struct Listed {
            tools: Vec<Offered>,
        }
        Ok(self.get::<Listed>(&format!("/api/definitions/{server}"), &[]).await?.tools)
    }
}

/// For more it would take minutes, and nobody reads it.
const PRINCIPALS_MAX: usize = 5_000;
