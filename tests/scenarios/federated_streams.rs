//! Are many servers heard as one? Streams, signs of what changed, and of who is missing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use turnpike_tests::{
    Stage,
    client::{Caller, Era},
    faulty::Upstream,
    fixture::{Fixture, Shared},
    issuer::fresh,
    setup::Setup,
    stage::eventually,
};

use crate::federation::{HANGS_MS, UNAVAILABLE, heard, messages, redescribe, two};

scenarios! {
    progress_arrives_from_every_server,
    logs_arrive_from_every_server,
    changes_of_one_server_are_heard_on_the_one_stream,
    changes_of_one_servers_lists_are_heard_in_a_session,
    a_server_that_hangs_and_one_that_is_dead_cost_their_own_entries,
    a_modern_caller_that_leaves_cancels_the_call,
}

not_on_spin! {
    "A façade between the eras lives for one request: it keeps nothing that a later one could need.":
    logs_arrive_in_a_session_from_every_server,
    changes_of_one_servers_resources_are_heard_in_a_session;

    "A façade between the eras lives for one request: it hears nothing of another one, and ends with its caller.":
    a_legacy_caller_that_leaves_cancels_nothing_at_any_server,
}

async fn progress_arrives_from_every_server(stage: Stage) {
    let gateway = two(stage).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("")).await;
        for server in SERVERS {
            let arguments = json!({ "steps": 3, "step_ms": 50 });
            let meta = json!({ "progressToken": 7 });
            let params = json!({ "name": format!("{server}__slow"), "arguments": arguments, "_meta": meta });
            let said = messages(caller.stream("tools/call", params).await).await;
            let steps: Vec<&Value> = said
                .iter()
                .filter(|one| one["params"]["progressToken"] == 7)
                .map(|one| &one["params"]["progress"])
                .collect();
            assert_eq!(steps, [1, 2, 3], "{era:?} {server}: {said:?}");
        }
    }
}

async fn logs_arrive_from_every_server(stage: Stage) {
    let gateway = two(stage).await;
    logged(&Caller::Modern(gateway.caller("").modern().log_level("info"))).await;
}

async fn logs_arrive_in_a_session_from_every_server(stage: Stage) {
    let gateway = two(stage).await;
    let caller = Caller::Legacy(gateway.caller("").open().await);
    assert_eq!(caller.result("logging/setLevel", json!({ "level": "info" })).await, json!({}));
    logged(&caller).await;
}

async fn logged(caller: &Caller) {
    for server in SERVERS {
        let params = json!({ "name": format!("{server}__test_tool_with_logging"), "arguments": {} });
        let said = messages(caller.stream("tools/call", params).await).await;
        let logs = said.iter().filter(|one| one["method"] == "notifications/message").count();
        assert_eq!(logs, 3, "{server}: {said:?}");
    }
}

