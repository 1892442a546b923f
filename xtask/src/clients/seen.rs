//! What did a client see at a server?

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{client::Client, servers::Endpoint};

/// Where a client is sent: one connection, over which it looks at one server or at all of them.
pub(super) struct Place {
    pub(super) endpoint: Endpoint,
    pub(super) url: String,
    pub(super) token: Option<String>,
    /// What it looks at, as `tests/clients/matrix.mjs` reads it.
    pub(super) targets: Vec<Value>,
}

impl Place {
    /// It names logs.
    pub(super) fn name(&self) -> String {
        match self.servers().as_slice() {
            [server] => format!("{}-{server}", self.endpoint),
            _ => self.endpoint.to_string(),
        }
    }

    fn servers(&self) -> Vec<&str> {
        self.targets.iter().filter_map(|target| target.get("server")?.as_str()).collect()
    }
}

/// One cell of the table.
pub(super) struct Seen {
    pub(super) client: Client,
    pub(super) server: String,
    pub(super) endpoint: Endpoint,
    pub(super) aspect: String,
    pub(super) outcome: Outcome,
}

/// What came of it, in the client's words.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It works; what was seen.
    Ok(String),
    /// It does not.
    Failed(String),
    /// The server has nothing of the kind.
    None(String),
}

impl Seen {
    /// What a client said: a line for each server and aspect.
    ///
    /// # Errors
    /// If a line is no such line, or a cell is missing.
    pub(super) fn read(client: Client, place: &Place, said: &str) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for line in said.lines() {
            let line: Line =
                serde_json::from_str(line).with_context(|| format!("`{line}` is not what a client says"))?;
            // A session that breaks off in the end says it of every cell once more.
            if all.iter().any(|seen| seen.server == line.server && seen.aspect == line.aspect) {
                continue;
            }
            let Line { server, aspect, outcome } = line;
            all.push(Self { client, server, endpoint: place.endpoint, aspect, outcome });
        }
        let wanted = place.servers().len() * ASPECTS.len();
        if all.len() != wanted {
            bail!("{} at {} told of {} cells, not of {wanted}", client.name(), place.name(), all.len());
        }
        Ok(all)
    }
}

#[derive(Deserialize)]
struct Line {
    server: String,
    aspect: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// What each client tries at each server, in the order of the columns.
pub(super) const ASPECTS: [&str; 6] = ["list", "call", "resource", "prompt", "elicitation", "cancellation"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(said: &str) -> Result<Vec<Seen>> {
        let targets = vec![json!({ "server": "time" })];
        let place = Place { endpoint: Endpoint::Server, url: String::new(), token: None, targets };
        Seen::read(Client::Npm1, &place, said)
    }

    #[test]
    fn every_cell_is_told_once() {
        let lines = ASPECTS.map(|aspect| json!({ "server": "time", "aspect": aspect, "ok": "seen" }).to_string());
        assert_eq!(read(&lines.join("\n")).unwrap().len(), ASPECTS.len());
        assert!(read(&lines[1..].join("\n")).is_err(), "a cell is missing");
        let again = json!({ "server": "time", "aspect": "list", "failed": "broken off" }).to_string();
        let seen = read(&format!("{}\n{again}", lines.join("\n"))).unwrap();
        assert!(seen.iter().all(|one| matches!(one.outcome, Outcome::Ok(_))), "the first word counts");
        assert!(read("nonsense").is_err());
    }
}
