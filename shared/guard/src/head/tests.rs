use http::{HeaderValue, Request};
use proptest::prelude::*;

use super::*;

const PUBLIC: &str = "https://mcp.example.com";
const LOOPBACK: &str = "http://127.0.0.1:8787";
const BOTH: &str = "application/json, text/event-stream";

fn site(url: &str) -> Site {
    Site::new(url, vec!["https://app.example.com".to_owned()])
}

/// A head that is good, with `fields` instead of, or besides, what it has.
fn head(method: &str, fields: &[(&str, &str)]) -> Parts {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8787"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static(BOTH));
    for (name, _) in fields {
        headers.remove(*name);
    }
    for (name, value) in fields {
        let name = HeaderName::try_from(*name).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (mut parts, ()) = Request::builder().method(method).uri("/mcp/files").body(()).unwrap().into_parts();
    parts.headers = headers;
    parts
}

fn admitted(fields: &[(&str, &str)]) -> Admitted {
    admit(&site(PUBLIC), &head("POST", fields)).unwrap()
}

fn status(method: &str, fields: &[(&str, &str)]) -> u16 {
    admit(&site(PUBLIC), &head(method, fields)).map_or_else(|refused| refused.status(), |_| 200)
}

#[test]
fn three_methods_are_known() {
    for (method, verb) in [("POST", Verb::Post), ("GET", Verb::Get), ("DELETE", Verb::Delete)] {
        assert_eq!(admit(&site(PUBLIC), &head(method, &[])).unwrap().verb, verb);
    }
    for method in ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post", "PROPFIND"] {
        assert!(matches!(admit(&site(PUBLIC), &head(method, &[])), Err(Refused::Method)), "{method}");
        assert_eq!(status(method, &[]), 405);
    }
}

#[test]
fn a_post_carries_json() {
    for value in ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json ;a=b"] {
        assert_eq!(status("POST", &[("content-type", value)]), 200, "{value}");
    }
    for value in [
        "",
        "text/plain",
        "application/jsonp",
        "application/json-rpc",
        "json",
        "text/json",
        "; application/json",
        "*/*",
    ] {
        assert_eq!(status("POST", &[("content-type", value)]), 415, "{value}");
    }
    let mut without = head("POST", &[]);
    without.headers.remove(header::CONTENT_TYPE);
    assert!(matches!(admit(&site(PUBLIC), &without), Err(Refused::ContentType)));
    for method in ["GET", "DELETE"] {
        assert_eq!(status(method, &[("content-type", "text/plain")]), 200, "{method} has no body to type");
    }
}

#[test]
fn a_post_accepts_both_an_answer_and_a_stream() {
    for value in [
        BOTH,
        "text/event-stream,application/json",
        "application/json;q=0.5, text/event-stream;q=0.1",
        "*/*",
        "application/*, text/*",
        "APPLICATION/JSON, Text/Event-Stream",
        "text/html, */*;q=0.1",
        "application/json;q=0.001,text/event-stream ; q=1.000",
        "text/event-stream, */*;q=0.5, application/*;q=0, application/json",
    ] {
        assert_eq!(status("POST", &[("accept", value)]), 200, "{value}");
    }
    for value in [
        "",
        "application/json",
        "text/event-stream",
        "text/html",
        "application/*",
        "application/json;q=0, text/event-stream",
        "application/json, text/event-stream;q=0.000",
        "application/json, text/event-stream; Q=0.",
        "application/json, text/event-stream; q = 0",
        "*/*;q=0",
        "*/*, text/event-stream;q=0",
        "*/*, application/*;q=0",
        "text/*, application/jsonp",
    ] {
        assert_eq!(status("POST", &[("accept", value)]), 406, "{value}");
    }
    assert_eq!(status("POST", &[("accept", "application/json"), ("accept", "text/event-stream")]), 200);
    assert_eq!(status("POST", &[("accept", "é")]), 406);
}

