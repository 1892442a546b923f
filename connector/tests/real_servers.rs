//! Do published servers work behind the connector as they do without it?

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of tests are tests")]

mod support;

use serde_json::{Value, json};
use support::{Connector, Messages, call, npm};

#[tokio::test]
async fn everything_lists_and_calls_its_tools() {
    let connector = Connector::start("", &[("everything", &npm("mcp-server-everything"), &[], "")]);
    let mut caller = connector.caller("everything");
    let answer = caller.initialize(json!({})).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    let listed = caller.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    let listed = Messages::of(listed).last().await;
    let names: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert!(names.contains(&&json!("echo")), "{names:?}");
    assert_eq!(caller.text(json!("s"), "echo", json!({"message": "hello"})).await, "Echo: hello");

    let mut slow = call(json!(3), "trigger-long-running-operation", json!({"duration": 0.2, "steps": 4}));
    slow["params"]["_meta"] = json!({"progressToken": "p"});
    let messages = Messages::of(caller.post(&slow).await);
    assert_eq!(messages.content_type, "text/event-stream");
    let messages = messages.all().await;
    let progress: Vec<_> = messages.iter().filter(|message| message["method"] == "notifications/progress").collect();
    assert_eq!(progress.len(), 4);
    assert!(progress.iter().all(|message| message["params"]["progressToken"] == "p"));
    assert_eq!(messages.last().unwrap()["id"], 3);
}

#[tokio::test]
async fn memory_remembers() {
    let file = std::env::temp_dir().join(format!("turnpike-memory-{}.json", std::process::id()));
    let memory = npm("mcp-server-memory");
    // Its file is named in the environment; `set_env` is the test support's, so `env` passes it on.
    let connector =
        Connector::start("", &[("memory", "env", &[&format!("MEMORY_FILE_PATH={}", file.display()), &memory], "")]);
    let caller = connector.session("memory").await;
    let entities =
        json!({"entities": [{"name": "turnpike", "entityType": "gateway", "observations": ["runs at the edge"]}]});
    let created = caller.call(json!(1), "create_entities", entities).await;
    assert_eq!(created["result"]["structuredContent"]["entities"][0]["name"], "turnpike", "{created}");
    let graph = connector.session("memory").await.text(json!(1), "read_graph", json!({})).await;
    assert!(graph.contains("runs at the edge"), "{graph}");
    std::fs::remove_file(file).unwrap();
}

/// The server's request comes on the stream of the POST, and the answer is POSTed.
async fn served_with(capability: Value, tool: &str, method: &str, reply: Value) -> Value {
    let connector = Connector::start("", &[("everything", &npm("mcp-server-everything"), &[], "")]);
    let mut caller = connector.caller("everything");
    caller.initialize(capability).await;
    let arguments = json!({"prompt": "say something", "maxTokens": 10});
    let mut messages = Messages::of(caller.post(&call(json!("ask"), tool, arguments)).await);
    let asked = loop {
        let message = messages.next().await.unwrap_or_else(|| panic!("no {method}"));
        if message["method"] == method {
            break message;
        }
    };
    assert_eq!(messages.content_type, "text/event-stream");
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": reply});
    assert_eq!(caller.post(&reply).await.status().as_u16(), 202);
    let answer = messages.last().await;
    assert_eq!(answer["id"], "ask");
    answer["result"].clone()
}

#[tokio::test]
async fn sampling_is_answered_through_the_post() {
    let reply = json!({"role": "assistant", "model": "m-1", "content": {"type": "text", "text": "a sampled text"}});
    let method = "sampling/createMessage";
    let result = served_with(json!({"sampling": {}}), "trigger-sampling-request", method, reply).await;
    assert!(result.to_string().contains("a sampled text"), "{result}");
}

#[tokio::test]
async fn elicitation_is_answered_through_the_post() {
    let reply = json!({"action": "accept", "content": {"name": "Ada", "check": true}});
    let method = "elicitation/create";
    let result = served_with(json!({"elicitation": {}}), "trigger-elicitation-request", method, reply).await;
    assert!(result.to_string().contains("Ada"), "{result}");
}

#[tokio::test]
async fn sessions_are_isolated() {
    let fixture = support::fixture("misbehaving.mjs");
    let connector = Connector::start("", &[("bad", "node", &[&fixture], "")]);
    let (one, two) = (connector.session("bad").await, connector.session("bad").await);
    assert_ne!(one.session, two.session);
    assert_ne!(one.text(json!(1), "pid", json!({})).await, two.text(json!(1), "pid", json!({})).await);
    assert_eq!(one.text(json!(2), "count", json!({})).await, "1");
    assert_eq!(one.text(json!(3), "count", json!({})).await, "2");
    assert_eq!(two.text(json!(2), "count", json!({})).await, "1");

    // The same id in flight in both, each with its own question.
    let ask = |method: &str| call(json!("same"), "ask", json!({"method": method}));
    let mut of_one = Messages::of(one.post(&ask("roots/list")).await);
    let mut of_two = Messages::of(two.post(&ask("ping")).await);
    assert_eq!(of_one.next().await.unwrap()["method"], "roots/list");
    assert_eq!(of_two.next().await.unwrap()["method"], "ping");
    one.post(&json!({"jsonrpc": "2.0", "id": "question", "result": {"of": "one"}})).await;
    two.post(&json!({"jsonrpc": "2.0", "id": "question", "result": {"of": "two"}})).await;
    assert!(of_one.last().await.to_string().contains("one"));
    assert!(of_two.last().await.to_string().contains("two"));

    one.delete().await;
    assert_eq!(two.text(json!(4), "count", json!({})).await, "2");
}
