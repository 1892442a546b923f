//! Is each request classified as the ladder of MCP reference 1.2.9 says? One golden file for each rule.

use bridge::claim::{self, Claim, Kind};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "rule")]
    _rule: String,
    headers: Vec<(String, String)>,
    body: Value,
    expect: Expected,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Legacy,
    Modern(Envelope),
    Refused(Refused),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kind: String,
    capabilities: String,
    client_info: Option<String>,
    log_level: Option<String>,
    progress_token: Option<String>,
    input_responses: Option<String>,
    request_state: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    status: u16,
    code: i64,
    message: String,
    data: Option<Value>,
}

#[test]
fn every_rule_of_the_ladder_holds() {
    for (name, row) in crate::rows::<Row>("claim") {
        // Whether an object keeps the order of its members is up to who else uses serde_json.
        let text = mcp::canonical::text(&row.body);
        let body = mcp::jsonrpc::parse(text.as_bytes()).unwrap();
        let found = match claim::classify(&body, &crate::mirrors(&row.headers)) {
            Ok(Claim::Legacy) => Expected::Legacy,
            Ok(Claim::Modern(envelope)) => Expected::Modern(spelled(&envelope)),
            Err(refused) => Expected::Refused(Refused {
                status: refused.status(),
                code: refused.code(),
                message: refused.to_string(),
                data: refused.data(),
            }),
        };
        assert_eq!(found, row.expect, "{name}");
    }
}

fn spelled(envelope: &claim::Envelope<'_>) -> Envelope {
    assert_eq!(envelope.revision, mcp::Revision::V2026_07_28);
    let text = |raw: Option<&serde_json::value::RawValue>| raw.map(|raw| raw.get().to_owned());
    let kind = match envelope.kind {
        Kind::Request => "request",
        Kind::Notification => "notification",
    };
    Envelope {
        kind: kind.to_owned(),
        capabilities: envelope.capabilities.to_owned(),
        client_info: text(envelope.client_info),
        log_level: envelope.log_level.map(|level| level.as_str().to_owned()),
        progress_token: text(envelope.progress_token),
        input_responses: text(envelope.input_responses),
        request_state: envelope.request_state.clone(),
    }
}
