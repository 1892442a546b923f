//! What is sent to an upstream? Only what is listed here: the caller's own headers, token and cookies stay outside.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use mcp::header as mcp_header;

/// A request to an upstream, before it is spelled.
#[derive(Clone, Debug)]
pub struct Outbound<'a> {
    /// The instance's URL.
    pub url: &'a str,
    /// The upstream's own session id.
    pub session_id: Option<&'a str>,
    /// `MCP-Protocol-Version`, if there is one to send.
    pub revision: Option<&'a str>,
    /// `Last-Event-ID`, for a stream that resumes.
    pub last_event_id: Option<&'a str>,
    /// The gateway's own credential at this upstream.
    pub secret: Option<&'a str>,
    /// `traceparent` and `tracestate`.
    pub trace: (&'a str, Option<&'a str>),
}

/// The request `outbound` describes, with `body` for a POST.
///
/// # Errors
/// A part that cannot stand in an HTTP request: a misconfigured URL or secret.
pub fn request(method: Method, outbound: &Outbound<'_>, body: Bytes) -> Result<Request<Bytes>, http::Error> {
    let accept = match method {
        Method::POST => HeaderValue::from_static("application/json, text/event-stream"),
        _ => HeaderValue::from_static(mcp_header::TEXT_EVENT_STREAM),
    };
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(header::ACCEPT, accept);
    if method == Method::POST {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mcp_header::APPLICATION_JSON));
    }
    if let Some(secret) = outbound.secret {
        let mut value = HeaderValue::try_from(format!("Bearer {secret}"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let (traceparent, tracestate) = outbound.trace;
    let optional: [(HeaderName, Option<&str>); 5] = [
        (mcp_header::MCP_SESSION_ID, outbound.session_id),
        (mcp_header::MCP_PROTOCOL_VERSION, outbound.revision),
        (mcp_header::LAST_EVENT_ID, outbound.last_event_id),
        (mcp_header::TRACEPARENT, Some(traceparent)),
        (mcp_header::TRACESTATE, tracestate),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value)?);
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = outbound.url.parse()?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Room for every header there may be: the others are rare.
const HEADERS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_listed_headers_is_sent() {
        let outbound = Outbound {
            url: "http://127.0.0.1:1/mcp",
            session_id: Some("s"),
            revision: None,
            last_event_id: None,
            secret: Some("hidden"),
            trace: ("00-a-b-01", None),
        };
        let request = request(Method::POST, &outbound, Bytes::from_static(b"{}")).unwrap();
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "content-type", "mcp-session-id", "traceparent"]);
        assert!(!format!("{request:?}").contains("hidden"));
    }
}
