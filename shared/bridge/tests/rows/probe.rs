//! Is a server's era found out from what servers really answer (MCP reference 1.2.10 and 1.2.11)?

use bridge::probe::{self, Verdict};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "rule")]
    _rule: String,
    status: u16,
    body: Value,
    verdict: Expected,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Modern(Vec<String>),
    Legacy,
    Unknown,
}

#[test]
fn every_dialect_is_understood() {
    for (name, row) in crate::rows::<Row>("probe") {
        let body = match row.body {
            Value::Null => None,
            Value::String(text) => Some(text),
            message => Some(message.to_string()),
        };
        let found = match probe::verdict(row.status, body.as_deref()) {
            Verdict::Modern { supported } => Expected::Modern(supported),
            Verdict::Legacy => Expected::Legacy,
            Verdict::Unknown => Expected::Unknown,
        };
        assert_eq!(found, row.verdict, "{name}");
    }
}
