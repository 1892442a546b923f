//! Which of the gateway's own endpoints does a path name?

/// An endpoint of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// `/mcp/{server}`; `/mcp/@{name}` of some servers, as `@name`; `/mcp` of all of them, as nothing.
    Server(&'a str),
    /// `/mcp/{server}/sse` and `/mcp/{server}/messages` (MCP 2024-11-05), of a server or of `@name`.
    Old(&'a str, Part),
    /// `/.well-known/oauth-protected-resource[/mcp[/{server}]]` (RFC 9728 §3.1): of one server, or of the gateway.
    Metadata(Option<&'a str>),
    /// `/api/…`
    Api(Api<'a>),
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// Nothing is here.
    Unknown,
}

/// What a server of HTTP+SSE consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The stream of one session.
    Stream,
    /// Where its messages are POSTed.
    Messages,
}

/// What the gateway's own API tells and changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api<'a> {
    /// `/api/audit/{tenant}`
    Audit(&'a str),
    /// `/api/usage/{tenant}`
    Usage(&'a str),
    /// `/api/definitions/{server}`
    Definitions(&'a str),
    /// `/api/bundles/{id}`
    Bundle(&'a str),
    /// `/api/live`
    Live,
    /// `/api/live/history`
    History,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        let named = |prefix: &str| match path.strip_prefix(prefix)? {
            "" => Some(""),
            rest => rest.strip_prefix('/').filter(|name| is_name(name.strip_prefix('@').unwrap_or(name))),
        };
        match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/.well-known/oauth-protected-resource" => Self::Metadata(None),
            _ => None
                .or_else(|| named("/mcp").map(Self::Server))
                .or_else(|| old(path))
                .or_else(|| named("/.well-known/oauth-protected-resource/mcp").map(|name| Self::Metadata(Some(name))))
                .or_else(|| path.strip_prefix("/api/").and_then(Api::of).map(Self::Api))
                .unwrap_or(Self::Unknown),
        }
    }
}

impl<'a> Api<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (what, which) = path.split_once('/').unwrap_or((path, ""));
        match (what, which) {
            ("live", "") => Some(Self::Live),
            ("live", "history") => Some(Self::History),
            ("audit", tenant) if !tenant.is_empty() => Some(Self::Audit(tenant)),
            ("usage", tenant) if !tenant.is_empty() => Some(Self::Usage(tenant)),
            ("definitions", server) if is_name(server) => Some(Self::Definitions(server)),
            ("bundles", id) if is_digest(id) => Some(Self::Bundle(id)),
            _ => None,
        }
    }
}

fn old(path: &str) -> Option<Endpoint<'_>> {
    let (name, part) = path.strip_prefix("/mcp/")?.split_once('/')?;
    let part = match part {
        "sse" => Part::Stream,
        "messages" => Part::Messages,
        _ => return None,
    };
    is_name(name.strip_prefix('@').unwrap_or(name)).then_some(Endpoint::Old(name, part))
}

/// Where the endpoint `name` is, as [`Endpoint::Server`] has it.
pub(crate) fn path(name: &str) -> String {
    if name.is_empty() { "/mcp".to_owned() } else { format!("/mcp/{name}") }
}

/// A SHA-256 as bundles are addressed by: 64 hexadecimal digits in lower case.
pub(crate) fn is_digest(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// What a server may be called: 1 to 64 of `a-z`, `0-9`, `-` and `_`, so that a name stands in a path as it is.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_whole() {
        assert_eq!(Endpoint::of("/mcp/memory"), Endpoint::Server("memory"));
        assert_eq!(
            Endpoint::of("/.well-known/oauth-protected-resource/mcp/memory"),
            Endpoint::Metadata(Some("memory"))
        );
        assert_eq!(Endpoint::of("/api/live/history"), Endpoint::Api(Api::History));
        assert_eq!(
            Endpoint::of(&format!("/api/bundles/{}", "a".repeat(64))),
            Endpoint::Api(Api::Bundle(&"a".repeat(64)))
        );
        for path in ["/api", "/api/", "/api/bundles/live", "/api/bundles/..", "/api/live/x", "/api/audit/"] {
            assert_eq!(Endpoint::of(path), Endpoint::Unknown, "{path}");
        }
        assert_eq!(Endpoint::of("/mcp"), Endpoint::Server(""));
        assert_eq!(Endpoint::of("/mcp/@research"), Endpoint::Server("@research"));
        assert_eq!(Endpoint::of("/mcp/memory/sse"), Endpoint::Old("memory", Part::Stream));
        assert_eq!(Endpoint::of("/mcp/@research/messages"), Endpoint::Old("@research", Part::Messages));
        for path in [
            "/mcp/",
            "/mcp/@",
            "/mcp/@@a",
            "/mcp/a@b",
            "/mcpa",
            "/mcp/a/b",
            "/mcp//sse",
            "/mcp/a/sse/",
            "/mcp/A",
            "/mcp/%61",
            "/",
            "/mcp/a?b",
        ] {
            assert_eq!(Endpoint::of(path), Endpoint::Unknown, "{path}");
        }
    }
}
