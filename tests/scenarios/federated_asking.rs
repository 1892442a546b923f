//! What if one of many servers asks its caller back? The answer returns to that server, and to no other.

use serde_json::json;
use turnpike_tests::{
    Gateway, Stage,
    client::{Era, answers, retried},
};

use crate::federation::{content, two};

scenarios! {
    whatever_a_modern_server_asks_is_answered_through_the_endpoint,
    a_state_returns_to_the_endpoint_and_tool_it_came_from,
}

not_on_spin! {
    "A façade between the eras lives for one request: nothing is asked of a caller for a server of the other era.":
    whatever_is_asked_across_the_eras_is_answered_through_the_endpoint,
    a_parked_calls_state_returns_to_the_endpoint_and_tool_it_came_from,
}

async fn whatever_a_modern_server_asks_is_answered_through_the_endpoint(stage: Stage) {
    answered_through_the_endpoint(&two(stage).await, Era::Modern, "new").await;
}

async fn whatever_is_asked_across_the_eras_is_answered_through_the_endpoint(stage: Stage) {
    let gateway = two(stage).await;
    for (era, server) in [(Era::Legacy, "new"), (Era::Legacy, "old"), (Era::Modern, "old")] {
        answered_through_the_endpoint(&gateway, era, server).await;
    }
}

async fn answered_through_the_endpoint(gateway: &Gateway, era: Era, server: &str) {
    let caller = era.caller(gateway.caller("")).await;
    for (tool, arguments, expected) in [
        ("test_elicitation", json!({ "message": "who?" }), "ada@example.com"),
        ("test_sampling", json!({ "prompt": "say it" }), "LLM response: said"),
        ("test_input_required_result_multi_round", json!({}), "Ada likes blue."),
        ("test_input_required_result_multiple_inputs", json!({}), "said (Ada, 1 roots)"),
    ] {
        let params = json!({ "name": format!("{server}__{tool}"), "arguments": arguments });
        let (reply, asked) = caller.answering("tools/call", &params, &content(), "said").await;
        assert!(!asked.is_empty(), "{era:?} {server} {tool}: {reply}");
        let text = reply["result"]["content"][0]["text"].to_string();
        assert!(text.contains(expected), "{era:?} {server} {tool}: {reply}");
    }
    let params = json!({ "uri": format!("mcp+{server}+test://locked") });
    let (reply, asked) = caller.answering("resources/read", &params, &content(), "said").await;
    assert_eq!(asked, ["elicitation/create"], "{era:?} {server}: {reply}");
    assert_eq!(reply["result"]["contents"][0]["uri"], params["uri"], "{era:?} {server}: {reply}");
    let params = json!({ "name": format!("{server}__test_input_required_result_prompt") });
    let (reply, asked) = caller.answering("prompts/get", &params, &content(), "said").await;
    assert_eq!(asked, ["elicitation/create"], "{era:?} {server}: {reply}");
    assert!(reply["result"].to_string().contains("Use this context: tests"), "{era:?} {server}: {reply}");
}

async fn a_state_returns_to_the_endpoint_and_tool_it_came_from(stage: Stage) {
    returns_to_where_it_came_from(stage, "new", "old").await;
}

async fn a_parked_calls_state_returns_to_the_endpoint_and_tool_it_came_from(stage: Stage) {
    returns_to_where_it_came_from(stage, "old", "new").await;
}

async fn returns_to_where_it_came_from(stage: Stage, server: &str, other: &str) {
    let gateway = two(stage).await;
    let token = gateway.token();
    let client = gateway.caller_with("", &token).modern();
    let tool = |server: &str| format!("{server}__test_input_required_result_request_state");
    let params = json!({ "name": tool(server), "arguments": {} });
    let asked = client.result("tools/call", params.clone()).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let said = answers(&asked, &content(), "");
    let elsewhere = json!({ "name": tool(other), "arguments": {} });
    client.retry("tools/call", &elsewhere, &asked, said.clone()).await.refuses(200, -32602);
    let alone = gateway.caller_with(server, &token).modern();
    let own = json!({ "name": "test_input_required_result_request_state", "arguments": {} });
    alone.retry("tools/call", &own, &asked, said.clone()).await.refuses(200, -32602);
    let stranger = gateway.caller("").modern();
    stranger.retry("tools/call", &params, &asked, said.clone()).await.refuses(200, -32602);
    let last = client.request("tools/call", retried(&params, &asked, said)).await;
    assert_eq!(last.text(), "state-ok");
}
