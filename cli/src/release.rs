//! Which configuration is in force, and how does another one come into force? Always against the one that was looked at.

use std::time::{Duration, Instant};

use anyhow::Result;
use gateway::config::{Bundle, Config, Raw};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    client::Gateway,
    failure::Failure,
    output::{printable, short},
    progress::Step,
};

/// What is live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) previous: Option<String>,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) at: Option<u64>,
    #[serde(default)]
    pub(crate) by: Option<String>,
}

/// A bundle as the gateway has it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) raw: Raw,
    pub(crate) config: Config,
}

/// One move of the pointer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) seq: u64,
    #[serde(flatten)]
    pub(crate) live: Live,
}

impl Gateway {
    /// What is live; `None` if nothing is.
    pub(crate) async fn live(&self) -> Result<Option<Live>> {
        let answer = self.read("/api/live", &[]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return match answer.member("id") {
                // It was put there by another way than this API.
                Some(Value::String(id)) => Ok(Some(Live { id, previous: None, at: None, by: None })),
                // A refusal is a JSON-RPC error, whose `id` is null too.
                Some(_) if answer.member("jsonrpc").is_none() => Ok(None),
                _ => Err(answer.into_error()),
            };
        }
        answer.json()
    }

    /// The bundle `id`.
    pub(crate) async fn bundle(&self, id: &str) -> Result<Stored> {
        let answer = self.read(&format!("/api/bundles/{id}"), &[]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(Failure::Refused(format!("the gateway has no bundle `{}`", printable(id))).into());
        }
        if !answer.status.is_success() {
            return Err(answer.into_error());
        }
        let text = String::from_utf8_lossy(&answer.body);
        let read = Bundle::open(id, &text).and_then(|raw| {
            let config = raw.clone().validate(id);
            let config =
                config.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            config.map(|config| Stored { raw, config })
        });
        read.map_err(|error| {
            Failure::Unreachable(format!("bundle `{}` cannot be read by this version: {error}", short(id))).into()
        })
    }

    /// The moves of the pointer after `after`, oldest first.
    pub(crate) async fn moves(&self, after: u64) -> Result<Vec<Move>> {
        #[derive(Deserialize)]
        struct Page {
            rows: Vec<Move>,
        }
        let query = [("after", after.to_string()), ("limit", PAGE.to_string())];
        Ok(self.get::<Page>("/api/live/history", &query).await?.rows)
    }

    /// Stores `bundle`.
    pub(crate) async fn store(&self, bundle: &Bundle) -> Result<()> {
        let answer = self.put(&format!("/api/bundles/{}", bundle.id), bundle.json.clone()).await?;
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
            return Err(Failure::Refused(problems(&answer.member("error"), &answer.member("problems"))).into());
        }
        if answer.status.is_success() { Ok(()) } else { Err(answer.into_error()) }
    }

    /// Puts `id` in force, if `expected` still is.
    pub(crate) async fn promote(&self, id: &str, expected: Option<&str>) -> Result<()> {
        let answer = self.put("/api/live", json!({ "id": id, "expected": expected }).to_string()).await?;
        match answer.status {
            StatusCode::CONFLICT => Err(self.conflict(&answer.member("live")).await),
            StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Failure::Refused(problems(&answer.member("error"), &answer.member("problems"))).into())
            }
            status if status.is_success() => Ok(()),
            _ => Err(answer.into_error()),
        }
    }

    /// Somebody else was faster: who?
    async fn conflict(&self, live: &Option<Value>) -> anyhow::Error {
        let said = live.as_ref().and_then(|live| live.as_str().or_else(|| live.get("id")?.as_str()).map(str::to_owned));
        let now = self.live().await.ok().flatten();
        let by = now.as_ref().and_then(|live| live.by.as_deref());
        let id = said.or_else(|| now.as_ref().map(|live| live.id.clone())).unwrap_or_default();
        let by = by.map(|by| format!(" by {}", printable(by))).unwrap_or_default();
        Failure::Refused(format!(
            "meanwhile {} was put in force{by}; look at it with `turnpike plan`, then push again",
            printable(short(&id))
        ))
        .into()
    }

    /// Waits until the gateway says that `id` is live.
    pub(crate) async fn until_live(&self, id: &str) -> Result<()> {
        let mut step = Step::begin("until the gateway runs on it");
        let deadline = Instant::now() + LIVE_WITHIN;
        let wait = async {
            loop {
                match self.live().await? {
                    Some(live) if live.id == id => return Ok(()),
                    _ if Instant::now() >= deadline => {
                        let secs = LIVE_WITHIN.as_secs();
                        let text = format!(
                            "the gateway does not say within {secs} s that {} is live; look with `turnpike plan`",
                            short(id)
                        );
                        return Err(Failure::Unreachable(text).into());
                    }
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        };
        step.watch(wait).await
    }
}

/// What the gateway found wrong.
fn problems(error: &Option<Value>, problems: &Option<Value>) -> String {
    let said = error.as_ref().and_then(Value::as_str).unwrap_or("the gateway refuses the bundle");
    let problems = problems.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |problem: &Value, key| problem.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let lines = problems.iter().map(|problem| format!("\n  {}: {}", text(problem, "at"), text(problem, "what")));
    printable(&format!("{said}{}", lines.collect::<String>()))
}

const PAGE: u32 = 500;
/// A gateway looks for a new configuration every 20 s.
const LIVE_WITHIN: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(250);
