use http::HeaderName;
use mcp::jsonrpc::Malformed;
use serde_json::Value;

use super::*;
use crate::config::tests::config as parsed;

/// What no caller may read.
const DETAIL: &str = "http://10.0.0.7:3101/mcp: connection refused";

fn config() -> Config {
    parsed(
        r#"
        [gateway]
        url = "https://mcp.example.com"
        [[issuers]]
        issuer = "https://login.example.com"
        jwks_url = "https://login.example.com/jwks"
        [[servers]]
        name = "files"
        instances = ["https://files.example/mcp"]
        scopes = ["files:read", "files:write"]
        "#,
    )
}

fn answered(refusal: &Refusal, id: Option<&str>) -> (Response<Bytes>, Value) {
    let id = id.map(|id| RawValue::from_string(id.to_owned()).unwrap());
    let response: Response<Bytes> = refusal.answer(&config(), Some("files"), id.as_deref());
    let body = serde_json::from_slice(response.body()).unwrap();
    (response, body)
}

fn field(response: &Response<Bytes>, name: HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn detail() -> String {
    DETAIL.to_owned()
}

fn exceeded() -> Refusal {
    Refusal::Exceeded(quota::Exceeded { limit: "60 requests per minute by agent".to_owned(), retry_after_secs: 17 })
}

fn denied() -> Refusal {
    Refusal::Denied(policy::Denied::Scope(vec!["files:read".to_owned(), "files:write".to_owned()]))
}

/// Every refusal with its status and code.
fn table() -> Vec<(Refusal, u16, i64)> {
    vec![
        (Refusal::NoEndpoint, 404, -32000),
        (guard::Refused::Method.into(), 405, -32000),
        (guard::Refused::Host.into(), 403, -32000),
        (guard::Refused::Origin.into(), 403, -32000),
        (guard::Refused::Header("origin").into(), 400, -32000),
        (guard::Refused::Revision("1".to_owned()).into(), 400, -32000),
        (guard::Refused::ContentType.into(), 415, -32000),
        (guard::Refused::Accept("text/event-stream").into(), 406, -32000),
        (guard::Refused::TooLarge(4096).into(), 413, -32000),
        (guard::Refused::Malformed(Malformed::Json("eof".to_owned())).into(), 400, -32700),
        (guard::Refused::Malformed(Malformed::Shape("no method")).into(), 400, -32600),
        (guard::Refused::Batch.into(), 400, -32600),
        (guard::Refused::InitializeInBatch.into(), 400, -32600),
        (Refusal::Unread(detail()), 400, -32000),
        (Refusal::Params("`name` is named twice".to_owned()), 400, -32602),
        (identity::Refused::Missing.into(), 401, -32000),
        (identity::Refused::Malformed.into(), 401, -32000),
        (identity::Refused::Expired.into(), 401, -32000),
        (identity::Refused::Audience.into(), 401, -32000),
        (Refusal::Keys(detail()), 503, -32000),
        (Refusal::NotFound(registry::NotFound), 404, -32000),
        (denied(), 403, -32000),
        (exceeded(), 429, -32000),
        (Refusal::Claim(bridge::claim::Refused::Batch), 400, -32600),
        (Refusal::Claim(bridge::claim::Refused::Method("ping".to_owned())), 404, -32601),
        (Refusal::State(bridge::seal::Refusal::Expired), 200, -32602),
        (Refusal::NoSession, 400, -32000),
        (Refusal::Session(session::Unknown), 404, -32001),
        (Refusal::Lost(detail()), 404, -32001),
        (Refusal::Unreachable(detail()), 503, -32603),
        (Refusal::Broken(detail()), 502, -32603),
        (Refusal::Deadline(30_000), 504, -32603),
        (Refusal::Garbage(detail()), 502, -32603),
        (Refusal::Credential(StatusCode::UNAUTHORIZED), 502, -32603),
        (Refusal::Internal(detail()), 503, -32603),
    ]
}

#[test]
fn each_refusal_has_its_status_and_code() {
    for (refusal, status, code) in table() {
        let (response, body) = answered(&refusal, Some("7"));
        assert_eq!((response.status().as_u16(), body["error"]["code"].as_i64()), (status, Some(code)), "{refusal:?}");
        assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &json!(7)), "{refusal:?}");
        assert_eq!(body["error"]["message"], refusal.to_string());
        assert_eq!(field(&response, header::CONTENT_TYPE), Some("application/json"));
        assert_eq!(field(&response, header::CONTENT_LENGTH), Some(response.body().len().to_string().as_str()));
    }
}

