//! How are the headers of the protocol spelled?

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::json;

/// The headers by which a request repeats what its body says, as they came: unread and unchecked
/// (MCP 2026-07-28 basic/transports/streamable-http, Request Metadata).
///
/// A header that came more than once is there more than once, at most twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// `MCP-Protocol-Version`
    pub versions: Vec<String>,
    /// `Mcp-Method`
    pub methods: Vec<String>,
    /// `Mcp-Name`
    pub names: Vec<String>,
    /// `Mcp-Param-*`: what follows the prefix, in lower case, and the value.
    pub params: Vec<(String, String)>,
}

/// A request has more headers that repeat its arguments than anybody needs, or a longer one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header `{0}` is longer than 16 KiB, or there are more than 64 like it")]
pub struct Excess(pub String);

impl Mirrors {
    /// Those among `headers`. Bytes that are no UTF-8 become U+FFFD, which no value may hold.
    ///
    /// # Errors
    /// [`Excess`]
    pub fn of(headers: &HeaderMap) -> Result<Self, Excess> {
        let all = |name: HeaderName| -> Result<Vec<String>, Excess> {
            headers.get_all(&name).iter().take(2).map(|value| bounded(&name, value)).collect()
        };
        let mut params = Vec::new();
        for (name, value) in headers {
            let Some(rest) = name.as_str().strip_prefix(MCP_PARAM_PREFIX) else { continue };
            if params.len() == PARAMS_MAX {
                return Err(excess(name));
            }
            params.push((rest.to_owned(), bounded(name, value)?));
        }
        Ok(Self { versions: all(MCP_PROTOCOL_VERSION)?, methods: all(MCP_METHOD)?, names: all(MCP_NAME)?, params })
    }
}

fn bounded(name: &HeaderName, value: &HeaderValue) -> Result<String, Excess> {
    match value.len() {
        0..=VALUE_MAX_BYTES => Ok(String::from_utf8_lossy(value.as_bytes()).into_owned()),
        _ => Err(excess(name)),
    }
}

fn excess(name: &HeaderName) -> Excess {
    Excess(json::clip(name.as_str()).to_owned())
}

const PARAMS_MAX: usize = 64;
const VALUE_MAX_BYTES: usize = 16 * 1024;

/// The session a request belongs to (MCP 2025-11-25 basic/transports, Session Management).
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The revision a request speaks (MCP 2025-06-18 basic/transports, Protocol Version Header).
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The method of the body (MCP 2026-07-28 basic/transports/streamable-http, Standard Request Headers).
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt, resource or task of the body (likewise).
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// How the name of a header begins that repeats an argument (likewise, Custom Headers from Tool Parameters).
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";
/// The last event a resuming stream has seen (HTML Standard, server-sent events).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// W3C Trace Context §3.2.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context §3.3.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A single JSON-RPC message, or a batch of them.
pub const APPLICATION_JSON: &str = "application/json";
/// A stream of events that each carry one JSON-RPC message.
pub const TEXT_EVENT_STREAM: &str = "text/event-stream";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn mirrors_are_found_whatever_the_case_of_their_names() {
        let headers = headers(&[
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("mcp-method", "tools/list"),
            ("MCP-METHOD", "a third one"),
            ("Mcp-Param-Region", "us"),
            ("mcp-paramount", "no"),
        ]);
        let mirrors = Mirrors::of(&headers).unwrap();
        assert_eq!(mirrors.versions, ["2026-07-28"]);
        assert_eq!(mirrors.methods, ["tools/call", "tools/list"], "two are enough to see that it is repeated");
        assert_eq!(mirrors.names, [""; 0]);
        assert_eq!(mirrors.params, [("region".to_owned(), "us".to_owned())]);
    }

    #[test]
    fn their_number_and_size_are_bounded() {
        let many = |count: usize| headers(&(0..count).map(|_| ("mcp-param-a", "x")).collect::<Vec<_>>());
        assert_eq!(Mirrors::of(&many(64)).unwrap().params.len(), 64);
        assert!(Mirrors::of(&many(65)).is_err());
        let long = |bytes: usize| headers(&[("mcp-name", &"x".repeat(bytes))]);
        assert!(Mirrors::of(&long(VALUE_MAX_BYTES)).is_ok());
        assert!(Mirrors::of(&long(VALUE_MAX_BYTES + 1)).is_err());
    }
}
