//! What servers answer is in golden files in `tests/golden/probe`; here is what follows from it.

use proptest::prelude::*;

use super::*;
use crate::claim::{Claim, classify};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn modern(versions: &[&str]) -> Verdict {
    Verdict::Modern { supported: versions.iter().map(|&version| version.to_owned()).collect() }
}

#[test]
fn the_question_is_a_modern_request() {
    let text = discover_request(7, &json!({ "name": "turnpike", "version": "1" }));
    let body = mcp::jsonrpc::parse(text.as_bytes()).unwrap();
    let one = |text: &str| vec![text.to_owned()];
    let mirrors =
        mcp::header::Mirrors { versions: one("2026-07-28"), methods: one("server/discover"), ..Default::default() };
    let Ok(Claim::Modern(envelope)) = classify(&body, &mirrors) else { panic!("{text}") };
    assert_eq!((envelope.revision, envelope.capabilities), (Revision::V2026_07_28, "{}"));
    assert_eq!(envelope.client_info.unwrap().get(), r#"{"name":"turnpike","version":"1"}"#);
}

#[test]
fn the_newest_revision_both_speak_is_chosen() {
    assert_eq!(modern(&["2027-03-01", "2026-07-28"]).common(), Some(Revision::V2026_07_28));
    assert_eq!(modern(&[]).common(), Some(Revision::V2026_07_28), "it names none, but knows the envelope");
    assert_eq!(modern(&["2027-03-01"]).common(), None);
    assert_eq!(Verdict::Legacy.common(), None);
}

#[test]
fn a_verdict_is_believed_for_a_day() {
    let known = Verdict::Legacy.known(NOW).unwrap();
    let day_ms = 86_400_000;
    assert_eq!(known.at(NOW.plus_millis(day_ms - 1)), Some(Era::Legacy));
    assert_eq!(known.at(NOW.plus_millis(day_ms)), None);
    assert_eq!(modern(&["2026-07-28"]).known(NOW).unwrap().at(NOW), Some(Era::Modern(Revision::V2026_07_28)));
    assert_eq!(Verdict::Unknown.known(NOW), None);
    assert_eq!(modern(&["2027-03-01"]).known(NOW), None);
}

#[test]
fn what_is_known_is_kept_as_a_document() {
    for (verdict, era) in [(Verdict::Legacy, json!("legacy")), (modern(&[]), json!({ "modern": "2026-07-28" }))] {
        let known = verdict.known(Timestamp::from_millis(5)).unwrap();
        let document = json!({ "era": era, "until": 86_400_005 });
        assert_eq!(json!(known), document);
        assert_eq!(serde_json::from_value::<Known>(document).unwrap(), known);
    }
}

/// MCP 2026-07-28 basic/versioning: a modern-only server refuses `initialize` with an error of its own choice.
#[test]
fn a_server_that_refuses_initialize_is_told_from_one_that_fails() {
    let error =
        |code: i64, message: &str| json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": code, "message": message } });
    for (status, body) in [
        (400, error(-32022, "unsupported")),
        (400, error(-32020, "the header is missing")),
        (400, error(-32602, "missing `_meta`")),
        (404, error(-32601, "unknown method")),
        (400, error(-32601, "unknown method")),
        (200, error(-32601, "unknown method")),
    ] {
        assert!(refuses_initialize(status, &body.to_string()), "{status} {body}");
    }
    let legacy_list = json!({ "jsonrpc": "2.0", "id": 1,
        "error": { "code": -32602, "message": "Unsupported protocol version", "data": { "supported": ["2024-11-05"] } } });
    for (status, body) in [
        (400, legacy_list),
        (200, error(-32603, "failed")),
        (400, error(-32000, "Server already initialized")),
        (401, error(-32022, "unsupported")),
        (403, error(-32601, "unknown method")),
        (429, error(-32601, "unknown method")),
        (503, error(-32022, "unsupported")),
        (200, json!({ "jsonrpc": "2.0", "id": 1, "result": { "protocolVersion": "2025-11-25" } })),
        (400, json!("no JSON-RPC")),
    ] {
        assert!(!refuses_initialize(status, &body.to_string()), "{status} {body}");
    }
}

#[test]
fn a_list_without_end_is_kept_in_part() {
    let versions: Vec<String> = (0..1000).map(|year| format!("{}-01-01", 3000 + year)).collect();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "result": { "supportedVersions": versions } }).to_string();
    let Verdict::Modern { supported } = verdict(200, Some(&body)) else { panic!() };
    assert_eq!(supported.len(), 16);
}

proptest! {
    #[test]
    fn arbitrary_answers_never_panic_and_auth_is_never_evidence(status in any::<u16>(), body in any::<String>()) {
        let found = verdict(status, Some(&body));
        let _ = refuses_initialize(status, &body);
        if matches!(status, 401 | 403) || status >= 500 {
            prop_assert_eq!(found, Verdict::Unknown);
        }
    }

    #[test]
    fn arbitrary_errors_never_panic(
        status in prop::sample::select(vec![200_u16, 400, 401, 404, 405, 500]),
        code in prop_oneof![-32_605_i64..-32_599, -32_023_i64..-32_019, any::<i64>()],
        data in prop_oneof![Just(json!(null)), Just(json!({ "supported": [1] })), Just(json!({ "supported": ["2026-07-28"] }))],
    ) {
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": "no", "data": data } });
        let body = body.to_string();
        if let Verdict::Modern { .. } = verdict(status, Some(&body)) {
            prop_assert!(matches!(status, 200 | 400 | 404 | 405));
            prop_assert!((-32_022..=-32_020).contains(&code) || code == -32_601, "-32602 names no envelope here");
        }
    }
}
