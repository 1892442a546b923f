//! What does a caller get when the server behind the gateway does not do its work? An answer it can act on, in time.

use futures_util::future::join;
use serde_json::{Value, json};
use turnpike_tests::{
    Gateway, Stage,
    client::{Answer, LATEST},
    faulty::{HUGE_BYTES, PACKED_BYTES, Upstream},
    issuer::fresh,
};

scenarios! {
    an_upstream_that_speaks_no_http_has_lost_the_session,
    an_upstream_that_closes_has_lost_the_session,
    an_upstream_that_closes_but_lives_is_502_and_is_not_asked_again,
    an_upstream_that_hangs_is_504_and_holds_nobody_up,
    an_upstream_that_answers_500_is_502,
    an_upstream_that_answers_a_page_is_502,
    a_redirect_is_502_and_not_followed,
    a_refused_credential_is_502_and_its_challenge_stays_here,
    what_an_upstream_says_in_json_is_handed_on_unread,
    an_answer_that_stops_in_the_middle_is_cut_off,
    a_stream_that_breaks_off_breaks_off_for_the_caller,
    a_stream_that_is_slow_but_alive_is_not_cut_off,
    a_huge_answer_passes_through,
    an_initialize_that_fails_is_told_as_what_it_is,
    an_initialize_the_server_refuses_opens_no_session,
    no_instance_that_can_be_reached_is_503,
    a_caller_that_leaves_harms_nobody_and_is_recorded,
}

workerd_only! {
    "Only workerd unpacks answers, and still says their packed length.":
    a_packed_answer_arrives_unpacked_and_whole,
}

async fn an_upstream_that_speaks_no_http_has_lost_the_session(stage: Stage) {
    let answer = called(&stage.common().await, "no-http").await;
    answer.refuses(404, -32001);
}

async fn an_upstream_that_closes_has_lost_the_session(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("close").open().await;
    client.try_call("echo", json!({})).await.refuses(404, -32001);
    client.try_call("echo", json!({})).await.refuses(404, -32001);
}

async fn an_upstream_that_closes_but_lives_is_502_and_is_not_asked_again(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("close-lives").open().await;
    let marker = fresh("marker");
    let answer = client.try_call("echo", json!({ "text": marker })).await;
    answer.refuses(502, -32603);
    assert!(message(&answer).contains("may have been carried out"), "{answer:?}");
    assert_eq!(Upstream::shared().received_with(&marker), 1, "a call must not be carried out twice");
    assert_eq!(client.request("ping", json!({})).await.status, 200, "the session goes on");
}

async fn an_upstream_that_hangs_is_504_and_holds_nobody_up(stage: Stage) {
    let gateway = stage.common().await;
    let hanging = gateway.caller("hang").open().await;
    let other = gateway.caller("json").open().await;
    let others = async {
        for _ in 0..5 {
            assert_eq!(other.call("echo", json!({ "text": "meanwhile" })).await, "meanwhile");
        }
    };
    let (answer, ()) = join(hanging.try_call("echo", json!({})), others).await;
    answer.refuses(504, -32603);
    assert!(message(&answer).contains("within 1500 ms"), "{answer:?}");
    assert_eq!(hanging.delete().await.status, 200);
}

async fn an_upstream_that_answers_500_is_502(stage: Stage) {
    let answer = called(&stage.common().await, "status-500").await;
    answer.refuses(502, -32603);
    assert!(!String::from_utf8_lossy(&answer.body).contains("oops"), "{answer:?}");
}

async fn an_upstream_that_answers_a_page_is_502(stage: Stage) {
    let answer = called(&stage.common().await, "html").await;
    answer.refuses(502, -32603);
    assert!(!String::from_utf8_lossy(&answer.body).contains("Welcome"), "{answer:?}");
}

async fn a_redirect_is_502_and_not_followed(stage: Stage) {
    let answer = called(&stage.common().await, "redirect").await;
    answer.refuses(502, -32603);
    assert_eq!(answer.header("location"), "");
    assert!(Upstream::shared().received("/followed").is_empty());
}

async fn a_refused_credential_is_502_and_its_challenge_stays_here(stage: Stage) {
    let answer = called(&stage.common().await, "unauthorized").await;
    answer.refuses(502, -32603);
    assert_eq!(answer.header("www-authenticate"), "");
}

async fn what_an_upstream_says_in_json_is_handed_on_unread(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("no-json").open().await;
    let answer = client.try_call("echo", json!({})).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"this is not JSON"[..]));
}

