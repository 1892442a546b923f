//! What if a server asks its caller back? The question arrives, the answer continues the same call, and nothing that goes
//! wrong in between makes a call be carried out twice.

use std::time::Duration;

use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::{Answer, Client, Era, Modern, answer_to, answers},
    faulty::Upstream,
    fixture::{Fixture, Shared},
    issuer::fresh,
    setup::Setup,
    stage::eventually,
};

scenarios! {
    whatever_is_asked_is_answered_in_the_same_era,
    prompts_and_resources_may_ask_too,
    a_caller_that_can_answer_nothing_is_asked_nothing,
    a_caller_is_asked_only_what_it_can_answer,
    a_state_is_nobody_elses,
    a_state_that_was_changed_opens_nothing,
    a_state_belongs_to_the_request_it_was_made_for,
    an_answer_given_after_the_stream_was_cut_is_heard,
    an_answer_from_another_session_is_not_heard,
    a_session_the_server_lost_is_opened_again_once,
    a_call_that_said_something_is_not_sent_again,
}

not_on_spin! {
    "A façade between the eras lives for one request: nothing is asked of a caller for a server of the other era.":
    whatever_is_asked_is_answered_across_the_eras,
    prompts_and_resources_may_ask_across_the_eras,
    a_caller_is_asked_only_what_it_can_answer_across_the_eras,
    a_parked_call_goes_on_where_it_stopped,
    a_parked_calls_state_is_nobody_elses,
    a_parked_calls_state_that_was_changed_opens_nothing,
    a_parked_calls_state_belongs_to_the_request_it_was_made_for,
    a_round_that_is_over_is_not_answered_again,
    a_stream_that_was_cut_while_the_caller_is_asked_is_resumed,
    an_answer_given_across_the_eras_after_the_stream_was_cut_is_heard,
    an_answer_from_another_session_is_not_heard_across_the_eras,
    a_parked_call_whose_session_was_lost_is_an_error,
    a_parked_call_is_lost_with_the_gateway_and_not_begun_anew,
    a_session_that_was_asking_is_told_what_it_lost_with_the_gateway,
    a_parked_call_nobody_comes_back_for_is_over,
}

memory_only! {
    "The clock is moved by hand.":
    a_state_that_expired_opens_nothing,
}

/// The servers of the common gateway: one that speaks legacy, one that speaks modern.
const SERVERS: [&str; 2] = ["one", "modern"];
/// Each server with a caller of its own era, and with one of the other.
const SAME_ERA: [(&str, Era); 2] = [("one", Era::Legacy), ("modern", Era::Modern)];
const ACROSS: [(&str, Era); 2] = [("one", Era::Modern), ("modern", Era::Legacy)];

async fn whatever_is_asked_is_answered_in_the_same_era(stage: Stage) {
    whatever_is_asked_is_answered(stage, SAME_ERA).await;
}

async fn whatever_is_asked_is_answered_across_the_eras(stage: Stage) {
    whatever_is_asked_is_answered(stage, ACROSS).await;
}

async fn whatever_is_asked_is_answered(stage: Stage, quadrants: [(&str, Era); 2]) {
    let gateway = stage.common().await;
    let [form, sample, roots] = ["elicitation/create", "sampling/createMessage", "roots/list"];
    for (server, era) in quadrants {
        let caller = era.caller(gateway.caller(server)).await;
        for (tool, arguments, expected, kinds) in [
            ("test_elicitation", json!({ "message": "who?" }), "ada@example.com", vec![form]),
            ("test_sampling", json!({ "prompt": "say it" }), "LLM response: said", vec![sample]),
            ("test_input_required_result_list_roots", json!({}), "Roots: file:///home/ada", vec![roots]),
            ("test_input_required_result_request_state", json!({}), "state-ok", vec![form]),
            ("test_input_required_result_multiple_inputs", json!({}), "said (Ada, 1 roots)", vec![form, roots, sample]),
            ("test_input_required_result_multi_round", json!({}), "Ada likes blue.", vec![form, form]),
        ] {
            let params = json!({ "name": tool, "arguments": arguments });
            let (reply, mut asked) = caller.answering("tools/call", &params, &content(), "said").await;
            asked.sort_unstable();
            assert_eq!(asked, kinds, "{era:?} {server} {tool}: {reply}");
            let text = reply["result"]["content"][0]["text"].to_string();
            assert!(text.contains(expected), "{era:?} {server} {tool}: {reply}");
        }
    }
}

