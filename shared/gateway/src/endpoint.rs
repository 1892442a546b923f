//! Which of the gateway's own endpoints does a path name?

/// An endpoint of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// `/mcp/{server}`
    Server(&'a str),
    /// `/.well-known/oauth-protected-resource[/mcp/{server}]` (RFC 9728 §3.1): of one server, or of the gateway.
    Metadata(Option<&'a str>),
    /// `/api/audit/{tenant}`
    Audit(&'a str),
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// Nothing is here.
    Unknown,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(path: &'a str) -> Self {
        let named = |prefix: &str| path.strip_prefix(prefix).filter(|name| is_name(name));
        match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/.well-known/oauth-protected-resource" => Self::Metadata(None),
            _ => None
                .or_else(|| named("/mcp/").map(Self::Server))
                .or_else(|| named("/.well-known/oauth-protected-resource/mcp/").map(|name| Self::Metadata(Some(name))))
                .or_else(|| path.strip_prefix("/api/audit/").filter(|name| !name.is_empty()).map(Self::Audit))
                .unwrap_or(Self::Unknown),
        }
    }
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
        for path in ["/mcp", "/mcp/", "/mcp/a/b", "/mcp/A", "/mcp/%61", "/", "/mcp/a?b"] {
            assert_eq!(Endpoint::of(path), Endpoint::Unknown, "{path}");
        }
    }
}