async fn an_answer_that_stops_in_the_middle_is_cut_off(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    // A small one is waited for, but on workerd, which passes on what is plain as it comes.
    let (first, second) = ("the upstream broke off: ", "cut off: silent");
    let cut_off: &[_] = match stage {
        Stage::Workerd => &[("hang-small-body", first), ("hang-body", second)],
        Stage::Memory | Stage::Spin => {
            called(&gateway, "hang-small-body").await.refuses(504, -32603);
            &[("hang-body", second)]
        }
    };
    for (fault, expected) in cut_off {
        let client = gateway.caller_with(fault, &token).open().await;
        let answer = client.try_call("echo", json!({})).await;
        assert_eq!(answer.status, 200);
        // What came before the silence may be handed on, and the caller sees that it is not all.
        assert!(br#"{"json"#.starts_with(&answer.body), "{answer:?}");
        assert!(answer.broken.is_some(), "{answer:?}");
        let ended = |entry: &Value| entry["end"].as_str().is_some_and(|end| end.starts_with(expected));
        gateway.audit(&token, |entries| entries.iter().any(ended)).await;
    }
}

async fn a_stream_that_breaks_off_breaks_off_for_the_caller(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("close-stream", &token).open().await;
    let answer = client.try_call("echo", json!({})).await;
    assert_eq!(answer.messages()[0]["params"]["progress"], 1);
    // workerd ends a stream whose length is not known as if it were whole, also one it only passes through (measured).
    assert!(answer.broken.is_some() || stage == Stage::Workerd, "what broke off must not look whole: {answer:?}");
    let ended = |entry: &Value| entry["end"].as_str().is_some_and(|end| end.contains("broke off"));
    gateway.audit(&token, |entries| entries.iter().any(ended)).await;
}

async fn a_stream_that_is_slow_but_alive_is_not_cut_off(stage: Stage) {
    let answer = called(&stage.common().await, "slow-stream").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.messages().len(), 11, "{answer:?}");
    assert_eq!(answer.reply()["result"], json!({}));
}

async fn a_huge_answer_passes_through(stage: Stage) {
    let answer = called(&stage.common().await, "huge").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text().len(), HUGE_BYTES);
}

async fn a_packed_answer_arrives_unpacked_and_whole(stage: Stage) {
    let answer = called(&stage.common().await, "packed").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text().len(), PACKED_BYTES);
    assert!(answer.broken.is_none(), "{answer:?}");
}

async fn an_initialize_that_fails_is_told_as_what_it_is(stage: Stage) {
    let gateway = stage.common().await;
    for (fault, status) in [
        ("init-no-http", 503),
        ("init-no-json", 502),
        ("init-html", 502),
        ("init-status-500", 502),
        ("init-huge", 502),
        ("init-hang", 504),
    ] {
        let client = gateway.caller(fault);
        let answer = client.initialize(LATEST).await;
        assert_eq!((answer.status, answer.code()), (status, -32603), "{fault}: {answer:?}");
        assert_eq!(answer.reply()["id"], 1, "{fault}: {answer:?}");
        assert_eq!(client.session(), None, "{fault}");
    }
}

async fn an_initialize_the_server_refuses_opens_no_session(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("init-error");
    let answer = client.initialize(LATEST).await;
    assert_eq!((answer.status, answer.code()), (200, -32602));
    assert_eq!(client.session(), None);
}

async fn no_instance_that_can_be_reached_is_503(stage: Stage) {
    let gateway = stage.common().await;
    let answer = gateway.caller("nobody-listens").initialize(LATEST).await;
    answer.refuses(503, -32603);
    assert_eq!(answer.header("retry-after"), "5");
    assert!(!String::from_utf8_lossy(&answer.body).contains("127.0.0.1"), "callers are not told where: {answer:?}");
}

async fn a_caller_that_leaves_harms_nobody_and_is_recorded(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("one", &token).open().await;
    let arguments = json!({ "steps": 10, "step_ms": 100 });
    let params = json!({ "name": "slow", "arguments": arguments, "_meta": { "progressToken": 1 } });
    let mut stream = client.stream("tools/call", params).await;
    assert_eq!(stream.message().await.unwrap()["params"]["progress"], 1);
    drop(stream);
    assert_eq!(client.call("echo", json!({ "text": "after it" })).await, "after it");
    let other = gateway.caller("json").open().await;
    assert_eq!(other.call("echo", json!({ "text": "besides it" })).await, "besides it");
    let entries = gateway.audit(&token, |entries| ended(entries, "slow").is_some()).await;
    assert_eq!(ended(&entries, "slow").unwrap()["status"], 200);
}

/// The outcome of the call of `tool`.
fn ended<'a>(entries: &'a [Value], tool: &str) -> Option<&'a Value> {
    let called = entries.iter().find(|entry| entry["calls"][0]["target"] == tool)?;
    entries.iter().find(|entry| entry["kind"] == "outcome" && entry["request"] == called["request"])
}

/// The answer to a call in a session with an upstream that has `fault`; its id is the call's.
async fn called(gateway: &Gateway, fault: &str) -> Answer {
    let client = gateway.caller(fault).open().await;
    let call = client.message("tools/call", json!({ "name": "echo", "arguments": { "text": "?" } }));
    let answer = client.post(call.to_string()).send().await;
    assert_eq!(answer.reply()["id"], call["id"], "{fault}: {answer:?}");
    answer
}

fn message(answer: &Answer) -> String {
    answer.reply()["error"]["message"].as_str().unwrap().to_owned()
}