#[test]
fn a_get_accepts_a_stream_and_a_delete_anything() {
    for (value, expected) in [("text/event-stream", 200), ("*/*", 200), ("text/*", 200), ("application/json", 406)] {
        assert_eq!(status("GET", &[("accept", value)]), expected, "{value}");
        assert_eq!(status("DELETE", &[("accept", value)]), 200, "{value}");
    }
}

#[test]
fn without_accept_everything_is_accepted() {
    for method in ["POST", "GET", "DELETE"] {
        let mut without = head(method, &[]);
        without.headers.remove(header::ACCEPT);
        assert!(admit(&site(PUBLIC), &without).is_ok(), "{method}");
    }
}

#[test]
fn on_loopback_another_host_is_a_rebound_name() {
    let outcome = |fields: &[(&str, &str)]| admit(&site(LOOPBACK), &head("POST", fields)).map(drop);
    for host in ["127.0.0.1:8787", "localhost:8787", "[::1]:8787"] {
        assert!(outcome(&[("host", host)]).is_ok(), "{host}");
    }
    for host in ["evil.example", "evil.example:8787", "localhost:9", "localhost", ""] {
        assert!(matches!(outcome(&[("host", host)]), Err(Refused::Host)), "{host}");
    }
    let mut without = head("POST", &[]);
    without.headers.remove(header::HOST);
    assert!(matches!(admit(&site(LOOPBACK), &without), Err(Refused::Host)));
    without.uri = "http://localhost:8787/mcp/files".parse().unwrap();
    assert!(admit(&site(LOOPBACK), &without).is_ok(), "HTTP/2 says it in the URI");
    assert_eq!(status("POST", &[("host", "anything.example")]), 200, "elsewhere the platform routes by host");
}

#[test]
fn a_page_calls_from_an_allowed_origin() {
    for (origin, expected) in [
        ("https://app.example.com", 200),
        ("https://mcp.example.com", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://localhost:6274", 403),
    ] {
        assert_eq!(status("POST", &[("origin", origin)]), expected, "{origin}");
        assert_eq!(status("GET", &[("origin", origin)]), expected, "{origin}");
        assert_eq!(status("DELETE", &[("origin", origin)]), expected, "{origin}");
    }
    let local = admit(&site(LOOPBACK), &head("POST", &[("origin", "http://localhost:6274")]));
    assert!(local.is_ok(), "the Inspector's page");
}

#[test]
fn a_revision_is_known_and_legacy_or_refused() {
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let admitted = admitted(&[("mcp-protocol-version", revision)]);
        assert_eq!(admitted.revision, Revision::parse(revision));
        assert_eq!(admitted.speaks().as_str(), revision);
    }
    for revision in ["2026-07-28", "2025-11-26", "DRAFT-2026-v1", "1", "", " ", "2025-06-18, 2025-06-18"] {
        let refused = admit(&site(PUBLIC), &head("POST", &[("mcp-protocol-version", revision)])).unwrap_err();
        assert!(matches!(refused, Refused::Revision(_)), "{revision}");
        assert_eq!(refused.status(), 400);
    }
    let absent = admitted(&[]);
    assert_eq!((absent.revision, absent.speaks()), (None, Revision::V2025_03_26));
}

#[test]
fn a_long_revision_is_not_repeated_whole() {
    let refused = admit(&site(PUBLIC), &head("POST", &[("mcp-protocol-version", &"9".repeat(4096))])).unwrap_err();
    assert!(refused.to_string().len() < 256, "{refused}");
}

#[test]
fn a_header_that_says_one_thing_comes_once() {
    for name in SPELLED {
        let value =
            head("POST", &[]).headers.get(name).map_or("2025-06-18".to_owned(), |v| v.to_str().unwrap().to_owned());
        let refused = admit(&site(PUBLIC), &head("POST", &[(name, &value), (name, &value)])).unwrap_err();
        assert!(matches!(refused, Refused::Header(spelled) if spelled == name), "{name}: {refused}");
        assert_eq!((refused.status(), refused.code()), (400, -32000));
    }
}

