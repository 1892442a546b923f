//! May a web page read the answer? Fetch Standard §3.2, for the origins that are allowed.

use bytes::Bytes;
use guard::Site;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mcp::header::MCP_PARAM_PREFIX;

/// The answer to a preflight: what an allowed page may send. Any other page is told nothing.
pub(crate) fn preflight<B: From<Bytes>>(site: &Site, headers: &HeaderMap) -> Response<B> {
    let mut response = Response::new(B::from(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    if allowed(site, headers.get(header::ORIGIN)).is_some() {
        let fields = response.headers_mut();
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        if let Some(mirrors) = mirrors(headers) {
            fields.append(header::ACCESS_CONTROL_ALLOW_HEADERS, mirrors);
        }
        fields.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    }
    response
}

/// Lets a page of an allowed origin read the answer.
pub(crate) fn expose(site: &Site, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if origin.is_some() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = allowed(site, origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    }
}

/// The headers among those a page asks for that repeat arguments: their names depend on the tool.
fn mirrors(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?;
    let is_mirror = |name: &&str| {
        let is_named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        name.get(..MCP_PARAM_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(MCP_PARAM_PREFIX))
            && name.bytes().all(is_named)
    };
    let mirrors: Vec<&str> = asked.split(',').map(str::trim).filter(is_mirror).take(MIRRORS_MAX).collect();
    (!mirrors.is_empty()).then(|| HeaderValue::try_from(mirrors.join(", ")).ok())?
}

fn allowed<'a>(site: &Site, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
    origin.filter(|origin| origin.to_str().is_ok_and(|origin| site.allows_origin(origin)))
}

const REQUEST_HEADERS: &str = "authorization, content-type, accept, mcp-session-id, mcp-protocol-version, \
                               mcp-method, mcp-name, last-event-id, traceparent, tracestate";
const MIRRORS_MAX: usize = 64;
const RESPONSE_HEADERS: &str = "mcp-session-id, www-authenticate, retry-after";

#[cfg(test)]
mod tests;
