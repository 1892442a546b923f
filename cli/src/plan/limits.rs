//! Which limits tighten, and which loosen?

use std::collections::{BTreeMap, BTreeSet};

use gateway::config::RawLimit;
use serde::Serialize;

use crate::advice::{AMOUNTS, amount};

/// An amount of a limit that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LimitChange {
    /// What the limit tells apart.
    pub(crate) by: Vec<&'static str>,
    /// Which amount, such as `requests_per_minute`.
    pub(crate) amount: &'static str,
    /// Money in millionths; `None`: no limit.
    pub(crate) old: Option<u64>,
    pub(crate) new: Option<u64>,
    pub(crate) effect: Effect,
}

/// Whether callers may do less than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    Tighter,
    Looser,
}

pub(super) fn changes(old: &[RawLimit], new: &[RawLimit]) -> Vec<LimitChange> {
    let (old, new) = (by_dimensions(old), by_dimensions(new));
    let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changes = all.into_iter().flat_map(|by| {
        let (old, new) = (old.get(by), new.get(by));
        AMOUNTS.into_iter().filter_map(move |key| {
            let (old, new) = (old.and_then(|limit| amount(limit, key)), new.and_then(|limit| amount(limit, key)));
            let effect = match (old, new) {
                (None, Some(_)) => Effect::Tighter,
                (Some(_), None) => Effect::Looser,
                (Some(old), Some(new)) if new < old => Effect::Tighter,
                (Some(old), Some(new)) if new > old => Effect::Looser,
                _ => return None,
            };
            Some(LimitChange { by: by.iter().copied().collect(), amount: key, old, new, effect })
        })
    });
    changes.collect()
}

fn by_dimensions(limits: &[RawLimit]) -> BTreeMap<BTreeSet<&'static str>, &RawLimit> {
    limits.iter().map(|limit| (limit.by.iter().map(|by| by.as_str()).collect(), limit)).collect()
}
