use super::*;

fn site() -> Site {
    Site::new("https://mcp.example.com", vec!["https://app.example.com".to_owned()])
}

fn preflighted(origin: Option<&'static str>) -> Response<Bytes> {
    let mut headers = HeaderMap::new();
    headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
    let mut response = preflight(&site(), &headers);
    expose(&site(), headers.get(header::ORIGIN), response.headers_mut());
    response
}

fn field(response: &Response<Bytes>, name: http::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_page_of_an_allowed_origin_is_told_what_it_may_send() {
    for origin in ["https://app.example.com", "https://mcp.example.com"] {
        let response = preflighted(Some(origin));
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(response.body().is_empty());
        assert_eq!(field(&response, header::ACCESS_CONTROL_ALLOW_ORIGIN), origin);
        assert_eq!(field(&response, header::ACCESS_CONTROL_ALLOW_METHODS), "POST, GET, DELETE");
        let allowed: Vec<&str> = field(&response, header::ACCESS_CONTROL_ALLOW_HEADERS).split(", ").collect();
        for name in
            ["authorization", "content-type", "accept", "mcp-session-id", "mcp-protocol-version", "last-event-id"]
        {
            assert!(allowed.contains(&name), "{name}");
        }
        assert_eq!(field(&response, header::VARY), "origin");
    }
}

#[test]
fn any_other_page_is_told_nothing() {
    for origin in
        [None, Some("https://evil.example"), Some("null"), Some(""), Some("https://app.example.com.evil.example")]
    {
        let response = preflighted(origin);
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(names(response.headers()).iter().all(|name| name == "vary"), "{origin:?}: {:?}", response.headers());
    }
}

#[test]
fn an_origin_is_answered_by_itself_and_never_by_a_star() {
    let response = preflighted(Some("https://app.example.com"));
    assert!(response.headers().values().all(|value| !value.as_bytes().contains(&b'*')));
    assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "no cookies are read here");
}

#[test]
fn a_page_may_read_what_it_needs_to_go_on() {
    let response = preflighted(Some("https://app.example.com"));
    let exposed = field(&response, header::ACCESS_CONTROL_EXPOSE_HEADERS);
    assert_eq!(exposed, "mcp-session-id, www-authenticate, retry-after");
}

#[test]
fn an_unreadable_origin_is_not_allowed() {
    let mut headers = HeaderMap::new();
    let origin = HeaderValue::from_bytes(b"https://app.example.com\xff").unwrap();
    expose(&site(), Some(&origin), &mut headers);
    assert_eq!(names(&headers), ["vary"]);
}

fn names(headers: &HeaderMap) -> Vec<String> {
    headers.keys().map(ToString::to_string).collect()
}