async fn prompts_and_resources_may_ask_too(stage: Stage) {
    prompts_and_resources_may_ask(stage, SAME_ERA).await;
}

async fn prompts_and_resources_may_ask_across_the_eras(stage: Stage) {
    prompts_and_resources_may_ask(stage, ACROSS).await;
}

async fn prompts_and_resources_may_ask(stage: Stage, quadrants: [(&str, Era); 2]) {
    let gateway = stage.common().await;
    for (server, era) in quadrants {
        let caller = era.caller(gateway.caller(server)).await;
        for (method, params, expected) in [
            ("prompts/get", json!({ "name": "test_input_required_result_prompt" }), "Use this context: tests"),
            ("resources/read", json!({ "uri": "test://locked" }), "Unlocked by sesame."),
        ] {
            let (reply, asked) = caller.answering(method, &params, &content(), "said").await;
            assert_eq!(asked, ["elicitation/create"], "{era:?} {server} {method}: {reply}");
            assert!(reply["result"].to_string().contains(expected), "{era:?} {server} {method}: {reply}");
        }
    }
}

async fn a_caller_that_can_answer_nothing_is_asked_nothing(stage: Stage) {
    let gateway = stage.common().await;
    for server in SERVERS {
        let client = gateway.caller(server).modern().able(json!({}));
        let offered = client.call("test_input_required_result_capabilities", json!({})).await;
        assert_eq!(offered, "The client can give nothing.", "{server}");
        let answer = client.try_call("test_missing_capability", json!({})).await;
        let reply = answer.reply();
        let is_error = reply["error"]["code"] == -32021 || reply["result"]["isError"] == true;
        assert!(is_error, "{server}: {answer:?}");
    }
}

async fn a_caller_is_asked_only_what_it_can_answer(stage: Stage) {
    asked_only_what_it_can_answer(stage, "modern").await;
}

async fn a_caller_is_asked_only_what_it_can_answer_across_the_eras(stage: Stage) {
    asked_only_what_it_can_answer(stage, "one").await;
}

async fn asked_only_what_it_can_answer(stage: Stage, server: &str) {
    let gateway = stage.common().await;
    let form = gateway.caller(server).modern().able(json!({ "elicitation": {} }));
    let params = json!({ "name": "test_input_required_result_capabilities", "arguments": {} });
    let asked = asked(&form.request("tools/call", params).await);
    let kinds: Vec<&Value> = asked["inputRequests"].as_object().unwrap().values().map(|one| &one["method"]).collect();
    assert_eq!(kinds, ["elicitation/create"]);
}

async fn a_parked_call_goes_on_where_it_stopped(stage: Stage) {
    let fixture = Fixture::start("legacy", &[]);
    let gateway = stage.open(Setup::new().server("legacy", &[&fixture.url])).await;
    let client = gateway.caller("legacy").modern();
    let params = json!({ "name": "test_input_required_result_multi_round", "arguments": {} });
    let first = asked(&client.request("tools/call", params.clone()).await);
    assert_eq!(fixture.calls("test_input_required_result_multi_round").await["begun"], 1);
    let second = asked(&client.retry("tools/call", &params, &first, answers(&first, &content(), "")).await);
    assert_ne!(first["requestState"], second["requestState"]);
    let last = client.retry("tools/call", &params, &second, answers(&second, &content(), "")).await;
    assert_eq!(last.text(), "Ada likes blue.");
    let calls = fixture.calls("test_input_required_result_multi_round").await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(1)), "{calls}");
    assert_eq!(fixture.heard("tools/call").await, 1, "the call was sent once");
    assert_eq!(fixture.heard("initialize").await, 1);
}