#[test]
fn a_header_that_is_not_ascii_is_refused() {
    for name in SPELLED {
        let refused = admit(&site(PUBLIC), &head("POST", &[(name, "é")])).unwrap_err();
        assert!(matches!(refused, Refused::Header(spelled) if spelled == name), "{name}: {refused}");
    }
}

#[test]
fn what_later_stages_read_is_carried_as_it_came() {
    let admitted = admitted(&[
        ("authorization", "Bearer t"),
        ("mcp-session-id", "s"),
        ("last-event-id", "7"),
        ("traceparent", "00-a-b-01"),
        ("tracestate", "v=1"),
        ("cookie", "unread"),
    ]);
    assert_eq!(admitted.authorization.as_deref(), Some("Bearer t"));
    assert_eq!(admitted.session_id.as_deref(), Some("s"));
    assert_eq!(admitted.last_event_id.as_deref(), Some("7"));
    assert_eq!(admitted.trace, Some(("00-a-b-01".to_owned(), Some("v=1".to_owned()))));
    let stateless = self::admitted(&[("tracestate", "v=1")]);
    assert_eq!(stateless.trace, None, "a state belongs to a parent");
}

/// The body decides the era: until it is read, every revision is let in.
#[test]
fn any_revision_is_admitted_until_its_era_is_known() {
    let admitted = |fields: &[(&str, &str)]| admit_any_era(&site(PUBLIC), &head("POST", fields)).unwrap();
    for version in ["2026-07-28", "v999.0.0", "", "é"] {
        let admitted = admitted(&[("mcp-protocol-version", version)]);
        assert_eq!(admitted.mirrors.versions, [version]);
        assert_eq!(admitted.revision, Revision::parse(version));
        let refused = admitted.legacy_revision().unwrap_err();
        assert!(matches!(refused, Refused::Revision(_)) == version.is_ascii(), "{version}: {refused}");
    }
    let twice = admitted(&[("mcp-protocol-version", "2025-06-18"), ("mcp-protocol-version", "2025-06-18")]);
    assert_eq!(twice.revision, None);
    assert!(matches!(twice.legacy_revision(), Err(Refused::Header("mcp-protocol-version"))));
    let legacy = admitted(&[("mcp-protocol-version", "2025-06-18")]);
    assert_eq!(legacy.legacy_revision().unwrap(), Some(Revision::V2025_06_18));
    assert_eq!(admitted(&[]).legacy_revision().unwrap(), None);
}

#[test]
fn the_headers_that_repeat_a_body_are_handed_on_unread() {
    let fields = [("mcp-method", "tools/call"), ("mcp-name", " a "), ("mcp-name", "b"), ("mcp-param-region", "us")];
    let mirrors = admitted(&fields).mirrors;
    assert_eq!(mirrors.methods, ["tools/call"]);
    assert_eq!(mirrors.names, [" a ", "b"]);
    assert_eq!(mirrors.params, [("region".to_owned(), "us".to_owned())]);
    let long = "x".repeat(20_000);
    assert_eq!(status("POST", &[("mcp-name", &long)]), 400);
}

proptest! {
    #[test]
    fn arbitrary_headers_never_panic(
        loopback in any::<bool>(),
        fields in prop::collection::vec(
            (prop::sample::select([&SPELLED[..], &["accept", "x-other", VERSION, "mcp-method", "mcp-param-a"]].concat()), prop::collection::vec(any::<u8>(), 0..40)),
            0..8,
        ),
    ) {
        let mut head = head("POST", &[]);
        for (name, value) in &fields {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                head.headers.append(HeaderName::from_static(name), value);
            }
        }
        let _ = admit(&site(if loopback { LOOPBACK } else { PUBLIC }), &head);
    }

    #[test]
    fn arbitrary_accept_headers_never_panic(value in "[a-z/*;,=q0-9. ]{0,60}") {
        let _ = status("POST", &[("accept", &value)]);
    }
}
