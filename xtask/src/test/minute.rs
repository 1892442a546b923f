//! Is the eleventh request of an agent with ten a minute refused, and is the wait it is told true?

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::workspace::Workspace;

use super::{
    agent::{Agent, Sdk},
    scene::{Scene, expect},
};

/// A gateway where every agent has ten requests a minute at the fixture at `url`.
pub(super) async fn scene(workspace: &Workspace, url: &str) -> Result<Scene> {
    Scene::open(workspace, "test-minute", &[("gateway.toml", GATEWAY.replace("FIXTURE", url))]).await
}

/// Uses a limit up, waits as long as it is told, and calls again; gives what is to be printed, since others print meanwhile.
pub(super) async fn wait(workspace: &Workspace, scene: &Scene, sdk: Sdk) -> Result<String> {
    let [impatient, patient] = ["impatient", "patient"].map(|name| format!("{name}-{sdk:?}").to_lowercase());
    let url = scene.url("fixture");
    let mut agent = Agent::join(workspace, sdk, &url, &scene.token(&impatient, "any")?).await?;
    let mut told = String::new();
    let mut calls = 0;
    let refused = loop {
        let said = agent.call("echo", &json!({ "text": "on" })).await?;
        if said.error.is_some() {
            break said;
        }
        calls += 1;
        expect(calls < 11, || "more than ten are admitted".to_owned())?;
    };
    let (began, requests) = (Instant::now(), refused.requests.unwrap_or_default());
    // `initialize` is one of the ten; the Python SDK also lists the tools before it believes an answer.
    writeln!(told, "   10 requests are answered, {calls} of them calls")?;
    writeln!(told, "   request {requests}: {}", refused.told())?;
    expect(refused.status == Some(429), || format!("it is not refused by a limit: {}", refused.told()))?;
    expect(requests == 11, || format!("{requests} is not the 11th request"))?;
    let shown = &refused.refusal()?.message;
    expect(shown.contains("10 requests per minute by agent"), || format!("the limit is not named: {shown}"))?;
    let wait = refused.retry_after.context("it is not told when to come again")?;
    expect((1..=61).contains(&wait), || format!("the wait is {wait} s"))?;
    let mut other = Agent::join(workspace, sdk, &url, &scene.token(&patient, "any")?).await?;
    let on = other.call("echo", &json!({ "text": "another agent goes on" })).await?.ok()?;
    writeln!(told, "   meanwhile: `{on}`")?;
    tokio::time::sleep(Duration::from_secs(wait).saturating_sub(began.elapsed())).await;
    let after = agent.call("echo", &json!({ "text": "admitted" })).await?;
    write!(told, "   after the promised {wait} s, in the same session: {}", after.told())?;
    expect(after.status == Some(200), || format!("the promise is broken: {}", after.told()))?;
    Ok(told)
}

const GATEWAY: &str = r#"[gateway]
url = "http://127.0.0.1:8787"

[[servers]]
name = "fixture"
instances = ["FIXTURE"]

[[limits]]
by = ["agent"]
requests_per_minute = 10
"#;
