//! What do the others see when one request panics? An error at once, and a gateway that goes on.

use serde_json::json;
use turnpike_tests::{Stage, faulty::Upstream, fixture::Shared, issuer::fresh, setup::Setup, stage::eventually};

workerd_only! {
    "There is a build that panics on request of the Worker only, whose JavaScript answers those a panic would leave waiting.":
    a_panic_is_an_error_and_no_hang,
    an_answer_on_its_way_survives_a_panic,
}

async fn a_panic_is_an_error_and_no_hang(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let (waiting, working) = (gateway.caller("hang").open().await, gateway.caller("json").open().await);
    let marker = fresh("marker");
    let panics = async {
        eventually("the neighbour waits", async || Upstream::shared().received_with(&marker) == 1).await;
        gateway.client().exact("GET", "/faults/panic").send().await
    };
    let (neighbour, panicked) = tokio::join!(waiting.try_call("echo", json!({ "text": marker })), panics);
    for answer in [neighbour, panicked] {
        answer.refuses(500, -32603);
        assert!(
            answer.json()["error"]["message"].as_str().unwrap().contains("may have been carried out"),
            "{answer:?}"
        );
    }
    assert_eq!(working.call("echo", json!({ "text": "on" })).await, "on");
}

async fn an_answer_on_its_way_survives_a_panic(stage: Stage) {
    let gateway = stage.open(setup()).await;
    let client = gateway.caller("one").open().await;
    let mut stream = client.stream("tools/call", slow()).await;
    let begun = stream.message().await.expect("it has begun");
    assert_eq!(begun["params"]["progress"], 1, "{begun}");
    gateway.client().exact("GET", "/faults/panic").send().await.refuses(500, -32603);
    let mut last = begun;
    while let Some(message) = stream.message().await {
        last = message;
    }
    assert_eq!(last["result"]["content"][0]["text"], "5 steps done", "{last}");
}

fn setup() -> Setup {
    let Shared { one, json, .. } = Shared::running();
    let setup = Setup::new().server("one", &[&one.url]).server("json", &[&json.url]);
    setup.server("hang", &[&Upstream::shared().url("hang")]).that_panics()
}

fn slow() -> serde_json::Value {
    let arguments = json!({ "steps": 5, "step_ms": 300 });
    json!({ "name": "slow", "arguments": arguments, "_meta": { "progressToken": "p" } })
}