#[test]
fn the_caller_never_reads_what_is_for_the_operator() {
    let mut with_detail = 0;
    for (refusal, ..) in table() {
        let (response, body) = answered(&refusal, None);
        let told = format!("{body} {:?}", response.headers());
        assert!(!told.contains("10.0.0.7") && !told.contains("connection refused"), "{told}");
        let reason = refusal.reason();
        assert!(reason.starts_with(&refusal.to_string()), "{reason}");
        with_detail += usize::from(reason.contains(DETAIL));
    }
    assert_eq!(with_detail, 7, "the operator reads all of it");
}

#[test]
fn every_message_says_something_in_one_plain_line() {
    for (refusal, ..) in table() {
        let message = refusal.to_string();
        let first = message.chars().next().unwrap();
        assert!(first.is_lowercase() || first == '`', "{message}");
        assert!(!message.ends_with('.') && !message.contains('\n') && message.len() > 15, "{message}");
    }
}

#[test]
fn the_id_is_answered_as_it_was_spelled() {
    for id in ["7", "-1", r#""a""#, r#""\u0061\"}""#, "9007199254740993"] {
        let (response, _) = answered(&Refusal::NoSession, Some(id));
        let text = std::str::from_utf8(response.body()).unwrap();
        assert!(text.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"#)), "{text}");
    }
    assert_eq!(answered(&Refusal::NoSession, None).1["id"], Value::Null);
}

#[test]
fn headers_go_with_what_they_belong_to_and_nothing_else() {
    for (refusal, status, _) in table() {
        let (response, _) = answered(&refusal, None);
        let challenged = field(&response, header::WWW_AUTHENTICATE).is_some();
        assert_eq!(challenged, status == 401 || matches!(refusal, Refusal::Denied(_)), "{refusal:?}");
        let retried = field(&response, header::RETRY_AFTER).is_some();
        assert_eq!(retried, status == 429 || status == 503, "{refusal:?}");
        assert_eq!(field(&response, header::ALLOW).is_some(), status == 405, "{refusal:?}");
    }
}

#[test]
fn a_challenge_says_where_to_go_and_what_to_ask_for() {
    let metadata =
        r#"Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp/files""#;
    let challenged = |refusal: &Refusal| {
        field(&answered(refusal, None).0, header::WWW_AUTHENTICATE).unwrap().strip_prefix(metadata).unwrap().to_owned()
    };
    let scope = r#", scope="files:read files:write""#;
    assert_eq!(challenged(&identity::Refused::Missing.into()), scope);
    let expired = r#", error="invalid_token", error_description="the token has expired""#;
    assert_eq!(challenged(&identity::Refused::Expired.into()), format!("{expired}{scope}"));
    let insufficient = challenged(&denied());
    assert!(insufficient.starts_with(r#", error="insufficient_scope", error_description=""#), "{insufficient}");
    assert!(insufficient.ends_with(scope), "{insufficient}");
}

#[test]
fn outside_of_a_server_a_challenge_is_the_gateways() {
    let read = Refusal::Denied(policy::Denied::Scope(vec!["audit:read".to_owned()]));
    let response: Response<Bytes> = read.answer(&config(), None, None);
    let challenge = field(&response, header::WWW_AUTHENTICATE).unwrap();
    let metadata = r#"Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource","#;
    assert!(challenge.starts_with(metadata) && challenge.ends_with(r#"scope="audit:read""#), "{challenge}");
    let missing: Response<Bytes> = Refusal::from(identity::Refused::Missing).answer(&config(), None, None);
    assert!(!field(&missing, header::WWW_AUTHENTICATE).unwrap().contains("scope="));
}

#[test]
fn what_a_program_can_act_on_is_data() {
    let (response, body) = answered(&exceeded(), None);
    assert_eq!(field(&response, header::RETRY_AFTER), Some("17"));
    let expected = json!({ "limit": "60 requests per minute by agent", "retryAfterSeconds": 17 });
    assert_eq!(body["error"]["data"], expected);
    assert_eq!(
        answered(&denied(), None).1["error"]["data"],
        json!({ "requiredScopes": ["files:read", "files:write"] })
    );
    let (_, body) = answered(&Refusal::NoSession, None);
    assert!(body["error"].get("data").is_none());
}

#[test]
fn the_verdict_says_whose_doing_it_is() {
    for (refusal, status, _) in table() {
        let ours = status >= 500 || matches!(refusal, Refusal::Lost(_));
        let expected = if ours { audit::Verdict::Failed } else { audit::Verdict::Denied };
        assert_eq!(refusal.verdict(), expected, "{refusal:?}");
    }
}