async fn changes_of_one_server_are_heard_on_the_one_stream(stage: Stage) {
    let [old, new] = [Fixture::start("old", &[]), Fixture::start("new", &["--era", "modern"])];
    let gateway = stage.open(Setup::new().server("old", &[&old.url]).server("new", &[&new.url])).await;
    let client = gateway.caller("").modern();
    for (server, fixture) in [("old", &old), ("new", &new)] {
        let watched = format!("mcp+{server}+test://watched-resource");
        let wanted = json!({ "toolsListChanged": true, "resourceSubscriptions": [watched] });
        let message = client.message("subscriptions/listen", json!({ "notifications": wanted }));
        let mut stream = client.post(&message).stream().await;
        assert_eq!((stream.status, &stream.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        let acknowledged = stream.message().await.unwrap();
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{server}: {acknowledged}");
        assert_eq!(acknowledged["params"]["notifications"], wanted, "{server}: {acknowledged}");
        redescribe(fixture).await;
        let changed = heard(&mut stream, "notifications/tools/list_changed").await;
        assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], message["id"], "{changed}");
        client.call(&format!("{server}__touch"), json!({})).await;
        let updated = heard(&mut stream, "notifications/resources/updated").await;
        assert_eq!(updated["params"]["uri"], watched, "{server}");
        assert_eq!(updated["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], message["id"], "{updated}");
    }
}

async fn changes_of_one_servers_lists_are_heard_in_a_session(stage: Stage) {
    let [old, new] = [Fixture::start("old", &[]), Fixture::start("new", &["--era", "modern"])];
    let gateway = stage.open(Setup::new().server("old", &[&old.url]).server("new", &[&new.url])).await;
    for fixture in [&old, &new] {
        let client = gateway.caller("").open().await;
        let mut stream = client.listen(None).await;
        assert_eq!(stream.status, 200);
        // The stream may be open before each server is listened to.
        let heard = heard(&mut stream, "notifications/tools/list_changed");
        let changes = async {
            loop {
                redescribe(fixture).await;
            }
        };
        tokio::select! {
            _ = heard => {}
            () = changes => {}
        }
    }
}

async fn changes_of_one_servers_resources_are_heard_in_a_session(stage: Stage) {
    let [old, new] = [Fixture::start("old", &[]), Fixture::start("new", &["--era", "modern"])];
    let gateway = stage.open(Setup::new().server("old", &[&old.url]).server("new", &[&new.url])).await;
    let client = gateway.caller("").open().await;
    let mut stream = client.listen(None).await;
    assert_eq!(stream.status, 200);
    for server in SERVERS {
        let watched = format!("mcp+{server}+test://watched-resource");
        let subscribed = client.request("resources/subscribe", json!({ "uri": watched })).await;
        assert_eq!(subscribed.reply()["result"], json!({}), "{server}: {subscribed:?}");
        client.call(&format!("{server}__touch"), json!({})).await;
        let updated = heard(&mut stream, "notifications/resources/updated").await;
        assert_eq!(updated["params"]["uri"], watched, "{server}");
        let subscribed = client.request("resources/unsubscribe", json!({ "uri": watched })).await;
        assert_eq!(subscribed.reply()["result"], json!({}), "{server}: {subscribed:?}");
    }
    client.request("resources/subscribe", json!({ "uri": "mcp+nobody+test://x" })).await.refuses(200, -32602);
}

async fn a_server_that_hangs_and_one_that_is_dead_cost_their_own_entries(stage: Stage) {
    let upstream = Upstream::shared();
    let hanging = Fixture::start("hanging", &["--hang"]);
    let mut setup = Setup::new()
        .server_with("hanging", &[&hanging.url], |server| server.timeout_ms = HANGS_MS)
        .server("dead", &["http://127.0.0.1:1/mcp"]);
    for n in 1..=8 {
        let kind = if n % 2 == 0 { "modern" } else { "legacy" };
        setup = setup.server(&format!("s{n}"), &[&upstream.url(&format!("{kind}~{}", fresh("path")))]);
    }
    let gateway = stage.open(setup).await;
    for era in Era::BOTH {
        let answered = async {
            let caller = era.caller(gateway.caller("")).await;
            let listed = caller.result("tools/list", json!({})).await;
            (caller, listed)
        };
        let (caller, listed) =
            timeout(Duration::from_millis(HANGS_MS / 2), answered).await.expect("nobody waits for it");
        let tools = listed["tools"].as_array().unwrap();
        assert_eq!(
            tools.iter().filter(|tool| tool["name"].as_str().unwrap().ends_with("__first")).count(),
            8,
            "{listed}"
        );
        let unavailable = json!([
            { "server": "dead", "reason": "unreachable" },
            { "server": "hanging", "reason": "timeout" },
        ]);
        assert_eq!(listed["_meta"][UNAVAILABLE], unavailable, "{era:?}: {listed}");
        if era == Era::Modern {
            assert_eq!(listed["ttlMs"], 0, "what lacks something holds for no time");
        }
        assert_eq!(caller.call("s1__first", json!({})).await, "first", "{era:?}");
        let refused = caller.try_call("dead__first", json!({})).await;
        assert_eq!(refused.code(), -32603, "{era:?}: {refused:?}");
    }
}

async fn a_modern_caller_that_leaves_cancels_the_call(stage: Stage) {
    leaving(stage, Era::Modern, "cancelled").await;
}

async fn a_legacy_caller_that_leaves_cancels_nothing_at_any_server(stage: Stage) {
    leaving(stage, Era::Legacy, "finished").await;
}

async fn leaving(stage: Stage, era: Era, expected: &str) {
    let gateway = two(stage).await;
    let Shared { one, modern, .. } = Shared::running();
    for (server, fixture) in [("old", one), ("new", modern)] {
        let caller = era.caller(gateway.caller("")).await;
        let label = fresh("label");
        // What is to be cancelled waits for that as long as it takes.
        let ms = if era == Era::Modern { 60_000 } else { 2_000 };
        let params = json!({ "name": format!("{server}__hold"), "arguments": { "label": label, "ms": ms } });
        let request = match &caller {
            Caller::Legacy(client) => client.post(client.message("tools/call", params).to_string()),
            Caller::Modern(client) => client.post(&client.message("tools/call", params)),
        };
        let call = tokio::task::spawn_local(async move { drop(messages(request.stream().await).await) });
        eventually("the call runs", async || fixture.held(&label).await == "running").await;
        call.abort();
        eventually("the call ends", async || fixture.held(&label).await != "running").await;
        assert_eq!(fixture.held(&label).await, expected, "{server}");
    }
}

/// The servers behind [`two`].
const SERVERS: [&str; 2] = ["old", "new"];
