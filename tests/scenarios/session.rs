//! Does a conversation stay with its caller and its instance, and end when it should?

use std::time::Duration;

use serde_json::json;
use turnpike_tests::{
    Gateway, Stage,
    client::{Client, LATEST},
    faulty::Upstream,
    fixture::{Fixture, Shared},
    issuer::{Signature, fresh, now_secs},
    setup::Setup,
    stage::{TICK_KEY, eventually},
};

scenarios! {
    without_a_session_id_400,
    a_made_up_session_id_is_404,
    anothers_session_id_is_404,
    a_session_id_of_another_server_is_404,
    sessions_spread_over_instances_and_stay_there,
    sessions_survive_a_restart_of_the_gateway,
    a_killed_instance_takes_only_its_own_sessions,
    an_instance_that_forgot_a_session_ends_it,
    an_upstream_that_says_no_valid_session_ends_it,
    a_session_that_rests_ends_at_the_upstream_too,
    the_end_is_told_again_until_the_upstream_takes_it,
    a_fresh_token_of_the_same_caller_continues_the_session,
}

not_on_workerd! {
    "A gateway has one isolate there, as far as a test can see.":
    a_session_opened_in_one_isolate_lives_in_another,
}

memory_only! {
    "Storage calls are counted.":
    a_made_up_session_id_costs_no_storage,
    a_session_is_asked_of_storage_once_by_each_isolate;

    "The clock is moved by hand.":
    an_ended_session_frees_its_row,
    a_session_in_use_does_not_rest,
    an_instance_taken_out_of_the_configuration_is_not_called,
}

async fn without_a_session_id_400(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    client.request("tools/list", json!({})).await.refuses(400, -32000);
    assert_eq!(client.notify("notifications/initialized").await.status, 400);
    assert_eq!(client.delete().await.status, 400);
    assert_eq!(client.listen(None).await.status, 400);
}

async fn a_made_up_session_id_is_404(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let genuine = client.session().unwrap();
    let upstreams = client.whoami().await["session"].as_str().unwrap().to_owned();
    client
        .through(&gateway.isolates()[0])
        .with_session(&upstreams)
        .request("ping", json!({}))
        .await
        .refuses(404, -32001);
    for id in [&"A".repeat(43), "x", &genuine[1..], &format!("{genuine}A"), &genuine.to_lowercase(), "../../etc"] {
        gateway.caller("one").with_session(id).request("ping", json!({})).await.refuses(404, -32001);
    }
}

async fn anothers_session_id_is_404(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let others = [gateway.token(), token.clone().claim("sub", "another user"), token.clone().claim("client_id", "b")];
    let mine = gateway.caller_with("one", &token).open().await;
    for other in others {
        let theirs = gateway.caller_with("one", &other).open().await;
        let [mine_id, their_id] = [&mine, &theirs].map(|client| client.session().unwrap());
        let swapped = [(&token, &their_id), (&other, &mine_id)];
        for (token, id) in swapped {
            let thief = gateway.caller_with("one", token).with_session(id);
            thief.try_call("echo", json!({ "text": "stolen" })).await.refuses(404, -32001);
            assert_eq!(thief.listen(None).await.status, 404);
            assert_eq!(thief.delete().await.status, 404);
        }
        assert_eq!(theirs.call("echo", json!({ "text": "still mine" })).await, "still mine");
    }
    assert_eq!(mine.call("echo", json!({ "text": "still mine" })).await, "still mine");
}

async fn a_session_id_of_another_server_is_404(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let id = gateway.caller_with("one", &token).open().await.session().unwrap();
    gateway.caller_with("json", &token).with_session(&id).request("ping", json!({})).await.refuses(404, -32001);
}

async fn sessions_spread_over_instances_and_stay_there(stage: Stage) {
    let gateway = stage.common().await;
    let mut instances = Vec::new();
    for _ in 0..10 {
        let client = gateway.caller("pair").open().await;
        let first = client.whoami().await;
        for isolate in gateway.isolates() {
            let again = client.through(&isolate).whoami().await;
            assert_eq!((&again["instance"], &again["session"]), (&first["instance"], &first["session"]));
        }
        instances.push(first["instance"].as_str().unwrap().to_owned());
    }
    instances.sort();
    instances.dedup();
    assert_eq!(instances, ["pair-0", "pair-1"]);
}

