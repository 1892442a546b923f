//! What is a server's resource called among those of others? `mcp+server+uri`, and back.
//!
//! Only the scheme becomes longer: `file:///a` of the server `files` is `mcp+files+file:///a`. So what was a URI stays one,
//! with its authority, path, query and fragment, and a relative reference resolves as before (RFC 3986 §3.1, §5). A
//! template (RFC 6570) expands to the longer form of what it expanded to, even where it begins with an expression. A scheme
//! has no `_`: it is spelled `.`, which no server's name holds.

use std::borrow::Cow;

/// What the resource or template `uri` of `server` is called.
#[must_use]
pub fn join(server: &str, uri: &str) -> String {
    [PREFIX, &server.replace('_', "."), "+", uri].concat()
}

/// The server a joined URI or template belongs to, and what it is there; `None` if it is no joined one.
#[must_use]
pub fn split(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (server, uri) = text.strip_prefix(PREFIX)?.split_once('+')?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_server = !server.is_empty() && server.bytes().all(allowed);
    let server = if server.contains('.') { Cow::Owned(server.replace('.', "_")) } else { Cow::Borrowed(server) };
    is_server.then_some((server, uri))
}

const PREFIX: &str = "mcp+";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uris_are_joined_as_the_page_says() {
        for (server, uri, joined) in [
            ("files", "file:///a/b?c#d", "mcp+files+file:///a/b?c#d"),
            ("my_files-2", "test://template/{id}/data", "mcp+my.files-2+test://template/{id}/data"),
            ("web", "{+url}", "mcp+web+{+url}"),
            ("web", "http://[::1]:8080/", "mcp+web+http://[::1]:8080/"),
            ("a", "mcp+b+urn:x", "mcp+a+mcp+b+urn:x"),
        ] {
            assert_eq!(join(server, uri), joined);
        }
    }

    #[test]
    fn what_is_not_joined_is_not_split() {
        for text in ["", "file:///a", "mcp+", "mcp+a", "mcp++a", "mcp+A+b:c", "mcp+a_b+c:d", "MCP+a+b:c", "mcp+a/b+c:d"]
        {
            assert_eq!(split(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_a_uri_stays_one() {
        for uri in ["file:///a%20b", "urn:isbn:1", "http://[::1]:8080/x?y#z", "data:,x", "a+b.c-1:/p", "mailto:a@b"] {
            let before = url::Url::parse(uri).unwrap();
            let after = url::Url::parse(&join("my_files-2", uri)).unwrap();
            assert_eq!(after.scheme(), format!("mcp+my.files-2+{}", before.scheme()));
            assert_eq!(
                (after.path(), after.query(), after.fragment()),
                (before.path(), before.query(), before.fragment())
            );
            assert_eq!(after.as_str(), join("my_files-2", uri), "a client that parses it spells it the same");
        }
    }

    proptest! {
        #[test]
        fn uris_read_back(server in "[a-z0-9_-]{1,64}", uri in any::<String>()) {
            let joined = join(&server, &uri);
            prop_assert_eq!(split(&joined), Some((Cow::Owned(server), uri.as_str())));
        }

        #[test]
        fn what_is_split_is_what_was_joined(text in "(mcp\\+)?[a-zA-Z0-9_.+-]{0,8}[+][ -~]{0,8}") {
            if let Some((server, uri)) = split(&text) {
                prop_assert_eq!(join(&server, uri), text);
            }
        }
    }
}