async fn a_state_is_nobody_elses(stage: Stage) {
    nobody_elses(stage, "modern").await;
}

async fn a_parked_calls_state_is_nobody_elses(stage: Stage) {
    nobody_elses(stage, "one").await;
}

async fn nobody_elses(stage: Stage, server: &str) {
    let gateway = stage.common().await;
    let (client, params, asked) = parked(&gateway, server).await;
    let token = gateway.token();
    let other = gateway.caller_with(server, &token).modern();
    other.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await.refuses(200, -32602);
    let told = |entry: &Value| entry["reason"].as_str().is_some_and(|reason| reason.contains("another principal"));
    gateway.audit(&token, |entries| entries.iter().any(told)).await;
    let last = client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await;
    assert_eq!(last.text(), "state-ok", "it is still its owner's: {last:?}");
}

async fn a_state_that_was_changed_opens_nothing(stage: Stage) {
    changed_opens_nothing(stage, "modern").await;
}

async fn a_parked_calls_state_that_was_changed_opens_nothing(stage: Stage) {
    changed_opens_nothing(stage, "one").await;
}

async fn changed_opens_nothing(stage: Stage, server: &str) {
    let gateway = stage.common().await;
    let (client, params, asked) = parked(&gateway, server).await;
    let state = asked["requestState"].as_str().unwrap().to_owned();
    let middle = state.len() / 2;
    let other = if &state[middle..=middle] == "A" { "B" } else { "A" };
    let flipped = format!("{}{other}{}", &state[..middle], &state[middle + 1..]);
    for changed in [flipped, state[..state.len() - 2].to_owned(), "1.1".to_owned(), String::new()] {
        let mut forged = asked.clone();
        forged["requestState"] = json!(changed);
        let answer = client.retry("tools/call", &params, &forged, answers(&asked, &content(), "")).await;
        answer.refuses(200, -32602);
    }
    let last = client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await;
    assert_eq!(last.text(), "state-ok", "{last:?}");
}

async fn a_state_belongs_to_the_request_it_was_made_for(stage: Stage) {
    belongs_to_its_request(stage, "modern").await;
}

async fn a_parked_calls_state_belongs_to_the_request_it_was_made_for(stage: Stage) {
    belongs_to_its_request(stage, "one").await;
}

async fn belongs_to_its_request(stage: Stage, server: &str) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with(server, &token).modern();
    let params = json!({ "name": STATEFUL, "arguments": {} });
    let asked = asked(&client.request("tools/call", params.clone()).await);
    let said = answers(&asked, &content(), "");
    for other in [
        json!({ "name": STATEFUL, "arguments": { "more": true } }),
        json!({ "name": STATEFUL }),
        json!({ "name": "test_input_required_result_tampered_state", "arguments": {} }),
    ] {
        client.retry("tools/call", &other, &asked, said.clone()).await.refuses(200, -32602);
    }
    let elsewhere = gateway.caller_with("both", &token).modern();
    elsewhere.retry("tools/call", &params, &asked, said.clone()).await.refuses(200, -32602);
    let spelled_otherwise = json!({ "arguments": {}, "name": STATEFUL });
    let last = client.retry("tools/call", &spelled_otherwise, &asked, said).await;
    assert_eq!(last.text(), "state-ok", "{last:?}");
}

async fn a_round_that_is_over_is_not_answered_again(stage: Stage) {
    let fixture = Fixture::start("legacy", &[]);
    let gateway = stage.open(Setup::new().server("legacy", &[&fixture.url])).await;
    let client = gateway.caller("legacy").modern();
    let params = json!({ "name": "test_input_required_result_multi_round", "arguments": {} });
    let first = asked(&client.request("tools/call", params.clone()).await);
    let said = answers(&first, &content(), "");
    let second = asked(&client.retry("tools/call", &params, &first, said.clone()).await);
    client.retry("tools/call", &params, &first, said.clone()).await.refuses(200, -32602);
    let last = client.retry("tools/call", &params, &second, answers(&second, &content(), "")).await;
    assert_eq!(last.text(), "Ada likes blue.");
    for state in [&first, &second] {
        client.retry("tools/call", &params, state, answers(state, &content(), "")).await.refuses(200, -32602);
    }
    let calls = fixture.calls("test_input_required_result_multi_round").await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(1)), "{calls}");
}

