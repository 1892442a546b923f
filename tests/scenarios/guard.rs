//! Is a request that nobody should work on turned away, with a status and a code that say why?

use bytes::Bytes;
use serde_json::json;
use turnpike_tests::{
    Stage,
    client::Answer,
    setup::{ALLOWED_ORIGIN, MAX_BODY_BYTES},
};

scenarios! {
    other_methods_are_405,
    other_paths_are_404,
    probes_are_answered,
    a_foreign_host_is_403,
    a_foreign_origin_is_403,
    an_allowed_origin_may_read_the_answer,
    a_preflight_tells_an_allowed_page_what_it_may_send,
    another_content_type_is_415,
    an_accept_that_leaves_no_answer_is_406,
    a_body_that_says_it_is_too_large_is_413,
    a_body_that_becomes_too_large_is_413,
    what_is_no_json_is_32700,
    what_is_no_message_is_32600,
    an_unknown_revision_is_400,
    a_header_that_comes_twice_is_refused,
    a_key_that_is_named_twice_is_refused,
    endless_nesting_is_refused,
    a_caller_that_leaves_while_it_sends_harms_nobody,
}

async fn other_methods_are_405(stage: Stage) {
    let gateway = stage.common().await;
    for method in ["PUT", "PATCH"] {
        let answer = gateway.caller("one").exact(method, "/mcp/one").send().await;
        answer.refuses(405, -32000);
        assert_eq!(answer.header("allow"), "POST, GET, DELETE, OPTIONS");
    }
    assert_eq!(gateway.caller("one").exact("HEAD", "/mcp/one").send().await.status, 405);
}

async fn other_paths_are_404(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    for path in ["/", "/mcp/", "/mcp/one/", "/mcp/one/two", "/mcp/One", "/api", "/api/audit/", "/mcp/%6fne"] {
        let answer = client.post(ping()).path(path).send().await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}

async fn probes_are_answered(stage: Stage) {
    let gateway = stage.common().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(gateway.client().exact("GET", path).send().await.status, 200, "{path}");
    }
}

async fn a_foreign_host_is_403(stage: Stage) {
    let gateway = stage.common().await;
    let port = gateway.origin().rsplit(':').next().unwrap().to_owned();
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1:1", "localhost"] {
        gateway.caller("one").post(ping()).with("host", host).send().await.refuses(403, -32000);
    }
    let nameless = gateway.caller("one").post(ping()).without("host").send_if_it_lives().await;
    // Spin itself closes the connection of such a request.
    let is_refused = |answer: &Answer| [400, 403].contains(&answer.status);
    assert!(nameless.as_ref().map_or(stage == Stage::Spin, is_refused), "{nameless:?}");
    let local = gateway.caller("one").post(ping()).with("host", &format!("localhost:{port}")).send().await;
    assert_eq!(local.status, 400, "it came as far as the missing session: {local:?}");
}

async fn a_foreign_origin_is_403(stage: Stage) {
    let gateway = stage.common().await;
    for origin in ["https://evil.example", "null", "http://localhost.evil.example", "https://console.example.com:1"] {
        let answer = gateway.caller("one").post(ping()).header("origin", origin).send().await;
        answer.refuses(403, -32000);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");
    }
}

async fn an_allowed_origin_may_read_the_answer(stage: Stage) {
    let gateway = stage.common().await;
    for origin in [ALLOWED_ORIGIN, "http://localhost:6274", gateway.origin()] {
        let answer = gateway.caller("one").post(ping()).header("origin", origin).send().await;
        assert_eq!(answer.status, 400, "it came as far as the missing session: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert!(answer.header("access-control-expose-headers").contains("mcp-session-id"), "{answer:?}");
        assert!(answer.header("vary").contains("origin"), "{answer:?}");
    }
}

async fn a_preflight_tells_an_allowed_page_what_it_may_send(stage: Stage) {
    let gateway = stage.common().await;
    let preflight = |origin| {
        let request = gateway.client().exact("OPTIONS", "/mcp/one").header("origin", origin);
        request.header("access-control-request-method", "POST").send()
    };
    let allowed = preflight(ALLOWED_ORIGIN).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), ALLOWED_ORIGIN);
    assert!(allowed.header("access-control-allow-methods").contains("DELETE"));
    assert!(allowed.header("access-control-allow-headers").contains("mcp-session-id"));
    let foreign = preflight("https://evil.example").await;
    assert!(!foreign.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{foreign:?}");
}

async fn another_content_type_is_415(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    for content_type in ["text/plain", "application/json-rpc", "", "multipart/form-data; boundary=application/json"] {
        client.post(ping()).with("content-type", content_type).send().await.refuses(415, -32000);
    }
    client.post(ping()).without("content-type").send().await.refuses(415, -32000);
    let good = client.post(ping()).with("content-type", "Application/JSON; charset=utf-8").send().await;
    assert_eq!(good.status, 400, "it came as far as the missing session: {good:?}");
}

