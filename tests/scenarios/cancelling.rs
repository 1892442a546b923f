//! Is a call cancelled when its caller means that, and only then? Who has a session may come back; who has none cannot.

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use turnpike_tests::{
    Stage,
    client::{Client, Exact, Stream, answers, retried},
    fixture::{Fixture, Shared},
    issuer::fresh,
    setup::Setup,
    stage::eventually,
};

scenarios! {
    a_modern_caller_that_closes_its_stream_cancels_the_call,
    a_legacy_caller_that_leaves_cancels_nothing,
    a_legacy_caller_cancels_by_saying_so,
}

not_on_spin! {
    "A façade between the eras lives for one request: nothing is asked of a caller for a server of the other era.":
    a_caller_that_leaves_in_the_middle_of_a_round_cancels_the_call;

    "A façade between the eras lives for one request: it hears nothing of another one, and ends with its caller.":
    a_legacy_caller_that_leaves_a_modern_server_cancels_nothing,
    a_legacy_caller_cancels_at_a_modern_server_by_saying_so,
}

async fn a_caller_that_leaves_in_the_middle_of_a_round_cancels_the_call(stage: Stage) {
    let fixture = Fixture::start("legacy", &[]);
    let gateway = stage.open(Setup::new().server("legacy", &[&fixture.url])).await;
    let client = gateway.caller("legacy").modern();
    let label = fresh("label");
    let params = json!({ "name": "ask_then_hold", "arguments": { "label": label, "ms": 60_000 } });
    let asked = client.result("tools/call", params.clone()).await;
    let said = answers(&asked, &json!({ "word": "sesame" }), "");
    let message = client.message("tools/call", retried(&params, &asked, said.clone()));
    let round = leaving(client.post(&message).stream());
    eventually("the call goes on", async || fixture.held(&label).await == "running").await;
    round.abort();
    eventually("it is cancelled", async || fixture.held(&label).await == "cancelled").await;
    let answer = client.retry("tools/call", &params, &asked, said).await;
    assert_eq!(answer.code(), -32602, "what is over is not begun anew: {answer:?}");
    assert_eq!(fixture.calls("ask_then_hold").await["begun"], 1);
}

async fn a_modern_caller_that_closes_its_stream_cancels_the_call(stage: Stage) {
    let gateway = stage.common().await;
    let Shared { one, modern, .. } = Shared::running();
    for (server, fixture) in [("one", one), ("modern", modern)] {
        let client = gateway.caller(server).modern();
        let label = fresh("label");
        let params = json!({ "name": "hold", "arguments": { "label": label, "ms": 60_000 } });
        let call = leaving(client.post(&client.message("tools/call", params)).stream());
        eventually("the call runs", async || fixture.held(&label).await == "running").await;
        call.abort();
        eventually("it is cancelled", async || fixture.held(&label).await == "cancelled").await;
    }
}

async fn a_legacy_caller_that_leaves_cancels_nothing(stage: Stage) {
    leaving_cancels_nothing(stage, "one", &Shared::running().one).await;
}

async fn a_legacy_caller_that_leaves_a_modern_server_cancels_nothing(stage: Stage) {
    leaving_cancels_nothing(stage, "modern", &Shared::running().modern).await;
}

async fn leaving_cancels_nothing(stage: Stage, server: &str, fixture: &Fixture) {
    let gateway = stage.common().await;
    let client = gateway.caller(server).open().await;
    let label = fresh("label");
    let call = leaving(held(&client, &label, 1_500).1.stream());
    eventually("the call runs", async || fixture.held(&label).await == "running").await;
    call.abort();
    eventually("it is carried out", async || fixture.held(&label).await != "running").await;
    assert_eq!(fixture.held(&label).await, "finished");
}

async fn a_legacy_caller_cancels_by_saying_so(stage: Stage) {
    saying_so_cancels(stage, "one", &Shared::running().one).await;
}

async fn a_legacy_caller_cancels_at_a_modern_server_by_saying_so(stage: Stage) {
    saying_so_cancels(stage, "modern", &Shared::running().modern).await;
}

async fn saying_so_cancels(stage: Stage, server: &str, fixture: &Fixture) {
    let gateway = stage.common().await;
    let client = gateway.caller(server).open().await;
    let label = fresh("label");
    let (id, request) = held(&client, &label, 60_000);
    let call = leaving(request.stream());
    eventually("the call runs", async || fixture.held(&label).await == "running").await;
    let params = json!({ "requestId": id, "reason": "no longer wanted" });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    assert_eq!(client.post(cancel.to_string()).send().await.status, 202);
    eventually("it is cancelled", async || fixture.held(&label).await == "cancelled").await;
    call.abort();
}

/// A call of `hold`, and its id.
fn held(client: &Client, label: &str, ms: u64) -> (Value, Exact) {
    let call = client.message("tools/call", json!({ "name": "hold", "arguments": { "label": label, "ms": ms } }));
    (call["id"].clone(), client.post(call.to_string()))
}

/// A request that waits until it is aborted, and reads its answer until then.
fn leaving(request: impl Future<Output = Stream> + 'static) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let mut stream = request.await;
        while stream.message().await.is_some() {}
    })
}