async fn a_stream_that_was_cut_while_the_caller_is_asked_is_resumed(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let gateway = stage.open(Setup::new().server("asking", &[&fixture.url])).await;
    let client = gateway.caller("asking").open().await;
    let (question, last) = cut_while_asking(&client).await;
    let mut resumed = client.listen(Some(&last)).await;
    assert_eq!(resumed.status, 200);
    assert_eq!(client.post(reply(&question)).send().await.status, 202);
    let result = resumed.message().await.expect("the answer comes on the stream that was resumed");
    assert!(result["result"]["content"][0]["text"].to_string().contains("ada@example.com"), "{result}");
    let calls = fixture.calls("test_elicitation").await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(1)), "{calls}");
}

async fn an_answer_given_after_the_stream_was_cut_is_heard(stage: Stage) {
    heard_after_the_stream_was_cut(stage, "legacy").await;
}

async fn an_answer_given_across_the_eras_after_the_stream_was_cut_is_heard(stage: Stage) {
    heard_after_the_stream_was_cut(stage, "modern").await;
}

async fn heard_after_the_stream_was_cut(stage: Stage, era: &str) {
    let fixture = Fixture::start(era, &["--era", era]);
    let gateway = stage.open(Setup::new().server("asking", &[&fixture.url])).await;
    let client = gateway.caller("asking").open().await;
    let (question, last) = cut_while_asking(&client).await;
    assert_eq!(client.post(reply(&question)).send().await.status, 202);
    let mut resumed = client.listen(Some(&last)).await;
    // A legacy server takes the stream for open until it has said everything on it.
    eventually("the stream can be resumed", async || {
        if resumed.status == 409 {
            resumed = client.listen(Some(&last)).await;
        }
        resumed.status == 200
    })
    .await;
    let result = resumed.message().await.expect("the answer comes on the stream that was resumed");
    assert!(result["result"]["content"][0]["text"].to_string().contains("ada@example.com"), "{result}");
    let calls = fixture.calls("test_elicitation").await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(1)), "{calls}");
}

async fn an_answer_from_another_session_is_not_heard(stage: Stage) {
    not_heard_from_another_session(stage, "one").await;
}

async fn an_answer_from_another_session_is_not_heard_across_the_eras(stage: Stage) {
    not_heard_from_another_session(stage, "modern").await;
}

async fn not_heard_from_another_session(stage: Stage, server: &str) {
    let gateway = stage.common().await;
    let client = gateway.caller(server).open().await;
    let other = gateway.caller(server).open().await;
    let params = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let mut stream = client.stream("tools/call", params).await;
    let (question, _) = question(&mut stream).await;
    let forged = reply(&question).replace("ada@example.com", "eve@example.com");
    other.post(forged).send().await;
    assert_eq!(client.post(reply(&question)).send().await.status, 202);
    let result = stream.message().await.unwrap();
    assert!(result["result"]["content"][0]["text"].to_string().contains("ada@example.com"), "{result}");
}

