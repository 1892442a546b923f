//! Where are messages POSTed? The URI of an `endpoint` event, which has to be at the origin its stream comes from
//! (MCP 2024-11-05 basic/transports).

use url::Url;

/// Why an endpoint is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The stream's own URL is none.
    #[error("the stream's URL `{0}` cannot be read")]
    Stream(String),
    /// It is no URI reference, or too long.
    #[error("the endpoint `{0}` is no URI of at most {MAX_BYTES} bytes")]
    Unreadable(String),
    /// It names another origin, to which nothing the gateway sends must go.
    #[error("the endpoint `{0}` is at another origin than the stream")]
    Elsewhere(String),
}

/// Path and query of the endpoint that `uri`, on the stream from `stream_url`, points to; relative to that URL.
///
/// # Errors
/// [`Refused`]
pub fn path_and_query(stream_url: &str, uri: &str) -> Result<String, Refused> {
    let clipped = || mcp::json::clip(uri).to_owned();
    if uri.is_empty() || uri.len() > MAX_BYTES {
        return Err(Refused::Unreadable(clipped()));
    }
    let stream = Url::parse(stream_url).map_err(|_| Refused::Stream(mcp::json::clip(stream_url).to_owned()))?;
    let endpoint = stream.join(uri).map_err(|_| Refused::Unreadable(clipped()))?;
    let names_user = !endpoint.username().is_empty() || endpoint.password().is_some();
    if endpoint.origin() != stream.origin() || !endpoint.origin().is_tuple() || names_user {
        return Err(Refused::Elsewhere(clipped()));
    }
    let query = endpoint.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{}{query}", endpoint.path()))
}

/// The URL of `path_and_query` at the origin of `url`.
///
/// # Errors
/// [`Refused`]
pub fn at_origin(url: &str, path_and_query: &str) -> Result<String, Refused> {
    let stream = Url::parse(url).map_err(|_| Refused::Stream(mcp::json::clip(url).to_owned()))?;
    if !path_and_query.starts_with('/') {
        return Err(Refused::Unreadable(mcp::json::clip(path_and_query).to_owned()));
    }
    Ok(format!("{}{path_and_query}", stream.origin().ascii_serialization()))
}

/// The event that says it.
pub const EVENT: &str = "endpoint";
/// Longer URIs are not used.
pub const MAX_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "http://10.0.0.7:3001/a/sse?x=1";

    #[test]
    fn what_is_relative_is_at_the_same_origin() {
        for (uri, endpoint) in [
            ("/message?sessionId=1", "/message?sessionId=1"),
            ("message", "/a/message"),
            ("../up", "/up"),
            ("../../../up", "/up"),
            ("?sessionId=1", "/a/sse?sessionId=1"),
            ("http://10.0.0.7:3001/m", "/m"),
            ("HTTP://10.0.0.7:3001", "/"),
            ("//10.0.0.7:3001/m", "/m"),
            ("/m#part", "/m"),
            ("/m\r\nx-header: 1", "/mx-header:%201"),
            ("/é", "/%C3%A9"),
        ] {
            assert_eq!(path_and_query(STREAM, uri).as_deref(), Ok(endpoint), "{uri}");
        }
        assert_eq!(path_and_query("https://h/sse", "https://h:443/m").as_deref(), Ok("/m"));
        assert_eq!(at_origin(STREAM, "/m?s=1").as_deref(), Ok("http://10.0.0.7:3001/m?s=1"));
    }

    #[test]
    fn another_origin_is_refused_however_it_is_spelled() {
        for uri in [
            "http://10.0.0.8:3001/m",
            "http://10.0.0.7/m",
            "http://10.0.0.7:3002/m",
            "https://10.0.0.7:3001/m",
            "//169.254.169.254/latest",
            "\\\\169.254.169.254/latest",
            "/\\169.254.169.254/latest",
            "http:\\\\169.254.169.254/",
            "http://10.0.0.7:3001@169.254.169.254/",
            "http://user@10.0.0.7:3001/m",
            "file:///etc/passwd",
            "data:text/plain,x",
            "javascript:1",
        ] {
            assert!(matches!(path_and_query(STREAM, uri), Err(Refused::Elsewhere(_))), "{uri}");
        }
        for uri in ["", "http://", "http://[", &"a".repeat(MAX_BYTES + 1)] {
            assert!(matches!(path_and_query(STREAM, uri), Err(Refused::Unreadable(_))), "{uri}");
        }
        assert!(at_origin(STREAM, "@evil.example/").is_err());
    }

    proptest! {
        #[test]
        fn whatever_it_says_the_request_stays_at_the_origin(uri in "[/\\\\.?#@:a-z0-9 \\t\\r\\n%\u{e9}]{0,40}") {
            if let Ok(path) = path_and_query(STREAM, &uri) {
                let url = Url::parse(&at_origin(STREAM, &path).unwrap()).unwrap();
                prop_assert_eq!(url.origin(), Url::parse(STREAM).unwrap().origin());
                prop_assert!(path.parse::<http::uri::PathAndQuery>().is_ok(), "{}", path);
            }
        }
    }
}
