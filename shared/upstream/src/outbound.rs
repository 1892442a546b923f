//! What is sent to an upstream? Only what is listed here: the caller's own headers, token and cookies stay outside.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use mcp::header as mcp_header;

/// A request on its way to an upstream. Its head may be that of others too, which differ in trace and body alone.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Method, URL and headers, without the trace.
    pub head: Rc<Request<()>>,
    /// `traceparent` and `tracestate`.
    pub trace: Option<(String, Option<String>)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// Whether an answer with the status 200 and JSON would be handed on as it comes, with its content type alone.
    pub may_pass_on: bool,
}

impl From<Request<Bytes>> for Departure {
    fn from(request: Request<Bytes>) -> Self {
        let (mut head, body) = request.into_parts();
        let mut taken = |name| head.headers.remove(name).and_then(|value| value.to_str().ok().map(str::to_owned));
        let trace = taken(mcp_header::TRACEPARENT).map(|parent| (parent, taken(mcp_header::TRACESTATE)));
        Self { head: Rc::new(Request::from_parts(head, ())), trace, body, may_pass_on: false }
    }
}

impl From<Departure> for Request<Bytes> {
    fn from(Departure { head, trace, body, .. }: Departure) -> Self {
        let mut request = Rc::unwrap_or_clone(head).map(|()| body);
        let (parent, state) = trace.map_or((None, None), |(parent, state)| (Some(parent), state));
        for (name, value) in [(mcp_header::TRACEPARENT, parent), (mcp_header::TRACESTATE, state)] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                request.headers_mut().insert(name, value);
            }
        }
        request
    }
}

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
}

impl Outbound<'_> {
    /// The head of the request it describes.
    ///
    /// # Errors
    /// A part that cannot stand in an HTTP request: a misconfigured URL or secret.
    pub fn head(&self, method: Method) -> Result<Request<()>, http::Error> {
        let accept = match method {
            Method::POST => HeaderValue::from_static("application/json, text/event-stream"),
            _ => HeaderValue::from_static(mcp_header::TEXT_EVENT_STREAM),
        };
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(header::ACCEPT, accept);
        if method == Method::POST {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mcp_header::APPLICATION_JSON));
        }
        if let Some(secret) = self.secret {
            let mut value = HeaderValue::try_from(format!("Bearer {secret}"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let optional: [(HeaderName, Option<&str>); 3] = [
            (mcp_header::MCP_SESSION_ID, self.session_id),
            (mcp_header::MCP_PROTOCOL_VERSION, self.revision),
            (mcp_header::LAST_EVENT_ID, self.last_event_id),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value)?);
            }
        }
        let mut head = Request::new(());
        *head.method_mut() = method;
        *head.uri_mut() = self.url.parse()?;
        *head.headers_mut() = headers;
        Ok(head)
    }
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
        };
        let head = Rc::new(outbound.head(Method::POST).unwrap());
        let trace = Some(("00-a-b-01".to_owned(), None));
        let departure = Departure { head, trace, body: Bytes::from_static(b"{}"), may_pass_on: false };
        let request = Request::from(departure);
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "content-type", "mcp-session-id", "traceparent"]);
        assert!(!format!("{request:?}").contains("hidden"));
    }
}
