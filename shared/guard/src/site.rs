//! Where does the gateway stand, and who may reach it there? The public origin, and the origins of pages that may call.

/// The gateway's public place.
#[derive(Clone, Debug)]
pub struct Site {
    origin: String,
    authority: String,
    loopback: bool,
    allowed_origins: Vec<String>,
}

impl Site {
    /// A gateway at `url`, an origin without path; `allowed_origins` are those of web pages that may call it.
    #[must_use]
    pub fn new(url: &str, allowed_origins: Vec<String>) -> Self {
        let without_slash = |url: &str| url.trim_end_matches('/').to_owned();
        let (origin, allowed_origins) =
            (without_slash(url), allowed_origins.iter().map(|one| without_slash(one)).collect());
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority).to_owned();
        let loopback = is_loopback(host(&authority));
        Self { origin, authority, loopback, allowed_origins }
    }

    /// The public origin, such as `https://mcp.example.com`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether a page at `origin` may call: one that is listed, the gateway's own, or, on loopback, any local one.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        let local = || origin.split_once("://").is_some_and(|(_, authority)| is_loopback(host(authority)));
        origin == self.origin || self.allowed_origins.iter().any(|one| one == origin) || (self.loopback && local())
    }

    /// Whether `Host` names the gateway. Only asked on loopback, where a page may have rebound a name to 127.0.0.1
    /// (MCP 2025-11-25 basic/transports, Security Warning); elsewhere the platform routes by host.
    #[must_use]
    pub fn allows_host(&self, authority: Option<&str>) -> bool {
        !self.loopback
            || authority.is_some_and(|one| {
                one == self.authority || (is_loopback(host(one)) && port(one) == port(&self.authority))
            })
    }
}

fn host(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

fn port(authority: &str) -> Option<&str> {
    authority.strip_prefix(host(authority))
}

fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Site {
        Site::new(url, vec!["https://app.example.com".to_owned(), "http://tools.example:8080/".to_owned()])
    }

    #[test]
    fn on_loopback_only_its_own_names_and_port_are_hosts() {
        let site = site("http://127.0.0.1:8787");
        for host in ["127.0.0.1:8787", "localhost:8787", "LocalHost:8787", "[::1]:8787"] {
            assert!(site.allows_host(Some(host)), "{host}");
        }
        for host in [
            "",
            "127.0.0.1",
            "localhost",
            "localhost:",
            "localhost:80",
            "localhost:87870",
            "[::1]",
            "[::1]:9",
            "::1:8787",
            "127.0.0.2:8787",
            "127.0.0.1.nip.io:8787",
            "evil.example",
            "evil.example:8787",
            "localhost.evil.example:8787",
            "evil.example#localhost:8787",
            "user@localhost:8787",
            "localhost:8787:8787",
            "localhost:8787/",
        ] {
            assert!(!site.allows_host(Some(host)), "{host}");
        }
        assert!(!site.allows_host(None));
    }

    #[test]
    fn a_loopback_site_without_a_port_has_hosts_without_one() {
        for url in ["http://localhost", "http://[::1]", "http://localhost/"] {
            assert!(site(url).allows_host(Some("localhost")) && site(url).allows_host(Some("[::1]")), "{url}");
            assert!(!site(url).allows_host(Some("localhost:8787")), "{url}");
        }
    }

    #[test]
    fn a_public_site_leaves_hosts_to_its_platform() {
        for host in [None, Some("mcp.example.com"), Some("worker.example.workers.dev")] {
            assert!(site("https://mcp.example.com").allows_host(host));
        }
    }

    #[test]
    fn pages_call_from_listed_origins_and_from_the_gateways_own() {
        let site = site("https://mcp.example.com/");
        assert_eq!(site.origin(), "https://mcp.example.com");
        for origin in ["https://mcp.example.com", "https://app.example.com", "http://tools.example:8080"] {
            assert!(site.allows_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "https://evil.example",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://app.example.com/",
            "http://tools.example",
            "http://localhost:3000",
            "http://127.0.0.1",
        ] {
            assert!(!site.allows_origin(origin), "{origin}");
        }
    }

    #[test]
    fn on_loopback_any_local_page_may_call() {
        let site = site("http://127.0.0.1:8787");
        for origin in [
            "http://127.0.0.1:8787",
            "http://localhost:6274",
            "https://localhost",
            "http://[::1]:1",
            "http://127.0.0.1",
        ] {
            assert!(site.allows_origin(origin), "{origin}");
        }
        for origin in ["null", "", "localhost", "http://localhost.evil.example", "http://evil.example:8787", "file://"]
        {
            assert!(!site.allows_origin(origin), "{origin}");
        }
    }
}