async fn sessions_survive_a_restart_of_the_gateway(stage: Stage) {
    let pair = Shared::running().pair.each_ref().map(|one| one.url.as_str());
    let gateway = stage.open(Setup::new().server("pair", &pair)).await;
    let clients = [gateway.caller("pair").open().await, gateway.caller("pair").open().await];
    let mut before = Vec::new();
    for client in &clients {
        before.push(client.whoami().await);
    }
    assert_ne!(before[0]["instance"], before[1]["instance"]);
    gateway.restart();
    for (client, before) in clients.iter().zip(before) {
        let after = client.whoami().await;
        assert_eq!((&after["instance"], &after["session"]), (&before["instance"], &before["session"]));
    }
    assert_eq!(clients[0].delete().await.status, 200);
    gateway.restart();
    clients[0].request("ping", json!({})).await.refuses(404, -32001);
    assert_eq!(clients[1].request("ping", json!({})).await.status, 200);
}

async fn a_killed_instance_takes_only_its_own_sessions(stage: Stage) {
    let mut dying = Fixture::start("dying", &[]);
    let living = &Shared::running().one;
    let gateway = stage.open(Setup::new().server("two", &[&dying.url, &living.url])).await;
    let doomed = opened_at(&gateway, "dying").await;
    let safe = opened_at(&gateway, "one").await;
    dying.kill();
    doomed.try_call("echo", json!({ "text": "?" })).await.refuses(404, -32001);
    assert_eq!(safe.call("echo", json!({ "text": "unharmed" })).await, "unharmed");
    doomed.try_call("echo", json!({ "text": "?" })).await.refuses(404, -32001);
    for _ in 0..4 {
        assert_eq!(doomed.initialize(LATEST).await.status, 200);
        assert_eq!(doomed.whoami().await["instance"], "one");
    }
}

async fn an_instance_that_forgot_a_session_ends_it(stage: Stage) {
    let mut fixture = Fixture::start("forgetful", &[]);
    let gateway = stage.open(Setup::new().server("forgetful", &[&fixture.url])).await;
    let client = gateway.caller("forgetful").open().await;
    fixture.restart();
    client.try_call("echo", json!({ "text": "?" })).await.refuses(404, -32001);
    client.try_call("echo", json!({ "text": "?" })).await.refuses(404, -32001);
    assert_eq!(client.initialize(LATEST).await.status, 200);
    assert_eq!(client.call("echo", json!({ "text": "again" })).await, "again");
}

async fn an_upstream_that_says_no_valid_session_ends_it(stage: Stage) {
    let gateway = stage.common().await;
    for fault in ["no-valid-session", "not-found"] {
        let client = gateway.caller(fault).open().await;
        for _ in 0..2 {
            client.try_call("echo", json!({ "text": "?" })).await.refuses(404, -32001);
        }
    }
}

async fn a_session_that_rests_ends_at_the_upstream_too(stage: Stage) {
    let fixture = &Shared::running().one;
    let setup = Setup::new().server_with("brief", &[&fixture.url], |server| server.idle_ms = 1_000);
    let gateway = stage.open(setup.secret(TICK_KEY, "key")).await;
    let client = gateway.caller("brief").open().await;
    let theirs = client.whoami().await["session"].as_str().unwrap().to_owned();
    assert!(fixture.sessions().await.contains(&theirs));
    eventually("the upstream session is ended", async || {
        gateway.tick("key").await;
        !fixture.sessions().await.contains(&theirs)
    })
    .await;
    client.request("ping", json!({})).await.refuses(404, -32001);
    assert_eq!(client.initialize(LATEST).await.status, 200);
}

async fn the_end_is_told_again_until_the_upstream_takes_it(stage: Stage) {
    let upstream = Upstream::shared();
    let path = format!("delete-fails-once-{}", fresh("path"));
    let setup = Setup::new().server_with("brief", &[&upstream.url(&path)], |server| server.idle_ms = 1_000);
    let gateway = stage.open(setup.secret(TICK_KEY, "key")).await;
    gateway.caller("brief").open().await;
    let deletes = || {
        let received = upstream.received(&format!("/{path}"));
        received.into_iter().filter(|one| one.head.starts_with("DELETE")).collect::<Vec<_>>()
    };
    eventually("it is told twice", async || {
        gateway.tick("key").await;
        deletes().len() == 2
    })
    .await;
    for delete in deletes() {
        assert!(delete.head.to_lowercase().contains("mcp-session-id: the-faulty-upstreams-own-session"), "{delete:?}");
    }
}

