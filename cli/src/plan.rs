//! What would change? Two configurations, who was seen calling and what they called: nothing here asks anybody anything.

pub(crate) mod access;
mod files;
mod limits;
pub(crate) mod principals;
mod replay;
mod settings;
mod told;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use gateway::config::{Config, Raw};
use mcp::definition::Definition;
use serde::Serialize;

pub(crate) use access::AccessChange;
pub(crate) use files::{FileChange, PinChange, differing};
pub(crate) use limits::LimitChange;
pub(crate) use principals::Principal;
pub(crate) use replay::{Call, Replay, Was};
pub(crate) use settings::SettingChange;

/// One of the two configurations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) id: &'a str,
    pub(crate) raw: &'a Raw,
    pub(crate) config: &'a Config,
}

/// What is known beside the configurations.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Who may call.
    pub(crate) principals: Vec<Principal>,
    /// What the servers offer.
    pub(crate) offers: Offers,
    /// What was called.
    pub(crate) calls: Vec<Call>,
}

/// What servers offer: definitions by server and tool.
pub(crate) type Offers = BTreeMap<String, BTreeMap<String, Definition>>;

/// What would change.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// The bundle in force; `None` if there is none.
    pub(crate) live: Option<String>,
    /// The bundle it is compared with.
    pub(crate) new: String,
    pub(crate) settings: Vec<SettingChange>,
    pub(crate) limits: Vec<LimitChange>,
    pub(crate) policies: Vec<FileChange>,
    pub(crate) candidate: Vec<FileChange>,
    pub(crate) pins: Vec<PinChange>,
    /// Who gains and who loses which tools.
    pub(crate) access: Vec<AccessChange>,
    /// For how many principals that was worked out.
    pub(crate) principals: usize,
    pub(crate) replay: Replay,
}

/// Compares `live`, if there is one, with `new`.
pub(crate) fn plan(live: Option<Side<'_>>, new: Side<'_>, observed: &Observed) -> Plan {
    let old = live.map(|side| side.raw);
    Plan {
        live: live.map(|side| side.id.to_owned()),
        new: new.id.to_owned(),
        settings: settings::changes(old, new.raw),
        limits: limits::changes(old.map_or(&[][..], |raw| &raw.limits), &new.raw.limits),
        policies: files::changes(old.map_or(&[][..], |raw| &raw.policies), &new.raw.policies),
        candidate: files::changes(old.map_or(&[][..], |raw| &raw.candidate), &new.raw.candidate),
        pins: files::pins(old, new.raw),
        access: access::changes(live, new, observed),
        principals: observed.principals.len(),
        replay: replay::replay(live, new, observed),
    }
}

impl Plan {
    /// Whether the two are the same configuration.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.as_ref() == Some(&self.new)
    }
}
