//! What does an endpoint of some servers show?

use serde_json::{Value, json};
use turnpike_tests::{
    Stage,
    client::{Client, Era},
    fixture::Shared,
    issuer::Token,
    setup::Setup,
};

use crate::federation::content;

scenarios! {
    an_endpoint_shows_what_it_was_told_to,
    an_endpoint_that_is_not_there_is_404,
    each_endpoint_has_its_own_metadata,
}

not_on_spin! {
    "A façade between the eras lives for one request: nothing is asked of a caller for a server of the other era.":
    what_a_legacy_server_asks_is_answered_through_an_endpoint,
}

async fn an_endpoint_shows_what_it_was_told_to(stage: Stage) {
    let gateway = stage.open(research()).await;
    for era in Era::BOTH {
        let token = gateway.token();
        let caller = era.caller(gateway.caller_with("@research", &token)).await;
        let listed = caller.result("tools/list", json!({})).await["tools"].clone();
        let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
        assert_eq!(names, ["say", "old__test_elicitation"], "{era:?}");
        assert_eq!((&listed[0]["title"], &listed[0]["description"]), (&json!("Say it"), &json!("Says it again")));
        assert_eq!(caller.call("say", json!({ "text": "on" })).await, "on", "{era:?}");
        for hidden in ["new__echo", "echo", "old__echo", "new__whoami"] {
            caller.try_call(hidden, json!({ "text": "on" })).await.refuses(200, -32602);
        }
        let prompts = caller.listed("prompts/list", "name").await;
        assert!(prompts.iter().all(|name| name.starts_with("old__")) && !prompts.is_empty(), "{era:?}: {prompts:?}");
        assert_eq!(caller.listed("resources/list", "uri").await, [""; 0], "{era:?}");
        let uri = "mcp+old+test://static-text";
        assert!([-32602, -32002].contains(&caller.request("resources/read", json!({ "uri": uri })).await.code()));
        let is_say = |entry: &Value| entry["server"] == "new" && entry["calls"][0]["target"] == "echo";
        gateway.audit(&token, |entries| entries.iter().any(is_say)).await;
    }
    let discovered = gateway.caller("@research").modern().result("server/discover", json!({})).await;
    assert_eq!(discovered["instructions"], "Only for research.", "{discovered}");
}

async fn what_a_legacy_server_asks_is_answered_through_an_endpoint(stage: Stage) {
    let gateway = stage.open(research()).await;
    for era in Era::BOTH {
        let caller = era.caller(gateway.caller("@research")).await;
        let params = json!({ "name": "old__test_elicitation", "arguments": { "message": "who?" } });
        let (reply, asked) = caller.answering("tools/call", &params, &content(), "").await;
        assert_eq!(asked, ["elicitation/create"], "{era:?}: {reply}");
    }
}

/// With an endpoint that shows one tool of each server.
fn research() -> Setup {
    let Shared { one, modern, .. } = Shared::running();
    Setup::new().server("old", &[&one.url]).server("new", &[&modern.url]).endpoint(&json!({
        "name": "research", "instructions": "Only for research.", "prompts": ["old"],
        "tools": [
            { "server": "new", "tool": "echo", "name": "say", "title": "Say it", "description": "Says it again" },
            { "server": "old", "tool": "test_elicitation" },
        ],
    }))
}

async fn an_endpoint_that_is_not_there_is_404(stage: Stage) {
    let setup = Setup::new().server("old", &[&Shared::running().one.url]).endpoint(&json!({
        "name": "theirs", "tenants": ["somebody-else"], "servers": ["old"],
    }));
    let gateway = stage.open(setup).await;
    for endpoint in ["@theirs", "@nobodys"] {
        gateway.caller(endpoint).modern().request("tools/list", json!({})).await.refuses(404, -32000);
        gateway.caller(endpoint).initialize("2025-11-25").await.refuses(404, -32000);
    }
}

async fn each_endpoint_has_its_own_metadata(stage: Stage) {
    let setup = Setup::new().server("old", &[&Shared::running().one.url]).endpoint(&json!({
        "name": "research", "servers": ["old"],
    }));
    let gateway = stage.open(setup).await;
    for (path, endpoint) in [("/mcp", ""), ("/mcp/@research", "@research")] {
        let well_known = format!("/.well-known/oauth-protected-resource{path}");
        let metadata = gateway.client().exact("GET", &well_known).send().await;
        assert_eq!(
            (metadata.status, &metadata.json()["resource"]),
            (200, &json!(format!("{}{path}", gateway.origin())))
        );
        let client: Client = gateway.client().server(endpoint);
        let refused = client.modern().request("tools/list", json!({})).await;
        assert_eq!(refused.status, 401, "{refused:?}");
        let challenge = refused.header("www-authenticate");
        let expected = format!("resource_metadata=\"{}{well_known}\"", gateway.origin());
        assert!(challenge.contains(&expected), "{challenge}");
        let audience = format!("{}{path}", gateway.origin());
        let narrow = gateway.client().server(endpoint).token(Token::fresh(&audience).text()).modern();
        assert_eq!(narrow.call("old__echo", json!({ "text": "on" })).await, "on", "{path}");
        let elsewhere = gateway.client().server("old").token(Token::fresh(&audience).text()).modern();
        assert_eq!(elsewhere.request("tools/list", json!({})).await.status, 401, "{path}");
    }
}