async fn a_session_the_server_lost_is_opened_again_once(stage: Stage) {
    let mut fixture = Fixture::start("forgetful", &[]);
    let upstream = Upstream::shared();
    let [not_found, no_session] = ["not-found", "no-valid-session"].map(|fault| format!("{fault}~{}", fresh("path")));
    let setup = restarting("forgetful", &fixture)
        .server("never", &[&upstream.url(&not_found)])
        .server("neither", &[&upstream.url(&no_session)]);
    let gateway = stage.open(setup).await;
    let client = gateway.caller("forgetful").modern();
    assert_eq!(client.call("echo", json!({ "text": "before" })).await, "before");
    fixture.restart();
    assert_eq!(client.call("echo", json!({ "text": "after" })).await, "after");
    assert_eq!(fixture.heard("initialize").await, 1);
    assert_eq!(fixture.calls("echo").await["begun"], 1);
    for (server, path) in [("never", &not_found), ("neither", &no_session)] {
        // Nothing can be asked, so that no stream is opened beside the call.
        let client = gateway.caller(server).modern().able(json!({}));
        let refused = client.try_call("echo", json!({})).await;
        assert_eq!((refused.status, refused.code()), (502, -32603), "{server}: {refused:?}");
        let received = upstream.received(&format!("/{path}"));
        let count = |method: &str| received.iter().filter(|one| one.body.contains(method)).count();
        assert_eq!(count("tools/call"), 2, "{server}: once more, and no more: {received:#?}");
        // The gateway may ask for the tools first.
        let sessions = count("tools/call") + count("tools/list");
        assert_eq!(count("\"initialize\""), sessions, "{server}: one for each attempt: {received:#?}");
    }
}

async fn a_call_that_said_something_is_not_sent_again(stage: Stage) {
    let mut fixture = Fixture::start("dying", &[]);
    let gateway = stage.open(restarting("dying", &fixture)).await;
    let client = gateway.caller("dying").modern();
    let arguments = json!({ "steps": 100, "step_ms": 100 });
    let params = json!({ "name": "slow", "arguments": arguments, "_meta": { "progressToken": "p" } });
    let mut stream = client.stream("tools/call", params).await;
    assert_eq!(stream.message().await.unwrap()["params"]["progress"], 1);
    fixture.restart();
    let mut last = Value::Null;
    while let Some(message) = stream.message().await {
        last = message;
    }
    assert_eq!(last["error"]["code"], -32603, "{last}");
    assert_eq!(client.call("echo", json!({ "text": "after" })).await, "after");
    assert_eq!(fixture.calls("slow").await, Value::Null, "it was carried out by the one that died");
}

async fn a_parked_call_whose_session_was_lost_is_an_error(stage: Stage) {
    let mut fixture = Fixture::start("forgetful", &[]);
    let gateway = stage.open(restarting("forgetful", &fixture)).await;
    let (client, params, asked) = parked(&gateway, "forgetful").await;
    fixture.restart();
    let answer = client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await;
    assert!(answer.reply()["error"]["code"].is_i64(), "{answer:?}");
    assert_eq!(fixture.calls(STATEFUL).await, Value::Null, "it was not begun anew");
    let (client, params, asked) = parked(&gateway, "forgetful").await;
    let last = client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await;
    assert_eq!(last.text(), "state-ok", "a new one goes well: {last:?}");
}

async fn a_parked_call_is_lost_with_the_gateway_and_not_begun_anew(stage: Stage) {
    let fixture = Fixture::start("legacy", &[]);
    let gateway = stage.open(Setup::new().server("legacy", &[&fixture.url])).await;
    let (client, params, asked) = parked(&gateway, "legacy").await;
    gateway.restart();
    let said = answers(&asked, &content(), "");
    for _ in 0..2 {
        let answer = client.retry("tools/call", &params, &asked, said.clone()).await;
        assert_eq!(answer.code(), -32602, "{answer:?}");
    }
    let calls = fixture.calls(STATEFUL).await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(0)), "{calls}");
    let asked = self::asked(&client.request("tools/call", params.clone()).await);
    let last = client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await;
    assert_eq!(last.text(), "state-ok", "a new one goes well: {last:?}");
}