async fn an_accept_that_leaves_no_answer_is_406(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    for accept in ["application/json", "text/event-stream", "text/html", "application/json;q=0, text/event-stream"] {
        client.post(ping()).with("accept", accept).send().await.refuses(406, -32000);
    }
    for accept in ["*/*", "application/*, text/*", "text/event-stream;q=0.5, application/json"] {
        assert_eq!(client.post(ping()).with("accept", accept).send().await.status, 400, "{accept}");
    }
    assert_eq!(client.post(ping()).without("accept").send().await.status, 400);
    let get = client.exact("GET", "/mcp/one").header("accept", "application/json");
    get.send().await.refuses(406, -32000);
}

async fn a_body_that_says_it_is_too_large_is_413(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    client.post("x".repeat(MAX_BODY_BYTES + 1)).send().await.refuses(413, -32000);
    client.post("x".repeat(MAX_BODY_BYTES)).send().await.refuses(400, -32700);
}

async fn a_body_that_becomes_too_large_is_413(stage: Stage) {
    let gateway = stage.common().await;
    let pieces = vec![Bytes::from("x".repeat(64 * 1024)); 5];
    gateway.caller("one").post("").chunked(pieces).send().await.refuses(413, -32000);
}

async fn what_is_no_json_is_32700(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    for body in [&b""[..], b"{", b"{\"jsonrpc\":", b"\"\xff\xfe\"", b"[{]", b"nonsense", b"{}}"] {
        client.post(body).send().await.refuses(400, -32700);
    }
}

async fn what_is_no_message_is_32600(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one");
    for body in [
        "1",
        "null",
        "{}",
        "[]",
        "[1]",
        r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
    ] {
        let answer = client.post(body).send().await;
        assert_eq!((answer.status, answer.code()), (400, -32600), "{body}");
    }
}

async fn an_unknown_revision_is_400(stage: Stage) {
    let gateway = stage.common().await;
    for revision in ["2025-11-26", "1", "2025-11-25, 2025-11-25", "DRAFT-2026"] {
        gateway.caller("one").post(ping()).header("mcp-protocol-version", revision).send().await.refuses(400, -32000);
    }
}

async fn a_header_that_comes_twice_is_refused(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let session = client.session().unwrap();
    // workerd joins them to one value, which is then no good; in memory they are seen apart.
    for (name, value) in [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")] {
        let answer = client.post(ping()).header(name, value).send().await;
        assert!((400..=404).contains(&answer.status), "{name}: {answer:?}");
    }
    let bearer = format!("Bearer {}", gateway.token().text());
    let answer = client.post(ping()).header("authorization", &bearer).send().await;
    assert!([400, 401].contains(&answer.status), "{answer:?}");
}

async fn a_key_that_is_named_twice_is_refused(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let call = |arguments: &str| {
        let params = format!(r#"{{"name":"echo","arguments":{arguments}}}"#);
        client.post(format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#)).send()
    };
    call(r#"{"text":"shown","text":"meant"}"#).await.refuses(400, -32602);
    call(r#"{"text":"a","more":[{"path":"/tmp","p\u0061th":"/etc"}]}"#).await.refuses(400, -32602);
    assert_eq!(call(r#"{"text":"a"}"#).await.status, 200);
    let method_twice = r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}"#;
    client.post(method_twice).send().await.refuses(400, -32600);
    let name_twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","name":"whoami"}}"#;
    client.post(name_twice).send().await.refuses(400, -32602);
}

async fn endless_nesting_is_refused(stage: Stage) {
    let gateway = stage.common().await;
    let client = gateway.caller("one").open().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{{"text":{deep}}}}}}}"#
    );
    let answer = client.post(call).send().await;
    answer.refuses(400, -32602);
    assert_eq!(answer.reply()["id"], json!(7));
    client.post(&deep).send().await.refuses(400, -32600);
    client.post("[".repeat(100_000)).send().await.refuses(400, -32700);
}

async fn a_caller_that_leaves_while_it_sends_harms_nobody(stage: Stage) {
    let gateway = stage.common().await;
    let token = gateway.token();
    let client = gateway.caller_with("json", &token).open().await;
    let host = gateway.origin().strip_prefix("http://").unwrap();
    let head = format!(
        "POST /mcp/json HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n\
         accept: */*\r\nmcp-session-id: {}\r\ncontent-length: 1000\r\n\r\n{{\"jsonrpc\":",
        token.text(),
        client.session().unwrap()
    );
    for _ in 0..20 {
        client.send_and_leave(head.as_bytes()).await;
    }
    assert_eq!(client.call("echo", json!({ "text": "unharmed" })).await, "unharmed");
}

fn ping() -> &'static str {
    r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
}
