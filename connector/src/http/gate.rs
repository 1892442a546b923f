//! Is this a request we are willing to look at? Host, Origin, the secret, and the headers of the protocol.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use mcp::Revision;
use mcp::header::{APPLICATION_JSON, MCP_PROTOCOL_VERSION, TEXT_EVENT_STREAM};
use mcp::jsonrpc::code;

use super::Reach;
use super::refusal::Refusal;
use crate::secret::Secret;

pub(super) struct Gate {
    pub(super) secret: Secret,
    pub(super) reach: Reach,
}

/// Lets a request on only if it was meant for this connector and knows the secret.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Result<Response, Refusal> {
    let headers = request.headers();
    check_host(headers, gate.reach)?;
    check_origin(headers)?;
    let authorization = headers.get(AUTHORIZATION);
    match authorization.is_some_and(|authorization| gate.secret.opens(authorization.as_bytes())) {
        true => Ok(next.run(request).await),
        false => Err(Refusal::unauthorized()),
    }
}

/// Content type and accepted types of a POST.
pub(super) fn check_post(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = text(headers, CONTENT_TYPE).map(essence).unwrap_or_default();
    if !content_type.eq_ignore_ascii_case(APPLICATION_JSON) {
        let message = "the content type must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::REFUSED, message));
    }
    if !accepts(headers, APPLICATION_JSON) || !accepts(headers, TEXT_EVENT_STREAM) {
        return Err(Refusal::not_acceptable("accept both application/json and text/event-stream"));
    }
    Ok(())
}

/// Accepted types and revision of a GET.
pub(super) fn check_get(headers: &HeaderMap) -> Result<(), Refusal> {
    if !accepts(headers, TEXT_EVENT_STREAM) {
        return Err(Refusal::not_acceptable("accept text/event-stream"));
    }
    check_version(headers)
}

/// The revision a legacy request claims to speak; none is fine (MCP 2025-06-18 basic/transports).
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(version) = headers.get(MCP_PROTOCOL_VERSION) else { return Ok(()) };
    match version.to_str().ok().and_then(Revision::parse) {
        Some(revision) if revision.is_legacy() => Ok(()),
        _ => {
            let served: Vec<_> = Revision::ALL.into_iter().filter(|revision| revision.is_legacy()).collect();
            let served = served.iter().map(Revision::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("unsupported protocol version; without `_meta` this connector serves {served}");
            Err(Refusal::new(StatusCode::BAD_REQUEST, code::REFUSED, message))
        }
    }
}

fn check_host(headers: &HeaderMap, reach: Reach) -> Result<(), Refusal> {
    let host = text(headers, HOST).and_then(|host| host.parse::<Authority>().ok());
    match reach == Reach::Beyond || host.is_some_and(|host| is_loopback(host.host())) {
        true => Ok(()),
        false => Err(Refusal::forbidden("the host of the request is not this machine")),
    }
}

/// A browser names the page that sends a request; no page of another machine may.
fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    match origin.is_some_and(|origin| origin.scheme().is_some() && origin.host().is_some_and(is_loopback)) {
        true => Ok(()),
        false => Err(Refusal::forbidden("requests of this origin are not served")),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let kind = media_type.split_once('/').map_or(media_type, |(kind, _)| kind);
    let lists = headers.get_all(ACCEPT).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(essence).any(|range| {
        let is_any_of_kind = range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(kind));
        range == "*/*" || is_any_of_kind || range.eq_ignore_ascii_case(media_type)
    })
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split_once(';').map_or(media_type, |(essence, _)| essence).trim()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn only_this_machine_is_a_host_or_an_origin() {
        for host in ["localhost", "127.0.0.1:3100", "[::1]:3100", "LOCALHOST:1", "127.8.9.1"] {
            assert!(check_host(&header(HOST, host), Reach::Loopback).is_ok(), "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "localhost.example.com:3100", "0.0.0.0", "user@evil:1", ""]
        {
            assert!(check_host(&header(HOST, host), Reach::Loopback).is_err(), "{host}");
        }
        assert!(check_host(&HeaderMap::new(), Reach::Loopback).is_err());
        for origin in ["http://localhost:5173", "http://127.0.0.1", "https://[::1]:8"] {
            assert!(check_origin(&header(ORIGIN, origin)).is_ok(), "{origin}");
        }
        for origin in ["null", "https://example.com", "http://localhost.example.com", "http://127.0.0.1.example.com"] {
            assert!(check_origin(&header(ORIGIN, origin)).is_err(), "{origin}");
        }
    }

    #[test]
    fn accept_is_read_as_a_list_of_ranges() {
        let both = |value: &str| {
            let headers = header(ACCEPT, value);
            (accepts(&headers, APPLICATION_JSON), accepts(&headers, TEXT_EVENT_STREAM))
        };
        assert_eq!(both("application/json, text/event-stream"), (true, true));
        assert_eq!(both("*/*"), (true, true));
        assert_eq!(both("Application/JSON;q=0.9,text/*"), (true, true));
        assert_eq!(both("application/json"), (true, false));
        assert_eq!(both("application/jsonx, text"), (false, false));
    }

    #[test]
    fn only_legacy_revisions_are_served() {
        for (version, is_served) in [("2024-11-05", true), ("2025-11-25", true), ("2026-07-28", false), ("x", false)] {
            assert_eq!(check_version(&header(MCP_PROTOCOL_VERSION, version)).is_ok(), is_served, "{version}");
        }
    }
}
