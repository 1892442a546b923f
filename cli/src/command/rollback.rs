//! `turnpike rollback`: what was in force before is again.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{
    plan::{Look, observe},
    push::agree,
};
use crate::{
    client::{Address, Gateway},
    failure::{Ending, Failure},
    output::{self, Format, printable, short},
    plan::{self, Side},
    release::Move,
};

#[derive(Args)]
#[command(after_help = "Examples:\n  turnpike rollback                     to what was live before\n  \
turnpike rollback --to d4735e3a265e   to that bundle, as `turnpike rollback --list` names it\n  \
turnpike rollback --list              what was live, and who made it so")]
pub(crate) struct Options {
    /// The bundle, by its id or the beginning of it
    #[arg(long, value_name = "ID")]
    to: Option<String>,
    /// Only print what was live
    #[arg(long)]
    list: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    address: Address,
}

pub(crate) async fn run(options: &Options, format: Format) -> Result<Ending> {
    let gateway = Gateway::at(&options.address)?;
    let moves = history(&gateway).await?;
    if options.list {
        match format {
            Format::People => output::say(&listed(&moves))?,
            Format::Json => output::json(&json!({ "rows": moves }))?,
        }
        return Ok(Ending::Fine);
    }
    let live = gateway.live().await?.ok_or_else(|| Failure::Refused("nothing is live".to_owned()))?;
    let id = match &options.to {
        Some(to) => named(to, &moves)?,
        None => live
            .previous
            .clone()
            .ok_or_else(|| Failure::Refused("nothing was live before; name a bundle with --to".to_owned()))?,
    };
    if id == live.id {
        return Err(Failure::Refused(format!("{} is live already", short(&id))).into());
    }
    let (now, then) = (gateway.bundle(&live.id).await?, gateway.bundle(&id).await?);
    let old = Side { id: &live.id, raw: &now.raw, config: &now.config };
    let new = Side { id: &id, raw: &then.raw, config: &then.config };
    let observed = observe(&gateway, &[&now.raw, &then.raw], Some(&now), &Look::NOWHERE).await?;
    let plan = plan::plan(Some(old), new, &observed);
    if format == Format::People {
        output::say(&format!("{}\n", plan.told()))?;
    }
    agree(&format!("Put {} in force again at {}?", short(&id), gateway.name()), options.yes)?;
    gateway.promote(&id, Some(&live.id)).await?;
    gateway.until_live(&id).await?;
    match format {
        Format::People => {
            output::say(&format!("{} {} is live again at {}", output::green("✓"), short(&id), gateway.name()))?
        }
        Format::Json => output::json(&json!({ "live": id, "previous": live.id, "plan": plan }))?,
    }
    Ok(Ending::Fine)
}

async fn history(gateway: &Gateway) -> Result<Vec<Move>> {
    let mut moves: Vec<Move> = Vec::new();
    while moves.len() < MOVES_MAX {
        let page = gateway.moves(moves.last().map_or(0, |last| last.seq)).await?;
        if page.is_empty() {
            break;
        }
        moves.extend(page);
    }
    Ok(moves)
}

/// The one bundle that was live and begins with `to`.
fn named(to: &str, moves: &[Move]) -> Result<String> {
    if to.len() == 64 {
        return Ok(to.to_owned());
    }
    let ids = moves.iter().flat_map(|one| [Some(&one.live.id), one.live.previous.as_ref()]).flatten();
    let mut ids: Vec<&String> = ids.filter(|id| id.starts_with(to)).collect();
    ids.sort();
    ids.dedup();
    match ids[..] {
        [id] => Ok(id.clone()),
        [] => {
            Err(Failure::Usage(format!("no bundle that was live begins with `{to}`; see `turnpike rollback --list`"))
                .into())
        }
        _ => Err(Failure::Usage(format!("several bundles begin with `{to}`: say more of it")).into()),
    }
}

fn listed(moves: &[Move]) -> String {
    if moves.is_empty() {
        return "nothing was pushed yet".to_owned();
    }
    let line = |one: &Move| {
        let at = one.live.at.and_then(|at| chrono::DateTime::from_timestamp_millis(i64::try_from(at).ok()?));
        let at = at.map(|at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
        format!("{}  {at}  {}", short(&one.live.id), printable(one.live.by.as_deref().unwrap_or("?")))
    };
    moves.iter().rev().map(line).collect::<Vec<_>>().join("\n")
}

/// Nobody rolls back further.
const MOVES_MAX: usize = 10_000;