async fn a_fresh_token_of_the_same_caller_continues_the_session(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("one", &token).open().await;
    let renewed = token.claim("iat", now_secs() - 5).signed(Signature::Es256);
    let renewed = gateway.caller_with("one", &renewed).with_session(&client.session().unwrap());
    assert_eq!(renewed.whoami().await["session"], client.whoami().await["session"]);
}

async fn a_made_up_session_id_costs_no_storage(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    for n in 0..50 {
        let id = format!("{n:043}");
        let client = client.through(&gateway.isolates()[0]).with_session(&id);
        client.request("ping", json!({})).await.refuses(404, -32001);
    }
    assert_eq!(gateway.memory().objects().calls("session"), 0);
    assert_eq!(gateway.memory().objects().states("session"), 0);
}

async fn an_ended_session_frees_its_row(stage: Stage) {
    let gateway = stage.common().await;
    let sessions = || gateway.memory().objects().states("session");
    // The second one's server would still answer.
    let [deleted, rested] = [gateway.caller("one").open().await, gateway.caller("no-json").open().await];
    assert_eq!(sessions(), 2);
    assert_eq!(deleted.delete().await.status, 200);
    assert_eq!(sessions(), 1);
    gateway.memory().advance(Duration::from_secs(601));
    assert_eq!(sessions(), 0);
    rested.request("ping", json!({})).await.refuses(404, -32001);
}

async fn a_session_in_use_does_not_rest(stage: Stage) {
    let fixture = &Shared::running().one;
    let setup = Setup::new().server_with("brief", &[&fixture.url], |server| server.idle_ms = 60_000);
    let gateway = stage.open(setup).await;
    let client = gateway.caller("brief").open().await;
    for _ in 0..10 {
        gateway.memory().advance(Duration::from_secs(40));
        assert_eq!(client.call("echo", json!({ "text": "awake" })).await, "awake");
    }
    gateway.memory().advance(Duration::from_secs(61));
    client.request("ping", json!({})).await.refuses(404, -32001);
}

async fn a_session_opened_in_one_isolate_lives_in_another(stage: Stage) {
    let pair = Shared::running().pair.each_ref().map(|one| one.url.as_str());
    let gateway = stage.open(Setup::new().server("pair", &pair).isolates(2)).await;
    let client = gateway.caller("pair").open().await;
    let isolates = gateway.isolates();
    assert_eq!(isolates.len(), 2);
    let [here, there] = [client.whoami().await, client.through(&isolates[1]).whoami().await];
    assert_eq!(here["session"], there["session"]);
    assert_eq!(client.through(&isolates[1]).delete().await.status, 200);
    client.request("ping", json!({})).await.refuses(404, -32001);
}

async fn a_session_is_asked_of_storage_once_by_each_isolate(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("pair").open().await;
    let isolates = gateway.isolates();
    for isolate in &isolates {
        client.through(isolate).call("echo", json!({ "text": "cold" })).await;
    }
    let calls = gateway.memory().objects().calls("session");
    for isolate in isolates.iter().cycle().take(10) {
        client.through(isolate).call("echo", json!({ "text": "warm" })).await;
    }
    assert_eq!(gateway.memory().objects().calls("session"), calls);
}

async fn an_instance_taken_out_of_the_configuration_is_not_called(stage: Stage) {
    let [first, second] = &Shared::running().pair;
    let gateway = stage.open(Setup::new().server("pair", &[&first.url, &second.url])).await;
    let client = opened_at(&gateway, "pair-0").await;
    let shrunk = Setup::new().server("pair", &[&second.url]);
    gateway.memory().documents().replace(shrunk.documents(gateway.origin()));
    gateway.memory().advance(Duration::from_secs(21));
    eventually("the new configuration is in force", async || client.request("ping", json!({})).await.status == 404)
        .await;
    assert_eq!(client.initialize(LATEST).await.status, 200);
    assert_eq!(client.whoami().await["instance"], "pair-1");
}

/// A client whose session lives at the instance called `name`.
async fn opened_at(gateway: &Gateway, name: &str) -> Client {
    for _ in 0..20 {
        let server = if name.starts_with("pair") { "pair" } else { "two" };
        let client = gateway.caller(server).open().await;
        if client.whoami().await["instance"] == name {
            return client;
        }
    }
    panic!("no session was opened at `{name}`");
}