async fn a_session_that_was_asking_is_told_what_it_lost_with_the_gateway(stage: Stage) {
    let fixture = Fixture::start("modern", &["--era", "modern"]);
    let gateway = stage.open(Setup::new().server("modern", &[&fixture.url])).await;
    let client = gateway.caller("modern").open().await;
    let params = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    let call = client.message("tools/call", params);
    let mut stream = client.post(call.to_string()).stream().await;
    let (question, last) = question(&mut stream).await;
    gateway.restart();
    client.post(reply(&question)).send().await;
    let mut resumed = client.listen(Some(&last)).await;
    assert_eq!(resumed.status, 200);
    let told = resumed.message().await.expect("it is told what became of its call");
    assert_eq!((&told["id"], &told["error"]["code"]), (&call["id"], &json!(-32603)), "{told}");
    let calls = fixture.calls("test_elicitation").await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(0)), "{calls}");
    assert_eq!(client.call("echo", json!({ "text": "on" })).await, "on", "the session goes on");
}

async fn a_parked_call_nobody_comes_back_for_is_over(stage: Stage) {
    let fixture = Fixture::start("legacy", &[]);
    let setup = Setup::new().server_with("legacy", &[&fixture.url], |server| server.question_ms = 1_500);
    let gateway = stage.open(setup).await;
    let (client, params, asked) = parked(&gateway, "legacy").await;
    eventually("the server hears of it", async || fixture.heard("notifications/cancelled").await == 1).await;
    let answer = client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await;
    assert_eq!(answer.code(), -32602, "{answer:?}");
    let calls = fixture.calls(STATEFUL).await;
    assert_eq!((&calls["begun"], &calls["finished"]), (&json!(1), &json!(0)), "{calls}");
}

async fn a_state_that_expired_opens_nothing(stage: Stage) {
    let gateway = stage.open(Setup::new().server("modern", &[&Shared::running().modern.url])).await;
    let (client, params, asked) = parked(&gateway, "modern").await;
    gateway.memory().advance(Duration::from_secs(601));
    client.retry("tools/call", &params, &asked, answers(&asked, &content(), "")).await.refuses(200, -32602);
}

/// A tool that asks for a confirmation; a modern server wants its state back with it.
const STATEFUL: &str = "test_input_required_result_request_state";

/// What every form in these scenarios is filled in with.
fn content() -> Value {
    json!({
        "username": "ada", "email": "ada@example.com", "name": "Ada", "color": "blue", "ok": true,
        "context": "tests", "word": "sesame"
    })
}

/// A set-up with a server that restarts, and is not left alone for that.
fn restarting(name: &str, fixture: &Fixture) -> Setup {
    Setup::new().server_with(name, &[&fixture.url], |server| {
        (server.breaker.consecutive_failures, server.breaker.min_requests) = (1_000, 10_000);
    })
}

/// A modern caller whose call of [`STATEFUL`] is asked back: the call's parameters, and the result that asks.
async fn parked(gateway: &Gateway, server: &str) -> (Modern, Value, Value) {
    let client = gateway.caller(server).modern();
    let params = json!({ "name": STATEFUL, "arguments": {} });
    let asked = asked(&client.request("tools/call", params.clone()).await);
    (client, params, asked)
}

/// The result in `answer`, which asks something.
#[track_caller]
fn asked(answer: &Answer) -> Value {
    let reply = answer.reply();
    assert_eq!(reply["result"]["resultType"], "input_required", "{answer:?}");
    reply["result"].clone()
}

/// The first request on a stream, and the id of its event.
async fn question(stream: &mut turnpike_tests::client::Stream) -> (Value, String) {
    assert_eq!(stream.status, 200);
    while let Some(event) = stream.next().await {
        if event.data.contains("elicitation/create") {
            return (serde_json::from_str(&event.data).unwrap(), event.id.expect("its event can be named"));
        }
    }
    panic!("nothing was asked");
}

/// A call whose stream is cut as soon as it asked: the question, and the id of its event.
async fn cut_while_asking(client: &Client) -> (Value, String) {
    let params = json!({ "name": "test_elicitation", "arguments": { "message": "who?" } });
    question(&mut client.stream("tools/call", params).await).await
}

/// The answer to `question`, which is a form.
fn reply(question: &Value) -> String {
    let result = answer_to(&question["method"], &content(), "");
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }).to_string()
}
